//! `ottla consume TOPIC...`: records to stdout.
//!
//! Owns: the arguments, where each partition is read from and to, and the loop without a group.
//! Never: formats records (`sink`) or keeps membership (`member_loop`). Invariant: a record is
//! written once, and committed only after it was written.

mod member_loop;
mod sink;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;

use crate::client::Client;
use crate::client::fetcher::{Event, FetchSettings, Fetcher, OutOfRange, Span};
use crate::client::offsets::{self, EARLIEST, Isolation, LATEST, Partition};
use crate::context::{Context, warn};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::glob::Glob;
use crate::output::{Column, Report};
use crate::position::{self, Bounds, Position};
use crate::record::filter::RecordFilter;
use crate::select::{self, TopicPartitions};
use crate::settings::Settings;
use sink::{Flow, Sink};

pub(crate) const COLUMNS: &[Column] = sink::COLUMNS;

#[derive(Args, Debug)]
pub(crate) struct ConsumeArgs {
    /// TOPIC or TOPIC:PARTITIONS
    #[arg(required = true, value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    /// Where to begin and end: A, A..B or A:B of start, end, N, +N, -N, @TIME
    #[arg(long, short, value_name = "SPAN", allow_hyphen_values = true)]
    offset: Option<String>,
    /// How to write a record, such as '%p/%o %k %v\n'
    #[arg(long = "record-format", short = 'f', value_name = "FORMAT", allow_hyphen_values = true)]
    record_format: Option<String>,
    /// Stop after this many records
    #[arg(long, short, value_name = "COUNT")]
    num: Option<u64>,
    /// Stop at the end that each partition has now; begins at the start unless -o says otherwise
    #[arg(long, short = 'e')]
    exit_at_end: bool,
    /// The last COUNT records of all partitions together, in order of time
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["offset", "num", "group"])]
    last: Option<u64>,
    /// Join this consumer group and commit to it
    #[arg(long, short)]
    group: Option<String>,
    /// Only records whose key matches
    #[arg(long, value_name = "GLOB")]
    key: Option<String>,
    /// Only records whose value matches
    #[arg(long, value_name = "GLOB")]
    value: Option<String>,
    /// Only records with a header that matches; may be repeated
    #[arg(long, value_name = "NAME=GLOB")]
    header: Vec<String>,
    #[arg(long, value_enum)]
    isolation: Option<Isolation>,
}

impl ConsumeArgs {
    fn filter(&self) -> Result<RecordFilter, Failure> {
        let headers: Result<Vec<_>, String> =
            self.header.iter().map(|text| RecordFilter::header(text)).collect();
        Ok(RecordFilter {
            key: self.key.as_deref().map(Glob::new),
            value: self.value.as_deref().map(Glob::new),
            headers: headers.map_err(Failure::usage)?,
        })
    }
}

/// What is to be read, independent of a group.
#[derive(Clone, Debug)]
struct Plan {
    span: position::Span,
    exit_at_end: bool,
    fetch: FetchSettings,
}

pub(crate) async fn run(context: &Context, args: &ConsumeArgs) -> Result<Report, Failure> {
    let plan = plan(context, args)?;
    let mut sink = Sink::open(context, args)?;
    let wanted = TopicPartitions::parse_all(&args.topics)?;
    let client = context.client().await?;
    let names: Vec<String> = wanted.iter().map(|wanted| wanted.topic.clone()).collect();
    let selection = select::topics(&client, &names).await?;
    if let Some(failure) = selection.failures.into_iter().next() {
        return Err(failure);
    }
    let group = args.group.as_deref().or_else(|| context.settings.get("group.id"));
    let ended = if let Some(group) = group {
        if wanted.iter().any(|wanted| !wanted.partitions.is_empty()) {
            return Err(Failure::usage("a group divides the partitions itself: drop :PARTITIONS"));
        }
        let topics: Vec<String> = selection.topics.iter().map(|topic| topic.name.clone()).collect();
        let settings = member_loop::settings(&context.settings, group, topics)?;
        member_loop::run(&client, settings, &plan, &mut sink).await?
    } else {
        let partitions = select::partitions(&selection.topics, &wanted)?;
        let mut spans = spans(&client, &plan, &partitions).await?;
        if let Some(last) = args.last {
            keep_last(&client, &mut spans, last, plan.fetch.isolation).await?;
        }
        sink.expect(&spans);
        read(&client, &plan, spans, &mut sink).await?
    };
    sink.finish();
    let mut report = Report { command: "consume", text: Some(String::new()), ..Report::default() };
    if ended == Flow::Interrupted {
        report.errors.push(Failure::new("INTERRUPTED", "interrupted", Exit::Interrupted));
    }
    Ok(report)
}

