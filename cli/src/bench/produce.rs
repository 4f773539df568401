//! `ottla bench produce`: batches to every partition, and the time until they are acknowledged.
//!
//! Owns: the batches and who sends them where. Never: retries: a refused batch ends the bench. The
//! same batch is sent again and again (its values cannot be compressed), so that what is measured
//! is the broker and not the making of batches.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::Timestamp;
use ottla_protocol::records::{BatchBuilder, Codec, Compression, NewRecord};
use tokio::task::JoinSet;

use super::link::{Frame, Link};
use super::pace::{Pace, Window};
use super::tally::Tally;
use super::{Common, Site};
use crate::client::text;
use crate::context::Context;
use crate::failure::Failure;

/// How long a broker may wait for its replicas.
const TIMEOUT_MS: i32 = 30_000;
/// What the bench's own topic is filled with at once.
const FILL_BATCH_BYTES: usize = 256 << 10;

#[derive(Args, Debug)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// Bytes of a batch before its header: how many records travel together; 0: one
    #[arg(long, default_value_t = 16_384)]
    batch: usize,
    /// Connections per broker
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Requests that a connection has under way
    #[arg(long, default_value_t = 5)]
    in_flight: usize,
    /// Records per second over all connections; the default is as many as are acknowledged
    #[arg(long)]
    rate: Option<f64>,
    /// Who has the batch when it is acknowledged: all or 1
    #[arg(long, default_value = "all", value_parser = ["all", "1"])]
    acks: String,
}

impl ProduceArgs {
    pub(super) const fn is_paced(&self) -> bool {
        self.rate.is_some()
    }
}

/// What one connection sends: the frames of its partitions in turn.
struct Sender {
    link: Link,
    frames: Vec<Frame>,
    batch: Batch,
    pace: Pace,
}

/// A batch to be sent many times.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    bytes: Bytes,
    records: usize,
}

pub(super) async fn run(site: &Site, args: &ProduceArgs, window: Window) -> Result<Tally, Failure> {
    if args.clients == 0 || args.in_flight == 0 {
        return Err(Failure::usage("--clients and --in-flight must be above 0"));
    }
    let batch = Batch::new(args.common.size, args.batch)?;
    let acks = if args.acks == "all" { -1 } else { 1 };
    let mut senders = Vec::new();
    for (leader, partitions) in site.by_leader()? {
        for _ in 0..args.clients {
            let link = Link::open::<ProduceRequest>(&site.client, leader).await?;
            let frames: Result<Vec<Frame>, Failure> = partitions
                .iter()
                .map(|partition| link.frame(&request(site.name(), *partition, acks, &batch.bytes)))
                .collect();
            let led = partitions.len() as f64 / site.topic.partitions.len() as f64;
            let pace = Pace::new(args.rate, led / args.clients as f64, batch.records);
            senders.push(Sender { link, frames: frames?, batch: batch.clone(), pace });
        }
    }
    let mut running = JoinSet::new();
    for sender in senders {
        let in_flight = args.in_flight;
        running.spawn_blocking(move || sender.run(window, in_flight));
    }
    super::collect(running).await
}

/// Writes `records` records in large batches, unmeasured.
pub(super) async fn fill(site: &Site, size: usize, records: u64) -> Result<(), Failure> {
    let batch = Batch::new(size, FILL_BATCH_BYTES)?;
    let batches = records.div_ceil(batch.records as u64);
    let (leaders, partitions) = (site.by_leader()?, site.topic.partitions.len() as u64);
    for (leader, led) in leaders {
        let link = Link::open::<ProduceRequest>(&site.client, leader).await?;
        let frames: Result<Vec<Frame>, Failure> =
            led.iter().map(|p| link.frame(&request(site.name(), *p, -1, &batch.bytes))).collect();
        let frames = frames?;
        let filled = tokio::task::spawn_blocking(move || -> Result<(), Failure> {
            for frame in &frames {
                for _ in 0..batches.div_ceil(partitions) {
                    link.send(frame)?;
                    accepted(&link.receive::<ProduceRequest>()?)?;
                }
            }
            Ok(())
        });
        filled.await.map_err(|error| Failure::item("", "INTERNAL", error.to_string()))??;
    }
    Ok(())
}

