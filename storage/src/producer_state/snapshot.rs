//! The bytes of a `.snapshot` file (Kafka's `ProducerSnapshot`, version 1).
//!
//! Owns: encoding and checked decoding. Never: I/O.
//! Kafka stores one batch per producer. Where we know more, an extension follows Kafka's entries,
//! under the same CRC; Kafka's reader stops before it. Without it a clean restart would forget
//! four of the five batches, and a retry of one of those would be refused instead of recognised.

use std::time::Duration;

use ottla_protocol::model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use thiserror::Error;

use super::{ProducerEntry, ProducerState, RECENT_BATCHES, RecentBatch, is_expired};

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
/// Where the CRC begins to count: the entries.
const ENTRIES_AT: usize = 6;
const ENTRY_BYTES: usize = 46;
const EXTENSION_MAGIC: [u8; 4] = *b"OTL1";

/// Why a snapshot is not used. The state is rebuilt from an older one or the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SnapshotError {
    #[error("the snapshot is cut")]
    Truncated,
    #[error("version {0} of the snapshot is not known")]
    Version(i16),
    #[error("the snapshot is damaged: its CRC does not match")]
    Crc,
    #[error("the snapshot has values that cannot be")]
    Values,
}

/// The file's bytes for `state`.
#[must_use]
pub fn encode(state: &ProducerState) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENTRIES_AT + 4 + state.len() * ENTRY_BYTES);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&u32::try_from(state.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (id, entry) in state.iter() {
        let last = entry.last_batch();
        out.extend_from_slice(&id.get().to_be_bytes());
        out.extend_from_slice(&entry.epoch.get().to_be_bytes());
        out.extend_from_slice(&entry.last_sequence().to_be_bytes());
        let last_offset = last.map_or(Offset::NONE, |batch| batch.last_offset);
        out.extend_from_slice(&last_offset.get().to_be_bytes());
        out.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        out.extend_from_slice(&entry.last_timestamp.get().to_be_bytes());
        out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        out.extend_from_slice(&entry.txn_first.unwrap_or(Offset::NONE).get().to_be_bytes());
    }
    encode_extension(state, &mut out);
    let crc = crc32c::crc32c(&out[ENTRIES_AT..]);
    out[CRC_AT..ENTRIES_AT].copy_from_slice(&crc.to_be_bytes());
    out
}

/// The batches of every producer that Kafka's entry does not say all about.
fn encode_extension(state: &ProducerState, out: &mut Vec<u8>) {
    let start = out.len();
    for (id, entry) in state.iter() {
        let count = entry.batches().count();
        let told = entry.last_batch().is_none_or(|last| last.timestamp == entry.last_timestamp);
        if count <= 1 && told {
            continue;
        }
        if out.len() == start {
            out.extend_from_slice(&EXTENSION_MAGIC);
        }
        out.extend_from_slice(&id.get().to_be_bytes());
        out.push(count as u8);
        for batch in entry.batches() {
            out.extend_from_slice(&batch.last_sequence.to_be_bytes());
            out.extend_from_slice(&batch.last_offset.get().to_be_bytes());
            out.extend_from_slice(&batch.offset_delta.to_be_bytes());
            out.extend_from_slice(&batch.timestamp.get().to_be_bytes());
        }
    }
}

/// Which producers a snapshot brings back.
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// Those that would not have been forgotten by now.
    At(Timestamp, Duration),
    Never,
}

/// Reads the bytes of the snapshot that was taken at `end`.
///
/// # Errors
///
/// The bytes are damaged in any way.
pub fn decode(bytes: &[u8], end: Offset, expiry: Expiry) -> Result<ProducerState, SnapshotError> {
    let mut input = Input(bytes);
    let version = i16::from_be_bytes(input.take()?);
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let crc = u32::from_be_bytes(input.take()?);
    if crc32c::crc32c(&bytes[ENTRIES_AT..]) != crc {
        return Err(SnapshotError::Crc);
    }
    let count = i32::from_be_bytes(input.take()?);
    let mut state = ProducerState::starting_at(end);
    for _ in 0..count {
        let (id, entry) = decode_entry(&mut input)?;
        let expired = match expiry {
            Expiry::At(now, expiration) => is_expired(&entry, now, expiration),
            Expiry::Never => false,
        };
        if !expired {
            state.load(id, entry);
        }
    }
    if input.0.starts_with(&EXTENSION_MAGIC) {
        input.0 = &input.0[EXTENSION_MAGIC.len()..];
        decode_extension(&mut input, &mut state)?;
    }
    Ok(state)
}

fn decode_entry(input: &mut Input<'_>) -> Result<(ProducerId, ProducerEntry), SnapshotError> {
    let id = ProducerId(i64::from_be_bytes(input.take()?));
    let epoch = ProducerEpoch(i16::from_be_bytes(input.take()?));
    let last_sequence = i32::from_be_bytes(input.take()?);
    let last_offset = Offset(i64::from_be_bytes(input.take()?));
    let offset_delta = i32::from_be_bytes(input.take()?);
    let timestamp = Timestamp(i64::from_be_bytes(input.take()?));
    let coordinator_epoch = i32::from_be_bytes(input.take()?);
    let txn_first = Offset(i64::from_be_bytes(input.take()?));
    let mut entry = ProducerEntry {
        epoch,
        coordinator_epoch,
        last_timestamp: timestamp,
        txn_first: (txn_first >= Offset::ZERO).then_some(txn_first),
        batches: [None; RECENT_BATCHES],
    };
    if last_offset >= Offset::ZERO {
        if offset_delta < 0 || i64::from(offset_delta) > last_offset.get() {
            return Err(SnapshotError::Values);
        }
        entry.remember(RecentBatch { last_sequence, last_offset, offset_delta, timestamp });
    }
    Ok((id, entry))
}

fn decode_extension(input: &mut Input<'_>, state: &mut ProducerState) -> Result<(), SnapshotError> {
    while !input.0.is_empty() {
        let id = ProducerId(i64::from_be_bytes(input.take()?));
        let [count] = input.take()?;
        if usize::from(count) > RECENT_BATCHES {
            return Err(SnapshotError::Values);
        }
        let mut batches = [None; RECENT_BATCHES];
        for slot in batches.iter_mut().take(usize::from(count)) {
            *slot = Some(RecentBatch {
                last_sequence: i32::from_be_bytes(input.take()?),
                last_offset: Offset(i64::from_be_bytes(input.take()?)),
                offset_delta: i32::from_be_bytes(input.take()?),
                timestamp: Timestamp(i64::from_be_bytes(input.take()?)),
            });
        }
        // Absent when it expired.
        if let Some(entry) = state.producers.get_mut(&id) {
            entry.batches = batches;
        }
    }
    Ok(())
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SnapshotError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }
}