fn plan(context: &Context, args: &ConsumeArgs) -> Result<Plan, Failure> {
    let clock = Context::clock();
    let span = match &args.offset {
        Some(text) => position::Span::parse(text, &clock).map_err(Failure::usage)?,
        None => position::Span { from: None, to: None },
    };
    let settings = &context.settings;
    let isolation = match (args.isolation, settings.get("isolation.level")) {
        (Some(isolation), _) => isolation,
        (None, None | Some("read_uncommitted")) => Isolation::ReadUncommitted,
        (None, Some("read_committed")) => Isolation::ReadCommitted,
        (None, Some(other)) => {
            return Err(Failure::usage(format!("isolation.level={other} is not known")));
        }
    };
    Ok(Plan {
        span,
        exit_at_end: args.exit_at_end || args.last.is_some(),
        fetch: FetchSettings {
            isolation,
            max_bytes: settings.bytes("fetch.max.bytes", 16 << 20)?,
            partition_max_bytes: settings.bytes("max.partition.fetch.bytes", 4 << 20)?,
            min_bytes: settings.bytes("fetch.min.bytes", 1)?,
            max_wait: settings.millis("fetch.max.wait.ms", 500)?,
            on_out_of_range: out_of_range(settings)?,
        },
    })
}

fn out_of_range(settings: &Settings) -> Result<OutOfRange, Failure> {
    match settings.get("auto.offset.reset") {
        None | Some("earliest" | "smallest" | "beginning") => Ok(OutOfRange::ToStart),
        Some("latest" | "largest" | "end") => Ok(OutOfRange::ToEnd),
        Some("none" | "error") => Ok(OutOfRange::Fail),
        Some(other) => Err(Failure::usage(format!(
            "auto.offset.reset={other}: write earliest, latest or none"
        ))),
    }
}

impl Plan {
    /// Where a partition without a committed offset is read from.
    fn default_start(&self) -> Position {
        let bounded = self.exit_at_end || self.span.to.is_some();
        self.span.from.unwrap_or(if bounded { Position::Start } else { Position::End })
    }

    /// The span of a partition with these bounds; `at` are the offsets at the two asked times.
    fn span(&self, bounds: Bounds, from: Position, at: (Option<i64>, Option<i64>)) -> Span {
        let start = from.resolve(Bounds { at_time: at.0, ..bounds });
        let asked = self.span.to.map(|to| match to {
            // The end may lie in the future: then it is waited for.
            Position::Offset(offset) => offset,
            to => to.resolve(Bounds { at_time: at.1, ..bounds }),
        });
        let until = match (asked, self.exit_at_end) {
            (Some(asked), true) => Some(asked.min(bounds.end)),
            (Some(asked), false) => Some(asked),
            (None, true) => Some(bounds.end),
            (None, false) => None,
        };
        Span { from: start, until }
    }
}

