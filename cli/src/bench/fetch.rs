//! `ottla bench consume`: a topic read from its start to its end, and again.
//!
//! Owns: positions and the counting of records by batch headers. Never: decompresses or looks into
//! a record: a consumer's own work is not the broker's.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::records::BatchIter;
use tokio::task::JoinSet;

use super::link::Link;
use super::pace::Window;
use super::tally::Tally;
use super::{Common, Site};
use crate::client::offsets::{self, EARLIEST, Isolation, LATEST};
use crate::client::text;
use crate::failure::Failure;

/// Kafka's defaults of `fetch.max.bytes`, `max.partition.fetch.bytes` and `fetch.max.wait.ms`.
const FETCH_BYTES: i32 = 50 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
const WAIT_MS: i32 = 500;

#[derive(Args, Debug)]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// Records to fill the bench's own topic with
    #[arg(long, default_value_t = 500_000)]
    pub(super) records: u64,
    /// Connections per broker, each of which reads everything
    #[arg(long, default_value_t = 1)]
    clients: usize,
}

/// Where one connection reads.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    topic: String,
    /// By partition: the offset to read next.
    pub(super) positions: BTreeMap<i32, i64>,
}

pub(super) async fn run(
    site: &Site,
    args: &ConsumeArgs,
    common: &Common,
) -> Result<Tally, Failure> {
    if args.clients == 0 {
        return Err(Failure::usage("--clients must be above 0"));
    }
    let (starts, ends) = (site.offsets(EARLIEST).await?, site.offsets(LATEST).await?);
    if starts == ends {
        return Err(Failure::item(site.name(), "EMPTY", "there is nothing in it to read")
            .fix("fill it with `ottla bench produce --topic`, or leave --topic out"));
    }
    let mut links = Vec::new();
    for (leader, partitions) in site.by_leader()? {
        let mine = |all: &BTreeMap<i32, i64>| -> BTreeMap<i32, i64> {
            partitions.iter().filter_map(|p| Some((*p, *all.get(p)?))).collect()
        };
        for _ in 0..args.clients {
            let link = Link::open::<FetchRequest>(&site.client, leader).await?;
            links.push((link, mine(&starts), mine(&ends)));
        }
    }
    let window = Window::now(common);
    let mut running = JoinSet::new();
    for (link, starts, ends) in links {
        let topic = site.name().to_owned();
        running.spawn_blocking(move || read(&link, topic, &starts, &ends, window));
    }
    super::collect(running).await
}

fn read(
    link: &Link,
    topic: String,
    starts: &BTreeMap<i32, i64>,
    ends: &BTreeMap<i32, i64>,
    window: Window,
) -> Result<Tally, Failure> {
    let (mut tally, mut reader) = (Tally::default(), Reader { topic, positions: starts.clone() });
    while !window.is_over() {
        let began = Instant::now();
        link.send(&link.frame(&reader.request(WAIT_MS))?)?;
        let response = link.receive::<FetchRequest>()?;
        let mut found = Tally::default();
        found.requests = 1;
        reader.take(response, |_, batches| {
            for batch in BatchIter::new(batches).map_while(Result::ok) {
                found.records += u64::from(batch.header().records_count.unsigned_abs());
                found.bytes += batch.bytes().len() as u64;
            }
        })?;
        found.latency(began.elapsed());
        if window.counts(Instant::now()) {
            tally.merge(found);
        }
        reader.positions.retain(|partition, at| ends.get(partition).is_some_and(|end| *at < *end));
        if reader.positions.is_empty() {
            reader.positions.clone_from(starts);
        }
    }
    Ok(tally)
}

impl Reader {
    pub(super) fn new(topic: &str, positions: BTreeMap<i32, i64>) -> Self {
        Self { topic: topic.to_owned(), positions }
    }

    pub(super) fn request(&self, wait_ms: i32) -> FetchRequest {
        let partitions = self.positions.iter().map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(PARTITION_BYTES)
        });
        let topic = FetchTopic::default()
            .with_topic(TopicName(text(&self.topic)))
            .with_partitions(partitions.collect());
        FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_topics(vec![topic])
    }

    /// Gives the batches of each partition to `visit` and moves on behind them.
    pub(super) fn take(
        &mut self,
        response: FetchResponse,
        mut visit: impl FnMut(i32, &[u8]),
    ) -> Result<(), Failure> {
        let refused = |code: i16, what: &str| match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            code => Err(Failure::refused(what, code, None)),
        };
        refused(response.error_code, "fetch")?;
        for data in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            refused(data.error_code, &format!("{}-{}", self.topic, data.partition_index))?;
            let batches = data.records.unwrap_or_default();
            visit(data.partition_index, &batches);
            let last = BatchIter::new(&batches).map_while(Result::ok).last();
            if let (Some(batch), Some(at)) = (last, self.positions.get_mut(&data.partition_index)) {
                *at = batch.header().next_offset().0;
            }
        }
        Ok(())
    }
}

impl Site {
    /// The offset of each partition at `time`, one of Kafka's special numbers.
    pub(super) async fn offsets(&self, time: i64) -> Result<BTreeMap<i32, i64>, Failure> {
        let of = |index: i32| ((self.name().to_owned(), index), time);
        let asked = self.topic.partitions.iter().map(|partition| of(partition.index)).collect();
        let answers = offsets::list(&self.client, &asked, Isolation::ReadUncommitted).await?;
        answers
            .into_iter()
            .map(|((topic, index), answer)| match answer {
                Ok(found) => Ok((index, found.offset)),
                Err(code) => Err(Failure::refused(format!("{topic}-{index}"), code, None)),
            })
            .collect()
    }
}
