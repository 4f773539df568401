//! `ottla-simulation`: runs a seed, many seeds each in a process of its own, or checks a history.
//!
//! Owns: the command line, the seeds of clock and randomness of the process. Never: more than one run
//! in a process.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal and for CI"
)]

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ottla_replication::raft::defects::Defect;
use ottla_simulation::check;
use ottla_simulation::churn::Churn;
use ottla_simulation::disk::Survival;
use ottla_simulation::faults::Rhythm;
use ottla_simulation::history::{self, History};
use ottla_simulation::scenario::brokers::{self, Layout};
use ottla_simulation::scenario::{Outcome, Plan};
use ottla_simulation::workload::Repeats;
use ottla_simulation::world;
use ottla_storage::known_bugs::KnownBug;
use rand::SeedableRng as _;

const USAGE: &str = "\
usage: ottla-simulation run  <scenario> <seed> [options]
       ottla-simulation soak <scenario> <first seed> <seeds> [--jobs N] [options]
       ottla-simulation check <history.jsonl>
scenarios: single, holes, rot; cluster, torn, decay, restarts, churn,
           elections, members, repeats, absences
options: --millis N    how long faults go on, in simulated milliseconds
         --bug NAME    puts a known bug back
         --history F   writes the history as JSON lines
         --tell        prints events as they happen; with OTTLA_SIM_LOG=debug the product's log, too";

/// What a seed may take on a loaded machine; it needs a second or two.
const SPIN_LIMIT: Duration = Duration::from_secs(120);

/// The words after the positional ones.
#[derive(Clone, Debug, Default)]
struct Options {
    positional: Vec<String>,
    millis: Option<u64>,
    bug: Option<String>,
    history: Option<String>,
    jobs: usize,
    tell: bool,
}

