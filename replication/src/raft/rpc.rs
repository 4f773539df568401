//! A group as the links between brokers see it.
//!
//! Owns: handing requests to the instance in the order of their first polls, the in-sync replicas.
//! Never: elections or retries (the driver's).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use ottla_protocol::model::{NodeId, Now, Offset};

use super::installing::Sink;
use super::{Batch, Group, Payload, ReplicaId, TypeConfig, check_batch};
use crate::peer::{
    GroupAnswer, GroupFault, GroupLeadership, GroupRpc, IncomingSnapshot, SnapshotSink,
};

fn fault(error: impl std::fmt::Display) -> GroupFault {
    GroupFault(error.to_string())
}

impl Group {
    /// Says in which order replicas should lead: the nodes of them, the preferred one first.
    pub fn set_preference(&self, nodes: Vec<NodeId>) {
        *self.preference.lock() = nodes;
    }

    /// The clocks that the group goes by.
    #[must_use]
    pub fn now(&self) -> Now {
        self.log.now()
    }
}

impl GroupRpc for Group {
    fn replica(&self) -> ReplicaId {
        Self::replica(self)
    }

    fn leadership(&self) -> GroupLeadership {
        let of = Self::leadership(self);
        GroupLeadership { epoch: of.epoch, leader: of.leader, here: of.here }
    }

    fn preference(&self) -> Vec<NodeId> {
        self.preference.lock().clone()
    }

    fn isr(&self) -> Vec<NodeId> {
        let now = self.now().mono;
        let mut nodes = vec![Self::replica(self).node];
        for follower in self.followers() {
            let fresh = follower.caught_up.is_some_and(|at| now.since(at) <= self.lag_max);
            if follower.voter && fresh {
                nodes.push(follower.replica.node);
            }
        }
        nodes.sort_unstable();
        nodes
    }

    /// The future's first poll hands the entries to the instance. A batch that came damaged is
    /// refused, with all that came beside it.
    fn append_entries(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> GroupAnswer<AppendEntriesResponse<TypeConfig>> {
        let (raft, log) = (self.raft.clone(), Arc::clone(&self.log));
        Box::pin(async move {
            for entry in &request.entries {
                if let Payload::Batch(Batch::Received(bytes)) = &entry.payload {
                    check_batch(bytes, entry.term.term).map_err(fault)?;
                }
            }
            let came = log.now().mono;
            let answer = raft.append_entries(request).await.map_err(fault)?;
            if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                log.note_heard(came);
            }
            Ok(answer)
        })
    }

    fn vote(&self, request: VoteRequest<TypeConfig>) -> GroupAnswer<VoteResponse<TypeConfig>> {
        if let Some(refusal) = self.no_vote(request.vote) {
            return Box::pin(std::future::ready(Ok(refusal)));
        }
        let raft = self.raft.clone();
        Box::pin(async move { raft.vote(request).await.map_err(fault) })
    }

    fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> GroupAnswer<VoteResponse<TypeConfig>> {
        if let Some(refusal) = self.no_vote(request.vote) {
            return Box::pin(std::future::ready(Ok(refusal)));
        }
        let raft = self.raft.clone();
        Box::pin(async move { raft.pre_vote(request).await.map_err(fault) })
    }

    fn transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> GroupAnswer<TransferLeaderResponse<TypeConfig>> {
        if !self.may_lead() {
            let fault = fault("this replica has to get back what it lost before it may lead");
            return Box::pin(std::future::ready(Err(fault)));
        }
        let raft = self.raft.clone();
        Box::pin(async move { raft.handle_transfer_leader(request).await.map_err(fault) })
    }

    fn batches(&self, base: Offset, end: Offset) -> io::Result<Vec<Bytes>> {
        self.partition().batches(base, end)
    }

    fn snapshot_sink(&self, snapshot: IncomingSnapshot) -> io::Result<Box<dyn SnapshotSink>> {
        Ok(Box::new(Sink::begin(self.raft.clone(), Arc::clone(&self.log), snapshot)?))
    }

    fn elect(&self) -> futures_util::future::BoxFuture<'static, ()> {
        if !self.may_lead() {
            return Box::pin(std::future::ready(()));
        }
        let (raft, id) = (self.raft.clone(), self.id());
        Box::pin(async move {
            if let Err(error) = raft.trigger().elect(true).await {
                tracing::debug!(group = %id, %error, "no election");
            }
        })
    }

    fn lease_left(&self) -> Duration {
        let since = self.log.heard().map(|heard| self.log.now().mono.since(heard));
        since.map_or(Duration::ZERO, |since| self.lease.saturating_sub(since))
    }

    fn voters(&self) -> Vec<NodeId> {
        self.membership().voter_ids().map(|replica| replica.node).collect()
    }

    fn peer_down(&self, node: NodeId) {
        self.lost_touch(node);
    }

    fn peer_up(&self, node: NodeId) -> futures_util::future::BoxFuture<'static, ()> {
        let (raft, id) = (self.raft.clone(), self.id());
        let members = self.membership();
        let replicas: Vec<ReplicaId> =
            members.nodes().map(|(id, _)| *id).filter(|of| of.node == node).collect();
        let leads = Self::leadership(self).here;
        Box::pin(async move {
            if let Err(error) = raft.trigger().reset_backoff(replicas).await {
                tracing::debug!(group = %id, %error, "no retry");
            }
            // A follower that has come back has everything, maybe, and does not know what of it is
            // committed, nor who leads: a quiet leader tells it.
            if leads && let Err(error) = raft.trigger().heartbeat().await {
                tracing::debug!(group = %id, %error, "no heartbeat");
            }
        })
    }
}

/// Tells the driver of every change of a group's leadership.
pub fn tell_driver(group: &Group, groups: &Arc<crate::peer::Groups>) {
    let groups = Arc::clone(groups);
    let log = Arc::downgrade(&group.log);
    group.on_leadership(Arc::new(move |id, _| match log.upgrade().and_then(|log| log.failure()) {
        Some(reason) => groups.stopped(&id, &reason),
        None => groups.changed(),
    }));
}
