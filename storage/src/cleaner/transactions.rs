//! Which transactional batches are aborted and which markers are still needed, batch by batch in
//! the order of the log (Kafka's `CleanedTransactionMetadata`).
//!
//! Owns: the transactions that are open at the batch being looked at. Never: reads a log.
//!
//! Invariant: a marker is given up only when no batch of its transaction was met before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_protocol::model::{Offset, ProducerId};
use ottla_protocol::records::{BatchHeader, ControlType};

use crate::index::AbortedTxn;

/// Whether the cleaner may drop what a batch holds for reasons of its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Needed,
    /// Records of an aborted transaction, or a marker that nothing refers to.
    Discardable,
}

#[derive(Debug)]
pub(super) struct CleanedTransactions {
    /// Of transactions that begin at or behind this offset it is not sure that they stay aborted:
    /// they are taken along as they are.
    decided_below: Offset,
    /// Not reached yet, by first offset.
    ahead: VecDeque<AbortedTxn>,
    /// Reached: the transaction, and whether a batch of it was met.
    aborted: BTreeMap<ProducerId, (AbortedTxn, bool)>,
    committed: BTreeSet<ProducerId>,
    /// Entries for the index of the segment that is being written.
    kept: Vec<AbortedTxn>,
}

impl CleanedTransactions {
    pub(super) fn new(decided_below: Offset) -> Self {
        Self {
            decided_below,
            ahead: VecDeque::new(),
            aborted: BTreeMap::new(),
            committed: BTreeSet::new(),
            kept: Vec::new(),
        }
    }

    /// Adds the aborted transactions of the segments that come next.
    pub(super) fn expect(&mut self, aborted: impl IntoIterator<Item = AbortedTxn>) {
        let mut all: Vec<AbortedTxn> = std::mem::take(&mut self.ahead).into();
        all.extend(aborted);
        all.sort_unstable_by_key(|txn| (txn.first_offset, txn.last_offset));
        // A transaction over several segments is collected with each of them.
        all.dedup();
        self.ahead = all.into();
    }

    fn reach(&mut self, offset: Offset) {
        while let Some(txn) = self.ahead.pop_front_if(|txn| txn.first_offset <= offset) {
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }

    pub(super) fn on_batch(&mut self, header: &BatchHeader) -> Verdict {
        self.reach(header.last_offset());
        if !header.attributes.is_transactional() {
            return Verdict::Needed;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((txn, met)) => {
                *met = true;
                match txn.first_offset < self.decided_below {
                    true => Verdict::Discardable,
                    false => Verdict::Needed,
                }
            }
            None => {
                self.committed.insert(header.producer_id);
                Verdict::Needed
            }
        }
    }

    /// `marker` is the type of the batch's control record, `None` in one that was emptied.
    pub(super) fn on_control(
        &mut self,
        header: &BatchHeader,
        marker: Option<ControlType>,
    ) -> Verdict {
        self.reach(header.last_offset());
        match marker {
            None => Verdict::Discardable,
            Some(ControlType::Abort) => match self.aborted.remove(&header.producer_id) {
                Some((txn, true)) => {
                    self.kept.push(txn);
                    Verdict::Needed
                }
                _ => Verdict::Discardable,
            },
            Some(ControlType::Commit) if self.committed.remove(&header.producer_id) => {
                Verdict::Needed
            }
            Some(ControlType::Commit) => Verdict::Discardable,
            Some(_) => Verdict::Needed,
        }
    }

    /// The aborted transactions whose markers stay in the segment that was just written.
    pub(super) fn take_kept(&mut self) -> Vec<AbortedTxn> {
        std::mem::take(&mut self.kept)
    }
}
