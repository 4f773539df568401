//! A progress line on stderr for work that takes longer than a second.
//!
//! Owns: when it appears and its form (a bar on a terminal, after a second; a line every five seconds
//! elsewhere), and that it is gone when the work ends. Never: writes to stdout.

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
    /// When it was told last, by the clock of whoever tells it.
    now: Instant,
    last_shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    /// Progress of `verb` ("consumed"), towards `total` records when that is known.
    pub(crate) fn new(verb: &'static str, total: Option<u64>) -> Self {
        Self::begun(verb, total, Instant::now())
    }

    fn begun(verb: &'static str, total: Option<u64>, started: Instant) -> Self {
        Self {
            verb,
            total,
            records: 0,
            bytes: 0,
            started,
            now: started,
            last_shown: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn add(&mut self, records: u64, bytes: u64) {
        self.add_at((records, bytes), Instant::now(), &mut std::io::stderr());
    }

    fn add_at(&mut self, (records, bytes): (u64, u64), now: Instant, to: &mut impl Write) {
        self.records += records;
        self.bytes += bytes;
        self.now = now;
        let quiet = if self.terminal { DRAW_EVERY } else { LINE_EVERY };
        let due = match self.last_shown {
            Some(last) => now.duration_since(last) >= quiet,
            None => now.duration_since(self.started) >= QUIET_FOR.max(quiet),
        };
        if due {
            self.last_shown = Some(now);
            self.show(to).ok();
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
        let seconds = self.now.duration_since(self.started).as_secs_f64().max(0.001);
        let bytes = |bytes: u64| units::bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
        if self.records == 0 && self.total.is_none() {
            // Whoever reads files tells of bytes alone.
            let rate = (self.bytes as f64 / seconds) as u64;
            return format!("{} {}, {}/s", self.verb, bytes(self.bytes), bytes(rate));
        }
        let rate = (self.records as f64 / seconds) as u64;
        let total = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        format!(
            "{} {}{total} records, {}, {rate} records/s",
            self.verb,
            self.records,
            bytes(self.bytes),
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
        let now = Instant::now();
        let mut progress = Progress::begun("produced", total, now);
        progress.now = now + started_ago;
        progress
    }

    impl Progress {
        /// As [`Progress::add`], at the time that the test has.
        fn add_now(&mut self, records: u64, bytes: u64) -> String {
            let mut shown = Vec::new();
            self.add_at((records, bytes), self.now, &mut shown);
            String::from_utf8(shown).unwrap()
        }
    }

    #[test]
    fn a_long_look_at_files_is_told_of_every_five_seconds() {
        let mut progress = after(Duration::ZERO, None);
        (progress.verb, progress.terminal) = ("verified", false);
        let begin = progress.now;
        // A tenth of a second for every MiB.
        let lines: Vec<(u64, String)> = (1..=120)
            .filter_map(|tenths| {
                progress.now = begin + Duration::from_millis(100 * tenths);
                let shown = progress.add_now(0, 1 << 20);
                (!shown.is_empty()).then_some((tenths, shown))
            })
            .collect();
        let told = |tenths: u64, text: &str| (tenths, format!("verified {text}\n"));
        assert_eq!(lines, [told(50, "50.0 MiB, 10.0 MiB/s"), told(100, "100.0 MiB, 10.0 MiB/s"),]);
    }

    #[test]
    fn a_terminal_sees_it_move() {
        let mut progress = after(Duration::ZERO, None);
        progress.terminal = true;
        let begin = progress.now;
        let shown = (1..=30).filter(|tenths| {
            progress.now = begin + Duration::from_millis(100 * tenths);
            !progress.add_now(1, 1).is_empty()
        });
        assert_eq!(shown.collect::<Vec<_>>(), (10..=30).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn short_work_shows_nothing() {
        let mut progress = after(Duration::ZERO, Some(10));
        assert_eq!(progress.add_now(5, 2048), "");
        assert!(progress.last_shown.is_none());
        assert!(progress.text().starts_with("produced 5 of 10 records, 2.0 KiB, "));
    }

    #[test]
    fn long_work_shows_how_far_it_is_wherever_it_is_shown() {
        let mut progress = after(Duration::from_secs(6), Some(10));
        assert!(!progress.add_now(5, 2048).is_empty());
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
        progress.add_now(12, 0);
        assert!(progress.line().starts_with(&format!("[{}] 100%", "#".repeat(30))));
        assert!(!after(Duration::ZERO, Some(0)).line().contains('['));
    }
}
