//! A controller for tests: commands in, replies out, every invariant checked after each.

use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{NodeId, Uuid};

use super::brokers::{BrokerState, ChangeBrokerState, FormCluster, RegisterBroker};
use super::decide::{Command, DecideContext};
use super::delta::MetadataDelta;
use super::error::ControllerError;
use super::image::MetadataImage;
use super::record::MetadataRecord;
use super::settings::ControllerSettings;

/// A cluster whose log is a vector.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) image: MetadataImage,
    pub(super) settings: ControllerSettings,
    pub(super) log: Vec<MetadataRecord>,
    /// What the last command changed.
    pub(super) delta: MetadataDelta,
    seed: u128,
}

impl Cluster {
    /// A formed cluster of active brokers 0.. with these static settings.
    pub(super) fn with(brokers: i32, settings: &[(&str, &str)]) -> Self {
        let values =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut cluster = Self {
            image: MetadataImage::default(),
            settings: ControllerSettings::from_static(values).unwrap(),
            log: Vec::new(),
            delta: MetadataDelta::default(),
            seed: 1,
        };
        cluster.run(FormCluster::default());
        for id in 0..brokers {
            cluster.add_broker(id, None);
        }
        cluster
    }

    pub(super) fn of(brokers: i32) -> Self {
        Self::with(brokers, &[])
    }

    pub(super) fn add_broker(&mut self, id: i32, rack: Option<&str>) {
        let epoch = self
            .run(RegisterBroker {
                id: NodeId(id),
                incarnation: Uuid::from_u128(1_000 + id as u128),
                rack: rack.map(str::to_owned),
                endpoints: Vec::new(),
                directories: vec![Uuid::from_u128(1 << 100 | id as u128)],
            })
            .unwrap();
        self.run(ChangeBrokerState { id: NodeId(id), epoch, state: BrokerState::Active }).unwrap();
    }

    pub(super) fn set_state(&mut self, id: i32, state: BrokerState) {
        let epoch = self.image.broker(NodeId(id)).unwrap().registration.epoch;
        self.run(ChangeBrokerState { id: NodeId(id), epoch, state }).unwrap();
    }

    /// Decides, applies, and checks what must hold after every command.
    pub(super) fn run<C: Command>(&mut self, command: C) -> C::Reply {
        self.seed += 1;
        let mut context = DecideContext::new(&self.settings, self.seed << 64 | self.seed);
        let decision = command.decide(&self.image, &mut context);
        for record in &decision.records {
            let bytes = record.encode().unwrap();
            assert_eq!(MetadataRecord::decode(&bytes).as_ref(), Ok(record));
        }
        self.delta = self.image.apply_all(&decision.records).unwrap();
        self.log.extend(decision.records);
        if let Err(broken) = self.image.validate() {
            panic!("{broken}");
        }
        decision.reply
    }

    /// The records of the last command that differ from `before` commands.
    pub(super) fn check_replay(&self) {
        let mut replayed = MetadataImage::default();
        replayed.apply_all(&self.log).unwrap();
        assert_eq!(replayed, self.image, "replaying the log gives the image");
        let mut restored = MetadataImage::default();
        restored.apply_all(&self.image.to_records()).unwrap();
        restored.end = self.image.end;
        assert_eq!(restored, self.image, "a snapshot gives the image");
        let mut forgotten = self.image.clone();
        forgotten.apply_all(&self.image.snapshot()).unwrap();
        forgotten.end = self.image.end;
        assert_eq!(forgotten, self.image, "a snapshot on top of the log gives the image");
    }
}

/// The code and message that a client sees.
pub(super) fn seen<T: std::fmt::Debug>(result: Result<T, ControllerError>) -> (ErrorCode, String) {
    match result {
        Ok(_) => (ErrorCode::None, String::new()),
        Err(error) => (error.code(), error.message().unwrap_or_default()),
    }
}

pub(super) fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}
