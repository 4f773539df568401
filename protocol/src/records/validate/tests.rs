//! Kafka's answers to good and bad batches, as its oracle and its source have them.

use super::*;
use crate::error_code::ErrorCode;
use crate::model::{ProducerEpoch, ProducerId};
use crate::records::{Attributes, NewRecord};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn builder(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec.into());
    for n in 0..10u8 {
        let (key, value) = ([n], [n; 100]);
        builder
            .push(NewRecord {
                key: Some(&key),
                value: Some(&value),
                headers: &[("h", None)],
                ..NewRecord::at(Timestamp(NOW.0 - i64::from(n)))
            })
            .expect("it fits");
    }
    builder
}

fn batch(codec: Codec) -> Bytes {
    builder(codec).build().expect("it builds")
}

/// Changes the header and makes the CRC right again.
fn with_header(bytes: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(bytes).expect("a header");
    change(&mut header);
    header.crc = header.compute_crc(&bytes[HEADER..]);
    let mut out = header.encode().to_vec();
    out.extend_from_slice(&bytes[HEADER..]);
    Bytes::from(out)
}

fn code(bytes: &Bytes, rules: &ValidationRules) -> ErrorCode {
    match validate(bytes, rules, NOW) {
        Ok(_) => ErrorCode::None,
        Err(error) => error.code(),
    }
}

fn check(bytes: &Bytes, expected: ErrorCode) {
    assert_eq!(code(bytes, &ValidationRules::default()), expected);
}

#[test]
fn sound_batches_are_stored_as_sent_without_a_copy() {
    for codec in Codec::ALL {
        let bytes = batch(codec);
        let valid = validate(&bytes, &ValidationRules::default(), NOW).expect("valid");
        assert_eq!(valid.stored, Stored::AsSent, "{codec}");
        assert_eq!(valid.payload.as_ptr(), bytes[HEADER..].as_ptr(), "{codec}");
        assert_eq!(valid.records_count(), 10);
        assert_eq!(valid.max_timestamp(), NOW);
        let stored = valid.to_bytes(Offset(500), LeaderEpoch(7));
        let stored = Batch::parse(&stored).expect("a batch");
        stored.check_crc().expect("the CRC still holds");
        assert_eq!(stored.header().last_offset(), Offset(509));
    }
}

