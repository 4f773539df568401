//! ApiVersions (key 18), versions 0-4.
//!
//! Behaviour: names every API of the table with the versions served, and from version 3 on the
//! features (KIP-584). A version that does not exist is answered in the layout of version 0 with
//! UNSUPPORTED_VERSION and the range of this API alone, so that a newer client can step down (KIP-511);
//! its body is not looked at. From version 3 on the client's software name and version must be well
//! formed.
//! Differences from Apache Kafka: only what is served is named, APIs as well as features.

use std::ops::RangeInclusive;

use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::Request;
use ottla_coordinator::metadata::SUPPORTED_FEATURES;
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;

/// From this version on the client names its software.
const SOFTWARE_FROM: i16 = 3;

#[derive(Debug)]
pub(crate) struct ApiVersions;

impl ApiHandler for ApiVersions {
    type Request = ApiVersionsRequest;
    const NAME: &'static str = "ApiVersions";
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(ctx: &RequestContext, request: ApiVersionsRequest) -> Reply<ApiVersionsResponse> {
        let well_formed = ctx.version < SOFTWARE_FROM
            || (is_software_text(&request.client_software_name)
                && is_software_text(&request.client_software_version));
        if !well_formed {
            let code = ErrorCode::InvalidRequest.code();
            return Reply::message(ApiVersionsResponse::default().with_error_code(code));
        }
        Reply::message(served(ctx))
    }
}

/// The answer to a version that does not exist, to be encoded as version 0.
pub(crate) fn unknown_version() -> ApiVersionsResponse {
    let own = range(ApiVersionsRequest::KEY, &ApiVersions::VERSIONS);
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(vec![own])
}

fn range(key: i16, versions: &RangeInclusive<i16>) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(key)
        .with_min_version(*versions.start())
        .with_max_version(*versions.end())
}

/// What this broker serves.
fn served(ctx: &RequestContext) -> ApiVersionsResponse {
    let keys = super::TABLE.iter().map(|entry| range(entry.key, &entry.versions)).collect();
    let image = ctx.services.metadata.image();
    let supported = SUPPORTED_FEATURES
        .iter()
        .map(|feature| {
            SupportedFeatureKey::default()
                .with_name(wire::text(feature.name))
                .with_min_version(feature.least)
                .with_max_version(feature.greatest)
        })
        .collect();
    let finalized = image
        .features()
        .iter()
        .filter(|(name, level)| **level > 0 && is_supported(name))
        .map(|(name, level)| {
            FinalizedFeatureKey::default()
                .with_name(wire::text(name))
                .with_min_version_level(*level)
                .with_max_version_level(*level)
        })
        .collect();
    ApiVersionsResponse::default()
        .with_api_keys(keys)
        .with_supported_features(supported)
        .with_finalized_features(finalized)
        .with_finalized_features_epoch(image.end().get())
}

/// A cluster that an earlier release formed may have finalized what this one does not serve.
fn is_supported(feature: &str) -> bool {
    SUPPORTED_FEATURES.iter().any(|supported| supported.name == feature)
}

/// KIP-511: letters, digits, and `-._` inside.
fn is_software_text(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_checked() {
        for good in ["librdkafka", "apache-kafka-java", "1.2.3", "a"] {
            assert!(is_software_text(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "\u{e9}"] {
            assert!(!is_software_text(bad), "{bad}");
        }
    }
}
