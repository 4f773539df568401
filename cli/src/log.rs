//! `ottla log`: what lies on a disk, ours or Apache Kafka's, while no broker runs or one does.
//!
//! Owns: arguments, dispatch and the streams to stdout. Never: decodes (storage's `offline` does),
//! writes or repairs. Invariant: read-only.

mod dump;
mod items;
mod records;
mod stat;
mod verify;

use std::io::{self, BufWriter, Stdout, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ottla_storage::fs::OsFileSystem;
use ottla_storage::offline::OfflineError;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Column, Report};
use crate::progress::Progress;

#[derive(Subcommand, Debug)]
pub(crate) enum LogCommand {
    /// Show what files hold: batches, records, index entries, producers, epochs
    Dump(dump::DumpArgs),
    /// Sum up partitions: batches, records, compression, times, producers
    Stat(PathArgs),
    /// Look for damage; exit code 3 when there is any
    Verify(PathArgs),
    /// Find records by offset, time, key or producer
    Find(records::FindArgs),
    /// Write records as JSON Lines that `produce --format json` reads
    Export(records::ExportArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PathArgs {
    /// Segments, indexes, snapshots, partition folders or data directories
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl LogCommand {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Dump(_) => "log dump",
            Self::Stat(_) => "log stat",
            Self::Verify(_) => "log verify",
            Self::Find(_) => "log find",
            Self::Export(_) => "log export",
        }
    }

    /// Streams have no columns.
    pub(crate) const fn columns(&self) -> &'static [Column] {
        match self {
            Self::Stat(_) => stat::COLUMNS,
            Self::Verify(_) => verify::COLUMNS,
            Self::Dump(_) | Self::Find(_) | Self::Export(_) => &[],
        }
    }

    pub(crate) fn run(&self, context: &Context) -> Result<Report, Failure> {
        match self {
            Self::Dump(args) => dump::run(context, args),
            Self::Stat(args) => stat::run(args),
            Self::Verify(args) => verify::run(args),
            Self::Find(args) => records::find(context, args),
            Self::Export(args) => records::export(context, args),
        }
    }
}

fn file_system() -> OsFileSystem {
    OsFileSystem::new()
}

/// A path that could not be examined.
fn failure(error: &OfflineError) -> Failure {
    Failure::new("UNREADABLE", error.to_string(), Exit::ItemFailed)
}

/// Tells a progress line how many bytes were read.
fn watch(progress: &mut Progress) -> impl FnMut(u64) -> ControlFlow<()> {
    |bytes| {
        progress.add(0, bytes);
        ControlFlow::Continue(())
    }
}

/// Stdout as a stream of lines; a reader that has enough ends it.
#[derive(Debug)]
struct Lines {
    out: BufWriter<Stdout>,
    broken: Option<io::Error>,
}

impl Lines {
    fn open() -> Self {
        Self { out: BufWriter::with_capacity(128 << 10, io::stdout()), broken: None }
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> ControlFlow<()> {
        match write(&mut self.out) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.broken = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn finish(mut self) -> Result<(), Failure> {
        let error = match self.broken.take() {
            Some(error) => Some(error),
            None => self.out.flush().err(),
        };
        match error {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
                "OUTPUT",
                format!("stdout cannot be written: {error}"),
                Exit::ItemFailed,
            )),
            _ => Ok(()),
        }
    }
}

/// The report of a stream: nothing but its failures.
fn streamed(command: &'static str, failures: Vec<Failure>) -> Report {
    let report = Report { command, text: Some(String::new()), ..Report::default() };
    report.with_errors(failures)
}
