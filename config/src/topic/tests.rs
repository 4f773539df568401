//! Tests of topic configurations.

use super::*;
use crate::layers::ConfigLayers;

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn resolve(broker: &[(&str, &str)], topic: &[(&str, &str)]) -> Result<TopicConfig, ConfigError> {
    let broker = BrokerConfig::from_layers(&ConfigLayers::from_static(values(broker)))?;
    TopicConfig::resolve(&values(topic), &broker)
}

#[test]
fn defaults_are_kafkas_with_fsync() {
    let config = resolve(&[], &[]).unwrap();
    assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: false });
    assert_eq!(config.compression, CompressionType::Producer);
    assert_eq!(config.retention, Some(Duration::from_secs(7 * 24 * 3600)));
    assert_eq!(config.retention_bytes, None);
    assert_eq!(config.segment_bytes, ByteSize(1 << 30));
    assert_eq!(config.max_message_bytes, ByteSize(1_048_588));
    assert_eq!(config.flush_messages, None);
    assert_eq!(config.flush_interval, None);
    assert_eq!(config.message_timestamp_before_max, None);
    assert_eq!(config.message_timestamp_after_max, Some(Duration::from_secs(3600)));
    assert_eq!(config.durability, Durability::Fsync);
    assert_eq!(config.min_insync_replicas, 1);
}

#[test]
fn the_finest_unit_of_the_broker_wins() {
    for (broker, expected) in [
        (&[("log.retention.hours", "1")][..], Some(Duration::from_secs(3600))),
        (
            &[("log.retention.hours", "1"), ("log.retention.minutes", "2")],
            Some(Duration::from_secs(120)),
        ),
        (
            &[("log.retention.minutes", "2"), ("log.retention.ms", "3")],
            Some(Duration::from_millis(3)),
        ),
        (&[("log.retention.hours", "-5")], None),
    ] {
        assert_eq!(resolve(broker, &[]).unwrap().retention, expected, "{broker:?}");
    }
}

#[test]
fn overrides_win_over_the_broker() {
    let broker = [("ottla.durability", "page-cache"), ("log.segment.bytes", "2097152")];
    let config = resolve(&broker, &[("ottla.durability", "fsync"), ("segment.ms", "10")]).unwrap();
    assert_eq!(config.durability, Durability::Fsync);
    assert_eq!(config.segment_bytes, ByteSize(2 << 20));
    assert_eq!(config.segment_time, Duration::from_millis(10));
    assert_eq!(resolve(&broker, &[]).unwrap().durability, Durability::PageCache);
}

#[test]
fn compression_carries_its_level() {
    for (word, expected) in [
        ("gzip", CompressionType::Gzip { level: -1 }),
        ("zstd", CompressionType::Zstd { level: 7 }),
        ("lz4", CompressionType::Lz4 { level: 9 }),
        ("snappy", CompressionType::Snappy),
        ("uncompressed", CompressionType::Uncompressed),
    ] {
        let topic = [("compression.type", word), ("compression.zstd.level", "7")];
        assert_eq!(resolve(&[], &topic).unwrap().compression, expected);
    }
}

#[test]
fn empty_and_repeated_cleanup_policies_are_valid() {
    let policy = |text| resolve(&[], &[("cleanup.policy", text)]).unwrap().cleanup_policy;
    assert_eq!(policy(""), CleanupPolicy::default());
    assert_eq!(policy("compact,compact"), CleanupPolicy { delete: false, compact: true });
}

#[test]
fn refusals_are_in_kafkas_words() {
    for (name, text, sentence) in [
        ("no.such", "1", "Unknown topic config name: no.such"),
        (
            "retention.ms",
            "x",
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "segment.bytes",
            "1",
            "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576",
        ),
        ("min.compaction.lag.ms", "9223372036854775807", "ok"),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured \
             with remote log storage.",
        ),
    ] {
        let outcome = resolve(&[], &[(name, text)]);
        let text = outcome.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(text, sentence);
    }
    let lag = [("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")];
    assert_eq!(
        resolve(&[], &lag).unwrap_err().to_string(),
        "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)"
    );
}

#[test]
fn keys_without_effect_are_checked_as_well() {
    assert!(resolve(&[], &[("preallocate", "maybe")]).is_err());
    assert!(resolve(&[], &[("preallocate", "true")]).is_ok());
}

#[test]
fn compaction_limits_how_long_a_segment_stays_open() {
    let topic = [("cleanup.policy", "compact"), ("max.compaction.lag.ms", "9")];
    assert_eq!(resolve(&[], &topic).unwrap().segment_time_max(), Duration::from_millis(9));
    let topic = [("max.compaction.lag.ms", "9"), ("segment.ms", "11")];
    assert_eq!(resolve(&[], &topic).unwrap().segment_time_max(), Duration::from_millis(11));
}

#[test]
fn the_internal_segment_size_wins() {
    let topic = [("internal.segment.bytes", "1000"), ("segment.bytes", "2097152")];
    assert_eq!(resolve(&[], &topic).unwrap().segment_bytes, ByteSize(1000));
}
