//! Keys of logs on disk and the defaults of topics, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Boolean, Double, Int, List, Long, String};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("compression.gzip.level", Int)
        .default("-1")
        .gzip_level()
        .cluster_wide()
        .used("Level used when the broker itself compresses with gzip."),
    broker("compression.lz4.level", Int)
        .default("9")
        .between(1, 17)
        .cluster_wide()
        .used("Level used when the broker itself compresses with lz4."),
    broker("compression.type", String)
        .default("producer")
        .one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
        .high()
        .cluster_wide()
        .used("Codec of stored batches; `producer` keeps what the producer chose."),
    broker("compression.zstd.level", Int)
        .default("3")
        .between(-131_072, 22)
        .cluster_wide()
        .used("Level used when the broker itself compresses with zstd."),
    broker("cordoned.log.dirs", List)
        .default("")
        .distinct()
        .per_broker()
        .accepted(reason::LOG_DIR_HANDLING),
    broker("log.cleaner.backoff.ms", Long)
        .default("15000")
        .at_least(0)
        .cluster_wide()
        .used("Pause of the compactor when nothing needs it."),
    broker("log.cleaner.dedupe.buffer.size", Long)
        .default("134217728")
        .cluster_wide()
        .used("Memory for the map of keys while compacting."),
    broker("log.cleaner.delete.retention.ms", Long)
        .default("86400000")
        .at_least(0)
        .cluster_wide()
        .used("How long a tombstone stays in a compacted topic."),
    broker("log.cleaner.enable", Boolean)
        .default("true")
        .used("Whether compacted topics are compacted."),
    broker("log.cleaner.io.buffer.load.factor", Double)
        .default("0.9")
        .cluster_wide()
        .accepted(reason::CLEANER_BUFFERS),
    broker("log.cleaner.io.buffer.size", Int)
        .default("524288")
        .at_least(0)
        .cluster_wide()
        .accepted(reason::CLEANER_BUFFERS),
    broker("log.cleaner.io.max.bytes.per.second", Double)
        .default("1.7976931348623157E308")
        .cluster_wide()
        .used("Most bytes that compaction reads and writes in a second."),
    broker("log.cleaner.max.compaction.lag.ms", Long)
        .default("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .used("A record older than this makes its log eligible for compaction."),
    broker("log.cleaner.min.cleanable.ratio", Double)
        .default("0.5")
        .between(0, 1)
        .cluster_wide()
        .used("Share of a log that must be new since the last compaction before the next one."),
    broker("log.cleaner.min.compaction.lag.ms", Long)
        .default("0")
        .at_least(0)
        .cluster_wide()
        .used("A record younger than this is not compacted."),
    broker("log.cleanup.policy", List)
        .default("delete")
        .each_of(&["compact", "delete"])
        .cluster_wide()
        .used("What happens to old segments: `delete`, `compact`, both, or nothing when empty."),
    broker("log.dir", List)
        .default("./data")
        .distinct()
        .high()
        .used("Directory that holds the partitions when `log.dirs` is not set."),
    broker("log.dir.failure.timeout.ms", Long)
        .default("30000")
        .at_least(1)
        .low()
        .accepted(reason::LOG_DIR_HANDLING),
    broker("log.dirs", List)
        .distinct()
        .high()
        .used("Directories that hold the partitions, separated by commas."),
    broker("log.flush.interval.messages", Long)
        .default("9223372036854775807")
        .at_least(1)
        .high()
        .cluster_wide()
        .used(
            "Records after which a partition is flushed; only matters with \
         `ottla.durability=page-cache`.",
        ),
    broker("log.flush.interval.ms", Long).high().cluster_wide().used(
        "Longest time a record stays unflushed; only matters with `ottla.durability=page- \
         cache`.",
    ),
    broker("log.flush.offset.checkpoint.interval.ms", Int)
        .default("60000")
        .at_least(0)
        .high()
        .used("How often recovery points are written down."),
    broker("log.flush.scheduler.interval.ms", Long)
        .default("9223372036854775807")
        .high()
        .used("Default of `log.flush.interval.ms`."),
    broker("log.flush.start.offset.checkpoint.interval.ms", Int)
        .default("60000")
        .at_least(0)
        .high()
        .used("How often log start offsets are written down."),
    broker("log.index.interval.bytes", Int)
        .default("4096")
        .at_least(0)
        .cluster_wide()
        .used("Bytes of log between two entries of the offset index."),
    broker("log.index.size.max.bytes", Int)
        .default("10485760")
        .at_least(4)
        .cluster_wide()
        .used("Largest offset index of one segment."),
    broker("log.initial.task.delay.ms", Long)
        .default("30000")
        .at_least(0)
        .low()
        .internal()
        .used("Pause after start before retention first runs."),
    broker("log.local.retention.bytes", Long)
        .default("-2")
        .at_least(-2)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("log.local.retention.ms", Long)
        .default("-2")
        .at_least(-2)
        .cluster_wide()
        .accepted(reason::TIERED_STORAGE),
    broker("log.message.timestamp.after.max.ms", Long)
        .default("3600000")
        .at_least(0)
        .cluster_wide()
        .used("How far a record's time may lie in the future."),
    broker("log.message.timestamp.before.max.ms", Long)
        .default("9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .used("How far a record's time may lie in the past."),
    broker("log.message.timestamp.type", String)
        .default("CreateTime")
        .one_of(&["CreateTime", "LogAppendTime"])
        .cluster_wide()
        .used(
            "Whose time a record carries: the producer's (`CreateTime`) or the broker's \
         (`LogAppendTime`).",
        ),
    broker("log.preallocate", Boolean)
        .default("false")
        .cluster_wide()
        .accepted(reason::PREALLOCATE),
    broker("log.retention.bytes", Long)
        .default("-1")
        .high()
        .cluster_wide()
        .used("Bytes kept of each partition; -1 keeps all."),
    broker("log.retention.check.interval.ms", Long)
        .default("300000")
        .at_least(1)
        .used("How often old segments are looked for."),
    broker("log.retention.hours", Int)
        .default("168")
        .high()
        .used("As `log.retention.ms`, in hours."),
    broker("log.retention.minutes", Int)
        .high()
        .used("As `log.retention.ms`, in minutes; unset means `log.retention.hours`."),
    broker("log.retention.ms", Long).high().cluster_wide().used(
        "How long records are kept; -1 keeps them for ever; unset means \
         `log.retention.minutes`.",
    ),
    broker("log.roll.hours", Int)
        .default("168")
        .at_least(1)
        .high()
        .used("As `log.roll.ms`, in hours."),
    broker("log.roll.jitter.hours", Int)
        .default("0")
        .at_least(0)
        .high()
        .used("As `log.roll.jitter.ms`, in hours."),
    broker("log.roll.jitter.ms", Long).high().cluster_wide().used(
        "Random time taken off `log.roll.ms`, so that partitions do not all roll at once; \
         unset means `log.roll.jitter.hours`.",
    ),
    broker("log.roll.ms", Long)
        .high()
        .cluster_wide()
        .used("Longest record time that one segment spans; unset means `log.roll.hours`."),
    broker("log.segment.bytes", Int)
        .default("1073741824")
        .at_least(1_048_576)
        .high()
        .cluster_wide()
        .used("Size at which a new segment is started."),
    broker("log.segment.delete.delay.ms", Long)
        .default("60000")
        .at_least(0)
        .high()
        .cluster_wide()
        .used("How long the file of a deleted segment stays."),
    broker("message.max.bytes", Int)
        .default("1048588")
        .at_least(0)
        .high()
        .cluster_wide()
        .used("Largest record batch that a topic accepts when it does not say itself."),
    broker("min.insync.replicas", Int)
        .default("1")
        .at_least(1)
        .high()
        .cluster_wide()
        .used("Replicas that must hold a write with acks=all before it is acknowledged."),
    broker("num.partitions", Int)
        .default("1")
        .at_least(1)
        .used("Partitions of a topic that is created without a number."),
];
