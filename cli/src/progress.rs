//! A progress line on stderr for work that takes longer than a second.
//!
//! Owns: when it appears (after a second), its form (a bar on a terminal, a line every five seconds
//! elsewhere) and that it is gone when the work ends. Never: writes to stdout.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::units;

const QUIET_FOR: Duration = Duration::from_secs(1);
const LINE_EVERY: Duration = Duration::from_secs(5);
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Characters of the bar itself.
const BAR: usize = 30;
/// What a terminal that does not tell its width gets.
const COLUMNS: usize = 80;
/// Back to the first column, and everything after it gone.
const WIPE: &str = "\r\x1b[2K";

#[derive(Debug)]
pub(crate) struct Progress {
    verb: &'static str,
    total: Option<u64>,
    records: u64,
    bytes: u64,
    started: Instant,
    last_shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    /// Progress of `verb` ("consumed"), towards `total` records when that is known.
    pub(crate) fn new(verb: &'static str, total: Option<u64>) -> Self {
        Self {
            verb,
            total,
            records: 0,
            bytes: 0,
            started: Instant::now(),
            last_shown: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn add(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
        let quiet = if self.terminal { DRAW_EVERY } else { LINE_EVERY };
        let due = match self.last_shown {
            Some(last) => last.elapsed() >= quiet,
            None => self.started.elapsed() >= QUIET_FOR.max(quiet),
        };
        if due {
            self.last_shown = Some(Instant::now());
            self.show(&mut std::io::stderr()).ok();
        }
    }

    fn show(&self, to: &mut impl Write) -> io::Result<()> {
        if !self.terminal {
            return writeln!(to, "{}", self.text());
        }
        // A line that wraps cannot be wiped.
        let columns = rustix::termios::tcgetwinsize(std::io::stderr())
            .map_or(COLUMNS, |size| usize::from(size.ws_col));
        let line: String = self.line().chars().take(columns.saturating_sub(1)).collect();
        write!(to, "{WIPE}{line}")?;
        to.flush()
    }

    fn line(&self) -> String {
        let Some(total) = self.total.filter(|total| *total > 0) else {
            return self.text();
        };
        let done = self.records.min(total) as f64 / total as f64;
        let full = (done * BAR as f64) as usize;
        format!(
            "[{}{}] {:.0}% {}",
            "#".repeat(full),
            "-".repeat(BAR - full),
            done * 100.0,
            self.text()
        )
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
        if self.terminal && self.last_shown.is_some() {
            write!(std::io::stderr(), "{WIPE}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(started_ago: Duration, total: Option<u64>) -> Progress {
        let mut progress = Progress::new("produced", total);
        progress.started = Instant::now().checked_sub(started_ago).unwrap();
        progress
    }

    #[test]
    fn short_work_shows_nothing() {
        let mut progress = after(Duration::ZERO, Some(10));
        progress.add(5, 2048);
        assert!(progress.last_shown.is_none());
        assert!(progress.text().starts_with("produced 5 of 10 records, 2.0 KiB, "));
    }

    #[test]
    fn long_work_shows_how_far_it_is_wherever_it_is_shown() {
        let mut progress = after(Duration::from_secs(6), Some(10));
        progress.add(5, 2048);
        assert!(progress.last_shown.is_some());
        for (terminal, begin, end) in [(false, "produced 5 of 10", "records/s\n"), (true, WIPE, "")]
        {
            progress.terminal = terminal;
            let mut shown = Vec::new();
            progress.show(&mut shown).unwrap();
            let shown = String::from_utf8(shown).unwrap();
            assert!(shown.starts_with(begin) && shown.ends_with(end), "{shown:?}");
        }
        let half = format!("[{}{}] 50% produced 5 of 10 records", "#".repeat(15), "-".repeat(15));
        assert!(progress.line().starts_with(&half), "{}", progress.line());
    }

    #[test]
    fn more_than_was_announced_is_a_full_bar() {
        let mut progress = after(Duration::ZERO, Some(10));
        progress.add(12, 0);
        assert!(progress.line().starts_with(&format!("[{}] 100%", "#".repeat(30))));
        assert!(!after(Duration::ZERO, Some(0)).line().contains('['));
    }
}
