//! `ottla bench e2e`: records written at a rate, and the time until a reader has them.
//!
//! Owns: one writer and one reader per broker, and the moment that travels in each record. Never:
//! batches: each record is a request of its own, so that what is measured is latency and not
//! waiting for company.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use kafka_protocol::messages::{FetchRequest, ProduceRequest, ProduceResponse};
use ottla_protocol::model::Timestamp;
use ottla_protocol::records::{BatchBuilder, BatchIter, Codec, Compression, NewRecord};
use tokio::task::JoinSet;

use super::fetch::Reader;
use super::link::{Frame, Link};
use super::pace::{GRACE, Pace, Window};
use super::produce::{Noise, accepted, request};
use super::tally::Tally;
use super::{Common, Site};
use crate::client::offsets::LATEST;
use crate::context::Context;
use crate::failure::Failure;

/// Nanoseconds since the load began, at the start of each value.
pub(super) const STAMP_BYTES: usize = 8;
/// The most requests under way: enough for any stall that is worth measuring.
const IN_FLIGHT: usize = 10_000;
const WAIT_MS: i32 = 100;
/// A record is read from a batch that was written here: it is not larger than what was asked for.
const EXPANDED_MAX: usize = 1 << 30;

#[derive(Args, Debug)]
pub(crate) struct E2eArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// Records per second
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
}

/// What writer and reader of one broker share.
#[derive(Debug, Default)]
struct Progress {
    acknowledged: AtomicU64,
    written: AtomicBool,
}

pub(super) async fn run(site: &Site, args: &E2eArgs, common: &Common) -> Result<Tally, Failure> {
    if args.rate.is_nan() || args.rate <= 0.0 {
        return Err(Failure::usage("--rate must be above 0"));
    }
    let ends = site.offsets(LATEST).await?;
    let mut pairs = Vec::new();
    for (leader, partitions) in site.by_leader()? {
        let positions: BTreeMap<i32, i64> =
            partitions.iter().filter_map(|p| Some((*p, *ends.get(p)?))).collect();
        let share = partitions.len() as f64 / site.topic.partitions.len() as f64;
        let write = Link::open::<ProduceRequest>(&site.client, leader).await?;
        let read = Link::open::<FetchRequest>(&site.client, leader).await?;
        pairs.push((write, read, positions, Pace::new(Some(args.rate), share, 1)));
    }
    let window = Window::now(common);
    let mut running = JoinSet::new();
    for (write_link, read_link, positions, pace) in pairs {
        let progress = Arc::new(Progress::default());
        let writer = Writer {
            link: write_link,
            topic: site.name().to_owned(),
            partitions: positions.keys().copied().collect(),
            value: Noise(1).bytes(common.size),
            progress: Arc::clone(&progress),
        };
        let reader = Reader::new(site.name(), positions);
        running.spawn_blocking(move || writer.run(pace, window));
        running.spawn_blocking(move || read(&read_link, reader, window, &progress));
    }
    super::collect(running).await
}

struct Writer {
    link: Link,
    topic: String,
    partitions: Vec<i32>,
    value: Vec<u8>,
    progress: Arc<Progress>,
}

impl Writer {
    /// Counts nothing: what arrives is what counts.
    fn run(self, pace: Pace, window: Window) -> Result<Tally, Failure> {
        let mut value = self.value.clone();
        let next = |number: u64, due: Instant| -> Result<Frame, Failure> {
            let stamp = due.saturating_duration_since(window.begin).as_nanos();
            let stamp = u64::try_from(stamp).unwrap_or(u64::MAX).to_be_bytes();
            value[..STAMP_BYTES].copy_from_slice(&stamp);
            let index = usize::try_from(number % self.partitions.len() as u64).unwrap_or(0);
            let batch = batch(&value)?;
            self.link.frame(&request(&self.topic, self.partitions[index], -1, &batch))
        };
        let answered = |response: ProduceResponse, _due: Instant| {
            accepted(&response)?;
            self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let done = self.link.pipeline::<ProduceRequest>(pace, window, IN_FLIGHT, next, answered);
        // Released after the last count, so that the reader sees all of it.
        self.progress.written.store(true, Ordering::Release);
        done.map(|()| Tally::default())
    }
}

fn batch(value: &[u8]) -> Result<Bytes, Failure> {
    let mut builder = BatchBuilder::new(Compression::new(Codec::None, None));
    let record =
        NewRecord { value: Some(value), ..NewRecord::at(Timestamp(Context::clock().now_ms)) };
    let built = builder.push(record).and_then(|()| builder.build());
    built.map_err(|error| Failure::usage(format!("--size {}: {error}", value.len())))
}

fn read(
    link: &Link,
    mut reader: Reader,
    window: Window,
    progress: &Progress,
) -> Result<Tally, Failure> {
    let (mut tally, mut arrived) = (Tally::default(), 0);
    loop {
        let written = progress.written.load(Ordering::Acquire);
        let missing = progress.acknowledged.load(Ordering::Relaxed).saturating_sub(arrived);
        if written && (missing == 0 || Instant::now() > window.until + GRACE * 2) {
            tally.lost = missing;
            return Ok(tally);
        }
        link.send(&link.frame(&reader.request(WAIT_MS))?)?;
        let response = link.receive::<FetchRequest>()?;
        let now = Instant::now();
        let requests = tally.requests + u64::from(window.counts(now));
        reader.take(response, |_, batches| {
            for batch in BatchIter::new(batches).map_while(Result::ok) {
                let Ok(records) = batch.records(EXPANDED_MAX) else { continue };
                for record in records.iter().map_while(Result::ok) {
                    arrived += 1;
                    let Some(due) = due(record.value, window.begin) else { continue };
                    // What was due in the window counts, however late it is.
                    if window.counts(due) {
                        tally.records += 1;
                        tally.bytes += batch.bytes().len() as u64;
                        tally.latency(now.saturating_duration_since(due));
                    }
                }
            }
        })?;
        tally.requests = requests;
    }
}

fn due(value: Option<&[u8]>, begin: Instant) -> Option<Instant> {
    let stamp = value?.first_chunk::<STAMP_BYTES>()?;
    begin.checked_add(Duration::from_nanos(u64::from_be_bytes(*stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_when_it_was_due() {
        let begin = Instant::now();
        let found = due(Some(&[0, 0, 0, 0, 0, 0, 1, 0, 9, 9]), begin);
        assert_eq!(found, Some(begin + Duration::from_nanos(256)));
        assert_eq!(due(Some(&[1]), begin), None, "another writer's record");
    }
}
