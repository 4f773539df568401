//! Heartbeat (key 12), versions 0-4.
//!
//! Behaviour: see `coordinator::group`. While the group is loaded every heartbeat is fine: what the
//! client would do about an error, rejoin, is what must be avoided.
//! Differences from Apache Kafka: none known.

use std::sync::Arc;

use kafka_protocol::messages::{HeartbeatRequest as WireRequest, HeartbeatResponse};
use ottla_coordinator::group::{GroupError, HeartbeatRequest, Input, Reply as GroupReply};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct Heartbeat;

impl ApiHandler for Heartbeat {
    type Request = WireRequest;
    const NAME: &'static str = "Heartbeat";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=4;

    fn handle(ctx: &RequestContext, request: WireRequest) -> Reply<HeartbeatResponse> {
        if request.group_id.0.is_empty() {
            return Reply::message(respond(Err(GroupError::InvalidGroupId)));
        }
        let request = HeartbeatRequest {
            group_id: wire::shared(&request.group_id.0),
            member_id: wire::shared(&request.member_id),
            instance_id: request.group_instance_id.as_ref().map(wire::shared),
            generation: request.generation_id,
        };
        let group_id = Arc::clone(&request.group_id);
        let answer = ctx
            .services
            .groups
            .submit(&ctx.services, &group_id, ctx.now, |token| Input::Heartbeat(token, request));
        wire::group_reply(answer, |result| match result {
            Ok(GroupReply::Heartbeat(result)) => respond(result),
            Ok(_) => respond(Err(GroupError::CoordinatorNotAvailable)),
            Err(GroupError::CoordinatorLoadInProgress) => respond(Ok(())),
            Err(error) => respond(Err(error)),
        })
    }
}

fn respond(result: Result<(), GroupError>) -> HeartbeatResponse {
    let code = result.map_or_else(|error| error.code().code(), |()| 0);
    HeartbeatResponse::default().with_error_code(code)
}
