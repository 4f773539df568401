//! Group records: the bytes that a real Kafka wrote, old versions, and what cannot be read.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

// Key and value of records that Kafka 4.3.1 wrote (oracle, `__consumer_offsets-7`).
const GROUP_KEY_HEX: &str = "0002000e73616d706c652d636c6173736963";
const NEW_GROUP_HEX: &str = "0003000000000000ffffffff000001a1fbe349bf00000000";
const EMPTY_GROUP_HEX: &str = "00030008636f6e73756d657200000002ffffffff000001a1fbe35b7b00000000";
const STABLE_GROUP_HEX: &str = concat!(
    "00030008636f6e73756d657200000001000572616e6765",
    "003e636f6e73756d65722d73616d706c652d636c61737369632d312d32633863663438652d363133392d346232",
    "652d626465352d373733306137626563383636000001a1fbe34b5400000001",
    "003e636f6e73756d65722d73616d706c652d636c61737369632d312d32633863663438652d363133392d346232",
    "652d626465352d373733306137626563383636ffff",
    "0019636f6e73756d65722d73616d706c652d636c61737369632d31000a2f3132372e302e302e31",
    "000493e00000afc8",
    "00000020000300000001000a636f6465632d6e6f6e65ffffffff00000000ffffffffffff",
    "0000001e000300000001000a636f6465632d6e6f6e650000000100000000ffffffff",
);
const OFFSET_KEY_HEX: &str = "0001000e73616d706c652d636c6173736963000a636f6465632d6e6f6e6500000000";
const OFFSET_HEX: &str = concat!(
    "00040000000000000003000000001262792073616d706c652d636c6173736963000001a1fbe359e5",
    "010010314bffadb9f9426287d9b5b036cd1004",
);
const OFFSET_WITHOUT_TOPIC_ID_HEX: &str =
    "00040000000000000005ffffffff11696e2061207472616e73616374696f6e000001a1fbe3428000";

#[test]
fn kafkas_records_are_read_and_written_back_byte_for_byte() {
    for value_hex in [NEW_GROUP_HEX, EMPTY_GROUP_HEX, STABLE_GROUP_HEX] {
        let value = GroupValue::decode(&hex(value_hex)).unwrap();
        assert_eq!(value.encode(), hex(value_hex));
    }
    for value_hex in [OFFSET_HEX, OFFSET_WITHOUT_TOPIC_ID_HEX] {
        let value = OffsetValue::decode(&hex(value_hex)).unwrap();
        assert_eq!(value.encode(), hex(value_hex));
    }
    assert_eq!(group_key("sample-classic"), hex(GROUP_KEY_HEX));
    assert_eq!(offset_key("sample-classic", "codec-none", 0), hex(OFFSET_KEY_HEX));
}

#[test]
fn kafkas_records_mean_what_its_dump_says() {
    let group = GroupValue::decode(&hex(STABLE_GROUP_HEX)).unwrap();
    assert_eq!(&*group.protocol_type, "consumer");
    assert_eq!((group.generation, group.protocol.as_deref()), (1, Some("range")));
    assert_eq!(group.state_since, Some(Timestamp(1_795_227_339_604)));
    let member = &group.members[0];
    assert_eq!(group.leader.as_ref(), Some(&member.id));
    assert_eq!(
        (&*member.client_id, &*member.client_host),
        ("consumer-sample-classic-1", "/127.0.0.1")
    );
    assert_eq!((member.rebalance_timeout_ms, member.session_timeout_ms), (300_000, 45_000));
    let offset = OffsetValue::decode(&hex(OFFSET_HEX)).unwrap();
    assert_eq!((offset.offset, offset.leader_epoch), (3, 0));
    assert_eq!(&*offset.metadata, "by sample-classic");
    assert_eq!(offset.commit_timestamp, Timestamp(1_795_227_343_333));
    let key = RecordKey::decode(&hex(OFFSET_KEY_HEX)).unwrap();
    let (group, topic) = ("sample-classic".into(), "codec-none".into());
    assert_eq!(key, RecordKey::Offset { group, topic, partition: 0 });
}

