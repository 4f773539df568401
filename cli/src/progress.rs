//! A progress line on stderr for work that takes longer than a second.
//!
//! Owns: when it appears (after a second), its form (a bar on a terminal, a line every five seconds
//! elsewhere) and that it is gone when the work ends. Never: writes to stdout.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::units;

const QUIET_FOR: Duration = Duration::from_secs(1);
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Progress {
    verb: &'static str,
    total: Option<u64>,
    records: u64,
    bytes: u64,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
    terminal: bool,
}

impl Progress {
    /// Progress of `verb` ("consumed"), towards `total` records when that is known.
    pub(crate) fn new(verb: &'static str, total: Option<u64>) -> Self {
        let now = Instant::now();
        Self {
            verb,
            total,
            records: 0,
            bytes: 0,
            started: now,
            last_line: now,
            bar: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn add(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
        if self.started.elapsed() < QUIET_FOR {
            return;
        }
        if self.terminal {
            let text = self.text();
            let bar = self.bar.get_or_insert_with(|| bar(self.total));
            bar.set_position(self.records);
            bar.set_message(text);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            writeln!(std::io::stderr(), "{}", self.text()).ok();
        }
    }

    fn text(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = (self.records as f64 / seconds) as u64;
        let total = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        format!(
            "{} {}{total} records, {}, {rate} records/s",
            self.verb,
            self.records,
            units::bytes(i64::try_from(self.bytes).unwrap_or(i64::MAX)),
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
    let template = if total.is_some() { "{bar:30} {percent}% {msg}" } else { "{spinner} {msg}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_work_shows_nothing() {
        let mut progress = Progress::new("produced", Some(10));
        progress.add(5, 2048);
        assert!(progress.bar.is_none());
        assert!(progress.text().starts_with("produced 5 of 10 records, 2.0 KiB, "));
    }
}
