//! DescribeClientQuotas (key 48), versions 0-1.
//!
//! Behaviour: there are no quotas, so every filter that is well formed finds none (KIP-546).
//! Differences from Apache Kafka: none intended while quotas can't be set.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

const MATCH_EXACT: i8 = 0;
const MATCH_DEFAULT: i8 = 1;
const MATCH_ANY: i8 = 2;

#[derive(Debug)]
pub(crate) struct DescribeClientQuotas;

impl ApiHandler for DescribeClientQuotas {
    type Request = DescribeClientQuotasRequest;
    const NAME: &'static str = "DescribeClientQuotas";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;

    fn handle(
        _ctx: &RequestContext,
        request: DescribeClientQuotasRequest,
    ) -> Reply<DescribeClientQuotasResponse> {
        let response = DescribeClientQuotasResponse::default();
        Reply::message(match check(&request.components) {
            Ok(()) => {
                response.with_error_message(Some(wire::text(""))).with_entries(Some(Vec::new()))
            }
            Err((code, message)) => response
                .with_error_code(code.code())
                .with_error_message(Some(wire::text(&message)))
                .with_entries(None),
        })
    }
}

/// Kafka's `ClientQuotaManager.describe`, as far as the filter itself goes.
fn check(components: &[ComponentData]) -> Result<(), (ErrorCode, String)> {
    let invalid = |message: &str| Err((ErrorCode::InvalidRequest, message.to_owned()));
    for component in components {
        match (component.match_type, &component._match) {
            (MATCH_EXACT, None) => {
                return invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null.",
                );
            }
            (MATCH_DEFAULT, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
                );
            }
            (MATCH_ANY, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
                );
            }
            (MATCH_EXACT | MATCH_DEFAULT | MATCH_ANY, _) => {}
            (other, _) => return invalid(&format!("Unknown match type {other}")),
        }
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for component in components {
        let entity: &str = &component.entity_type;
        match entity {
            "" => return invalid("Invalid empty entity type."),
            "user" | "client-id" | "ip" => {}
            other => {
                let message = format!("Unsupported entity type {other}");
                return Err((ErrorCode::UnsupportedVersion, message));
            }
        }
        if !seen.insert(entity) {
            return invalid(&format!(
                "Entity type {entity} cannot appear more than once in the filter."
            ));
        }
    }
    if seen.contains("ip") && seen.len() > 1 {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.",
        );
    }
    Ok(())
}
