//! What a snapshot of a group holds.
//!
//! Owns: the content that is not in openraft's metadata. Never: how it travels.
//!
//! A snapshot of a partition says where the log goes on, not what was in it: what lies before is
//! deleted by retention, on this replica as on all others.

use ottla_protocol::model::Offset;

/// The content of a snapshot whose last entry ends at [`Self::next`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotContent {
    /// The offset of the first record after the snapshot's last entry: the receiver's log begins here.
    pub next: Offset,
    /// What may be read from; at or after `next`, or before it where a receiver has more.
    pub log_start: Offset,
}
