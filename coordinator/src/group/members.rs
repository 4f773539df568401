//! Adding, replacing and removing members.
//!
//! Owns: the counts and maps that must change with the member table, and the replies that a
//! member's going owes. Never: starts or ends a rebalance.

use std::sync::Arc;
use std::time::Duration;

use super::classic::{ClassicGroup, Member, Turn};
use super::effects::ReplyToken;
use super::reply::{GroupError, JoinReply, JoinedMember, Reply, SyncReply};
use super::request::{JoinRequest, Protocol};
use super::timers::TimerKind;

impl ClassicGroup {
    /// Puts a member into the tables. The first member brings the protocol type and leads.
    pub(crate) fn insert(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(Arc::clone(instance_id), Arc::clone(&member.id));
        }
        if self.leader.is_none() {
            self.leader = Some(Arc::clone(&member.id));
        }
        self.pending_join.remove(&member.id);
        self.count_protocols(&member.protocols, Count::Up);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        if let Some(before) = self.members.insert(Arc::clone(&member.id), member) {
            // Only a damaged record names a member twice; the later one counts.
            self.count_protocols(&before.protocols, Count::Down);
            self.awaiting_join -= usize::from(before.awaiting_join.is_some());
        }
    }

    /// Takes a member out of the tables, with its deadline, and answers what it waits for.
    pub(crate) fn remove(&mut self, turn: &mut Turn<'_>, member_id: &Arc<str>) {
        turn.timers.cancel(&self.id, TimerKind::Session(Arc::clone(member_id)));
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        let Some(member) = self.members.remove(member_id) else { return };
        self.count_protocols(&member.protocols, Count::Down);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        if let Some(token) = member.awaiting_join {
            self.awaiting_join -= 1;
            let refused = JoinReply::refused("".into(), GroupError::UnknownMemberId);
            turn.effects.reply(token, Reply::Join(refused));
        }
        if let Some(token) = member.awaiting_sync {
            // Kafka never answers this one; its client waits until the request times out.
            let refused = SyncReply::refused(GroupError::UnknownMemberId);
            turn.effects.reply(token, Reply::Sync(refused));
        }
    }

    /// Gives a static member's place to its next incarnation; whatever the old one waits for is
    /// fenced.
    pub(crate) fn replace_static(
        &mut self,
        turn: &mut Turn<'_>,
        old_id: &Arc<str>,
        new_id: Arc<str>,
    ) {
        turn.timers.cancel(&self.id, TimerKind::Session(Arc::clone(old_id)));
        let Some(mut member) = self.members.remove(old_id) else { return };
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(Arc::clone(&new_id));
        }
        if let Some(token) = member.awaiting_join.take() {
            self.awaiting_join -= 1;
            let fenced = JoinReply::refused(Arc::clone(old_id), GroupError::FencedInstanceId);
            turn.effects.reply(token, Reply::Join(fenced));
        }
        if let Some(token) = member.awaiting_sync.take() {
            let fenced = SyncReply::refused(GroupError::FencedInstanceId);
            turn.effects.reply(token, Reply::Sync(fenced));
        }
        if self.is_leader(old_id) {
            self.leader = Some(Arc::clone(&new_id));
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(Arc::clone(instance_id), Arc::clone(&new_id));
        }
        member.id = Arc::clone(&new_id);
        member.is_new = false;
        self.members.insert(new_id, member);
    }

    /// Takes over what a JoinGroup says, and lets the member wait for the generation.
    pub(crate) fn update_member(
        &mut self,
        turn: &mut Turn<'_>,
        member_id: &str,
        request: &JoinRequest,
        token: ReplyToken,
    ) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let before = std::mem::replace(&mut member.protocols, request.protocols.clone());
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        match member.awaiting_join.replace(token) {
            None => self.awaiting_join += 1,
            Some(earlier) => {
                // The client has sent its request twice, surely over a new connection. Kafka
                // forgets the first; here it is told to come again.
                let again =
                    JoinReply::refused(Arc::clone(&member.id), GroupError::RebalanceInProgress);
                turn.effects.reply(earlier, Reply::Join(again));
            }
        }
        self.count_protocols(&before, Count::Down);
        self.count_protocols(&request.protocols, Count::Up);
    }

    /// Answers the join that a member waits for, if it does.
    pub(crate) fn finish_join(&mut self, turn: &mut Turn<'_>, member_id: &str, reply: JoinReply) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(token) = member.awaiting_join.take() {
            self.awaiting_join -= 1;
            turn.effects.reply(token, Reply::Join(reply));
        }
    }

    /// The session of a member starts anew.
    pub(crate) fn renew_session(&self, turn: &mut Turn<'_>, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            let timeout = millis(member.session_timeout_ms);
            turn.timers.schedule(
                &self.id,
                TimerKind::Session(Arc::clone(&member.id)),
                turn.now.mono.plus(timeout),
            );
        }
    }

    /// A join's answer within the current generation.
    pub(crate) fn joined(&self, member_id: Arc<str>, members: Vec<JoinedMember>) -> JoinReply {
        JoinReply {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            member_id,
            members,
        }
    }

    /// What the leader is told of everyone.
    pub(crate) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        self.members
            .values()
            .map(|member| JoinedMember {
                member_id: Arc::clone(&member.id),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata(protocol).cloned().unwrap_or_default(),
            })
            .collect()
    }

    fn count_protocols(&mut self, protocols: &[Protocol], count: Count) {
        for protocol in protocols {
            let supporters = self.supporters.entry(Arc::clone(&protocol.name)).or_default();
            match count {
                Count::Up => *supporters += 1,
                Count::Down => *supporters -= 1,
            }
            if *supporters == 0 {
                self.supporters.remove(&protocol.name);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Count {
    Up,
    Down,
}

/// A timeout of the wire; negative ones are over at once.
pub(crate) fn millis(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}