impl Sender {
    fn run(self, window: Window, in_flight: usize) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let (frames, batch) = (&self.frames, &self.batch);
        let next = |number: u64, _due: Instant| -> Result<Frame, Failure> {
            let index = usize::try_from(number % frames.len() as u64).unwrap_or(0);
            Ok(frames[index].clone())
        };
        let answered = |response: ProduceResponse, due: Instant| {
            accepted(&response)?;
            let now = Instant::now();
            if window.counts(self.pace.moment(due, now)) {
                tally.records += batch.records as u64;
                tally.bytes += batch.bytes.len() as u64;
                tally.requests += 1;
                tally.latency(now.saturating_duration_since(due));
            }
            Ok(())
        };
        self.link.pipeline::<ProduceRequest>(self.pace, window, in_flight, next, answered)?;
        Ok(tally)
    }
}

impl Batch {
    /// As many records with values of `size` bytes as fit in `room`, and one at least.
    fn new(size: usize, room: usize) -> Result<Self, Failure> {
        let mut builder = BatchBuilder::new(Compression::new(Codec::None, None));
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let timestamp = Timestamp(Context::clock().now_ms);
        loop {
            let value = noise.bytes(size);
            let record = NewRecord { value: Some(&value), ..NewRecord::at(timestamp) };
            let pushed = builder.push(record);
            pushed.map_err(|error| Failure::usage(format!("--size {size}: {error}")))?;
            if builder.size() + size > room {
                break;
            }
        }
        let records = usize::try_from(builder.records_count()).unwrap_or(1);
        let built = builder.build();
        let bytes = built.map_err(|error| Failure::usage(format!("--batch {room}: {error}")))?;
        Ok(Self { bytes, records })
    }
}

/// Values that no codec makes smaller, the same in every run.
#[derive(Clone, Debug)]
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            // Marsaglia's xorshift64.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// A request with one batch.
pub(super) fn request(topic: &str, partition: i32, acks: i16, batch: &Bytes) -> ProduceRequest {
    let data =
        PartitionProduceData::default().with_index(partition).with_records(Some(batch.clone()));
    let topic = TopicProduceData::default()
        .with_name(TopicName(text(topic)))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![topic])
}

/// Fails when a partition refused its batch.
pub(super) fn accepted(response: &ProduceResponse) -> Result<(), Failure> {
    for topic in &response.responses {
        for partition in &topic.partition_responses {
            let code = ErrorCode::from_code(partition.error_code);
            if !code.is_none() {
                let what = format!("{}-{}", topic.name.0, partition.index);
                return Err(Failure::refused(what, code, partition.error_message.as_deref()));
            }
        }
    }
    Ok(())
}

impl Site {
    pub(super) fn name(&self) -> &str {
        &self.topic.name
    }

    /// The partitions of the topic by the broker that leads them.
    pub(super) fn by_leader(&self) -> Result<BTreeMap<i32, Vec<i32>>, Failure> {
        let mut found: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in &self.topic.partitions {
            if partition.leader < 0 {
                let what = format!("{}-{}", self.name(), partition.index);
                return Err(Failure::refused(what, ErrorCode::LeaderNotAvailable, None));
            }
            found.entry(partition.leader).or_default().push(partition.index);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_what_fits_and_one_at_least() {
        assert_eq!(Batch::new(1000, 0).unwrap().records, 1);
        let batch = Batch::new(1000, 16_384).unwrap();
        assert_eq!(batch.records, 16);
        assert!(batch.bytes.len() <= 16_384);
    }

    #[test]
    fn noise_is_the_same_in_every_run_and_differs_within_one() {
        let mut noise = Noise(1);
        let first = noise.bytes(20);
        assert_eq!(first, Noise(1).bytes(20));
        assert_ne!(first, noise.bytes(20));
        assert_eq!(first.len(), 20);
    }
}
