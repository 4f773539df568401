//! Changes to producer state that wait for their batches to be written (Kafka's
//! `ProducerAppendInfo`).
//!
//! Owns: the rules for epochs, sequences and markers. Never: changes the state itself.

use ottla_protocol::model::{Offset, ProducerEpoch, ProducerId};
use ottla_protocol::records::{BatchHeader, NO_SEQUENCE};

use super::{
    AppendOrigin, CompletedTxn, EndMarker, ProducerEntry, ProducerError, RecentBatch, StagedBatch,
};

/// What the batches of one append change. Dropping it changes nothing.
#[derive(Debug, Default)]
pub struct Staged {
    pub(super) producers: Vec<(ProducerId, ProducerEntry)>,
    pub(super) started: Vec<(Offset, ProducerId)>,
    pub(super) completed: Vec<CompletedTxn>,
}

impl Staged {
    pub(super) fn append(
        &mut self,
        known: &ProducerEntry,
        batch: StagedBatch<'_>,
        origin: AppendOrigin,
    ) -> Result<(), ProducerError> {
        let header = batch.header;
        let id = header.producer_id;
        let index = match self.producers.iter().position(|(staged, _)| *staged == id) {
            Some(index) => index,
            None => {
                self.producers.push((id, known.clone()));
                self.producers.len() - 1
            }
        };
        let entry = &mut self.producers[index].1;
        check_epoch(entry, header, origin)?;
        if header.attributes.is_control() {
            if let Some(marker) = batch.marker
                && let Some(done) =
                    end_transaction(entry, header, batch.first_offset, marker, origin)?
            {
                self.completed.push(done);
            }
            return Ok(());
        }
        if origin == AppendOrigin::Client {
            check_sequence(entry, known.epoch, header)?;
        }
        entry.enter_epoch(header.producer_epoch);
        entry.remember(RecentBatch {
            last_sequence: header.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        entry.last_timestamp = header.max_timestamp;
        match (entry.txn_first, header.attributes.is_transactional()) {
            (Some(_), false) if origin != AppendOrigin::Replication => {
                return Err(ProducerError::NotTransactional { producer_id: id });
            }
            (None, true) => {
                entry.txn_first = Some(batch.first_offset);
                self.started.push((batch.first_offset, id));
            }
            _ => {}
        }
        Ok(())
    }
}

fn check_epoch(
    entry: &ProducerEntry,
    header: &BatchHeader,
    origin: AppendOrigin,
) -> Result<(), ProducerError> {
    if header.producer_epoch < entry.epoch && origin != AppendOrigin::Replication {
        return Err(ProducerError::InvalidEpoch {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            current: entry.epoch,
        });
    }
    Ok(())
}

fn check_sequence(
    entry: &ProducerEntry,
    known_epoch: ProducerEpoch,
    header: &BatchHeader,
) -> Result<(), ProducerError> {
    let first = header.base_sequence;
    let refuse = |expected_after| {
        Err(ProducerError::OutOfOrderSequence {
            producer_id: header.producer_id,
            sequence: first,
            expected_after,
        })
    };
    if header.producer_epoch != entry.epoch {
        // A new epoch begins at 0, unless nothing is known of this producer: its records may have
        // been deleted (KIP-360).
        return if first == 0 || entry.epoch == ProducerEpoch::NONE {
            Ok(())
        } else {
            refuse(NO_SEQUENCE)
        };
    }
    let last = entry.last_sequence();
    let follows = i64::from(first) == i64::from(last) + 1 || (first == 0 && last == i32::MAX);
    if follows || known_epoch == ProducerEpoch::NONE { Ok(()) } else { refuse(last) }
}

fn end_transaction(
    entry: &mut ProducerEntry,
    header: &BatchHeader,
    offset: Offset,
    marker: EndMarker,
    origin: AppendOrigin,
) -> Result<Option<CompletedTxn>, ProducerError> {
    if entry.coordinator_epoch > marker.coordinator_epoch && origin != AppendOrigin::Replication {
        return Err(ProducerError::CoordinatorFenced {
            producer_id: header.producer_id,
            epoch: marker.coordinator_epoch,
            current: entry.coordinator_epoch,
        });
    }
    let completed = entry.txn_first.take().map(|first_offset| CompletedTxn {
        producer_id: header.producer_id,
        first_offset,
        last_offset: offset,
        outcome: marker.outcome,
    });
    entry.enter_epoch(header.producer_epoch);
    entry.coordinator_epoch = marker.coordinator_epoch;
    entry.last_timestamp = marker.timestamp;
    Ok(completed)
}
