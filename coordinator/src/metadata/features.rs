//! Finalized feature levels (KIP-584).
//!
//! Owns: the features of this release with their ranges, and [`UpdateFeatures`] with the rules of
//! Kafka's `FeatureControlManager`. Never: says what a level changes. Invariant: a finalized level is
//! within the range of every registered broker.

use super::decide::{Command, DecideContext, Decision, Validation};
use super::error::ControllerError;
use super::image::MetadataImage;
use super::record::MetadataRecord;
use super::voters::KRAFT_VERSION;

/// A feature of this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    pub name: &'static str,
    pub least: i16,
    pub greatest: i16,
}

const fn feature(name: &'static str, least: i16, greatest: i16) -> SupportedFeature {
    SupportedFeature { name, least, greatest }
}

/// `metadata.version`, the level of everything that has no feature of its own.
pub const METADATA_VERSION: &str = "metadata.version";

/// The features of Kafka 4.3 that are served. A new cluster starts with the greatest level of each.
/// The others of Kafka's are each the sign of a protocol, and clients go by it (a producer with
/// `transaction.version` 2 sends other requests), so a feature comes with its protocol: `group.version`
/// with KIP-848, `share.version` with KIP-932, `streams.version` with KIP-1071, `transaction.version`
/// with transactions.
pub const SUPPORTED_FEATURES: [SupportedFeature; 3] = [
    feature("eligible.leader.replicas.version", 0, 1),
    // From 1 on the metadata log's voters may change (KIP-853).
    feature(KRAFT_VERSION, 0, 1),
    feature(METADATA_VERSION, 7, 30),
];

/// How far an update may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
    Unknown,
}

impl From<i8> for UpgradeType {
    fn from(code: i8) -> Self {
        match code {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

/// Finalizes feature levels (UpdateFeatures).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFeatures {
    pub updates: Vec<FeatureUpdate>,
    pub validation: Validation,
}

/// One feature's new level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    pub feature: String,
    pub level: i16,
    pub upgrade: UpgradeType,
}

/// The features that were updated, or why none was.
pub type UpdateFeaturesReply = Result<Vec<String>, ControllerError>;

impl Command for UpdateFeatures {
    type Reply = UpdateFeaturesReply;

    fn decide(
        self,
        image: &MetadataImage,
        context: &mut DecideContext<'_>,
    ) -> Decision<UpdateFeaturesReply> {
        let mut records = Vec::new();
        let mut updated = Vec::new();
        for update in self.updates {
            if let Err(error) = check(image, context, &update) {
                return Decision::answer(Err(error));
            }
            if image.feature_level(&update.feature) != update.level {
                records.push(MetadataRecord::Feature {
                    name: update.feature.clone(),
                    level: update.level,
                });
            }
            updated.push(update.feature);
        }
        Decision { records, reply: Ok(updated) }.validated(self.validation)
    }
}

fn check(
    image: &MetadataImage,
    context: &DecideContext<'_>,
    update: &FeatureUpdate,
) -> Result<(), ControllerError> {
    let FeatureUpdate { feature, level, upgrade } = update;
    let refuse = |cause: String| {
        Err(ControllerError::InvalidUpdateVersion {
            feature: feature.clone(),
            level: *level,
            cause,
        })
    };
    if *upgrade == UpgradeType::Unknown {
        return refuse("The controller does not support the given upgrade type.".to_owned());
    }
    if *level < 0 {
        return refuse("A feature version cannot be less than 0.".to_owned());
    }
    if let Some(cause) = unsupported(image, context, feature, *level) {
        return refuse(cause);
    }
    let current = image.feature_level(feature);
    if *level > current && *upgrade != UpgradeType::Upgrade {
        return refuse("Can't downgrade to a newer version.".to_owned());
    }
    if *level >= current {
        return Ok(());
    }
    if *upgrade == UpgradeType::Upgrade {
        return refuse(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.".to_owned(),
        );
    }
    if feature == KRAFT_VERSION {
        return refuse(format!("Can't downgrade {feature} from {current} to {level}."));
    }
    if feature == METADATA_VERSION {
        let cause = if *upgrade == UpgradeType::UnsafeDowngrade {
            "Unsafe metadata downgrade is not supported in this version."
        } else {
            "Refusing to perform the requested downgrade because it might delete metadata information."
        };
        return Err(ControllerError::InvalidMetadataVersion(format!(
            "Unsupported metadata.version downgrade from {current} to {level}. {cause}"
        )));
    }
    Ok(())
}

/// Why a level is not within reach of everybody, if so.
fn unsupported(
    image: &MetadataImage,
    context: &DecideContext<'_>,
    feature: &str,
    level: i16,
) -> Option<String> {
    let own = SUPPORTED_FEATURES.iter().find(|supported| supported.name == feature);
    let reason = |who: String, range: Option<(i16, i16)>| match range {
        None if level == 0 => None,
        None => Some(format!("{who} does not support this feature.")),
        Some((least, greatest)) if (least..=greatest).contains(&level) => None,
        Some((least, greatest)) => Some(format!("{who} only supports versions {least}-{greatest}")),
    };
    let local = format!("Local controller {}", context.settings.node_id);
    reason(local, own.map(|known| (known.least, known.greatest))).or_else(|| {
        image.brokers().find_map(|broker| {
            let registration = &broker.registration;
            let range = registration.features.get(feature).copied();
            reason(format!("Broker {}", registration.id), range)
        })
    })
}

#[cfg(test)]
mod tests;
