//! The numbers of the links between brokers.
//!
//! Owns: intervals, deadlines and bounds, with their reasons. Never: a configuration key.

use std::time::Duration;

use crate::driver::ElectionSettings;
use crate::liveness::LivenessSettings;

/// The numbers; the default is for a data centre.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Between two heartbeats of a pair, in each direction. Eight in the time after which silence is
    /// suspected.
    pub heartbeat_every: Duration,
    pub liveness: LivenessSettings,
    pub elections: ElectionSettings,
    /// To connect and be answered. A lost SYN is sent again after one second.
    pub connect_timeout: Duration,
    /// Before the first attempt to connect again; doubles up to `reconnect_max`.
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
    /// A connection on which a heartbeat stays unanswered for this long is given up. Much longer than a
    /// suspicion: a peer that is only busy gets busier when all it was sent is sent again.
    pub silent_max: Duration,
    /// For the answer to an append. A disk may be slow; a peer that is gone is noticed by silence.
    pub append_timeout: Duration,
    /// For a vote that Raft gave no deadline.
    pub vote_timeout: Duration,
    /// The longest frame that is taken in; above the largest batch.
    pub frame_bytes_max: usize,
    /// Bytes of requests on one connection that are not answered yet, or not even written. Below
    /// `inflight_bytes_max`, so that the peer's reader never stands still: heartbeats come to it behind
    /// requests.
    pub queue_bytes_max: usize,
    /// Bytes of requests from one connection that are being carried out, from a peer that keeps to no
    /// bound of its own.
    pub inflight_bytes_max: usize,
    /// How long `inflight_bytes_max` may stay exhausted before the connection is given up.
    pub stall_max: Duration,
    /// Batches in one append; more are sent as several.
    pub append_bytes_max: usize,
    /// Appends of one group that are sent without an answer yet.
    pub append_window: usize,
    /// The same in bytes, after which no more is sent ahead: a group whose replica stands still leaves
    /// room for the others.
    pub append_window_bytes: usize,
    /// Snapshots and segments to one peer.
    pub bulk_bytes_per_second: u64,
    pub bulk_chunk_bytes: usize,
    /// A connection for snapshots that is not used for this long is closed.
    pub bulk_idle_max: Duration,
    /// A clock that is off by more is reported.
    pub clock_skew_max: Duration,
    /// Leaderships in one heartbeat; more follow in the next.
    pub news_max: usize,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            heartbeat_every: Duration::from_millis(125),
            liveness: LivenessSettings::default(),
            elections: ElectionSettings::default(),
            connect_timeout: Duration::from_secs(3),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(1),
            silent_max: Duration::from_secs(5),
            append_timeout: Duration::from_secs(5),
            vote_timeout: Duration::from_secs(1),
            frame_bytes_max: 512 << 20,
            queue_bytes_max: 32 << 20,
            inflight_bytes_max: 64 << 20,
            stall_max: Duration::from_secs(10),
            append_bytes_max: 2 << 20,
            append_window: 32,
            append_window_bytes: 4 << 20,
            bulk_bytes_per_second: 64 << 20,
            bulk_chunk_bytes: 256 << 10,
            bulk_idle_max: Duration::from_secs(30),
            clock_skew_max: Duration::from_secs(30),
            news_max: 2_000,
        }
    }
}
