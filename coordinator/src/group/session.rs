//! A member's life after joining: heartbeats, leaving, and being given up.
//!
//! Owns: Heartbeat, LeaveGroup and session expiry of `GroupMetadataManager`. Never: removes a
//! group.

use std::sync::Arc;

use super::classic::{ClassicGroup, GroupState, Turn};
use super::reply::{GroupError, LeftMember};
use super::request::{HeartbeatRequest, LeavingMember};

impl ClassicGroup {
    pub(crate) fn on_heartbeat(
        &self,
        turn: &mut Turn<'_>,
        request: &HeartbeatRequest,
    ) -> Result<(), GroupError> {
        self.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.renew_session(turn, &request.member_id);
        match self.state {
            GroupState::Empty => Err(GroupError::UnknownMemberId),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    /// Removes the members of one request, then rebalances once.
    pub(crate) fn on_leave(
        &mut self,
        turn: &mut Turn<'_>,
        leaving: &[LeavingMember],
    ) -> Vec<LeftMember> {
        let results: Vec<LeftMember> = leaving
            .iter()
            .map(|member| LeftMember {
                member_id: Arc::clone(&member.member_id),
                instance_id: member.instance_id.clone(),
                error: self.leave_one(turn, member).err(),
            })
            .collect();
        if results.iter().any(|result| result.error.is_none()) {
            match self.state {
                GroupState::Empty => {}
                GroupState::PreparingRebalance => self.maybe_complete_join(turn),
                GroupState::CompletingRebalance | GroupState::Stable => {
                    self.prepare_rebalance(turn);
                }
            }
        }
        results
    }

    fn leave_one(
        &mut self,
        turn: &mut Turn<'_>,
        leaving: &LeavingMember,
    ) -> Result<(), GroupError> {
        let member_id = if leaving.member_id.is_empty() {
            // Administrators name static members by their instance id alone.
            let instance_id = leaving.instance_id.as_ref().ok_or(GroupError::UnknownMemberId)?;
            let member_id = self.static_members.get(instance_id);
            member_id.cloned().ok_or(GroupError::UnknownMemberId)?
        } else {
            if !self.pending_join.contains(&leaving.member_id) {
                self.check_member(&leaving.member_id, leaving.instance_id.as_ref())?;
            }
            Arc::clone(&leaving.member_id)
        };
        self.remove(turn, &member_id);
        Ok(())
    }

    /// A member, or an id that was handed out, has not been heard of for its session timeout.
    pub(crate) fn on_session_deadline(&mut self, turn: &mut Turn<'_>, member_id: &Arc<str>) {
        if self.pending_join.contains(member_id) {
            self.remove(turn, member_id);
            self.complete_join_if_all_are_here(turn);
        } else if self.members.get(member_id).is_some_and(|member| !member.waits_for_us()) {
            self.remove(turn, member_id);
            match self.state {
                GroupState::CompletingRebalance | GroupState::Stable => {
                    self.prepare_rebalance(turn);
                }
                GroupState::PreparingRebalance => self.complete_join_if_all_are_here(turn),
                GroupState::Empty => {}
            }
        }
    }

    /// Unlike a join, an expiry ends even the first rebalance before its delay is over.
    fn complete_join_if_all_are_here(&mut self, turn: &mut Turn<'_>) {
        if self.state == GroupState::PreparingRebalance && self.all_members_joined() {
            self.complete_join(turn);
        }
    }
}
