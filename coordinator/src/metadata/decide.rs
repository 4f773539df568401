//! The shape of every decision of the controller.
//!
//! Owns: [`Command`], [`Decision`] and [`DecideContext`]. Never: appends, waits or asks anybody.
//! Invariant: a decision depends on the image, the command and the context alone; applying its
//! records to the image it was made for succeeds and keeps the image valid.

use std::collections::BTreeMap;

use ottla_protocol::model::{NodeId, Uuid};

use super::image::MetadataImage;
use super::random::Random;
use super::record::MetadataRecord;
use super::settings::ControllerSettings;

/// Most records that one command of a client may give (Kafka's `MAX_RECORDS_PER_USER_OP`).
pub const RECORDS_PER_COMMAND_MAX: usize = 10_000;

/// What a decision may use besides the image and the command.
#[derive(Debug)]
pub struct DecideContext<'a> {
    pub settings: &'a ControllerSettings,
    /// Draws from a fresh seed for every command.
    pub random: Random,
    /// Replicas by node and log directory, counted once something has to be placed.
    load: Option<BTreeMap<(NodeId, Uuid), usize>>,
}

impl<'a> DecideContext<'a> {
    #[must_use]
    pub fn new(settings: &'a ControllerSettings, seed: u128) -> Self {
        Self { settings, random: Random::new(seed), load: None }
    }

    /// The log directory of a node that a new replica goes to: the one with the fewest.
    pub(super) fn directory_on(&mut self, image: &MetadataImage, node: NodeId) -> Uuid {
        let known = image.broker(node).map(|broker| broker.registration.directories.as_slice());
        let directories = match known {
            Some([only]) => return *only,
            Some(several) if !several.is_empty() => several,
            _ => return Uuid::nil(),
        };
        let load = self.load.get_or_insert_with(|| {
            let mut load = BTreeMap::new();
            for state in image.topics().flat_map(|topic| &topic.partitions) {
                for replica in state.replicas.iter().copied().zip(state.directories.iter().copied())
                {
                    *load.entry(replica).or_default() += 1;
                }
            }
            load
        });
        let of = |id: &Uuid| load.get(&(node, *id)).copied().unwrap_or_default();
        let chosen = directories.iter().copied().min_by_key(of).unwrap_or_default();
        *load.entry((node, chosen)).or_default() += 1;
        chosen
    }
}

/// What to append, and what to answer once that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<R> {
    /// All of them or none: one batch of the log.
    pub records: Vec<MetadataRecord>,
    pub reply: R,
}

impl<R> Decision<R> {
    /// Nothing changes.
    pub const fn answer(reply: R) -> Self {
        Self { records: Vec::new(), reply }
    }

    /// Drops the records when the client only wants to know what would happen.
    #[must_use]
    pub fn validated(mut self, mode: Validation) -> Self {
        if mode == Validation::Only {
            self.records.clear();
        }
        self
    }
}

/// Whether a command is carried out or only checked (`validate_only` of several requests).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Validation {
    #[default]
    AndApply,
    Only,
}

impl Validation {
    /// From the field of the request.
    #[must_use]
    pub const fn from_validate_only(validate_only: bool) -> Self {
        if validate_only { Self::Only } else { Self::AndApply }
    }
}

/// Something that changes the cluster's metadata, or says why not.
pub trait Command {
    type Reply;

    /// Decides, without doing.
    fn decide(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
    ) -> Decision<Self::Reply>;
}

/// The log directory that a new replica on `node` is assigned to, or the id that stands for "the
/// broker chooses" where it has several (Kafka's `DirectoryId.UNASSIGNED`).
pub(super) fn default_directory(image: &MetadataImage, node: NodeId) -> Uuid {
    match image.broker(node).map(|broker| broker.registration.directories.as_slice()) {
        Some([only]) => *only,
        _ => Uuid::nil(),
    }
}