#[test]
fn frames_are_judged_as_kafka_does() {
    let good = batch(Codec::None);
    let patched = |at: usize, bytes: &[u8]| {
        let mut out = good.to_vec();
        out[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(out)
    };
    check(&Bytes::new(), ErrorCode::InvalidRecord);
    check(&good.slice(..good.len() - 1), ErrorCode::InvalidRecord);
    check(&patched(8, &13i32.to_be_bytes()), ErrorCode::CorruptMessage);
    check(&patched(8, &(-1i32).to_be_bytes()), ErrorCode::CorruptMessage);
    check(&patched(8, &40i32.to_be_bytes()), ErrorCode::CorruptMessage);
    check(&patched(16, &[1]), ErrorCode::InvalidRecord);
    check(&patched(16, &[0]), ErrorCode::InvalidRecord);
    check(&patched(16, &[3]), ErrorCode::CorruptMessage);
    check(&patched(16, &[0xff]), ErrorCode::CorruptMessage);
    check(&patched(17, &[0, 1, 2, 3]), ErrorCode::CorruptMessage);
    check(&patched(12, &[9, 9, 9, 9]), ErrorCode::None);
}

#[test]
fn what_follows_the_batch_counts_when_it_is_a_batch() {
    let good = batch(Codec::None);
    for (tail, expected) in [
        (vec![0xff; 11], ErrorCode::None),
        (vec![0xff; 12], ErrorCode::CorruptMessage),
        (good[..good.len() - 1].to_vec(), ErrorCode::None),
        (good.to_vec(), ErrorCode::InvalidRecord),
    ] {
        let mut bytes = good.to_vec();
        bytes.extend_from_slice(&tail);
        check(&Bytes::from(bytes), expected);
    }
}

#[test]
fn headers_are_judged_as_kafka_does() {
    let good = batch(Codec::None);
    let changed = |change: fn(&mut BatchHeader)| with_header(&good, change);
    check(&changed(|header| header.base_offset = Offset(1)), ErrorCode::InvalidRecord);
    check(&changed(|header| header.records_count = 9), ErrorCode::InvalidRecord);
    check(&changed(|header| header.records_count = 0), ErrorCode::InvalidRecord);
    check(&changed(|header| header.last_offset_delta = 10), ErrorCode::InvalidRecord);
    check(&changed(|header| header.last_offset_delta = -1), ErrorCode::InvalidRecord);
    check(&changed(|header| header.last_offset_delta = i32::MAX), ErrorCode::InvalidRecord);
    check(&changed(|header| header.attributes.0 |= 0x20), ErrorCode::InvalidRecord);
    check(&changed(|header| header.attributes.0 |= 5), ErrorCode::UnknownServerError);
    check(&changed(|header| header.attributes.0 |= 1), ErrorCode::UnknownServerError);
    check(&changed(|header| header.producer_id = ProducerId(4)), ErrorCode::InvalidRecord);
    check(&changed(|header| header.producer_id = ProducerId(-2)), ErrorCode::None);
    check(&changed(|header| header.base_sequence = 3), ErrorCode::None);
    check(&changed(|header| header.attributes.0 |= 0x7f00), ErrorCode::None);
    check(
        &changed(|header| {
            (header.producer_id, header.producer_epoch) = (ProducerId(4), ProducerEpoch(0));
            header.base_sequence = 5;
        }),
        ErrorCode::None,
    );
    let both = |header: &mut BatchHeader| {
        (header.records_count, header.last_offset_delta) = (11, 10);
    };
    check(&with_header(&good, both), ErrorCode::InvalidRecord);
    check(&with_header(&batch(Codec::Lz4), both), ErrorCode::InvalidRecord);
}

#[test]
fn a_wrong_greatest_timestamp_is_put_right() {
    for codec in [Codec::None, Codec::Zstd] {
        let bytes = with_header(&batch(codec), |header| {
            header.max_timestamp = Timestamp(3);
            header.attributes.0 |= 0x7f00;
        });
        let valid = validate(&bytes, &ValidationRules::default(), NOW).expect("valid");
        assert_eq!((valid.stored, valid.max_timestamp()), (Stored::HeaderChanged, NOW));
        assert_eq!(valid.header.attributes, Attributes::default().with_codec(codec));
        assert_eq!(valid.header.crc, valid.header.compute_crc(&valid.payload));
    }
}

#[test]
fn sizes_are_bounded() {
    let bytes = batch(Codec::None);
    let exact = ValidationRules { batch_bytes_max: bytes.len(), ..ValidationRules::default() };
    assert_eq!(code(&bytes, &exact), ErrorCode::None);
    let less = ValidationRules { batch_bytes_max: bytes.len() - 1, ..exact };
    assert_eq!(code(&bytes, &less), ErrorCode::MessageTooLarge);
    let bomb = ValidationRules { expanded_bytes_max: 1_000, ..ValidationRules::default() };
    assert_eq!(code(&batch(Codec::Gzip), &bomb), ErrorCode::MessageTooLarge);
}

#[test]
fn zstd_needs_produce_7() {
    for (produce_version, expected) in
        [(3, ErrorCode::UnsupportedCompressionType), (7, ErrorCode::None)]
    {
        let rules = ValidationRules {
            origin: AppendOrigin::Client { produce_version },
            ..ValidationRules::default()
        };
        assert_eq!(code(&batch(Codec::Zstd), &rules), expected);
    }
}

#[test]
fn compacted_topics_need_keys() {
    let rules = ValidationRules { keys: KeyRule::Required, ..ValidationRules::default() };
    for codec in Codec::ALL {
        assert_eq!(code(&batch(codec), &rules), ErrorCode::None);
        let mut builder = builder(codec);
        builder.push(NewRecord::at(NOW)).expect("it fits");
        let bytes = builder.build().expect("it builds");
        let error = validate(&bytes, &rules, NOW).expect_err("a record has no key");
        assert_eq!(error.code(), ErrorCode::InvalidRecord);
        assert_eq!(error.issues(), [RecordIssue { index: 10, kind: RecordIssueKind::NoKey }]);
    }
}

#[test]
fn timestamps_are_bounded() {
    let rules = ValidationRules {
        timestamp_before_max_ms: 5,
        timestamp_after_max_ms: 5,
        ..ValidationRules::default()
    };
    for codec in [Codec::None, Codec::Snappy] {
        let error = validate(&batch(codec), &rules, NOW).expect_err("some are too old");
        assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
        let refused: Vec<i32> = error.issues().iter().map(|issue| issue.index).collect();
        assert_eq!(refused, [6, 7, 8, 9]);
        let error = validate(&batch(codec), &rules, Timestamp(NOW.0 - 7)).expect_err("the future");
        assert_eq!(error.issues().len(), 2);
        let mut none = BatchBuilder::new(codec.into());
        none.push(NewRecord::at(Timestamp::NONE)).expect("it fits");
        assert_eq!(code(&none.build().expect("it builds"), &rules), ErrorCode::None);
    }
}

#[test]
fn append_time_is_the_brokers() {
    let rules = ValidationRules {
        timestamp_type: TimestampType::LogAppendTime,
        timestamp_before_max_ms: 0,
        ..ValidationRules::default()
    };
    for codec in Codec::ALL {
        let later = Timestamp(NOW.0 + 9);
        let valid = validate(&batch(codec), &rules, later).expect("bounds do not count");
        assert_eq!((valid.stored, valid.max_timestamp()), (Stored::HeaderChanged, later));
        assert_eq!(valid.header.crc, valid.header.compute_crc(&valid.payload));
        let flagged = with_header(&batch(codec), |header| header.attributes.0 |= 8);
        assert_eq!(code(&flagged, &rules), ErrorCode::InvalidTimestamp);
        // With CreateTime, Kafka takes the flag and drops it.
        let valid = validate(&flagged, &ValidationRules::default(), NOW).expect("valid");
        assert_eq!(valid.header.attributes.timestamp_type(), TimestampType::CreateTime);
    }
}

#[test]
fn the_topics_codec_wins() {
    for source in Codec::ALL {
        for target in Codec::ALL {
            let rules = ValidationRules {
                compression: TopicCompression::Fixed(target.into()),
                ..ValidationRules::default()
            };
            let bytes = builder(source)
                .with_producer(ProducerId(8), ProducerEpoch(1), 4)
                .with_transactional()
                .build()
                .expect("it builds");
            let valid = validate(&bytes, &rules, NOW).expect("valid");
            let expected = if source == target { Stored::AsSent } else { Stored::Rebuilt };
            assert_eq!(valid.stored, expected, "{source} to {target}");
            let stored = valid.to_bytes(Offset(3), LeaderEpoch(0));
            let stored = Batch::parse(&stored).expect("a batch");
            stored.check_crc().expect("its CRC");
            let header = stored.header();
            assert_eq!(header.attributes.codec(), Some(target));
            assert!(header.attributes.is_transactional());
            assert_eq!((header.producer_id, header.last_sequence()), (ProducerId(8), 13));
            let records = stored.records(1 << 20).expect("expandable");
            for (n, record) in records.iter().enumerate() {
                let record = record.expect("well formed");
                assert_eq!(record.offset, Offset(3 + n as i64));
                assert_eq!(record.timestamp, Timestamp(NOW.0 - n as i64));
                assert_eq!(record.value, Some(&[n as u8; 100][..]));
                assert_eq!(record.headers().count(), 1);
            }
        }
    }
}

#[test]
fn offsets_out_of_order_are_stored_plain_and_refused_compressed() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec.into());
        for delta in [1, 0, 2] {
            builder.push_at(delta, NewRecord::at(NOW)).expect("it fits");
        }
        let bytes = builder.build().expect("it builds");
        let expected =
            if codec == Codec::None { ErrorCode::None } else { ErrorCode::InvalidRecord };
        check(&bytes, expected);
        let anew = ValidationRules {
            compression: TopicCompression::Fixed(
                if codec == Codec::Lz4 { Codec::Gzip } else { Codec::Lz4 }.into(),
            ),
            ..ValidationRules::default()
        };
        let valid = validate(&bytes, &anew, NOW).expect("valid");
        assert_eq!(valid.stored, Stored::Rebuilt);
        let stored = valid.to_bytes(Offset(0), LeaderEpoch(0));
        check(&stored, ErrorCode::None);
    }
}

