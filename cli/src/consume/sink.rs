//! Where consumed records go: stdout, in the chosen form.
//!
//! Owns: filters, the limit, `--last`, and a reader that went away. Never: fetches. Invariant: what
//! is not accepted by the filter is neither written nor counted.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use super::ConsumeArgs;
use crate::client::fetcher::Span;
use crate::client::offsets::Partition;
use crate::client::records::{Chunk, RecordView, Step};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Column, Format, Kind};
use crate::progress::Progress;
use crate::record::filter::RecordFilter;
use crate::record::format::RecordFormat;
use crate::record::json;

pub(super) const COLUMNS: &[Column] = &[
    Column::text("TOPIC", "topic"),
    Column::number("PARTITION", "partition"),
    Column::number("OFFSET", "offset"),
    Column::of("TIMESTAMP", "timestamp", Kind::Time),
    Column::text("KEY", "key"),
    Column::text("VALUE", "value"),
];

/// What comes after a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    More,
    Done,
    Interrupted,
}

#[derive(Debug)]
enum Form {
    Text(RecordFormat),
    JsonLines,
    Tsv,
}

/// A written record that waits until all partitions are read (`--last`).
type Held = (i64, i32, i64, Vec<u8>);

#[derive(Debug)]
pub(super) struct Sink {
    out: BufWriter<Stdout>,
    form: Form,
    filter: RecordFilter,
    left: Option<u64>,
    held: Option<(usize, Vec<Held>)>,
    progress: Option<Progress>,
    /// Offset after the last record that was written, by partition.
    positions: BTreeMap<Partition, i64>,
}

impl Sink {
    pub(super) fn open(context: &Context, args: &ConsumeArgs) -> Result<Self, Failure> {
        let form = match (&args.record_format, context.format) {
            (Some(format), _) => Form::Text(RecordFormat::parse(format).map_err(Failure::usage)?),
            (None, Format::Table | Format::Wide) => {
                Form::Text(RecordFormat::parse("%v\\n").map_err(Failure::usage)?)
            }
            (None, Format::Json) => Form::JsonLines,
            (None, Format::Tsv) => Form::Tsv,
            (None, Format::Yaml) => {
                return Err(Failure::usage("consume writes text, json or tsv, not yaml"));
            }
        };
        Ok(Self {
            out: BufWriter::with_capacity(256 << 10, io::stdout()),
            form,
            filter: args.filter()?,
            left: args.num,
            held: args.last.map(|last| (usize::try_from(last).unwrap_or(usize::MAX), Vec::new())),
            progress: None,
            positions: BTreeMap::new(),
        })
    }

    /// Prepares a progress line: only when stdout is not what the user looks at.
    pub(super) fn expect(&mut self, spans: &BTreeMap<Partition, Span>) {
        if io::stdout().is_terminal() {
            return;
        }
        let total: Option<i64> =
            spans.values().map(|span| Some((span.until? - span.from).max(0))).sum();
        if let Some(total) = total {
            self.progress = Some(Progress::new("consumed", u64::try_from(total).ok()));
        }
    }

    pub(super) fn positions(&self) -> &BTreeMap<Partition, i64> {
        &self.positions
    }

    /// Forgets positions of partitions that now belong to others.
    pub(super) fn clear_positions(&mut self) {
        self.positions.clear();
    }

    /// Writes the records of a chunk and flushes.
    pub(super) fn write(&mut self, chunk: &Chunk) -> Result<Flow, Failure> {
        if self.left == Some(0) {
            return Ok(Flow::Done);
        }
        let mut failed = None;
        let mut records = 0;
        let partition = (chunk.topic.to_string(), chunk.partition);
        let mut position = None;
        let step = chunk.visit(|record| {
            records += 1;
            if self.filter.accepts(record) {
                if let Err(error) = self.put(record) {
                    failed = Some(error);
                    return Step::Stop;
                }
                if let Some(left) = &mut self.left {
                    *left -= 1;
                }
            }
            position = Some(record.offset + 1);
            if self.left == Some(0) { Step::Stop } else { Step::Next }
        });
        let step = step.map_err(|damaged| {
            Failure::item(
                format!("{}-{}", damaged.topic, damaged.partition),
                "CORRUPT_MESSAGE",
                format!("the batch at offset {} is damaged: {}", damaged.offset, damaged.cause),
            )
        })?;
        let position = match step {
            Step::Next => Some(chunk.until.unwrap_or(i64::MAX).min(chunk.next_offset())),
            Step::Stop => position,
        };
        if let Some(progress) = &mut self.progress {
            progress.add(records, chunk.records.len() as u64);
        }
        if let Some(error) = failed.or_else(|| self.out.flush().err()) {
            return gone(&error);
        }
        if let Some(position) = position {
            self.positions.insert(partition, position);
        }
        Ok(if step == Step::Stop { Flow::Done } else { Flow::More })
    }

    fn put(&mut self, record: &RecordView<'_>) -> io::Result<()> {
        if let Some((_, held)) = &mut self.held {
            let mut bytes = Vec::new();
            render(&self.form, record, &mut bytes)?;
            held.push((record.timestamp, record.partition, record.offset, bytes));
            return Ok(());
        }
        render(&self.form, record, &mut self.out)
    }

    /// Writes what was held back.
    pub(super) fn finish(mut self) {
        self.progress = None;
        if let Some((count, mut held)) = self.held.take() {
            held.sort();
            let skipped = held.len().saturating_sub(count);
            for (.., bytes) in &held[skipped..] {
                // A reader that went away does not want the rest.
                if self.out.write_all(bytes).is_err() {
                    return;
                }
            }
        }
        self.out.flush().ok();
    }
}

/// A closed pipe is how `head` says that it has enough.
fn gone(error: &io::Error) -> Result<Flow, Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(Flow::Done);
    }
    Err(Failure::new("OUTPUT", format!("stdout cannot be written: {error}"), Exit::ItemFailed))
}

fn render(form: &Form, record: &RecordView<'_>, out: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Text(format) => format.write(record, out),
        Form::JsonLines => writeln!(out, "{}", json::line(record)),
        Form::Tsv => {
            write!(
                out,
                "{}\t{}\t{}\t{}\t",
                record.topic, record.partition, record.offset, record.timestamp
            )?;
            cell(record.key, out)?;
            out.write_all(b"\t")?;
            cell(record.value, out)?;
            out.write_all(b"\n")
        }
    }
}

fn cell(value: Option<&[u8]>, out: &mut impl Write) -> io::Result<()> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return out.write_all(b"-") };
    for byte in value {
        match byte {
            b'\t' => out.write_all(b"\\t")?,
            b'\n' => out.write_all(b"\\n")?,
            b'\\' => out.write_all(b"\\\\")?,
            byte => out.write_all(&[*byte])?,
        }
    }
    Ok(())
}
