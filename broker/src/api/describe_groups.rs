//! DescribeGroups (key 15), versions 0-6.
//!
//! Behaviour: state, protocol and members; metadata only of stable groups. A group that is not there is
//! `Dead`, from v6 on with GROUP_ID_NOT_FOUND (KIP-1043). Authorised operations (v3, KIP-430)
//! are those of a broker without an authorizer: all of them.
//! Differences from Apache Kafka: groups come in the order of the request.

use std::sync::Arc;

use kafka_protocol::messages::describe_groups_response::{
    DescribedGroup as WireGroup, DescribedGroupMember,
};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use ottla_coordinator::group::{
    DescribedGroup, DescribedMember, GroupError, Input, Reply as GroupReply,
};
use ottla_protocol::error_code::ErrorCode;

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::group_service::Answer;

const OPERATIONS_FROM: i16 = 3;
const NOT_FOUND_FROM: i16 = 6;
/// Every operation on a group, as bits of `AclOperation`: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS,
/// ALTER_CONFIGS.
const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;
const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

#[derive(Debug)]
pub(crate) struct DescribeGroups;

impl ApiHandler for DescribeGroups {
    type Request = DescribeGroupsRequest;
    const NAME: &'static str = "DescribeGroups";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=6;

    fn handle(
        ctx: &RequestContext,
        request: DescribeGroupsRequest,
    ) -> Reply<DescribeGroupsResponse> {
        let asked = request.include_authorized_operations && ctx.version >= OPERATIONS_FROM;
        let shape = Shape {
            version: ctx.version,
            operations: if asked { GROUP_OPERATIONS } else { OPERATIONS_NOT_ASKED },
        };
        let submitted: Vec<(GroupId, Result<Answer, GroupError>)> = request
            .groups
            .into_iter()
            .map(|group| {
                let id: Arc<str> = wire::shared(&group.0);
                let wanted = vec![Arc::clone(&id)];
                let answer = ctx.services.groups.submit(&ctx.services, &id, ctx.now, |token| {
                    Input::DescribeGroups(token, wanted)
                });
                (group, answer)
            })
            .collect();
        Reply::staged(gather(submitted, shape))
    }
}

#[derive(Clone, Copy)]
struct Shape {
    version: i16,
    operations: i32,
}

async fn gather(
    submitted: Vec<(GroupId, Result<Answer, GroupError>)>,
    shape: Shape,
) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(submitted.len());
    for (id, answer) in submitted {
        let reply = match answer {
            Ok(answer) => answer.wait().await,
            Err(error) => Err(error),
        };
        groups.push(match reply {
            Ok(GroupReply::DescribeGroups(described)) if described.len() == 1 => {
                shape.described(&described[0])
            }
            Ok(_) => refused(id, GroupError::CoordinatorNotAvailable),
            Err(error) => refused(id, error),
        });
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

impl Shape {
    fn described(self, group: &DescribedGroup) -> WireGroup {
        let id = wire::text(&group.group_id).into();
        let Some(state) = group.state else { return self.missing(id) };
        WireGroup::default()
            .with_error_message(None)
            .with_group_id(id)
            .with_group_state(wire::text(state.name()))
            .with_protocol_type(wire::text(&group.protocol_type))
            .with_protocol_data(wire::text(&group.protocol_name))
            .with_members(group.members.iter().map(member).collect())
            .with_authorized_operations(self.operations)
    }

    fn missing(self, id: GroupId) -> WireGroup {
        let dead = WireGroup::default().with_group_state(wire::text("Dead"));
        if self.version < NOT_FOUND_FROM {
            return dead
                .with_error_message(None)
                .with_group_id(id)
                .with_authorized_operations(self.operations);
        }
        let message = format!("Group {} not found.", &*id.0);
        dead.with_error_code(ErrorCode::GroupIdNotFound.code())
            .with_error_message(Some(wire::text(&message)))
            .with_group_id(id)
    }
}

fn member(member: &DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(wire::text(&member.member_id))
        .with_group_instance_id(member.instance_id.as_deref().map(wire::text))
        .with_client_id(wire::text(&member.client_id))
        .with_client_host(wire::text(&member.client_host))
        .with_member_metadata(member.metadata.clone())
        .with_member_assignment(member.assignment.clone())
}

fn refused(id: GroupId, error: GroupError) -> WireGroup {
    WireGroup::default()
        .with_error_code(error.code().code())
        .with_error_message(None)
        .with_group_id(id)
}