#[test]
fn coordinators_may_write_control_batches() {
    let marker = crate::records::EndTxnMarker {
        kind: crate::records::ControlType::Commit,
        coordinator_epoch: 1,
    };
    let bytes = marker.batch(ProducerId(1), ProducerEpoch(0), NOW).expect("it builds");
    check(&bytes, ErrorCode::InvalidRecord);
    let rules = ValidationRules {
        origin: AppendOrigin::Coordinator,
        compression: TopicCompression::Fixed(Codec::Gzip.into()),
        ..ValidationRules::default()
    };
    let valid = validate(&bytes, &rules, NOW).expect("valid");
    assert_eq!(valid.stored, Stored::AsSent, "markers are never compressed");
}

#[test]
fn malformed_records_are_refused() {
    // Every byte of the records of a small batch, set to every value, with the CRC right.
    let mut builder = BatchBuilder::new(Codec::None.into());
    builder
        .push(NewRecord {
            key: Some(b"k"),
            value: Some(b"v"),
            headers: &[("h", Some(b"x"))],
            ..NewRecord::at(NOW)
        })
        .expect("it fits");
    let good = builder.build().expect("it builds");
    let (mut refused, mut accepted) = (0, 0);
    for at in HEADER..good.len() {
        for value in 0..=255 {
            let mut bytes = good.to_vec();
            bytes[at] = value;
            let bytes = with_header(&Bytes::from(bytes), |_| {});
            let packed = with_header(
                &{
                    let mut out = good[..HEADER].to_vec();
                    let payload = &bytes[HEADER..];
                    out.extend(
                        crate::records::compress::compress(Codec::Gzip.into(), payload)
                            .expect("packed"),
                    );
                    Bytes::from(out)
                },
                |header| header.attributes = header.attributes.with_codec(Codec::Gzip),
            );
            let packed = with_header(&packed, |header| {
                header.batch_length = (packed.len() - LOG_OVERHEAD) as i32;
            });
            let plain = validate(&bytes, &ValidationRules::default(), NOW);
            let compressed = validate(&packed, &ValidationRules::default(), NOW);
            if matches!(compressed, Err(ValidationError::OffsetDeltas)) {
                assert!(plain.is_ok(), "byte {at} set to {value}: {plain:?}");
                continue;
            }
            assert_eq!(
                plain.as_ref().err().map(ValidationError::code),
                compressed.as_ref().err().map(ValidationError::code),
                "byte {at} set to {value}: {plain:?}, {compressed:?}"
            );
            if plain.is_ok() { accepted += 1 } else { refused += 1 }
        }
    }
    assert!(refused > 1_000 && accepted > 1_000, "{refused} refused, {accepted} accepted");
}
