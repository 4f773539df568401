//! LeaveGroup (key 13), versions 0-5.
//!
//! Behaviour: see `coordinator::group`. One member up to v2, whose error is the response's; a list
//! from v3 on (KIP-345), each with an error of its own.
//! Differences from Apache Kafka: none known.

use std::sync::Arc;

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest as WireRequest, LeaveGroupResponse};
use ottla_coordinator::group::{
    GroupError, Input, LeaveRequest, LeavingMember, LeftMember, Reply as GroupReply,
};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

const LIST_FROM: i16 = 3;

#[derive(Debug)]
pub(crate) struct LeaveGroup;

impl ApiHandler for LeaveGroup {
    type Request = WireRequest;
    const NAME: &'static str = "LeaveGroup";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &RequestContext, request: WireRequest) -> Reply<LeaveGroupResponse> {
        if request.group_id.0.is_empty() {
            return Reply::message(refused(GroupError::InvalidGroupId));
        }
        let version = ctx.version;
        let request = domain(version, request);
        let group_id = Arc::clone(&request.group_id);
        let answer = ctx
            .services
            .groups
            .submit(&ctx.services, &group_id, ctx.now, |token| Input::Leave(token, request));
        wire::group_reply(answer, move |result| match result {
            Ok(GroupReply::Leave(members)) => respond(version, &members),
            Ok(_) => refused(GroupError::CoordinatorNotAvailable),
            Err(error) => refused(error),
        })
    }
}

fn domain(version: i16, request: WireRequest) -> LeaveRequest {
    let members = match version {
        LIST_FROM.. => request
            .members
            .iter()
            .map(|member| LeavingMember {
                member_id: wire::shared(&member.member_id),
                instance_id: member.group_instance_id.as_ref().map(wire::shared),
            })
            .collect(),
        _ => {
            let member_id = wire::shared(&request.member_id);
            vec![LeavingMember { member_id, instance_id: None }]
        }
    };
    LeaveRequest { group_id: wire::shared(&request.group_id.0), members }
}

fn respond(version: i16, members: &[LeftMember]) -> LeaveGroupResponse {
    let code = |error: Option<GroupError>| error.map_or(0, |error| error.code().code());
    if version < LIST_FROM {
        let first = members.first().and_then(|member| member.error);
        return LeaveGroupResponse::default().with_error_code(code(first));
    }
    let response = |member: &LeftMember| {
        MemberResponse::default()
            .with_member_id(wire::text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(wire::text))
            .with_error_code(code(member.error))
    };
    LeaveGroupResponse::default().with_members(members.iter().map(response).collect())
}

fn refused(error: GroupError) -> LeaveGroupResponse {
    LeaveGroupResponse::default().with_error_code(error.code().code())
}
