//! CreateDelegationToken (key 38), versions 1-3.
//!
//! Behaviour: tokens belong to authenticated principals, and a plaintext connection has none:
//! DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, as from a Kafka broker (KIP-48). The answer names the owner
//! that was asked for, from version 3, and the anonymous principal that asked.
//! Differences from Apache Kafka: none intended while there is no SASL.

use kafka_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

/// From this version on a token can be made for somebody else (KIP-373).
const OWNER_FROM: i16 = 3;

#[derive(Debug)]
pub(crate) struct CreateDelegationToken;

impl ApiHandler for CreateDelegationToken {
    type Request = CreateDelegationTokenRequest;
    const NAME: &'static str = "CreateDelegationToken";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn handle(
        ctx: &RequestContext,
        request: CreateDelegationTokenRequest,
    ) -> Reply<CreateDelegationTokenResponse> {
        let or = |asked: Option<StrBytes>, own: &str| {
            asked.filter(|text| !text.is_empty()).unwrap_or_else(|| wire::text(own))
        };
        let mut response = CreateDelegationTokenResponse::default()
            .with_error_code(ErrorCode::DelegationTokenRequestNotAllowed.code())
            .with_principal_type(or(request.owner_principal_type, "User"))
            .with_principal_name(or(request.owner_principal_name, "ANONYMOUS"))
            .with_issue_timestamp_ms(-1)
            .with_expiry_timestamp_ms(-1)
            .with_max_timestamp_ms(-1);
        if ctx.version >= OWNER_FROM {
            response = response
                .with_token_requester_principal_type(wire::text("User"))
                .with_token_requester_principal_name(wire::text("ANONYMOUS"));
        }
        Reply::message(response)
    }
}