#[test]
fn old_versions_are_read() {
    // v0: offset, metadata, timestamp. v1 adds an expiry, v3 an epoch.
    let v0 = hex("0000000000000000002a00016d00000000000003e8");
    let v1 = hex("0001000000000000002a00016d00000000000003e800000000000007d0");
    let v3 = hex("0003000000000000002a0000000500016d00000000000003e8");
    let read = |bytes: &[u8]| OffsetValue::decode(bytes).unwrap();
    assert_eq!((read(&v0).offset, read(&v0).expire_timestamp), (42, None));
    assert_eq!(read(&v1).expire_timestamp, Some(Timestamp(2000)));
    assert_eq!((read(&v3).leader_epoch, &*read(&v3).metadata), (5, "m"));
    assert_eq!(read(&v1).encode(), v1);
    // v0 of a group: no state timestamp, no rebalance timeout, no instance id.
    let v0 = hex(concat!(
        "0000000173000000070001700001610000000100016100016300016800001770",
        "0000000173000000026161"
    ));
    let group = GroupValue::decode(&v0).unwrap();
    assert_eq!((group.generation, group.state_since), (7, None));
    let member = &group.members[0];
    assert_eq!((member.rebalance_timeout_ms, member.session_timeout_ms), (-1, 6000));
    assert_eq!(
        (&*member.id, &member.instance_id, &member.assignment[..]),
        ("a", &None, &b"aa"[..])
    );
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let whole = hex(STABLE_GROUP_HEX);
    for length in 0..whole.len() {
        assert!(GroupValue::decode(&whole[..length]).is_err(), "cut at {length}");
    }
    assert_eq!(
        OffsetValue::decode(&[0, 5]),
        Err(RecordError::Version { kind: "offset", version: 5 })
    );
    assert_eq!(
        GroupValue::decode(&hex("00030000000000007fffffff")),
        Err(RecordError::Truncated { field: "protocol" })
    );
    assert_eq!(RecordKey::decode(&[0, 8, 1]), Ok(RecordKey::Other { key_type: 8 }));
}

fn text() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Arc::from)
}

fn timestamp() -> impl Strategy<Value = Option<Timestamp>> {
    proptest::option::of((0..i64::MAX).prop_map(Timestamp))
}

prop_compose! {
    fn offset_values()(
        offset: i64,
        leader_epoch: i32,
        metadata in text(),
        commit in 0..i64::MAX,
        expire_timestamp in timestamp(),
        id: u128,
    ) -> OffsetValue {
        let plain = expire_timestamp.is_none();
        OffsetValue {
            offset,
            leader_epoch: if plain { leader_epoch } else { -1 },
            metadata,
            commit_timestamp: Timestamp(commit),
            expire_timestamp,
            topic_id: if plain { Uuid::from_u128(id) } else { Uuid::nil() },
        }
    }
}

prop_compose! {
    fn member_values()(
        (id, client_id, client_host) in (text(), text(), text()),
        instance_id in proptest::option::of(text()),
        (rebalance_timeout_ms, session_timeout_ms) in any::<(i32, i32)>(),
        (subscription, assignment) in any::<(Vec<u8>, Vec<u8>)>(),
    ) -> MemberValue {
        MemberValue {
            id, instance_id, client_id, client_host, rebalance_timeout_ms, session_timeout_ms,
            subscription: subscription.into(),
            assignment: assignment.into(),
        }
    }
}

prop_compose! {
    fn group_values()(
        protocol_type in text(),
        generation: i32,
        (protocol, leader) in (proptest::option::of(text()), proptest::option::of(text())),
        state_since in timestamp(),
        members in proptest::collection::vec(member_values(), 0..4),
    ) -> GroupValue {
        GroupValue { protocol_type, generation, protocol, leader, state_since, members }
    }
}

proptest! {
    #[test]
    fn offsets_survive(value in offset_values()) {
        prop_assert_eq!(OffsetValue::decode(&value.encode()), Ok(value));
    }

    #[test]
    fn groups_survive(value in group_values()) {
        prop_assert_eq!(GroupValue::decode(&value.encode()), Ok(value));
    }

    #[test]
    fn any_bytes_are_refused_or_read(version in -1i16..6, rest: Vec<u8>) {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend(rest);
        let _ = RecordKey::decode(&bytes);
        let _ = OffsetValue::decode(&bytes);
        if let Ok(value) = GroupValue::decode(&bytes) {
            prop_assert!(value.members.len() * 8 <= bytes.len());
        }
    }
}
