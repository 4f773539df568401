//! InitProducerId (key 22), versions 0-5.
//!
//! Behaviour: without a transactional id every call gets a fresh producer id with epoch 0, whatever
//! id the client names (as Kafka's TransactionCoordinator does). Ids come in blocks from the
//! cluster's metadata, so none is ever given twice, not even across restarts.
//! Differences from Apache Kafka: transactional ids are refused until transactions are served.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};

/// A producer id or an epoch that is not there.
const NONE: i64 = -1;

#[derive(Debug)]
pub(crate) struct InitProducerId;

impl ApiHandler for InitProducerId {
    type Request = InitProducerIdRequest;
    const NAME: &'static str = "InitProducerId";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=5;

    fn handle(
        ctx: &RequestContext,
        request: InitProducerIdRequest,
    ) -> Reply<InitProducerIdResponse> {
        match &request.transactional_id {
            Some(id) if id.0.is_empty() => {
                return Reply::message(refused(ErrorCode::InvalidRequest));
            }
            Some(_) => return Reply::message(refused(ErrorCode::UnsupportedVersion)),
            None => {}
        }
        // KIP-360: an id belongs to an epoch; one without the other is a client's mistake.
        let (id, epoch) = (request.producer_id.0, request.producer_epoch);
        if (id == NONE) != (i64::from(epoch) == NONE) {
            return Reply::message(refused(ErrorCode::InvalidRequest));
        }
        if let Some(id) = ctx.services.producer_ids.try_next() {
            return Reply::message(granted(id));
        }
        let services = ctx.services.clone();
        Reply::staged(async move {
            match services.producer_ids.next(&services).await {
                Ok(id) => granted(id),
                Err(code) => refused(code),
            }
        })
    }
}

fn granted(id: i64) -> InitProducerIdResponse {
    InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(0)
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(code.code())
        .with_producer_id((-1).into())
        .with_producer_epoch(-1)
}
