//! Keys of topics, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, topic};
use crate::value::Kind::{Boolean, Double, Int, List, Long, String};

pub(super) const KEYS: &[ConfigKey] = &[
    topic("cleanup.policy", List)
        .default("delete")
        .each_of(&["compact", "delete"])
        .used("What happens to old segments: `delete`, `compact`, both, or nothing when empty."),
    topic("compression.gzip.level", Int)
        .default("-1")
        .gzip_level()
        .used("Level used when the broker itself compresses with gzip."),
    topic("compression.lz4.level", Int)
        .default("9")
        .between(1, 17)
        .used("Level used when the broker itself compresses with lz4."),
    topic("compression.type", String)
        .default("producer")
        .one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
        .used("Codec of stored batches; `producer` keeps what the producer chose."),
    topic("compression.zstd.level", Int)
        .default("3")
        .between(-131_072, 22)
        .used("Level used when the broker itself compresses with zstd."),
    topic("delete.retention.ms", Long)
        .default("86400000")
        .at_least(0)
        .used("How long a tombstone stays in a compacted topic."),
    topic("file.delete.delay.ms", Long)
        .default("60000")
        .at_least(0)
        .used("How long the file of a deleted segment stays."),
    topic("flush.messages", Long).default("9223372036854775807").at_least(1).used(
        "Records after which a partition is flushed; only matters with \
         `ottla.durability=page-cache`.",
    ),
    topic("flush.ms", Long).default("9223372036854775807").at_least(0).used(
        "Longest time a record stays unflushed; only matters with `ottla.durability=page- \
         cache`.",
    ),
    topic("follower.replication.throttled.replicas", List).default("").throttled_replicas().used(
        "Replicas to which `follower.replication.throttled.rate` applies while they catch up.",
    ),
    topic("index.interval.bytes", Int)
        .default("4096")
        .at_least(0)
        .used("Bytes of log between two entries of the offset index."),
    topic("internal.segment.bytes", Int)
        .internal()
        .used("Segment size without the lower bound of `segment.bytes`, for tests."),
    topic("leader.replication.throttled.replicas", List).default("").throttled_replicas().used(
        "Replicas to which `leader.replication.throttled.rate` applies while others catch up.",
    ),
    topic("local.retention.bytes", Long)
        .default("-2")
        .at_least(-2)
        .accepted(reason::TIERED_STORAGE),
    topic("local.retention.ms", Long).default("-2").at_least(-2).accepted(reason::TIERED_STORAGE),
    topic("max.compaction.lag.ms", Long)
        .default("9223372036854775807")
        .at_least(1)
        .used("A record older than this makes its log eligible for compaction."),
    topic("max.message.bytes", Int)
        .default("1048588")
        .at_least(0)
        .used("Largest record batch that this topic accepts."),
    topic("message.timestamp.after.max.ms", Long)
        .default("3600000")
        .at_least(0)
        .used("How far a record's time may lie in the future."),
    topic("message.timestamp.before.max.ms", Long)
        .default("9223372036854775807")
        .at_least(0)
        .used("How far a record's time may lie in the past."),
    topic("message.timestamp.type", String)
        .default("CreateTime")
        .one_of(&["CreateTime", "LogAppendTime"])
        .used(
            "Whose time a record carries: the producer's (`CreateTime`) or the broker's \
         (`LogAppendTime`).",
        ),
    topic("min.cleanable.dirty.ratio", Double)
        .default("0.5")
        .between(0, 1)
        .used("Share of a log that must be new since the last compaction before the next one."),
    topic("min.compaction.lag.ms", Long)
        .default("0")
        .at_least(0)
        .used("A record younger than this is not compacted."),
    topic("min.insync.replicas", Int)
        .default("1")
        .at_least(1)
        .used("Replicas that must hold a write with acks=all before it is acknowledged."),
    topic("preallocate", Boolean).default("false").accepted(reason::PREALLOCATE),
    topic("remote.log.copy.disable", Boolean).default("false").accepted(reason::TIERED_STORAGE),
    topic("remote.log.delete.on.disable", Boolean)
        .default("false")
        .accepted(reason::TIERED_STORAGE),
    topic("remote.storage.enable", Boolean).default("false").accepted(reason::TIERED_STORAGE),
    topic("retention.bytes", Long)
        .default("-1")
        .used("Bytes kept of each partition; -1 keeps all."),
    topic("retention.ms", Long)
        .default("604800000")
        .at_least(-1)
        .used("How long records are kept; -1 keeps them for ever."),
    topic("segment.bytes", Int)
        .default("1073741824")
        .at_least(1_048_576)
        .used("Size at which a new segment is started."),
    topic("segment.index.bytes", Int)
        .default("10485760")
        .at_least(4)
        .used("Largest offset index of one segment."),
    topic("segment.jitter.ms", Long)
        .default("0")
        .at_least(0)
        .used("Random time taken off `segment.ms`, so that partitions do not all roll at once."),
    topic("segment.ms", Long)
        .default("604800000")
        .at_least(1)
        .used("Longest record time that one segment spans."),
    topic("unclean.leader.election.enable", Boolean)
        .default("false")
        .accepted(reason::UNCLEAN_ELECTION),
];
