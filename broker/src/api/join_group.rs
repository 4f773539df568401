//! JoinGroup (key 11), versions 0-9.
//!
//! Behaviour: see `coordinator::group`; the answer waits for the rebalance. v0 has no rebalance
//! timeout: the session timeout stands in. From v4 on a dynamic member must come back with the id
//! it is given (KIP-394), v5 brings static members (KIP-345), v9 lets a leader skip the assignment
//! (KIP-814). Up to v6 the protocol's name cannot be null: it is empty.
//! Differences from Apache Kafka: a protocol that is named twice counts once; Kafka never answers.

use std::sync::Arc;

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use ottla_coordinator::group::{
    GroupError, Input, JoinReply, JoinRequest, MemberIdRule, Protocol, Reply as GroupReply,
    SkipAssignment,
};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

const REBALANCE_TIMEOUT_FROM: i16 = 1;
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
const NULL_PROTOCOL_FROM: i16 = 7;
const SKIP_ASSIGNMENT_FROM: i16 = 9;

#[derive(Debug)]
pub(crate) struct JoinGroup;

impl ApiHandler for JoinGroup {
    type Request = JoinGroupRequest;
    const NAME: &'static str = "JoinGroup";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=9;

    fn handle(ctx: &RequestContext, request: JoinGroupRequest) -> Reply<JoinGroupResponse> {
        let version = ctx.version;
        let request = domain(ctx, request);
        let groups = &ctx.services.groups;
        if let Err(error) = request.check(groups.settings()) {
            let member_id = wire::text(&request.member_id);
            return Reply::message(refused(version, error).with_member_id(member_id));
        }
        let group_id = Arc::clone(&request.group_id);
        let answer =
            groups.submit(&ctx.services, &group_id, ctx.now, |token| Input::Join(token, request));
        let respond = move |result| match result {
            Ok(GroupReply::Join(reply)) => joined(version, reply),
            Ok(_) => refused(version, GroupError::CoordinatorNotAvailable),
            Err(error) => refused(version, error),
        };
        wire::group_reply(answer, respond)
    }
}

fn domain(ctx: &RequestContext, request: JoinGroupRequest) -> JoinRequest {
    let mut protocols: Vec<Protocol> = Vec::with_capacity(request.protocols.len());
    for protocol in request.protocols {
        if !protocols.iter().any(|known| *known.name == *protocol.name) {
            let (name, metadata) = (wire::shared(&protocol.name), protocol.metadata);
            // Kept for as long as the member lives: the frame must not be kept with it.
            protocols.push(Protocol { name, metadata: bytes::Bytes::copy_from_slice(&metadata) });
        }
    }
    JoinRequest {
        group_id: wire::shared(&request.group_id.0),
        member_id: wire::shared(&request.member_id),
        instance_id: request.group_instance_id.as_ref().map(wire::shared),
        client_id: ctx.client_id.clone().unwrap_or_else(|| "".into()),
        client_host: format!("/{}", ctx.connection.peer.ip().to_canonical()).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match ctx.version {
            REBALANCE_TIMEOUT_FROM.. => request.rebalance_timeout_ms,
            _ => request.session_timeout_ms,
        },
        protocol_type: wire::shared(&request.protocol_type),
        protocols,
        member_id_rule: match ctx.version {
            MEMBER_ID_REQUIRED_FROM.. => MemberIdRule::Required,
            _ => MemberIdRule::Assigned,
        },
        skip_assignment: match ctx.version {
            SKIP_ASSIGNMENT_FROM.. => SkipAssignment::Supported,
            _ => SkipAssignment::Unsupported,
        },
        fresh_uuid: ctx.services.random.next_uuid(),
    }
}

fn joined(version: i16, reply: JoinReply) -> JoinGroupResponse {
    let members = reply
        .members
        .into_iter()
        .map(|member| {
            JoinGroupResponseMember::default()
                .with_member_id(wire::text(&member.member_id))
                .with_group_instance_id(member.instance_id.as_deref().map(wire::text))
                .with_metadata(member.metadata)
        })
        .collect();
    let code = reply.error.map_or(0, |error| error.code().code());
    response(version, reply.protocol_name.as_deref())
        .with_error_code(code)
        .with_generation_id(reply.generation)
        .with_protocol_type(reply.protocol_type.as_deref().map(wire::text))
        .with_leader(wire::text(&reply.leader))
        .with_skip_assignment(reply.skip_assignment)
        .with_member_id(wire::text(&reply.member_id))
        .with_members(members)
}

fn refused(version: i16, error: GroupError) -> JoinGroupResponse {
    response(version, None).with_error_code(error.code().code()).with_protocol_type(None)
}

fn response(version: i16, protocol: Option<&str>) -> JoinGroupResponse {
    let name = match protocol {
        None if version < NULL_PROTOCOL_FROM => Some(""),
        name => name,
    };
    JoinGroupResponse::default().with_generation_id(-1).with_protocol_name(name.map(wire::text))
}
