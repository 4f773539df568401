//! DescribeUserScramCredentials (key 50), version 0.
//!
//! Behaviour: no user has credentials, so a named one is RESOURCE_NOT_FOUND, one named twice
//! DUPLICATE_RESOURCE, and all users are none (KIP-554).
//! Differences from Apache Kafka: none intended while there is no SASL.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use kafka_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

#[derive(Debug)]
pub(crate) struct DescribeUserScramCredentials;

impl ApiHandler for DescribeUserScramCredentials {
    type Request = DescribeUserScramCredentialsRequest;
    const NAME: &'static str = "DescribeUserScramCredentials";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;

    fn handle(
        _ctx: &RequestContext,
        request: DescribeUserScramCredentialsRequest,
    ) -> Reply<DescribeUserScramCredentialsResponse> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for user in request.users.iter().flatten() {
            *counts.entry(&user.name).or_default() += 1;
        }
        let results = counts
            .into_iter()
            .map(|(user, count)| {
                let (code, message) = if count > 1 {
                    (
                        ErrorCode::DuplicateResource,
                        format!(
                            "Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
                        ),
                    )
                } else {
                    (
                        ErrorCode::ResourceNotFound,
                        format!(
                            "Attempt to describe a user credential that does not exist: {user}"
                        ),
                    )
                };
                DescribeUserScramCredentialsResult::default()
                    .with_user(wire::text(user))
                    .with_error_code(code.code())
                    .with_error_message(Some(wire::text(&message)))
            })
            .collect();
        Reply::message(
            DescribeUserScramCredentialsResponse::default()
                .with_error_message(Some(wire::text("")))
                .with_results(results),
        )
    }
}
