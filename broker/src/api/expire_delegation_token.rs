//! ExpireDelegationToken (key 40), versions 1-2.
//!
//! Behaviour: tokens belong to authenticated principals, and a plaintext connection has none:
//! DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, as from a Kafka broker (KIP-48).
//! Differences from Apache Kafka: none intended while there is no SASL.

use kafka_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};

#[derive(Debug)]
pub(crate) struct ExpireDelegationToken;

impl ApiHandler for ExpireDelegationToken {
    type Request = ExpireDelegationTokenRequest;
    const NAME: &'static str = "ExpireDelegationToken";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=2;

    fn handle(
        _ctx: &RequestContext,
        _request: ExpireDelegationTokenRequest,
    ) -> Reply<ExpireDelegationTokenResponse> {
        Reply::message(
            ExpireDelegationTokenResponse::default()
                .with_error_code(ErrorCode::DelegationTokenRequestNotAllowed.code())
                .with_expiry_timestamp_ms(-1),
        )
    }
}
