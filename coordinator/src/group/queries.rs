//! What administrators ask: lists, descriptions, deletions.
//!
//! Owns: ListGroups, DescribeGroups, DeleteGroups and the checks of OffsetDelete. Never: hides a
//! group from someone; authorisation is the broker's.

use std::sync::Arc;

use super::classic::{ClassicGroup, GroupState};
use super::reply::{DescribedGroup, DescribedMember, GroupError, ListedGroup};
use super::request::ListGroupsRequest;

/// The type that filters and answers name this kind of group by.
const CLASSIC: &str = "classic";

impl ListGroupsRequest {
    pub(crate) fn admits(&self, group: &ClassicGroup) -> bool {
        let state = self.states.is_empty()
            || self.states.iter().any(|s| s.trim().eq_ignore_ascii_case(group.state.name()));
        let kind =
            self.types.is_empty() || self.types.iter().any(|t| t.eq_ignore_ascii_case(CLASSIC));
        state && kind
    }
}

impl ClassicGroup {
    pub(crate) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: Arc::clone(&self.id),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            state: self.state,
        }
    }

    pub(crate) fn described(&self) -> DescribedGroup {
        let stable = match self.state {
            GroupState::Stable => self.protocol_name.as_ref(),
            _ => None,
        };
        let member = |member: &super::classic::Member| DescribedMember {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: stable.and_then(|p| member.metadata(p)).cloned().unwrap_or_default(),
            assignment: member.assignment.clone(),
        };
        DescribedGroup {
            group_id: Arc::clone(&self.id),
            state: Some(self.state),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol_name: stable.cloned().unwrap_or_else(|| "".into()),
            members: self.members.values().map(member).collect(),
        }
    }

    pub(crate) fn check_delete(&self) -> Result<(), GroupError> {
        match self.state {
            GroupState::Empty => Ok(()),
            _ => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Consumers' subscriptions are known, so that offsets outside them may go.
    pub(crate) fn check_delete_offsets(&self) -> Result<(), GroupError> {
        if self.state == GroupState::Empty || self.uses_consumer_protocol() {
            Ok(())
        } else {
            Err(GroupError::NonEmptyGroup)
        }
    }
}

pub(crate) fn described_nothing(group_id: Arc<str>) -> DescribedGroup {
    DescribedGroup {
        group_id,
        state: None,
        protocol_type: "".into(),
        protocol_name: "".into(),
        members: Vec::new(),
    }
}
