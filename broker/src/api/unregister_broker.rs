//! UnregisterBroker (key 64), version 0.
//!
//! Behaviour: takes a broker that is gone for good out of the cluster (KIP-631).
//! Differences from Apache Kafka: a broker that is alive is refused here; there it comes back by itself.

use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use ottla_coordinator::metadata::UnregisterBroker as UnregisterBrokerCommand;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::NodeId;

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;

#[derive(Debug)]
pub(crate) struct UnregisterBroker;

impl ApiHandler for UnregisterBroker {
    type Request = UnregisterBrokerRequest;
    const NAME: &'static str = "UnregisterBroker";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const ROUTE: Route = Route::Controller;

    fn handle(
        ctx: &RequestContext,
        request: UnregisterBrokerRequest,
    ) -> Reply<UnregisterBrokerResponse> {
        let id = NodeId(request.broker_id.0);
        if ctx.services.metadata.image().is_active(id) {
            let text = format!("Broker {id} is alive: stop it before it is taken out");
            return Reply::message(refused(ErrorCode::InvalidRequest, Some(text)));
        }
        let controller = ctx.controller();
        Reply::staged(async move {
            let command = UnregisterBrokerCommand { id };
            match controller.submit(command).await {
                Ok(Ok(())) => UnregisterBrokerResponse::default().with_error_message(None),
                Ok(Err(error)) => refused(error.code(), error.message()),
                Err(code) => refused(code, None),
            }
        })
    }
}

fn refused(code: ErrorCode, message: Option<String>) -> UnregisterBrokerResponse {
    UnregisterBrokerResponse::default()
        .with_error_code(code.code())
        .with_error_message(wire::message(message))
}
