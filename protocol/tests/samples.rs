//! Record batches that an Apache Kafka 4.3.1 wrote, read and written again.
//!
//! Owns: what its dump tool says of them, for comparison. Never: needs a Kafka to run.
//! The files stand in `data/`: a partition per codec with the same ten records, one with
//! LogAppendTime, one with transactions.

use bytes::Bytes;
use ottla_protocol::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_protocol::records::validate::{Stored, ValidationRules};
use ottla_protocol::records::{
    Batch, BatchBuilder, BatchIter, Codec, ControlRecord, ControlType, EndTxnMarker, HEADER,
    TimestampType, validate,
};

const CODECS: [(Codec, &[u8]); 5] = [
    (Codec::None, include_bytes!("data/codec-none.log")),
    (Codec::Gzip, include_bytes!("data/codec-gzip.log")),
    (Codec::Snappy, include_bytes!("data/codec-snappy.log")),
    (Codec::Lz4, include_bytes!("data/codec-lz4.log")),
    (Codec::Zstd, include_bytes!("data/codec-zstd.log")),
];
const TRANSACTIONS: &[u8] = include_bytes!("data/transactions.log");
const APPEND_TIME: &[u8] = include_bytes!("data/append-time.log");

fn batches(log: &[u8]) -> Vec<Batch<'_>> {
    let mut iter = BatchIter::new(log);
    let batches: Vec<_> = iter.by_ref().map(|batch| batch.expect("Kafka wrote it")).collect();
    assert!(iter.rest().is_empty());
    batches
}

type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn rows(log: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches(log) {
        batch.check_crc().expect("its CRC");
        for record in &batch.records(1 << 20).expect("expandable") {
            let record = record.expect("well formed");
            let headers = record.headers().map(|header| {
                let (key, value) = header.expect("well formed");
                (key.to_vec(), value.map(<[u8]>::to_vec))
            });
            rows.push((
                record.offset.0,
                record.timestamp.0,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                headers.collect(),
            ));
        }
    }
    rows
}

#[test]
fn every_codec_holds_the_same_records() {
    let expected = rows(CODECS[0].1);
    assert_eq!(expected.len(), 10);
    let (_, timestamp, key, value, headers) = expected[5].clone();
    assert_eq!(timestamp, 1_700_000_005_000);
    assert_eq!(key.as_deref(), Some(&b"key-5"[..]));
    assert_eq!(value.as_deref(), Some(&b"value-5-abcabcabcabcabcabcabcabcabcabc"[..]));
    assert_eq!(headers.last(), Some(&(b"null".to_vec(), None)));
    assert!(expected[0].2.is_none() && expected[4].3.is_none());
    for (codec, log) in CODECS {
        assert_eq!(rows(log), expected, "{codec}");
        for batch in batches(log) {
            assert_eq!(batch.header().attributes.codec(), Some(codec));
        }
    }
}

#[test]
fn a_batch_built_of_kafkas_records_is_kafkas_batch() {
    for batch in batches(CODECS[0].1) {
        let header = batch.header();
        let mut builder = BatchBuilder::new(Codec::None.into())
            .with_base_offset(header.base_offset)
            .with_leader_epoch(header.leader_epoch);
        for record in &batch.records(0).expect("plain") {
            let record = record.expect("well formed");
            builder.push_record(record.offset_delta, &record).expect("it fits");
        }
        assert_eq!(&builder.build().expect("it builds")[..], batch.bytes());
    }
}

#[test]
fn what_kafka_stored_is_valid_as_sent() {
    let now = Timestamp(1_700_000_009_000);
    for (codec, log) in CODECS {
        for batch in batches(log) {
            let mut sent = batch.header().assign(Offset(0), LeaderEpoch(-1)).to_vec();
            sent.extend_from_slice(&batch.bytes()[HEADER..]);
            let valid = validate(&Bytes::from(sent), &ValidationRules::default(), now);
            let valid = valid.unwrap_or_else(|error| panic!("{codec}: {error}"));
            assert_eq!(valid.stored, Stored::AsSent, "{codec}");
            let stored = valid.to_bytes(batch.header().base_offset, batch.header().leader_epoch);
            assert_eq!(&stored[..], batch.bytes(), "{codec}");
        }
    }
}

#[test]
fn append_time_gives_every_record_the_batchs() {
    let rows = rows(APPEND_TIME);
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.1 == 1_795_227_326_126));
    let header = *batches(APPEND_TIME)[0].header();
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
}

#[test]
fn transaction_markers_are_read_and_written_as_kafkas() {
    let batches = batches(TRANSACTIONS);
    let markers: Vec<_> = batches
        .iter()
        .filter(|batch| batch.header().attributes.is_control())
        .map(|batch| {
            let records = batch.records(0).expect("plain");
            let record = records.iter().next().expect("one").expect("well formed");
            let control =
                ControlRecord::decode(record.key, record.value).expect("a control record");
            let ControlRecord::EndTxn(marker) = control else { panic!("{control:?}") };
            (*batch, marker)
        })
        .collect();
    assert_eq!(markers.len(), 6);
    let expected = EndTxnMarker { kind: ControlType::Commit, coordinator_epoch: 0 };
    assert_eq!((markers[0].1, markers[0].0.header().base_offset), (expected, Offset(4)));
    assert_eq!(markers[1].1.kind, ControlType::Abort);
    let aborts = markers.iter().filter(|(_, marker)| marker.kind == ControlType::Abort).count();
    assert_eq!(aborts, 3);
    for (batch, marker) in markers {
        let header = batch.header();
        assert_eq!(header.producer_id, ProducerId(5));
        let ours = marker
            .batch(ProducerId(5), header.producer_epoch, header.max_timestamp)
            .expect("it builds");
        let ours = Batch::parse(&ours).expect("a batch");
        let placed = ours.header().assign(header.base_offset, header.leader_epoch);
        assert_eq!(placed[..], batch.bytes()[..HEADER]);
        assert_eq!(ours.payload(), batch.payload());
    }
    assert_eq!(batches[2].header().producer_epoch, ProducerEpoch(1));
}
