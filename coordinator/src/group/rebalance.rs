//! Rebalances: how one starts, how long it waits, and how a generation comes out of it.
//!
//! Owns: the join phase and the wait for SyncGroup. Never: judges a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::classic::{ClassicGroup, GroupState, JoinPhase, Turn};
use super::record::group_record;
use super::reply::{GroupError, Reply, SyncReply};
use super::timers::TimerKind;

impl ClassicGroup {
    /// The membership has changed: rebalance, or see whether the running rebalance can end.
    pub(crate) fn rebalance_or_complete(&mut self, turn: &mut Turn<'_>) {
        if self.state == GroupState::PreparingRebalance {
            self.maybe_complete_join(turn);
        } else {
            self.prepare_rebalance(turn);
        }
    }

    /// Starts a join phase from any other state.
    pub(crate) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.cancel_assignment(turn, GroupError::RebalanceInProgress);
        }
        self.pending_sync.clear();
        turn.timers.cancel(&self.id, TimerKind::Sync);
        let initial = self.state == GroupState::Empty;
        self.transition(GroupState::PreparingRebalance, turn.now);
        if initial {
            let delay = turn.settings.initial_rebalance_delay;
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            self.join_phase = JoinPhase::Initial {
                delay_ms,
                remaining_ms: self.rebalance_timeout_ms().saturating_sub(delay_ms),
            };
            self.schedule_join(turn, delay_ms);
        } else {
            self.join_phase = JoinPhase::Rebalance;
            let timeout_ms = self.rebalance_timeout_ms();
            self.schedule_join(turn, timeout_ms);
            if self.all_members_joined() {
                self.complete_join(turn);
            }
        }
    }

    /// Ends the join phase if nobody is missing. The first rebalance of a group always waits for
    /// its delay.
    pub(crate) fn maybe_complete_join(&mut self, turn: &mut Turn<'_>) {
        if self.join_phase == JoinPhase::Rebalance && self.all_members_joined() {
            self.complete_join(turn);
        }
    }

    /// The deadline of the join phase has come.
    pub(crate) fn on_join_deadline(&mut self, turn: &mut Turn<'_>) {
        match self.join_phase {
            JoinPhase::None => {}
            JoinPhase::Initial { delay_ms, remaining_ms }
                if self.new_member_added && remaining_ms != 0 =>
            {
                self.new_member_added = false;
                let delay = turn.settings.initial_rebalance_delay.as_millis();
                let next_ms = u64::try_from(delay).unwrap_or(u64::MAX).min(remaining_ms);
                self.join_phase = JoinPhase::Initial {
                    delay_ms: next_ms,
                    remaining_ms: remaining_ms.saturating_sub(delay_ms),
                };
                self.schedule_join(turn, next_ms);
            }
            JoinPhase::Initial { .. } | JoinPhase::Rebalance => self.complete_join(turn),
        }
    }

    /// Ends the join phase with the members that are here.
    pub(crate) fn complete_join(&mut self, turn: &mut Turn<'_>) {
        turn.timers.cancel(&self.id, TimerKind::Join);
        let absent: Vec<Arc<str>> = self
            .members
            .values()
            .filter(|m| m.awaiting_join.is_none() && m.instance_id.is_none())
            .map(|m| Arc::clone(&m.id))
            .collect();
        for member_id in absent {
            self.remove(turn, &member_id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none is back: they keep their places.
            let timeout_ms = self.rebalance_timeout_ms();
            self.join_phase = JoinPhase::Rebalance;
            self.schedule_join(turn, timeout_ms);
            return;
        }
        self.next_generation(turn.now);
        self.new_member_added = false;
        if self.state == GroupState::Empty {
            turn.effects.records.push(group_record(&self.id, &self.to_value()));
        } else {
            self.announce_generation(turn);
        }
    }

    /// The deadline for SyncGroup has come: whoever did not send one is out.
    pub(crate) fn on_sync_deadline(&mut self, turn: &mut Turn<'_>) {
        let in_generation =
            matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !in_generation || self.pending_sync.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.pending_sync) {
            self.remove(turn, &member_id);
        }
        self.prepare_rebalance(turn);
    }

    /// A member has sent SyncGroup.
    pub(crate) fn sync_received(&mut self, turn: &mut Turn<'_>, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            turn.timers.cancel(&self.id, TimerKind::Sync);
        }
    }

    fn announce_generation(&mut self, turn: &mut Turn<'_>) {
        let everyone = self.joined_members();
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let members = if self.is_leader(&id) { everyone.clone() } else { Vec::new() };
            let reply = self.joined(Arc::clone(&id), members);
            self.finish_join(turn, &id, reply);
            self.renew_session(turn, &id);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.pending_sync.insert(id);
        }
        let deadline = turn.now.mono.plus(Duration::from_millis(self.rebalance_timeout_ms()));
        turn.timers.schedule(&self.id, TimerKind::Sync, deadline);
    }

    /// Keeps the leader if it has joined, or takes the first member that has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined =
            |id: &Arc<str>| self.members.get(id).is_some_and(|m| m.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        match self.members.values().find(|m| m.awaiting_join.is_some()) {
            Some(member) => {
                self.leader = Some(Arc::clone(&member.id));
                true
            }
            None => false,
        }
    }

    /// The generation ends before it had its assignment.
    pub(crate) fn cancel_assignment(&mut self, turn: &mut Turn<'_>, error: GroupError) {
        let mut answered = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(token) = member.awaiting_sync.take() {
                turn.effects.reply(token, Reply::Sync(SyncReply::refused(error)));
                answered.push(Arc::clone(&member.id));
            }
        }
        for id in answered {
            self.renew_session(turn, &id);
        }
    }

    fn schedule_join(&self, turn: &mut Turn<'_>, after_ms: u64) {
        let deadline = turn.now.mono.plus(Duration::from_millis(after_ms));
        turn.timers.schedule(&self.id, TimerKind::Join, deadline);
    }
}
