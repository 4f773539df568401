//! Flushes of one partition's log.
//!
//! Owns: what a flush thread calls back, and the high watermark's move when it is done. Never:
//! syncs. Invariant: a flush of a log that the partition has left (it moved to another directory)
//! changes nothing.

use std::io;
use std::sync::Weak;

use ottla_storage::LogError;
use ottla_storage::flush::{FlushJob, FlushTarget, FlushTicket};

use super::group::Rule;
use super::{Partition, State};

/// The log that a partition has now, to its flush thread.
#[derive(Debug)]
pub(super) struct LogFlush {
    partition: Weak<Partition>,
    ticket: FlushTicket,
}

impl LogFlush {
    pub(super) const fn new(partition: Weak<Partition>) -> Self {
        Self { partition, ticket: FlushTicket::new() }
    }

    fn is_of(&self, state: &State) -> bool {
        std::ptr::eq(&raw const *self, &raw const *state.flush)
    }
}

impl FlushTarget for LogFlush {
    fn ticket(&self) -> &FlushTicket {
        &self.ticket
    }

    fn begin(&self) -> FlushJob {
        let Some(partition) = self.partition.upgrade() else { return FlushJob::default() };
        let mut state = partition.state.lock();
        if !self.is_of(&state) {
            return FlushJob::default();
        }
        state.bytes_flushing = state.bytes_appended;
        match state.log.begin_flush() {
            Ok(job) => job,
            Err(error) => {
                tracing::error!(partition = %partition.name, %error, "flush did not begin");
                let job = FlushJob { up_to: state.log.flushed(), ..FlushJob::default() };
                // A full disk is waited out: the next append asks for a flush again, or upkeep does.
                partition.after(state, &error);
                job
            }
        }
    }

    fn complete(&self, job: FlushJob, result: io::Result<()>) {
        let Some(partition) = self.partition.upgrade() else { return };
        let mut state = partition.state.lock();
        if !self.is_of(&state) {
            return;
        }
        let completed = match result {
            Ok(()) => state.log.complete_flush(job.up_to),
            Err(error) => {
                state.log.fail_flush(&error);
                Err(LogError::Io {
                    action: "sync",
                    path: state.log.dir().to_path_buf(),
                    source: error,
                })
            }
        };
        match completed {
            Ok(()) => match state.rule.clone() {
                Rule::Solo => {
                    let bytes = state.bytes_flushing;
                    let woken = partition.advance(&mut state, job.up_to, bytes);
                    drop(state);
                    woken.tell();
                }
                Rule::Group(events) => {
                    let flushed = state.log.flushed();
                    drop(state);
                    if let Some(events) = events.upgrade() {
                        events.flushed(flushed);
                    }
                }
            },
            Err(error) => {
                tracing::error!(partition = %partition.name, %error, "flush failed");
                // Whatever the error: what lies past the last good flush is unknown for good.
                state.home.fail(&error.to_string());
                drop(state);
                partition.take_offline();
            }
        }
    }
}
