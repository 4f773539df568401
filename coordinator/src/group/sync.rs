//! SyncGroup: the leader hands in the assignment, everyone takes theirs.
//!
//! Owns: `GroupMetadataManager.classicGroupSync`. Never: reads an assignment.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::classic::{ClassicGroup, GroupState, Turn};
use super::effects::ReplyToken;
use super::record::group_record;
use super::reply::{GroupError, Reply, SyncReply};
use super::request::SyncRequest;

impl ClassicGroup {
    pub(crate) fn on_sync(
        &mut self,
        turn: &mut Turn<'_>,
        token: ReplyToken,
        request: &SyncRequest,
    ) {
        if let Err(error) = self.check_sync(request) {
            turn.effects.reply(token, Reply::Sync(SyncReply::refused(error)));
            return;
        }
        match self.state {
            // A group without members was refused above.
            GroupState::Empty | GroupState::PreparingRebalance => {
                let refused = SyncReply::refused(GroupError::RebalanceInProgress);
                turn.effects.reply(token, Reply::Sync(refused));
            }
            GroupState::CompletingRebalance => {
                self.await_assignment(turn, token, &request.member_id);
                if self.is_leader(&request.member_id) {
                    self.assign(turn, &request.assignments);
                }
            }
            GroupState::Stable => {
                self.sync_received(turn, &request.member_id);
                let reply = self.synced(&request.member_id);
                turn.effects.reply(token, Reply::Sync(reply));
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        self.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |given: &Option<Arc<str>>, ours: &Option<Arc<str>>| {
            given.as_ref().zip(ours.as_ref()).is_some_and(|(given, ours)| given != ours)
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn await_assignment(&mut self, turn: &mut Turn<'_>, token: ReplyToken, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id)
            && let Some(earlier) = member.awaiting_sync.replace(token)
        {
            // Sent twice; see `update_member`.
            let again = SyncReply::refused(GroupError::RebalanceInProgress);
            turn.effects.reply(earlier, Reply::Sync(again));
        }
        self.sync_received(turn, member_id);
    }

    /// The assignment becomes the group's, and a record. Replies of this step wait for it.
    fn assign(&mut self, turn: &mut Turn<'_>, assignments: &[(Arc<str>, Bytes)]) {
        let by_member: BTreeMap<&Arc<str>, &Bytes> =
            assignments.iter().map(|(id, assignment)| (id, assignment)).collect();
        for (id, member) in &mut self.members {
            member.assignment = by_member.get(id).map_or_else(Bytes::new, |a| Bytes::clone(a));
        }
        if group_record(&self.id, &self.to_value()).size() > turn.settings.record_bytes_max {
            // Every try ends here until members leave or say less; so does Kafka's.
            self.cancel_assignment(turn, GroupError::RecordTooLarge);
            self.prepare_rebalance(turn);
            return;
        }
        self.transition(GroupState::Stable, turn.now);
        turn.effects.records.push(group_record(&self.id, &self.to_value()));
        let waiting: Vec<(Arc<str>, ReplyToken)> = self
            .members
            .values_mut()
            .filter_map(|m| m.awaiting_sync.take().map(|token| (Arc::clone(&m.id), token)))
            .collect();
        for (id, token) in waiting {
            let reply = self.synced(&id);
            turn.effects.reply(token, Reply::Sync(reply));
            self.renew_session(turn, &id);
        }
    }

    fn synced(&self, member_id: &str) -> SyncReply {
        SyncReply {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }
}
