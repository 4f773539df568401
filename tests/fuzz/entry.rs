//! What must hold of any bytes: the properties that the fuzz targets and the corpus test share.
//!
//! Owns: the properties. Never: needs a fuzzer to run. Invariant: total; any slice is an input.

use bytes::Bytes;
use ottla_protocol::frame;
use ottla_protocol::guard::Admitted;
use ottla_protocol::messages::*;
use ottla_protocol::model::{LeaderEpoch, Offset, Timestamp};
use ottla_protocol::records::validate::{AppendOrigin, KeyRule, TopicCompression, ValidationRules};
use ottla_protocol::records::{
    Batch, BatchHeader, BatchIter, Codec, ControlRecord, HEADER, TimestampType, validate,
};

/// A frame without its size. What the guard lets pass decodes or is refused.
pub(crate) fn guard(data: &[u8]) {
    let Ok(request) = frame::parse_request(&Bytes::copy_from_slice(data)) else { return };
    let (key, version) = (request.head.api_key, request.head.api_version);
    let Ok(admitted) = Admitted::new(key, version, request.body) else { return };
    let cost = admitted.cost();
    assert_eq!(cost.body_bytes + cost.trailing_bytes, admitted.body().len());
    // Those whose bodies are the deepest, or the most frequent.
    match key {
        0 => decode::<ProduceRequest>(&admitted),
        1 => decode::<FetchRequest>(&admitted),
        2 => decode::<ListOffsetsRequest>(&admitted),
        3 => decode::<MetadataRequest>(&admitted),
        8 => decode::<OffsetCommitRequest>(&admitted),
        9 => decode::<OffsetFetchRequest>(&admitted),
        10 => decode::<FindCoordinatorRequest>(&admitted),
        11 => decode::<JoinGroupRequest>(&admitted),
        13 => decode::<LeaveGroupRequest>(&admitted),
        14 => decode::<SyncGroupRequest>(&admitted),
        18 => decode::<ApiVersionsRequest>(&admitted),
        19 => decode::<CreateTopicsRequest>(&admitted),
        20 => decode::<DeleteTopicsRequest>(&admitted),
        24 => decode::<AddPartitionsToTxnRequest>(&admitted),
        32 => decode::<DescribeConfigsRequest>(&admitted),
        35 => decode::<DescribeLogDirsRequest>(&admitted),
        44 => decode::<IncrementalAlterConfigsRequest>(&admitted),
        49 => decode::<AlterClientQuotasRequest>(&admitted),
        57 => decode::<UpdateFeaturesRequest>(&admitted),
        62 => decode::<BrokerRegistrationRequest>(&admitted),
        68 => decode::<ConsumerGroupHeartbeatRequest>(&admitted),
        75 => decode::<DescribeTopicPartitionsRequest>(&admitted),
        _ => {}
    }
}

fn decode<R: Request>(admitted: &Admitted) {
    let Ok(request) = admitted.decode::<R>() else { return };
    // kafka-protocol drops unknown tags above `i32::MAX` but counts them, so that what it encodes
    // need not be sound; it need only not panic.
    let _ = request.encode(&mut bytes::BytesMut::new(), admitted.version());
}

/// The first byte picks the rules, the rest is what a producer sent for a partition.
pub(crate) fn records(data: &[u8]) {
    let Some((&choice, sent)) = data.split_first() else { return };
    read(sent);
    check(choice, &Bytes::copy_from_slice(sent));
    // Again with the checksum and the base offset right, or nothing gets past them.
    if let Ok(batch) = Batch::parse(sent) {
        let mut header = *batch.header();
        header.base_offset = Offset(0);
        header.crc = header.compute_crc(batch.payload());
        let mut sound = header.encode().to_vec();
        sound.extend_from_slice(batch.payload());
        read(&sound);
        check(choice, &Bytes::from(sound));
    }
}

const EXPANDED_MAX: usize = 1 << 20;

/// As the log's readers do, who trust nothing either.
fn read(bytes: &[u8]) {
    let mut batches = BatchIter::new(bytes);
    for batch in batches.by_ref() {
        let Ok(batch) = batch else { break };
        let _ = batch.check_crc();
        let Ok(records) = batch.records(EXPANDED_MAX) else { continue };
        for record in &records {
            let Ok(record) = record else { break };
            let _ = ControlRecord::decode(record.key, record.value);
            for header in record.headers() {
                if header.is_err() {
                    break;
                }
            }
        }
    }
    assert!(batches.position() <= bytes.len());
}

fn check(choice: u8, sent: &Bytes) {
    let rules = ValidationRules {
        origin: if choice & 1 == 0 {
            AppendOrigin::Client { produce_version: 13 }
        } else {
            AppendOrigin::Coordinator
        },
        keys: if choice & 2 == 0 { KeyRule::Optional } else { KeyRule::Required },
        timestamp_type: if choice & 4 == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        },
        compression: match Codec::from_id(choice >> 5) {
            Some(codec) => TopicCompression::Fixed(codec.into()),
            None => TopicCompression::Producer,
        },
        expanded_bytes_max: EXPANDED_MAX,
        timestamp_after_max_ms: i64::MAX,
        ..ValidationRules::default()
    };
    let now = Timestamp(1_700_000_000_000);
    let Ok(valid) = validate(sent, &rules, now) else { return };
    let stored = valid.to_bytes(Offset(0), LeaderEpoch(0));
    let batch = Batch::parse(&stored).expect("what is stored is a batch");
    batch.check_crc().expect("with the right checksum");
    let mut count = 0;
    for record in &batch.records(EXPANDED_MAX).expect("that expands") {
        record.expect("into well-formed records").headers().for_each(|header| {
            header.expect("with well-formed headers");
        });
        count += 1;
    }
    assert_eq!(count, batch.header().records_count, "as many as its header says");
    assert_eq!(BatchHeader::parse(&stored).map(|header| header.size()), Ok(stored.len()));
    // Kafka takes a producer's append time with topics of CreateTime, and keeps it as the greatest
    // timestamp when it drops the flag; stored again, that would be put right.
    let created = BatchHeader::parse(sent)
        .is_ok_and(|header| header.attributes.timestamp_type() == TimestampType::CreateTime);
    if created
        && rules.timestamp_type == TimestampType::CreateTime
        && stored.len() <= rules.batch_bytes_max
    {
        // Storing is idempotent: what was stored once would be stored as it is.
        let again = validate(&stored, &rules, now).expect("what is stored is valid");
        assert_eq!(again.to_bytes(Offset(0), LeaderEpoch(0)), stored);
        assert_eq!(again.head(Offset(0), LeaderEpoch(0)), stored[..HEADER]);
    }
}