fn options() -> Option<Options> {
    let mut options = Options { jobs: 2, ..Options::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--millis" => options.millis = Some(words.next()?.parse().ok()?),
            "--bug" => options.bug = Some(words.next()?),
            "--history" => options.history = Some(words.next()?),
            "--jobs" => options.jobs = words.next()?.parse().ok()?,
            "--tell" => options.tell = true,
            _ => options.positional.push(word),
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else { return usage() };
    let words: Vec<&str> = options.positional.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", scenario, seed] => match seed.parse() {
            Ok(seed) => run(scenario, seed, &options),
            Err(_) => usage(),
        },
        ["soak", scenario, first, seeds] => match (first.parse(), seeds.parse()) {
            (Ok(first), Ok(seeds)) => soak(scenario, (first, seeds), &options),
            _ => usage(),
        },
        ["check", path] => check(path),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn run(scenario: &str, seed: u64, options: &Options) -> ExitCode {
    if let Ok(level) = std::env::var("OTTLA_SIM_LOG") {
        let level = level.parse().unwrap_or(tracing::Level::INFO);
        let ansi = io::stderr().is_terminal();
        let log = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
        log.with_ansi(ansi).without_time().init();
    }
    if let Some(bug) = &options.bug
        && !put_back(bug)
    {
        eprintln!("no such bug: {bug}");
        return ExitCode::from(2);
    }
    world::keep_panics();
    mad_turmoil::rand::set_rng(rand::rngs::StdRng::seed_from_u64(seed));
    let clocks = mad_turmoil::time::SimClocksGuard::init();
    let history = if options.tell { History::telling() } else { History::default() };
    let plan = Plan { seed, millis: options.millis.unwrap_or(12_000), history };
    let outcome: Outcome = match scenario {
        "single" => brokers::run(&plan, Layout::of(1)),
        "holes" => brokers::run(&plan, Layout { survival: Survival::AnySubset, ..Layout::of(1) }),
        "rot" => brokers::run(&plan, Layout { groups: false, rot: true, ..Layout::of(1) }),
        "cluster" => brokers::run(&plan, Layout::of(3)),
        "torn" => brokers::run(&plan, Layout { survival: Survival::AnySubset, ..Layout::of(3) }),
        "decay" => brokers::run(&plan, Layout { rot: true, ..Layout::of(3) }),
        "restarts" => brokers::run(&plan, Layout { rhythm: Rhythm::Restarts, ..Layout::of(3) }),
        "churn" => brokers::run(
            &plan,
            Layout { churn: Churn::Replicas, survival: Survival::AnySubset, ..Layout::of(3) },
        ),
        "elections" => brokers::run(&plan, Layout { rhythm: Rhythm::Elections, ..Layout::of(3) }),
        "members" => {
            brokers::run(&plan, Layout { churn: Churn::ReplicasAndVoters, ..Layout::of(4) })
        }
        "repeats" => brokers::run(&plan, Layout { repeats: Repeats::Sometimes, ..Layout::of(3) }),
        "absences" => {
            brokers::run(&plan, Layout { rhythm: Rhythm::Absences, shrinks: true, ..Layout::of(3) })
        }
        _ => return usage(),
    };
    drop(clocks);
    if let Some(path) = &options.history
        && let Err(error) = File::create(path).and_then(|file| plan.history.write(file))
    {
        eprintln!("{path}: {error}");
    }
    println!("{outcome}");
    for violation in &outcome.violations {
        println!("  {violation}");
    }
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Puts a bug back where the product has a switch for it: in one replica's log, in a group, or both.
fn put_back(name: &str) -> bool {
    let in_a_group = match name {
        "ack-before-fsync" => Some(Defect::AckBeforeSync),
        "vote-not-synced" => Some(Defect::VoteNotSynced),
        "vote-overtakes" => Some(Defect::VoteOvertakes),
        "leader-restore" => Some(Defect::LeaderRestore),
        "recordless-not-synced" => Some(Defect::RecordlessNotSynced),
        "no-dedup" => Some(Defect::NoDedup),
        "truncate-on-bad-checksum" => Some(Defect::CutDamage),
        _ => None,
    };
    Defect::activate(in_a_group);
    let in_the_log = KnownBug::by_name(name);
    in_the_log.into_iter().for_each(KnownBug::put_back);
    in_a_group.is_some() || in_the_log.is_some()
}

/// What is summed up over seeds.
const COUNTED: [&str; 4] = ["faults=", "crashes=", "shipped=", "acknowledged="];

/// Each seed in a process of its own; tells failures with the command that replays them.
fn soak(scenario: &str, (first, seeds): (u64, u64), options: &Options) -> ExitCode {
    let Ok(program) = std::env::current_exe() else { return ExitCode::from(2) };
    let next = AtomicU64::new(first);
    let sums = Mutex::new((0_u64, 0_u64, [0_u64; 4]));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let mut command = Command::new(&program);
                    command.args(["run", scenario, &seed.to_string()]).stderr(Stdio::null());
                    let mut words = format!("run {scenario} {seed}");
                    if let Some(millis) = options.millis {
                        command.args(["--millis", &millis.to_string()]);
                        words.push_str(&format!(" --millis {millis}"));
                    }
                    if let Some(bug) = &options.bug {
                        command.args(["--bug", bug]);
                        words.push_str(&format!(" --bug {bug}"));
                    }
                    let Ok(output) = limited(&mut command) else { return };
                    let text = String::from_utf8_lossy(&output.stdout);
                    let Ok(mut sums) = sums.lock() else { return };
                    sums.0 += 1;
                    for (sum, name) in sums.2.iter_mut().zip(COUNTED) {
                        *sum += number(&text, name);
                    }
                    if !output.status.success() {
                        sums.1 += 1;
                        println!(
                            "FAILED {}\n{text}replay: {} {words}",
                            output.status,
                            program.display()
                        );
                    }
                }
            });
        }
    });
    let Ok((runs, failed, [faults, crashes, shipped, acknowledged])) = sums.into_inner() else {
        return ExitCode::FAILURE;
    };
    println!(
        "{scenario}: {runs} seeds, {failed} failed; {faults} faults, {crashes} crashes, {shipped} logs \
         shipped, {acknowledged} values acknowledged"
    );
    if failed == 0 && runs == seeds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a seed; one that spins without simulated time passing is ended and fails.
fn limited(command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > SPIN_LIMIT {
            child.kill()?;
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output()
}

/// The number behind a name in an outcome's line.
fn number(text: &str, name: &str) -> u64 {
    let word = text.split_whitespace().find_map(|word| word.strip_prefix(name));
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn check(path: &str) -> ExitCode {
    let read = File::open(path).and_then(|file| history::read(BufReader::new(file)));
    let events = match read {
        Ok(events) => events,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::from(2);
        }
    };
    let verdict = check::check(&events);
    println!("{} events, {:?}", events.len(), verdict.counts);
    for violation in &verdict.violations {
        println!("{violation}");
    }
    if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
