//! SyncGroup (key 14), versions 0-5.
//!
//! Behaviour: see `coordinator::group`; the answer waits for the leader's assignment. From v5 on the
//! protocol's type and name are mandatory (KIP-559).
//! Differences from Apache Kafka: none known.

use std::sync::Arc;

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use ottla_coordinator::group::{GroupError, Input, Reply as GroupReply, SyncReply, SyncRequest};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

const PROTOCOL_MANDATORY_FROM: i16 = 5;

#[derive(Debug)]
pub(crate) struct SyncGroup;

impl ApiHandler for SyncGroup {
    type Request = SyncGroupRequest;
    const NAME: &'static str = "SyncGroup";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &RequestContext, request: SyncGroupRequest) -> Reply<SyncGroupResponse> {
        let named = request.protocol_type.is_some() && request.protocol_name.is_some();
        if ctx.version >= PROTOCOL_MANDATORY_FROM && !named {
            return Reply::message(refused(GroupError::InconsistentGroupProtocol));
        }
        if request.group_id.0.is_empty() {
            return Reply::message(refused(GroupError::InvalidGroupId));
        }
        let request = domain(request);
        let group_id = Arc::clone(&request.group_id);
        let answer = ctx
            .services
            .groups
            .submit(&ctx.services, &group_id, ctx.now, |token| Input::Sync(token, request));
        wire::group_reply(answer, |result| match result {
            Ok(GroupReply::Sync(reply)) => synced(reply),
            Ok(_) => refused(GroupError::CoordinatorNotAvailable),
            Err(error) => refused(error),
        })
    }
}

fn domain(request: SyncGroupRequest) -> SyncRequest {
    let assignment =
        |assignment: kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment| {
            // Kept with the group: the frame must not be kept with it.
            let bytes = bytes::Bytes::copy_from_slice(&assignment.assignment);
            (wire::shared(&assignment.member_id), bytes)
        };
    SyncRequest {
        group_id: wire::shared(&request.group_id.0),
        member_id: wire::shared(&request.member_id),
        instance_id: request.group_instance_id.as_ref().map(wire::shared),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_ref().map(wire::shared),
        protocol_name: request.protocol_name.as_ref().map(wire::shared),
        assignments: request.assignments.into_iter().map(assignment).collect(),
    }
}

fn synced(reply: SyncReply) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_error_code(reply.error.map_or(0, |error| error.code().code()))
        .with_protocol_type(reply.protocol_type.as_deref().map(wire::text))
        .with_protocol_name(reply.protocol_name.as_deref().map(wire::text))
        .with_assignment(reply.assignment)
}

fn refused(error: GroupError) -> SyncGroupResponse {
    synced(SyncReply {
        error: Some(error),
        protocol_type: None,
        protocol_name: None,
        assignment: bytes::Bytes::new(),
    })
}
