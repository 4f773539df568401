//! DescribeDelegationToken (key 41), versions 1-3.
//!
//! Behaviour: tokens belong to authenticated principals, and a plaintext connection has none:
//! DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, as from a Kafka broker (KIP-48).
//! Differences from Apache Kafka: none intended while there is no SASL.

use kafka_protocol::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};

#[derive(Debug)]
pub(crate) struct DescribeDelegationToken;

impl ApiHandler for DescribeDelegationToken {
    type Request = DescribeDelegationTokenRequest;
    const NAME: &'static str = "DescribeDelegationToken";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn handle(
        _ctx: &RequestContext,
        _request: DescribeDelegationTokenRequest,
    ) -> Reply<DescribeDelegationTokenResponse> {
        Reply::message(
            DescribeDelegationTokenResponse::default()
                .with_error_code(ErrorCode::DelegationTokenRequestNotAllowed.code()),
        )
    }
}
