//! Where the server's logs go: stderr, as text on a terminal and as JSON elsewhere.
//!
//! Owns: the one subscriber of the process and its levels. Never: a file (that is the service
//! manager's). Invariant: stdout carries no log line.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::failure::Failure;

/// Starts logging at `levels` (`info`, or `warn,ottla_broker=debug`).
pub(super) fn start(levels: Option<&str>, default: &str) -> Result<(), Failure> {
    let mut text = levels.unwrap_or(default).to_owned();
    if !text.contains("openraft") {
        // What concerns an operator is said by the broker in its own words.
        text.push_str(",openraft=error");
    }
    let filter: Targets = text.parse().map_err(|_| {
        Failure::usage(format!("--log {text}: write a level, or TARGET=LEVEL,TARGET=LEVEL"))
            .fix("levels are off, error, warn, info, debug and trace")
    })?;
    let terminal = std::io::stderr().is_terminal();
    let layer = fmt::layer().with_writer(std::io::stderr);
    let layer = if terminal {
        layer.with_ansi(std::env::var_os("NO_COLOR").is_none()).boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    };
    // A subscriber that is there already was set by whoever embeds us; it stays.
    registry().with(layer.with_filter(filter)).try_init().ok();
    Ok(())
}
