//! RemoveRaftVoter (key 81), version 0.
//!
//! Behaviour: takes the vote on the metadata of a node's directory, alive or lost (KIP-853).
//! Differences from Apache Kafka: the last voter is refused with INVALID_REQUEST; there it is an unknown
//! server error.

use kafka_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
use ottla_coordinator::metadata::VoterKey;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::NodeId;

use super::add_raft_voter::outcome;
use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;
use crate::cluster::voters;

#[derive(Debug)]
pub(crate) struct RemoveRaftVoter;

impl ApiHandler for RemoveRaftVoter {
    type Request = RemoveRaftVoterRequest;
    const NAME: &'static str = "RemoveRaftVoter";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const ROUTE: Route = Route::Controller;

    fn handle(
        ctx: &RequestContext,
        request: RemoveRaftVoterRequest,
    ) -> Reply<RemoveRaftVoterResponse> {
        let controller = ctx.controller();
        let node = NodeId(request.voter_id);
        let key = VoterKey { node, directory: request.voter_directory_id };
        Reply::staged(async move {
            let cluster_id = request.cluster_id.as_deref();
            let (code, message) = match controller.reached() {
                Ok(services) => outcome(voters::remove(services, key, cluster_id).await),
                Err(code) => (code, None),
            };
            answer(code, message)
        })
    }
}

fn answer(code: ErrorCode, message: Option<String>) -> RemoveRaftVoterResponse {
    RemoveRaftVoterResponse::default()
        .with_error_code(code.code())
        .with_error_message(wire::message(message))
}
