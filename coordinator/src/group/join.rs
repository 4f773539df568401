//! JoinGroup: who may join, as whom, and what that starts.
//!
//! Owns: the decision table of `GroupMetadataManager.classicGroupJoin` and its helpers. Never:
//! creates or deletes the group; the shard does.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::model::Uuid;

use super::classic::{ClassicGroup, GroupState, JoinPhase, Member, Turn};
use super::effects::ReplyToken;
use super::members::millis;
use super::record::group_record;
use super::reply::{GroupError, JoinReply, Reply};
use super::request::{JoinRequest, MemberIdRule, SkipAssignment};
use super::settings::GroupSettings;
use super::timers::TimerKind;

/// Names longer than this cannot be stored beside the rest of a member's name.
const NAME_MAX: usize = i16::MAX as usize - 64;

impl JoinRequest {
    /// What is wrong with the request whatever the group's state.
    ///
    /// # Errors
    /// [`GroupError::InvalidGroupId`], [`GroupError::InvalidSessionTimeout`], or
    /// [`GroupError::InvalidRequest`] for names that no record can hold.
    pub fn check(&self, settings: &GroupSettings) -> Result<(), GroupError> {
        if self.group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let session = i128::from(self.session_timeout_ms);
        let bound = |limit: std::time::Duration| i128::try_from(limit.as_millis());
        let below = bound(settings.min_session_timeout).is_ok_and(|min| session < min);
        let above = bound(settings.max_session_timeout).is_ok_and(|max| session > max);
        if below || above {
            return Err(GroupError::InvalidSessionTimeout);
        }
        let instance_id = self.instance_id.as_deref().unwrap_or("");
        let names = [&*self.group_id, &*self.client_id, &*self.protocol_type, instance_id];
        let protocols = self.protocols.iter().map(|p| &*p.name);
        if names.into_iter().chain(protocols).any(|name| name.len() > NAME_MAX) {
            return Err(GroupError::InvalidRequest);
        }
        Ok(())
    }

    fn fresh_member_id(&self) -> Arc<str> {
        let prefix = self.instance_id.as_ref().unwrap_or(&self.client_id);
        let uuid: Uuid = self.fresh_uuid;
        format!("{prefix}-{uuid}").into()
    }
}

impl ClassicGroup {
    pub(crate) fn on_join(
        &mut self,
        turn: &mut Turn<'_>,
        token: ReplyToken,
        request: &JoinRequest,
    ) {
        let member_id = &request.member_id;
        if !self.accepts(turn.settings, member_id) {
            self.remove(turn, member_id);
            refuse(turn, token, "".into(), GroupError::GroupMaxSizeReached);
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            let error = GroupError::InconsistentGroupProtocol;
            refuse(turn, token, Arc::clone(member_id), error);
        } else if !member_id.is_empty() {
            self.join_known(turn, token, request);
        } else if request.instance_id.is_some() {
            self.join_static(turn, token, request);
        } else {
            self.join_dynamic(turn, token, request);
        }
    }

    /// Whether there is room for the member (`acceptJoiningMember`).
    fn accepts(&self, settings: &GroupSettings, member_id: &str) -> bool {
        match self.state {
            GroupState::Empty => true,
            GroupState::PreparingRebalance => {
                self.members.get(member_id).is_some_and(|m| m.awaiting_join.is_some())
                    || self.awaiting_join < settings.max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < settings.max_size
            }
        }
    }

    fn join_dynamic(&mut self, turn: &mut Turn<'_>, token: ReplyToken, request: &JoinRequest) {
        let new_id = request.fresh_member_id();
        match request.member_id_rule {
            MemberIdRule::Required => {
                self.pending_join.insert(Arc::clone(&new_id));
                turn.timers.schedule(
                    &self.id,
                    TimerKind::Session(Arc::clone(&new_id)),
                    turn.now.mono.plus(millis(request.session_timeout_ms)),
                );
                refuse(turn, token, new_id, GroupError::MemberIdRequired);
            }
            MemberIdRule::Assigned => self.add_member(turn, token, request, new_id),
        }
    }

