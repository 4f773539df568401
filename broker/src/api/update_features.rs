//! UpdateFeatures (key 57), versions 0-2.
//!
//! Behaviour: finalizes feature levels, all of the request or none (KIP-584, KIP-778). Versions 0 and 1
//! answer each feature, version 2 the request as a whole (KIP-1022).
//! Differences from Apache Kafka: none intended.

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_coordinator::metadata::{
    FeatureUpdate, UpdateFeatures as UpdateFeaturesCommand, UpgradeType, Validation,
};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext, Route};
use super::wire;

/// From this version on downgrades come in two kinds.
const UPGRADE_TYPE_FROM: i16 = 1;
/// From this version on there are no results by feature.
const NO_RESULTS_FROM: i16 = 2;

#[derive(Debug)]
pub(crate) struct UpdateFeatures;

impl ApiHandler for UpdateFeatures {
    type Request = UpdateFeaturesRequest;
    const NAME: &'static str = "UpdateFeatures";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;
    const ROUTE: Route = Route::Controller;

    fn handle(
        ctx: &RequestContext,
        request: UpdateFeaturesRequest,
    ) -> Reply<UpdateFeaturesResponse> {
        let (controller, version) = (ctx.controller(), ctx.version);
        let command = UpdateFeaturesCommand {
            updates: request.feature_updates.iter().map(|of| update(of, version)).collect(),
            validation: Validation::from_validate_only(request.validate_only),
        };
        Reply::staged(async move {
            let response = UpdateFeaturesResponse::default();
            match controller.submit(command).await {
                Ok(Ok(updated)) if version < NO_RESULTS_FROM => {
                    let none = ErrorCode::None.name();
                    let results = updated.iter().map(|feature| {
                        UpdatableFeatureResult::default()
                            .with_feature(wire::text(feature))
                            .with_error_message(Some(wire::text(none)))
                    });
                    response.with_error_message(None).with_results(results.collect())
                }
                Ok(Ok(_)) => response.with_error_message(None),
                Ok(Err(error)) => response
                    .with_error_code(error.code().code())
                    .with_error_message(wire::message(error.message())),
                Err(code) => response.with_error_code(code.code()),
            }
        })
    }
}

fn update(of: &FeatureUpdateKey, version: i16) -> FeatureUpdate {
    // Version 0's flag has no effect in Kafka 4: it only upgrades.
    let upgrade = if version >= UPGRADE_TYPE_FROM {
        UpgradeType::from(of.upgrade_type)
    } else {
        UpgradeType::Upgrade
    };
    FeatureUpdate { feature: of.feature.to_string(), level: of.max_version_level, upgrade }
}
