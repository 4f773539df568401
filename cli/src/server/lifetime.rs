//! When a server ends: signals, and the end of its parent.
//!
//! Owns: SIGTERM, SIGINT, `--exit-with-parent` and the limit of open files. Never: drains (the
//! broker does). Invariant: without `--exit-with-parent` stdin is never read.

use std::fmt;
use std::io;
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use rustix::process::{Pid, Resource, Rlimit, getppid, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How often the parent is looked at when there is no pipe to it.
const PARENT_EVERY: Duration = Duration::from_millis(250);

/// Why the server stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    Terminated,
    Interrupted,
    ParentGone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminated => "SIGTERM",
            Self::Interrupted => "SIGINT",
            Self::ParentGone => "the parent process is gone",
        })
    }
}

/// The process that started this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parent(Option<Pid>);

impl Parent {
    pub(super) fn current() -> Self {
        Self(getppid())
    }

    fn gone(self) -> bool {
        getppid() != self.0
    }
}

#[derive(Debug)]
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    parent: Option<Parent>,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Stop {
    /// Begins to listen; to be called before anything that takes time.
    pub(super) fn listen(parent: Option<Parent>) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            parent,
            stdin: parent.and_then(|_| watch_stdin()),
        })
    }

    /// Waits for the first reason to stop. May be dropped and called again: no reason is lost.
    pub(super) async fn first(&mut self) -> Reason {
        let Self { terminate, interrupt, parent, stdin } = self;
        tokio::select! {
            _ = terminate.recv() => Reason::Terminated,
            _ = interrupt.recv() => Reason::Interrupted,
            () = parent_ends(*parent, stdin) => Reason::ParentGone,
        }
    }

    /// Waits for a signal.
    pub(super) async fn next(&mut self) -> Reason {
        tokio::select! {
            _ = self.terminate.recv() => Reason::Terminated,
            _ = self.interrupt.recv() => Reason::Interrupted,
        }
    }
}

async fn parent_ends(parent: Option<Parent>, stdin: &mut Option<oneshot::Receiver<()>>) {
    let Some(parent) = parent else { return std::future::pending().await };
    let closed = async {
        match stdin {
            Some(closed) => {
                closed.await.ok();
            }
            None => std::future::pending().await,
        }
    };
    let orphaned = async {
        let mut ticks = tokio::time::interval(PARENT_EVERY);
        while !parent.gone() {
            ticks.tick().await;
        }
    };
    tokio::select! {
        () = closed => {}
        () = orphaned => {}
    }
}

/// Tells when a pipe on stdin is closed. A file, a terminal or `/dev/null` says nothing about the
/// parent.
fn watch_stdin() -> Option<oneshot::Receiver<()>> {
    let stat = fstat(io::stdin()).ok()?;
    if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket) {
        return None;
    }
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // An error ends the pipe as well.
        io::copy(&mut io::stdin().lock(), &mut io::sink()).ok();
        sender.send(()).ok();
    });
    Some(receiver)
}

/// Raises the soft limit of open files to the hard one: logs and connections need many.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_parent_is_there() {
        assert!(!Parent::current().gone());
        assert!(Parent(None).gone(), "a test always has a parent");
    }
}
