//! Why a key that Kafka knows has no effect here: one sentence for each kind of reason.
//!
//! Owns: these sentences. Never: decides which key has which (the tables do).

pub(super) const CLEANER_BUFFERS: &str = "compaction sizes its own buffers.";
pub(super) const CLIENT_METRICS: &str = "client metrics (KIP-714) are not collected yet.";
pub(super) const CONSUMER_GROUPS: &str =
    "the consumer group protocol of KIP-848 is not served yet.";
pub(super) const COORDINATOR_BATCHING: &str =
    "coordinators batch by themselves and load with a bounded buffer.";
pub(crate) const JAVA_CLASSES: &str = "Ottla runs no Java classes.";
pub(super) const LOG_DIR_HANDLING: &str =
    "a log directory that fails is taken offline at once, and none can be cordoned.";
pub(super) const METADATA_LOG: &str = "the metadata log is small and managed by Ottla itself.";
pub(super) const METRICS: &str =
    "metrics are counters read over HTTP; there are no sample windows.";
pub(super) const OFFSETS_CODEC: &str = "offsets are stored uncompressed.";
pub(super) const PREALLOCATE: &str =
    "preallocated segments made no measurable difference, so files grow as they are written.";
pub(super) const PURGATORY: &str = "waiting requests are removed as soon as they are done.";
pub(super) const QUOTAS: &str = "quotas and throttles are not enforced yet.";
pub(crate) const SECURITY: &str = "authentication and authorisation are not served yet.";
pub(super) const SHARE_GROUPS: &str = "share groups (KIP-932) are not served yet.";
pub(super) const SINGLE_NODE: &str = "this release runs one node, which has no peers to wait for.";
pub(super) const STREAMS_GROUPS: &str = "streams groups (KIP-1071) are not served yet.";
pub(super) const THREADS: &str = "the work is spread over all cores by itself.";
pub(super) const TIERED_STORAGE: &str = "tiered storage is not served.";
pub(super) const TLS: &str = "TLS listeners are not served yet.";
pub(super) const TRANSACTIONS: &str = "transactions are not served yet.";
pub(super) const UNCLEAN_ELECTION: &str = "a replica that may lack acknowledged records never leads by itself; a person may ask for it with `ottla partition elect --unclean`.";
pub(super) const UNSTABLE: &str = "there are no unstable versions to switch on.";
