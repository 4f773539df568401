//! Record batches of magic v2, right or wrong on purpose.
//!
//! Owns the batch layout from the client's side and the summary of fetched batches. Never validates
//! what it encodes.
//! Invariant: with no field overridden the batch is one that Kafka accepts.

use std::io::Write;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::codec::hex;

/// Kafka's compression ids, as in the lowest three bits of the attributes.
pub const CODECS: [(&str, i16); 5] =
    [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)];

/// The base timestamp of all batches that do not say otherwise, in milliseconds: an hour ago, to
/// the minute and the same for both sides. Anything older would meet the retention while the test
/// runs.
pub fn time() -> i64 {
    static TIME: OnceLock<i64> = OnceLock::new();
    *TIME.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        (i64::try_from(now / 60).unwrap_or(0) - 60) * 60_000
    })
}

/// What is later than this was stamped by a broker.
pub fn stamped_by_broker(timestamp: i64) -> bool {
    timestamp > time() + 30 * 60_000
}

#[derive(Debug, Clone)]
pub struct Record {
    pub offset_delta: i64,
    pub timestamp_delta: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone)]
pub struct Batch {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub magic: i8,
    pub attributes: i16,
    pub base_timestamp: i64,
    pub producer: (i64, i16, i32),
    pub records: Vec<Record>,
    pub max_timestamp: Option<i64>,
    pub last_offset_delta: Option<i32>,
    pub count: Option<i32>,
    pub length_error: i32,
    pub crc_error: u32,
    /// Replaces the (compressed) records.
    pub payload: Option<Vec<u8>>,
}

impl Batch {
    /// `count` records with keys and values that compress.
    #[must_use]
    pub fn of(count: usize) -> Batch {
        let record = |i: usize| Record {
            offset_delta: i as i64,
            timestamp_delta: i as i64,
            key: Some(format!("key-{i}").into_bytes()),
            value: Some(format!("value value value {i}").into_bytes()),
            headers: vec![("h".to_owned(), Some(b"x".to_vec())), ("null".to_owned(), None)],
        };
        Batch {
            base_offset: 0,
            leader_epoch: -1,
            magic: 2,
            attributes: 0,
            base_timestamp: time(),
            producer: (-1, -1, -1),
            records: (0..count).map(record).collect(),
            max_timestamp: None,
            last_offset_delta: None,
            count: None,
            length_error: 0,
            crc_error: 0,
            payload: None,
        }
    }

    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Batch)) -> Batch {
        change(&mut self);
        self
    }

    /// # Panics
    /// When a compressor fails, which it does not in memory.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let records: Vec<u8> = self.records.iter().flat_map(encode_record).collect();
        let payload = match &self.payload {
            Some(bytes) => bytes.clone(),
            None => compress(self.attributes & 7, &records).expect("compressed in memory"),
        };
        let count = i32::try_from(self.records.len()).unwrap_or(i32::MAX);
        let newest = self.records.iter().map(|r| r.timestamp_delta).max().unwrap_or(0);
        let mut body = Vec::new();
        body.extend(self.attributes.to_be_bytes());
        body.extend(self.last_offset_delta.unwrap_or(count - 1).to_be_bytes());
        body.extend(self.base_timestamp.to_be_bytes());
        body.extend(self.max_timestamp.unwrap_or(self.base_timestamp + newest).to_be_bytes());
        body.extend(self.producer.0.to_be_bytes());
        body.extend(self.producer.1.to_be_bytes());
        body.extend(self.producer.2.to_be_bytes());
        body.extend(self.count.unwrap_or(count).to_be_bytes());
        body.extend(payload);
        let length = i32::try_from(body.len() + 9).unwrap_or(i32::MAX) + self.length_error;
        let mut out = Vec::new();
        out.extend(self.base_offset.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(self.leader_epoch.to_be_bytes());
        out.extend(self.magic.to_be_bytes());
        out.extend((crc32c::crc32c(&body) ^ self.crc_error).to_be_bytes());
        out.extend(body);
        out
    }

    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.encode())
    }
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    crate::codec::put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |b| b.len() as i64));
    out.extend(bytes.unwrap_or_default());
}