/// Turns places into offsets, by asking the leaders for bounds and times.
async fn spans(
    client: &Arc<Client>,
    plan: &Plan,
    partitions: &[Partition],
) -> Result<BTreeMap<Partition, Span>, Failure> {
    let ask = async |time: i64| {
        let questions: BTreeMap<Partition, i64> =
            partitions.iter().map(|partition| (partition.clone(), time)).collect();
        let answers = offsets::list(client, &questions, plan.fetch.isolation).await?;
        let mut offsets = BTreeMap::new();
        for (partition, answer) in answers {
            let found = answer.map_err(|code| Failure::partition(&partition, code))?;
            offsets.insert(partition, found.offset);
        }
        Ok::<_, Failure>(offsets)
    };
    let from = plan.default_start();
    let starts = ask(EARLIEST).await?;
    let ends = ask(LATEST).await?;
    let at = async |place: Option<Position>| match place.and_then(Position::time) {
        Some(time) => ask(time).await,
        None => Ok(BTreeMap::new()),
    };
    let (from_times, to_times) = (at(Some(from)).await?, at(plan.span.to).await?);
    let mut spans = BTreeMap::new();
    for partition in partitions {
        let of = |offsets: &BTreeMap<Partition, i64>| {
            offsets.get(partition).copied().filter(|offset| *offset >= 0)
        };
        let bounds =
            Bounds { start: of(&starts).unwrap_or(0), end: of(&ends).unwrap_or(0), at_time: None };
        let span = plan.span(bounds, from, (of(&from_times), of(&to_times)));
        spans.insert(partition.clone(), span);
    }
    Ok(spans)
}

/// Moves the starts so that only the last `count` offsets of each partition are read.
async fn keep_last(
    client: &Arc<Client>,
    spans: &mut BTreeMap<Partition, Span>,
    count: u64,
    isolation: Isolation,
) -> Result<(), Failure> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let questions = spans.keys().map(|partition| (partition.clone(), EARLIEST)).collect();
    let starts = offsets::list(client, &questions, isolation).await?;
    for (partition, span) in spans {
        let start = starts.get(partition).and_then(|answer| answer.as_ref().ok());
        let start = start.map_or(0, |found| found.offset);
        span.from = span.until.unwrap_or(start).saturating_sub(count).max(start);
    }
    Ok(())
}

/// Reads to the end, to the limit or until interrupted.
async fn read(
    client: &Arc<Client>,
    plan: &Plan,
    spans: BTreeMap<Partition, Span>,
    sink: &mut Sink,
) -> Result<Flow, Failure> {
    let mut fetcher = Fetcher::start(Arc::clone(client), plan.fetch, spans);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        let event = tokio::select! {
            event = fetcher.next() => event,
            _ = &mut interrupt => return Ok(Flow::Interrupted),
        };
        match event {
            None => return Ok(Flow::Done),
            Some(Ok(Event::Warning(text))) => warn(&text),
            Some(Ok(Event::Records(chunk))) => {
                if sink.write(&chunk)? == Flow::Done {
                    return Ok(Flow::Done);
                }
            }
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn plan_of(from: Option<Position>, to: Option<Position>, exit_at_end: bool) -> Plan {
        Plan {
            span: position::Span { from, to },
            exit_at_end,
            fetch: FetchSettings {
                isolation: Isolation::ReadUncommitted,
                max_bytes: 1,
                partition_max_bytes: 1,
                min_bytes: 1,
                max_wait: Duration::ZERO,
                on_out_of_range: OutOfRange::Fail,
            },
        }
    }

    #[test]
    fn spans_follow_from_places_and_bounds() {
        let bounds = Bounds { start: 10, end: 20, at_time: None };
        let span = |plan: &Plan| plan.span(bounds, plan.default_start(), (Some(13), Some(17)));
        let tail = plan_of(None, None, false);
        assert_eq!(span(&tail), Span { from: 20, until: None });
        let all = plan_of(None, None, true);
        assert_eq!(span(&all), Span { from: 10, until: Some(20) });
        let some = plan_of(Some(Position::Offset(12)), Some(Position::Offset(99)), false);
        assert_eq!(span(&some), Span { from: 12, until: Some(99) });
        let some = Plan { exit_at_end: true, ..some };
        assert_eq!(span(&some), Span { from: 12, until: Some(20) });
        let times = plan_of(Some(Position::Time(1)), Some(Position::Time(2)), false);
        assert_eq!(span(&times), Span { from: 13, until: Some(17) });
    }
}
