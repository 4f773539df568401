//! How many replicas have what a leader appended.
//!
//! Owns: the count, and the wait for it, where `min.insync.replicas` asks for more than the majority that
//! commits. Never: what is committed.

use openraft::async_runtime::WatchReceiver;
use ottla_protocol::model::{NodeId, Offset};

use super::Group;

impl Group {
    /// The voters that have everything below `at` on their disks, as far as this leader knows, itself
    /// included.
    #[must_use]
    pub fn copies(&self, at: Offset) -> usize {
        let followers = self.followers();
        1 + followers.iter().filter(|of| of.voter && of.matched >= at).count()
    }

    /// How many replicas commit: a majority of those that vote.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.membership().voter_ids().count() / 2 + 1
    }

    /// Waits until `copies` replicas have everything below `at`, or until this one leads no more.
    pub async fn replicated(&self, at: Offset, copies: usize) {
        let mut metrics = self.raft().metrics();
        while self.leadership().leader == Some(self.replica()) && self.copies(at) < copies {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// `node` is not heard any more: when its replicas had everything says nothing of now.
    pub(super) fn lost_touch(&self, node: NodeId) {
        self.progress.lock().caught_up.retain(|replica, _| replica.node != node);
    }
}
