//! `ottla log find` and `ottla log export`.
//!
//! Owns: the query and the streams of records. Never: reads files itself. Invariant: what `export`
//! writes, `produce --format json` reads.

use std::ops::ControlFlow;

use clap::Args;
use ottla_protocol::model::{Offset, ProducerId, Timestamp, TopicPartition};
use ottla_storage::offline::records::{FoundRecord, Query, RecordItem, records};

use super::{Lines, PathArgs, failure, file_system, streamed, watch};
use crate::client::records::RecordView;
use crate::context::{Context, warn};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Report};
use crate::position;
use crate::position::Position;
use crate::progress::Progress;
use crate::record::format::RecordFormat;
use crate::record::json;

#[derive(Args, Debug)]
pub(crate) struct FindArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Offsets or times: 5, 5..9, @TIME, @TIME..@TIME
    #[arg(long, short, value_name = "SPAN")]
    offset: Option<String>,
    /// Records with exactly this key
    #[arg(long)]
    key: Option<String>,
    /// Records of this producer id
    #[arg(long)]
    producer: Option<i64>,
    /// How to write a record, as in `consume -f`
    #[arg(long = "record-format", short = 'f', allow_hyphen_values = true)]
    record_format: Option<String>,
    /// Stop after this many
    #[arg(long, short, value_name = "COUNT")]
    num: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Offsets or times: 5, 5..9, @TIME, @TIME..@TIME
    #[arg(long, short, value_name = "SPAN")]
    offset: Option<String>,
}

/// How records are written.
enum Form {
    Text(RecordFormat),
    Json,
}

pub(super) fn find(context: &Context, args: &FindArgs) -> Result<Report, Failure> {
    let mut query = query(args.offset.as_deref())?;
    query.key = args.key.as_ref().map(|key| key.clone().into_bytes());
    query.producer = args.producer.map(ProducerId);
    let form = match (&args.record_format, context.format) {
        (Some(format), _) => Form::Text(RecordFormat::parse(format).map_err(Failure::usage)?),
        (None, Format::Json) => Form::Json,
        (None, Format::Yaml | Format::Tsv) => return Err(only_lines("find")),
        (None, _) => {
            let format = RecordFormat::parse("%t-%p %o %d{iso} %k %v\\n");
            Form::Text(format.map_err(Failure::usage)?)
        }
    };
    stream("log find", &args.path, &query, &form, args.num)
}

pub(super) fn export(context: &Context, args: &ExportArgs) -> Result<Report, Failure> {
    if matches!(context.format, Format::Yaml | Format::Tsv) {
        return Err(only_lines("export"));
    }
    stream("log export", &args.path, &query(args.offset.as_deref())?, &Form::Json, None)
}

fn only_lines(verb: &str) -> Failure {
    Failure::usage(format!("log {verb} writes a line per record, as text or json"))
}

fn stream(
    command: &'static str,
    paths: &PathArgs,
    query: &Query,
    form: &Form,
    limit: Option<u64>,
) -> Result<Report, Failure> {
    let fs = file_system();
    let mut lines = Lines::open();
    let mut progress = Progress::new("read", None);
    let mut failures = Vec::new();
    let mut left = limit.unwrap_or(u64::MAX);
    for path in &paths.paths {
        let mut place: Option<TopicPartition> = None;
        let mut sink = |item: RecordItem| -> ControlFlow<()> {
            match item {
                RecordItem::Partition(partition) => place = partition,
                RecordItem::Finding(finding) => warn(&finding.to_string()),
                // A marker of a transaction is nobody's record.
                RecordItem::Record(record) if record.control.is_some() => {}
                RecordItem::Record(record) => {
                    if left == 0 {
                        return ControlFlow::Break(());
                    }
                    left -= 1;
                    let view = view(&record, place.as_ref());
                    return lines.write(|mut out| match form {
                        Form::Text(format) => format.write(&view, &mut out),
                        Form::Json => writeln!(out, "{}", json::line(&view)),
                    });
                }
            }
            ControlFlow::Continue(())
        };
        let walked = records(&fs, path, query, &mut sink, &mut watch(&mut progress));
        if lines.broken.is_some() || left == 0 {
            break;
        }
        if let Err(error) = walked {
            failures.push(failure(&error));
        }
    }
    drop(progress);
    lines.finish()?;
    if command == "log find" && limit.unwrap_or(u64::MAX) == left && failures.is_empty() {
        let message = "no record matches";
        failures.push(Failure::new("NOT_FOUND", message, Exit::ConditionNotMet));
    }
    Ok(streamed(command, failures))
}

fn view<'a>(record: &'a FoundRecord, place: Option<&'a TopicPartition>) -> RecordView<'a> {
    RecordView {
        topic: place.map_or("", |place| &place.topic),
        partition: place.map_or(0, |place| place.partition.0),
        offset: record.offset.0,
        timestamp: record.timestamp.0,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_deref()))
            .collect(),
    }
}

fn query(span: Option<&str>) -> Result<Query, Failure> {
    let mut query = Query::default();
    let Some(text) = span else { return Ok(query) };
    let span = position::Span::parse(text, &Context::clock()).map_err(Failure::usage)?;
    let relative = || {
        Failure::usage(format!("{text}: without a broker only offsets and @TIME have a meaning"))
    };
    match span.from {
        None | Some(Position::Start) => {}
        Some(Position::Offset(offset)) => query.from = Some(Offset(offset)),
        Some(Position::Time(time)) => query.from_time = Some(Timestamp(time)),
        Some(_) => return Err(relative()),
    }
    match span.to {
        // A single offset is that one record.
        None if !text.contains("..") => query.to = query.from.map(Offset::next),
        None | Some(Position::End) => {}
        Some(Position::Offset(offset)) => query.to = Some(Offset(offset)),
        Some(Position::Time(time)) => query.to_time = Some(Timestamp(time)),
        Some(_) => return Err(relative()),
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_become_queries() {
        let one = query(Some("5")).expect("an offset");
        assert_eq!((one.from, one.to), (Some(Offset(5)), Some(Offset(6))));
        let rest = query(Some("5..")).expect("a span");
        assert_eq!((rest.from, rest.to), (Some(Offset(5)), None));
        let times = query(Some("@1700000000..@1700000001")).expect("times");
        assert_eq!(times.from_time, Some(Timestamp(1_700_000_000_000)));
        assert_eq!(times.to_time, Some(Timestamp(1_700_000_001_000)));
        assert!(query(Some("-5")).is_err());
    }
}
