//! AddRaftVoter (key 80), versions 0-1.
//!
//! Behaviour: lets a node that follows the metadata log vote on it (KIP-853); version 1 may be answered
//! before that is committed (KIP-1186). A node that lags is waited for, 10 s at the most.
//! Differences from Apache Kafka: no listeners at all mean those that the node registered with.

use std::time::Duration;

use kafka_protocol::messages::AddRaftVoterResponse as Fields;
use ottla_coordinator::metadata::VoterKey;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::messages::{AddRaftVoterRequest, AddRaftVoterResponse};
use ottla_protocol::model::NodeId;

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;
use crate::cluster::voters::{self, Addition, ChangeError, When};

#[derive(Debug)]
pub(crate) struct AddRaftVoter;

impl ApiHandler for AddRaftVoter {
    type Request = AddRaftVoterRequest;
    const NAME: &'static str = "AddRaftVoter";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const ROUTE: Route = Route::Controller;

    fn handle(ctx: &RequestContext, request: AddRaftVoterRequest) -> Reply<AddRaftVoterResponse> {
        let controller = ctx.controller();
        let millis = u64::try_from(request.timeout_ms).unwrap_or(0);
        let listeners = request.listeners.iter().map(|listener| {
            let host = &*listener.host;
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            (listener.name.to_string(), format!("{host}:{}", listener.port))
        });
        let addition = Addition {
            key: VoterKey { node: NodeId(request.voter_id), directory: request.voter_directory_id },
            cluster_id: request.cluster_id.as_deref().map(str::to_owned),
            listeners: listeners.collect(),
            within: Duration::from_millis(millis),
            answer: if request.ack_when_committed { When::Committed } else { When::Begun },
        };
        Reply::staged(async move {
            let (code, message) = match controller.reached() {
                Ok(services) => outcome(voters::add(services, addition).await),
                Err(code) => (code, None),
            };
            answer(code, message)
        })
    }
}

fn answer(code: ErrorCode, message: Option<String>) -> AddRaftVoterResponse {
    let fields = Fields::default().with_error_code(code.code());
    AddRaftVoterResponse(fields.with_error_message(wire::message(message)))
}

/// The code and the words of a change of voters, of this API or of RemoveRaftVoter.
pub(super) fn outcome(changed: Result<(), ChangeError>) -> (ErrorCode, Option<String>) {
    match changed {
        Ok(()) => (ErrorCode::None, None),
        Err(ChangeError::Refused(error)) => (error.code(), Some(error.to_string())),
        Err(ChangeError::NotLeader) => (ErrorCode::NotLeaderOrFollower, None),
    }
}
