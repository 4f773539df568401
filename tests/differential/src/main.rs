//! `ottla-differential --a HOST:PORT --b HOST:PORT`: asks two brokers the same and compares what
//! they answer.
//!
//! Owns the command line and the printed report. Never starts a broker: `run` does.
//! Exit status 1 when an answer differs that is not in the list of intended differences.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ottla_differential::compare::{Intended, Report, compare};
use ottla_differential::scenario;
use ottla_differential::session::{Entry, Session};

/// Differences that are printed in full for each API.
const SHOWN: usize = 12;

struct Options {
    a: String,
    b: String,
    differences: PathBuf,
    only: Vec<String>,
    all: bool,
}

fn options() -> Result<Options> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/differences.json");
    let mut o = Options {
        a: String::new(),
        b: String::new(),
        differences: beside.into(),
        only: Vec::new(),
        all: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--a" => o.a = value()?,
            "--b" => o.b = value()?,
            "--differences" => o.differences = value()?.into(),
            "--only" => o.only.push(value()?),
            "--all" => o.all = true,
            other => {
                bail!("{other}: known are --a, --b, --differences FILE, --only SCENARIO, --all")
            }
        }
    }
    if o.a.is_empty() || o.b.is_empty() {
        bail!("--a HOST:PORT (the reference) and --b HOST:PORT are needed");
    }
    Ok(o)
}

fn transcript(address: &str, only: &[String]) -> (Vec<Entry>, Vec<String>) {
    let mut session = Session::new(address);
    let mut broken = Vec::new();
    for (name, run) in scenario::all() {
        if only.is_empty() || only.iter().any(|o| name.starts_with(o.as_str())) {
            session.begin(name);
            if let Err(e) = run(&mut session) {
                broken.push(format!("{address}: scenario {name} stopped: {e:#}"));
            }
        }
    }
    (session.transcript, broken)
}

fn main() -> Result<()> {
    let o = options()?;
    let list =
        std::fs::read(&o.differences).with_context(|| o.differences.display().to_string())?;
    let intended: Vec<Intended> =
        serde_json::from_slice(&list).context("the list of differences")?;
    let ((a, broken_a), (b, broken_b)) = std::thread::scope(|scope| {
        let a = scope.spawn(|| transcript(&o.a, &o.only));
        let b = scope.spawn(|| transcript(&o.b, &o.only));
        (a.join().expect("the first side"), b.join().expect("the second side"))
    });
    let report = compare(&a, &b, &intended);
    print(&report, &o);
    let broken = [broken_a, broken_b].concat();
    broken.iter().for_each(|line| say(line));
    let differ: usize = report.apis.values().map(|c| c.differ).sum();
    let same: usize = report.apis.values().map(|c| c.compared - c.differ).sum();
    let stale = if o.only.is_empty() { report.stale.len() } else { 0 };
    report
        .stale
        .iter()
        .take(stale)
        .for_each(|p| say(&format!("intended but not seen any more: {p}")));
    say(&format!("{same} passed, {} failed", differ + broken.len()));
    std::process::exit(i32::from(differ + broken.len() > 0));
}

fn print(report: &Report, o: &Options) {
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for d in report.differences.iter().filter(|d| d.reason.is_none()) {
        let api = d.place.split('/').next().unwrap_or_default();
        let count = shown.entry(api).or_default();
        *count += 1;
        if o.all || *count <= SHOWN {
            say(&format!("{} v{}\n    {}: {}\n    {}: {}", d.place, d.version, o.a, d.a, o.b, d.b));
        }
    }
    say(&format!(
        "{:<30} {:>10} {:>9} {:>8} {:>8}",
        "API", "versions", "compared", "intended", "differ"
    ));
    for (api, c) in &report.apis {
        let versions = c.versions.iter().filter(|v| **v >= 0);
        let range = match (versions.clone().min(), versions.max()) {
            (Some(first), Some(last)) => format!("{first}-{last}"),
            _ => "raw".to_owned(),
        };
        say(&format!("{api:<30} {range:>10} {:>9} {:>8} {:>8}", c.compared, c.intended, c.differ));
    }
}

#[allow(clippy::print_stdout, reason = "the report is the program's output")]
fn say(line: &str) {
    println!("{line}");
}
