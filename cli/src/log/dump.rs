//! `ottla log dump`.
//!
//! Owns: the stream of items. Never: their forms (`items`).

use std::ops::ControlFlow;

use clap::Args;
use ottla_storage::offline::dump::{Depth, Item, dump};
use ottla_storage::offline::internal::InternalDecoder;

use super::items::{item_json, line};
use super::{Lines, PathArgs, failure, file_system, streamed, watch};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Format, Report};
use crate::progress::Progress;

#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Show the records of each batch, those of internal topics decoded
    #[arg(long, short)]
    records: bool,
}

pub(super) fn run(context: &Context, args: &DumpArgs) -> Result<Report, Failure> {
    if matches!(context.format, Format::Yaml | Format::Tsv) {
        return Err(Failure::usage("log dump writes text or json"));
    }
    let json = context.format == Format::Json;
    let depth = if args.records { Depth::Records } else { Depth::Batches };
    let fs = file_system();
    let decoder = InternalDecoder::new();
    let mut lines = Lines::open();
    let mut progress = Progress::new("read", None);
    let mut failures = Vec::new();
    for path in &args.path.paths {
        let mut topic: Option<String> = None;
        let mut sink = |item: Item| -> ControlFlow<()> {
            if let Item::Partition { partition, .. } = &item {
                topic = partition.as_ref().map(|partition| partition.topic.to_string());
            }
            let value = item_json(&item, topic.as_deref(), &decoder);
            lines.write(|out| {
                if json { writeln!(out, "{value}") } else { writeln!(out, "{}", line(&value)) }
            })
        };
        let walked = dump(&fs, path, depth, &mut sink, &mut watch(&mut progress));
        if lines.broken.is_some() {
            break;
        }
        if let Err(error) = walked {
            failures.push(failure(&error));
        }
    }
    drop(progress);
    lines.finish()?;
    Ok(streamed("log dump", failures))
}
