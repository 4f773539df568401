//! The three index files of a segment: offsets, timestamps, aborted transactions.
//!
//! Owns: their entries and searches. Never: decides whether an index can be trusted (the segment
//! does), or maps a file.

pub mod entries;
pub mod offset;
pub mod time;
pub mod transaction;

pub(crate) use entries::EntryFile;
pub use offset::OffsetEntry;
pub use time::TimeEntry;
pub use transaction::AbortedTxn;
