//! `consume --group`: read what the group gives us, commit what was written, leave in order.
//!
//! Owns: the loop of join, read, heartbeat, commit and rejoin. Never: divides partitions
//! (`member`). Invariant: a commit names only offsets whose records are on stdout.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::sink::{Flow, Sink};
use super::{Plan, spans};
use crate::client::Client;
use crate::client::error::ClientError;
use crate::client::fetcher::{Event, Fetcher};
use crate::client::groups::Committed;
use crate::client::member::{Member, MemberSettings, Standing};
use crate::client::offsets::Partition;
use crate::context::warn;
use crate::failure::Failure;
use crate::settings::Settings;

/// Before the coordinator is looked for again.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(super) struct LoopSettings {
    member: MemberSettings,
    heartbeat: Duration,
    /// `None`: never.
    commit: Option<Duration>,
}

pub(super) fn settings(
    settings: &Settings,
    group: &str,
    topics: Vec<String>,
) -> Result<LoopSettings, Failure> {
    let commits = settings.switch("enable.auto.commit")?.unwrap_or(true);
    let commit = settings.millis("auto.commit.interval.ms", 5_000)?;
    Ok(LoopSettings {
        member: MemberSettings {
            group: group.to_owned(),
            topics,
            instance: settings.get("group.instance.id").map(str::to_owned),
            session_timeout: settings.millis("session.timeout.ms", 45_000)?,
            rebalance_timeout: settings.millis("max.poll.interval.ms", 60_000)?,
        },
        heartbeat: settings.millis("heartbeat.interval.ms", 3_000)?.max(Duration::from_millis(1)),
        commit: commits.then_some(commit.max(Duration::from_millis(1))),
    })
}

/// Whether a member has something to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Occupation {
    Reads,
    Waits,
}

/// Why the reading of one assignment ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    Rejoin,
    End(Flow),
}

pub(super) async fn run(
    client: &Arc<Client>,
    settings: LoopSettings,
    plan: &Plan,
    sink: &mut Sink,
) -> Result<Flow, Failure> {
    let mut member = Member::new(Arc::clone(client), settings.member.clone());
    let mut interrupted = Box::pin(tokio::signal::ctrl_c());
    let mut trouble = Trouble::new(settings.member.session_timeout);
    loop {
        let joined = tokio::select! {
            joined = join(&mut member) => joined,
            _ = &mut interrupted => {
                member.leave().await.ok();
                return Ok(Flow::Interrupted);
            }
        };
        let (assigned, committed) = match joined {
            Ok(joined) => joined,
            // The coordinator died: its group has another one soon.
            Err(error) if error.retriable() && trouble.is_young() => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        trouble.is_over();
        sink.clear_positions();
        let mut fetcher = start(client, plan, &assigned, &committed).await?;
        let waits = assigned.is_empty() && !plan.exit_at_end;
        let occupation = if waits { Occupation::Waits } else { Occupation::Reads };
        let pause = tokio::select! {
            pause = read(&mut member, &settings, &mut fetcher, sink, occupation) => pause?,
            _ = &mut interrupted => Pause::End(Flow::Interrupted),
        };
        drop(fetcher);
        if settings.commit.is_some() {
            let standing = member.commit(sink.positions()).await;
            if let Err(error) = standing {
                warn(&format!("the last offsets could not be committed: {error}"));
            }
        }
        if let Pause::End(flow) = pause {
            // The session would end by itself; leaving only spares the others the wait.
            member.leave().await.ok();
            return Ok(flow);
        }
    }
}

/// Since when the coordinator cannot be reached.
#[derive(Debug)]
struct Trouble {
    since: Option<Instant>,
    /// After this the group has forgotten the member anyway.
    max: Duration,
}

impl Trouble {
    const fn new(max: Duration) -> Self {
        Self { since: None, max }
    }

    /// Notes that it is there; says whether to try again.
    fn is_young(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now).elapsed() < self.max
    }

    const fn is_over(&mut self) {
        self.since = None;
    }
}

/// Joins, and learns what the group has committed of the partitions that are this member's now.
async fn join(
    member: &mut Member,
) -> Result<(Vec<Partition>, BTreeMap<Partition, Committed>), ClientError> {
    let assigned = member.join().await?;
    let committed = if assigned.is_empty() { BTreeMap::new() } else { member.committed().await? };
    Ok((assigned, committed))
}

/// Reads `assigned` from the committed offsets, or where the plan says when there are none.
async fn start(
    client: &Arc<Client>,
    plan: &Plan,
    assigned: &[Partition],
    committed: &BTreeMap<Partition, Committed>,
) -> Result<Fetcher, Failure> {
    let mut spans = spans(client, plan, assigned).await?;
    for (partition, span) in &mut spans {
        if let Some(committed) = committed.get(partition) {
            span.from = committed.offset;
        }
    }
    Ok(Fetcher::start(Arc::clone(client), plan.fetch, spans))
}

async fn read(
    member: &mut Member,
    settings: &LoopSettings,
    fetcher: &mut Fetcher,
    sink: &mut Sink,
    occupation: Occupation,
) -> Result<Pause, Failure> {
    let mut heartbeat = every(settings.heartbeat);
    let mut commit = every(settings.commit.unwrap_or(Duration::from_secs(3600)));
    // A member without partitions waits for a rebalance, unless only what is there is wanted.
    let reading = occupation == Occupation::Reads;
    loop {
        tokio::select! {
            event = fetcher.next(), if reading => match event {
                None => return Ok(Pause::End(Flow::Done)),
                Some(Ok(Event::Warning(text))) => warn(&text),
                Some(Ok(Event::Records(chunk))) => {
                    if sink.write(&chunk)? == Flow::Done {
                        return Ok(Pause::End(Flow::Done));
                    }
                }
                Some(Err(error)) => return Err(error.into()),
            },
            _ = heartbeat.tick() => {
                if member.heartbeat().await? == Standing::Rejoin {
                    return Ok(Pause::Rejoin);
                }
            }
            _ = commit.tick(), if settings.commit.is_some() => {
                if member.commit(sink.positions()).await? == Standing::Rejoin {
                    return Ok(Pause::Rejoin);
                }
            }
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