fn encode_record(record: &Record) -> Vec<u8> {
    let mut body = vec![0];
    put_varint(&mut body, record.timestamp_delta);
    put_varint(&mut body, record.offset_delta);
    put_bytes(&mut body, record.key.as_deref());
    put_bytes(&mut body, record.value.as_deref());
    put_varint(&mut body, record.headers.len() as i64);
    for (name, value) in &record.headers {
        put_bytes(&mut body, Some(name.as_bytes()));
        put_bytes(&mut body, value.as_deref());
    }
    let mut out = Vec::new();
    put_varint(&mut out, body.len() as i64);
    out.extend(body);
    out
}

fn compress(codec: i16, bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(match codec {
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes)?;
            gzip.finish()?
        }
        2 => {
            // The framing of xerial's snappy-java: a magic, two versions, then blocks with their
            // lengths.
            let block = snap::raw::Encoder::new().compress_vec(bytes)?;
            let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            out.extend(u32::try_from(block.len())?.to_be_bytes());
            out.extend(block);
            out
        }
        3 => {
            let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
            lz4.write_all(bytes)?;
            lz4.finish()?
        }
        4 => zstd::bulk::compress(bytes, 1)?,
        _ => bytes.to_vec(),
    })
}

/// What a Fetch answer's records say, batch by batch; the producer's id is replaced where it was
/// given by the broker.
///
/// # Errors
/// When the bytes are not whole batches, but for a last one that was cut by the size limit.
pub fn summary(mut bytes: &[u8]) -> Result<Value> {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        if bytes.len() < 61 {
            batches.push(json!("cut"));
            break;
        }
        let at = |from: usize, size: usize| {
            bytes[from..from + size].iter().fold(0_i64, |n, b| (n << 8) | i64::from(*b))
        };
        let signed = |from: usize, size: usize| {
            let shift = 64 - 8 * size as u32;
            (at(from, size) << shift) >> shift
        };
        let length = usize::try_from(signed(8, 4)).context("batch length")? + 12;
        ensure!(length >= 61, "batch length {length}");
        let attributes = signed(21, 2);
        let append_time = attributes & 8 != 0;
        let stamp =
            |t: i64| if append_time && stamped_by_broker(t) { json!("<time>") } else { json!(t) };
        let cut = length > bytes.len();
        let body = &bytes[61..length.min(bytes.len())];
        batches.push(json!({
            "baseOffset": signed(0, 8), "leaderEpoch": signed(12, 4), "magic": signed(16, 1),
            "attributes": attributes, "lastOffsetDelta": signed(23, 4),
            "baseTimestamp": stamp(signed(27, 8)), "maxTimestamp": stamp(signed(35, 8)),
            "producer": if signed(43, 8) >= 0 { json!("<pid>") } else { json!(signed(43, 8)) },
            "producerEpoch": signed(51, 2), "sequence": signed(53, 4), "count": signed(57, 4),
            "length": length, "cut": cut,
            "crcIsRight": cut || i64::from(crc32c::crc32c(&bytes[21..length])) == at(17, 4),
            "payload": if attributes & 7 == 0 { json!(crc32c::crc32c(body)) } else { json!("<compressed>") },
        }));
        bytes = &bytes[length.min(bytes.len())..];
    }
    Ok(Value::Array(batches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_tells_what_it_was_made_of() {
        for (_, codec) in CODECS {
            let bytes = Batch::of(3).with(|b| b.attributes = codec).encode();
            let summary = summary(&bytes).expect("one batch");
            assert_eq!(summary[0]["count"], 3);
            assert_eq!(summary[0]["crcIsRight"], true);
            assert_eq!(summary[0]["maxTimestamp"], time() + 2);
        }
    }

    #[test]
    fn a_wrong_checksum_shows() {
        let bytes = Batch::of(1).with(|b| b.crc_error = 1).encode();
        assert_eq!(summary(&bytes).expect("one batch")[0]["crcIsRight"], false);
    }
}
