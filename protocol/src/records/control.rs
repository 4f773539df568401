//! Control records: what brokers, not producers, write into a log.
//!
//! Owns: their key (KIP-98) and the end-of-transaction marker. Never: decides when to write one.
//! Invariant: versions above ours are read by their known leading fields, as Kafka does.

use bytes::Bytes;

use super::builder::{BatchBuilder, BuildError, NewRecord};
use super::codec::Compression;
use crate::model::{ProducerEpoch, ProducerId, Timestamp};

/// The type in a control record's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i16)]
pub enum ControlType {
    Abort = 0,
    Commit = 1,
    LeaderChange = 2,
    SnapshotHeader = 3,
    SnapshotFooter = 4,
    KRaftVersion = 5,
    KRaftVoters = 6,
}

impl ControlType {
    #[must_use]
    pub const fn from_id(id: i16) -> Option<Self> {
        Some(match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            _ => return None,
        })
    }
}

/// How a transaction ended on one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTxnMarker {
    /// `Abort` or `Commit`.
    pub kind: ControlType,
    /// Of the transaction coordinator that decided it.
    pub coordinator_epoch: i32,
}

/// What a control record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlRecord<'a> {
    EndTxn(EndTxnMarker),
    /// A type that stands in metadata logs; the value is not read.
    Other(ControlType, Option<&'a [u8]>),
    /// A type from a newer broker, to be skipped.
    Unknown(i16),
}

/// Why bytes are not a control record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedControl {
    #[error("the control record has no readable key")]
    Key,
    #[error("the end-of-transaction marker has no readable value")]
    Value,
}

impl<'a> ControlRecord<'a> {
    /// Reads key and value of a record of a control batch.
    ///
    /// # Errors
    /// Where they are shorter than their version says, or of a negative version.
    pub fn decode(key: Option<&[u8]>, value: Option<&'a [u8]>) -> Result<Self, MalformedControl> {
        let (version, kind) = key
            .and_then(|key| key.first_chunk::<4>())
            .map(|&[a, b, c, d]| (i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d])))
            .ok_or(MalformedControl::Key)?;
        if version < 0 {
            return Err(MalformedControl::Key);
        }
        let Some(kind) = ControlType::from_id(kind) else { return Ok(Self::Unknown(kind)) };
        if !matches!(kind, ControlType::Abort | ControlType::Commit) {
            return Ok(Self::Other(kind, value));
        }
        let (version, coordinator_epoch) = value
            .and_then(|value| value.first_chunk::<6>())
            .map(|&[a, b, c, d, e, f]| {
                (i16::from_be_bytes([a, b]), i32::from_be_bytes([c, d, e, f]))
            })
            .ok_or(MalformedControl::Value)?;
        if version < 0 {
            return Err(MalformedControl::Value);
        }
        Ok(Self::EndTxn(EndTxnMarker { kind, coordinator_epoch }))
    }
}

impl EndTxnMarker {
    /// The control batch with this marker, at offset 0, for the log to place.
    ///
    /// # Errors
    /// None in practice: the batch has a fixed size.
    pub fn batch(
        &self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp: Timestamp,
    ) -> Result<Bytes, BuildError> {
        let mut key = [0; 4];
        key[2..4].copy_from_slice(&(self.kind as i16).to_be_bytes());
        let mut value = [0; 6];
        value[2..6].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut builder = BatchBuilder::new(Compression::NONE)
            .with_producer(producer_id, producer_epoch, super::NO_SEQUENCE)
            .with_transactional()
            .with_control();
        builder.push(NewRecord {
            key: Some(&key),
            value: Some(&value),
            ..NewRecord::at(timestamp)
        })?;
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Batch;

    #[test]
    fn a_marker_round_trips() {
        for kind in [ControlType::Abort, ControlType::Commit] {
            let marker = EndTxnMarker { kind, coordinator_epoch: 77 };
            let bytes =
                marker.batch(ProducerId(5), ProducerEpoch(3), Timestamp(1_000)).expect("a batch");
            let batch = Batch::parse(&bytes).expect("a batch");
            assert_eq!(bytes.len(), 78, "as long as Kafka's");
            assert!(batch.header().attributes.is_control());
            assert!(batch.header().attributes.is_transactional());
            assert_eq!(batch.header().base_sequence, -1);
            let records = batch.records(100).expect("plain");
            let record = records.iter().next().expect("one").expect("well formed");
            assert_eq!(
                ControlRecord::decode(record.key, record.value),
                Ok(ControlRecord::EndTxn(marker))
            );
        }
    }

    #[test]
    fn oddities_are_told_apart() {
        assert_eq!(ControlRecord::decode(None, None), Err(MalformedControl::Key));
        assert_eq!(ControlRecord::decode(Some(&[0; 3]), None), Err(MalformedControl::Key));
        assert_eq!(ControlRecord::decode(Some(&[0; 4]), None), Err(MalformedControl::Value));
        assert_eq!(ControlRecord::decode(Some(&[0, 0, 0, 9]), None), Ok(ControlRecord::Unknown(9)));
        assert_eq!(
            ControlRecord::decode(Some(&[0, 0, 0, 2]), None),
            Ok(ControlRecord::Other(ControlType::LeaderChange, None))
        );
    }
}