    fn join_static(&mut self, turn: &mut Turn<'_>, token: ReplyToken, request: &JoinRequest) {
        let new_id = request.fresh_member_id();
        let current = request.instance_id.as_ref().and_then(|id| self.static_members.get(id));
        match current.cloned() {
            Some(old_id) => self.rejoin_static(turn, token, request, (old_id, new_id)),
            None => self.add_member(turn, token, request, new_id),
        }
    }

    /// A member that has an id: pending, or already in the group.
    fn join_known(&mut self, turn: &mut Turn<'_>, token: ReplyToken, request: &JoinRequest) {
        let member_id = &request.member_id;
        if self.pending_join.contains(member_id) {
            if request.instance_id.is_some() {
                // Kafka trips over an assertion here; a pending id was never a static member's.
                refuse(turn, token, Arc::clone(member_id), GroupError::UnknownMemberId);
            } else {
                self.add_member(turn, token, request, Arc::clone(member_id));
            }
            return;
        }
        if let Err(error) = self.check_member(member_id, request.instance_id.as_ref()) {
            refuse(turn, token, Arc::clone(member_id), error);
            return;
        }
        let unchanged =
            self.members.get(member_id).is_some_and(|m| m.protocols == request.protocols);
        let leads = self.is_leader(member_id);
        match self.state {
            GroupState::CompletingRebalance if unchanged => {
                // The reply to its join got lost: tell it again.
                let members = if leads { self.joined_members() } else { Vec::new() };
                let reply = self.joined(Arc::clone(member_id), members);
                turn.effects.reply(token, Reply::Join(reply));
            }
            GroupState::Stable if unchanged && !leads => {
                let reply = self.joined(Arc::clone(member_id), Vec::new());
                turn.effects.reply(token, Reply::Join(reply));
            }
            _ => {
                self.update_member(turn, member_id, request, token);
                self.rebalance_or_complete(turn);
            }
        }
    }

    fn add_member(
        &mut self,
        turn: &mut Turn<'_>,
        token: ReplyToken,
        request: &JoinRequest,
        id: Arc<str>,
    ) {
        if matches!(self.join_phase, JoinPhase::Initial { .. }) {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        self.insert(Member {
            id: Arc::clone(&id),
            instance_id: request.instance_id.clone(),
            client_id: Arc::clone(&request.client_id),
            client_host: Arc::clone(&request.client_host),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
        });
        // Its session begins with its first generation; until then it may wait this long.
        let deadline = turn.now.mono.plus(turn.settings.new_member_join_timeout);
        turn.timers.schedule(&self.id, TimerKind::Session(id), deadline);
        self.rebalance_or_complete(turn);
    }

    /// A static member's next incarnation takes over. In a stable group whose protocol stays the
    /// same nobody else notices (KIP-345).
    fn rejoin_static(
        &mut self,
        turn: &mut Turn<'_>,
        token: ReplyToken,
        request: &JoinRequest,
        (old_id, new_id): (Arc<str>, Arc<str>),
    ) {
        let leader_before = self.leader.clone();
        self.replace_static(turn, &old_id, Arc::clone(&new_id));
        self.renew_session(turn, &new_id);
        self.update_member(turn, &new_id, request, token);
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol_name => {
                let mut reply = self.joined(Arc::clone(&new_id), Vec::new());
                match request.skip_assignment {
                    SkipAssignment::Supported if self.is_leader(&new_id) => {
                        reply.members = self.joined_members();
                        reply.skip_assignment = true;
                    }
                    SkipAssignment::Supported => {}
                    // An older client that is told it leads would assign anew; the old id as
                    // leader makes it a follower that only asks for its assignment.
                    SkipAssignment::Unsupported => {
                        reply.leader = leader_before.unwrap_or_else(|| "".into());
                    }
                }
                turn.effects.records.push(group_record(&self.id, &self.to_value()));
                self.finish_join(turn, &new_id, reply);
            }
            // The leader may already work with the old id, so everyone starts over.
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(turn),
            GroupState::PreparingRebalance | GroupState::Empty => self.maybe_complete_join(turn),
        }
    }
}

fn refuse(turn: &mut Turn<'_>, token: ReplyToken, member_id: Arc<str>, error: GroupError) {
    turn.effects.reply(token, Reply::Join(JoinReply::refused(member_id, error)));
}
