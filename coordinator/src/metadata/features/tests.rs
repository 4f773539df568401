//! UpdateFeatures: every refusal of Kafka 4.3.

use ottla_protocol::error_code::ErrorCode;

use super::*;
use crate::metadata::testing::{Cluster, seen};

fn check(feature: &str, level: i16, upgrade: i8, expected: &str) {
    let mut cluster = Cluster::of(1);
    let updates = vec![FeatureUpdate { feature: feature.into(), level, upgrade: upgrade.into() }];
    let from = cluster.log.len();
    let (code, message) =
        seen(cluster.run(UpdateFeatures { updates, validation: Validation::AndApply }));
    let prefix = "The update failed for all features since the following feature had an error: ";
    if expected.is_empty() {
        assert_eq!((code, message.as_str()), (ErrorCode::None, ""), "{feature} {level} {upgrade}");
    } else {
        assert_eq!(code, ErrorCode::InvalidUpdateVersion);
        assert_eq!(message, format!("{prefix}{expected}"));
        assert_eq!(cluster.log.len(), from);
    }
}

#[test]
fn updates_are_checked_as_kafka_does() {
    check("eligible.leader.replicas.version", 1, 1, "");
    check("eligible.leader.replicas.version", 0, 2, "");
    check("eligible.leader.replicas.version", 1, 2, "");
    check("metadata.version", 30, 1, "");
    check(
        "foo",
        1,
        1,
        "Invalid update version 1 for feature foo. Local controller 1 does not support this feature.",
    );
    check(
        "eligible.leader.replicas.version",
        9,
        1,
        "Invalid update version 9 for feature eligible.leader.replicas.version. Local controller 1 only supports versions 0-1",
    );
    check(
        "eligible.leader.replicas.version",
        0,
        1,
        "Invalid update version 0 for feature eligible.leader.replicas.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
    );
    check(
        "eligible.leader.replicas.version",
        0,
        9,
        "Invalid update version 0 for feature eligible.leader.replicas.version. The controller does not support the given upgrade type.",
    );
    check(
        "eligible.leader.replicas.version",
        -1,
        2,
        "Invalid update version -1 for feature eligible.leader.replicas.version. A feature version cannot be less than 0.",
    );
    check(
        "group.version",
        1,
        1,
        "Invalid update version 1 for feature group.version. Local controller 1 does not support this feature.",
    );
    check(
        "metadata.version",
        29,
        2,
        "Unsupported metadata.version downgrade from 30 to 29. Refusing to perform the requested downgrade because it might delete metadata information.",
    );
    check(
        "metadata.version",
        7,
        3,
        "Unsupported metadata.version downgrade from 30 to 7. Unsafe metadata downgrade is not supported in this version.",
    );
}

#[test]
fn one_bad_update_stops_all() {
    let mut cluster = Cluster::of(1);
    let update =
        |feature: &str, level, upgrade| FeatureUpdate { feature: feature.into(), level, upgrade };
    let updates = vec![
        update("eligible.leader.replicas.version", 0, UpgradeType::SafeDowngrade),
        update("foo", 1, UpgradeType::Upgrade),
    ];
    assert!(cluster.run(UpdateFeatures { updates, validation: Validation::AndApply }).is_err());
    assert_eq!(cluster.image.feature_level("eligible.leader.replicas.version"), 1);
    let updates = vec![update("eligible.leader.replicas.version", 0, UpgradeType::SafeDowngrade)];
    let only = UpdateFeatures { updates: updates.clone(), validation: Validation::Only };
    assert_eq!(cluster.run(only), Ok(vec!["eligible.leader.replicas.version".to_owned()]));
    assert_eq!(cluster.image.feature_level("eligible.leader.replicas.version"), 1);
    cluster.run(UpdateFeatures { updates, validation: Validation::AndApply }).unwrap();
    assert_eq!(cluster.image.feature_level("eligible.leader.replicas.version"), 0);
    cluster.check_replay();
}
