//! Records as text: round trips, versions, damage.

use proptest::prelude::*;

use super::*;

fn id(value: u128) -> Uuid {
    Uuid::from_u128(value)
}

pub(crate) fn samples() -> Vec<MetadataRecord> {
    vec![
        MetadataRecord::Snapshot,
        MetadataRecord::Cluster { id: "c1".into() },
        MetadataRecord::Topic { name: "t".into(), id: id(7 << 64) },
        MetadataRecord::Partition {
            topic_id: id(7 << 64),
            partition: PartitionId(0),
            replicas: vec![NodeId(1), NodeId(2)],
            directories: vec![id(1 << 80), id(2 << 80)],
            isr: vec![NodeId(1)],
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(3),
            partition_epoch: 5,
            adding: vec![NodeId(2)],
            removing: Vec::new(),
            keys: vec![id(0), id(3 << 80)],
            formation: Some(Formation { number: 2, leader: NodeId(1), epoch: LeaderEpoch(9) }),
            founders: vec![NodeId(1)],
            founded_in: vec![id(1 << 80)],
        },
        MetadataRecord::PartitionChange(PartitionChange {
            isr: Some(vec![NodeId(2)]),
            leader: Some(NodeId(2)),
            removing: Some(Vec::new()),
            ..PartitionChange::of(id(7 << 64), PartitionId(0))
        }),
        MetadataRecord::TopicRemoved { id: id(u128::MAX) },
        MetadataRecord::Config {
            resource: ResourceType::ClientMetrics,
            name: "m\"\u{0}é".into(),
            key: "interval.ms".into(),
            value: None,
        },
        MetadataRecord::Config {
            resource: ResourceType::Broker,
            name: String::new(),
            key: "log.retention.ms".into(),
            value: Some(String::new()),
        },
        MetadataRecord::Broker(BrokerRecord {
            id: NodeId(1),
            epoch: i64::MAX,
            incarnation: id(9),
            rack: Some("a".into()),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".into(),
                host: "::1".into(),
                port: 9092,
                protocol: "PLAINTEXT".into(),
            }],
            features: [("metadata.version".to_owned(), (7, 30))].into(),
            directories: vec![id(1 << 80)],
        }),
        MetadataRecord::BrokerState {
            id: NodeId(1),
            epoch: 1,
            fenced: false,
            in_controlled_shutdown: true,
        },
        MetadataRecord::BrokerRemoved { id: NodeId(i32::MAX) },
        MetadataRecord::ProducerIds { next: ProducerId(1_000) },
        MetadataRecord::Feature { name: "group.version".into(), level: 1 },
    ]
}

#[test]
fn every_record_comes_back_as_it_was() {
    for record in samples() {
        let bytes = record.encode().unwrap();
        assert_eq!(MetadataRecord::decode(&bytes), Ok(record));
    }
}

#[test]
fn the_text_is_stable() {
    let record = MetadataRecord::Topic { name: "t".into(), id: id(1 << 64) };
    assert_eq!(
        std::str::from_utf8(&record.encode().unwrap()).unwrap(),
        r#"{"v":1,"type":"topic","name":"t","id":"AAAAAAAAAAEAAAAAAAAAAA"}"#
    );
}

#[test]
fn what_is_not_a_record_is_refused_with_the_cause() {
    let refused = |text: &str| MetadataRecord::decode(text.as_bytes()).unwrap_err();
    assert_eq!(refused(r#"{"v":2,"type":"new"}"#), RecordError::NewerVersion { found: 2 });
    for text in [
        "",
        "{}",
        "null",
        "[1]",
        r#"{"v":1}"#,
        r#"{"v":1,"type":"nope"}"#,
        r#"{"v":-1,"type":"cluster","id":"x"}"#,
        r#"{"v":1,"type":"topic","name":"t","id":"short"}"#,
        r#"{"v":1,"type":"cluster","id":"x","more":1}"#,
        r#"{"v":1,"type":"cluster","id":"x"} x"#,
    ] {
        assert!(matches!(refused(text), RecordError::Malformed { .. }), "{text}");
    }
    let long = vec![b' '; RECORD_BYTES_MAX + 1];
    assert_eq!(
        MetadataRecord::decode(&long),
        Err(RecordError::TooLong { bytes: RECORD_BYTES_MAX + 1 })
    );
    assert!(MetadataRecord::Cluster { id: "x".repeat(RECORD_BYTES_MAX) }.encode().is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = MetadataRecord::decode(&bytes);
    }

    #[test]
    fn a_record_with_a_changed_byte_never_panics(
        which in 0usize..13, at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let record = &samples()[which];
        let mut bytes = record.encode().unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = MetadataRecord::decode(&bytes);
    }
}
