//! Clients that keep a log busy and write down what they saw.
//!
//! Owns: idempotent producers that send again until they know, readers, deletions, the last reads.
//! Never: judges, or knows of faults.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ottla_protocol::ErrorCode;

use crate::client::{self, Connection, Fetched, Keys, Producer, Target, within};
use crate::history::{History, Kind, Op, Poll, Produce};
use crate::random::Random;

/// How long one exchange may take before its connection is given up.
const DEADLINE: Duration = Duration::from_secs(3);
/// Batches of a producer that may be under way at once, as in Kafka.
const IN_FLIGHT_MAX: usize = 5;
/// Numbers a fetch may not ask beyond: responses stay small.
const FETCH_BYTES: i32 = 64 << 10;

/// What becomes of old records of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps {
    All,
    /// Segments go when there are more bytes than the topic is to have.
    Newest,
    /// The last value of each key.
    Latest,
}

/// Whether some of what clients send comes a second time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeats {
    Never,
    Sometimes,
}

/// What all clients of a topic share; [`Self::beside`] makes that of another topic of the same run.
#[derive(Clone, Debug)]
pub struct Desk {
    pub history: History,
    pub nodes: Arc<Vec<i32>>,
    pub topic: Arc<str>,
    pub partitions: i32,
    pub keeps: Keeps,
    pub repeats: Repeats,
    /// Set once faults are over: finish what was begun, and one batch more.
    finishing: Arc<AtomicBool>,
    next_value: Arc<AtomicU64>,
    /// Producers that are not done yet.
    producing: Arc<AtomicU64>,
}

impl Desk {
    #[must_use]
    pub fn new(history: History, nodes: Vec<i32>, topic: &str, partitions: i32) -> Self {
        Self {
            history,
            nodes: Arc::new(nodes),
            topic: Arc::from(topic),
            partitions,
            keeps: Keeps::All,
            repeats: Repeats::Never,
            finishing: Arc::default(),
            next_value: Arc::new(AtomicU64::new(1)),
            producing: Arc::default(),
        }
    }

    /// Of another topic.
    #[must_use]
    pub fn beside(&self, topic: &str, partitions: i32, keeps: Keeps) -> Self {
        let (topic, producing) = (Arc::from(topic), Arc::default());
        Self { topic, partitions, keeps, producing, ..self.clone() }
    }

    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    pub fn producer_begins(&self) {
        self.producing.fetch_add(1, Ordering::Relaxed);
    }

    fn values(&self, count: u64) -> Vec<u64> {
        let first = self.next_value.fetch_add(count, Ordering::Relaxed);
        (first..first + count).collect()
    }

    /// The name of a node's host.
    #[must_use]
    pub fn host(node: i32) -> String {
        format!("n{node}")
    }

    /// Asks any node who leads; with one node there is no question.
    pub async fn leader(&self, partition: i32, random: &mut Random) -> Option<i32> {
        if let [only] = self.nodes.as_slice() {
            return Some(*only);
        }
        let asked = *random.pick(&self.nodes)?;
        let mut connection = Connection::open(&Self::host(asked), DEADLINE).await.ok()?;
        let metadata = connection.metadata(&self.topic).await.ok()?;
        let topic = metadata.topics.first()?;
        let found = topic.partitions.iter().find(|found| found.partition_index == partition)?;
        self.nodes.contains(&found.leader_id.0).then_some(found.leader_id.0)
    }
}

/// A batch that is not acknowledged.
#[derive(Debug)]
struct Unacked {
    sequence: i32,
    values: Vec<u64>,
}

/// One idempotent producer that writes to one partition.
#[derive(Debug)]
pub struct ProducerTask {
    pub desk: Desk,
    pub name: String,
    pub partition: i32,
    pub random: Random,
    /// Pause between batches, at most.
    pub pause_millis: u64,
}

impl ProducerTask {
    /// Produces until the desk says to finish, then until all is acknowledged, with one batch that was
    /// begun after the faults.
    pub async fn run(mut self) {
        let mut unacked = VecDeque::new();
        let mut sequence = 0;
        let mut producer = None;
        let mut last_sent = false;
        while !(last_sent && unacked.is_empty()) {
            let worked = self.converse(&mut producer, &mut unacked, &mut sequence, &mut last_sent);
            if let Err(error) = worked.await {
                tracing::debug!(name = self.name, %error, "producer begins again");
                let pause = self.random.millis(10..200);
                tokio::time::sleep(pause).await;
            }
        }
        self.desk.producing.fetch_sub(1, Ordering::Relaxed);
    }

    /// Works on one connection until it breaks or there is nothing left.
    async fn converse(
        &mut self,
        producer: &mut Option<Producer>,
        unacked: &mut VecDeque<Unacked>,
        sequence: &mut i32,
        last_sent: &mut bool,
    ) -> io::Result<()> {
        let leader = self.desk.leader(self.partition, &mut self.random).await;
        let leader = leader.ok_or(io::ErrorKind::HostUnreachable)?;
        let mut connection = Connection::open(&Desk::host(leader), DEADLINE).await?;
        if self.desk.repeats == Repeats::Sometimes && self.random.one_in(2) {
            let after = self.random.millis(20..2_000);
            connection.repeat_after(Desk::host(leader), after);
        }
        let identity = match *producer {
            Some(identity) => identity,
            None => *producer.insert(connection.init_producer().await?),
        };
        let mut sent = 0;
        loop {
            while let Some(batch) = unacked.get(sent) {
                self.send(&mut connection, identity, batch).await?;
                sent += 1;
            }
            let finishing = self.desk.is_finishing();
            let window = 1 + usize::try_from(self.random.below(IN_FLIGHT_MAX as u64)).unwrap_or(0);
            if unacked.len() < window && !*last_sent {
                *last_sent = finishing;
                let batch = self.next_batch(sequence);
                unacked.push_back(batch);
                if !self.random.one_in(3) {
                    continue;
                }
                let pause = self.random.below(self.pause_millis.max(1));
                tokio::time::sleep(Duration::from_millis(pause)).await;
                continue;
            }
            let (code, offset) = connection.receive_ack(DEADLINE).await?;
            sent -= 1;
            if !self.acknowledged(unacked, code, offset) {
                return Err(io::Error::other(format!("{code:?}")));
            }
            if *last_sent && unacked.is_empty() {
                return Ok(());
            }
        }
    }

    fn next_batch(&mut self, sequence: &mut i32) -> Unacked {
        let values = self.desk.values(self.random.between(1..4));
        let batch = Unacked { sequence: *sequence, values };
        *sequence += i32::try_from(batch.values.len()).unwrap_or(0);
        self.record(Kind::Invoke, &batch, None);
        batch
    }

    async fn send(
        &self,
        connection: &mut Connection,
        producer: Producer,
        batch: &Unacked,
    ) -> io::Result<()> {
        let keys = if self.desk.keeps == Keeps::Latest { Keys::With } else { Keys::Without };
        let bytes = client::batch_of(&batch.values, keys, producer, batch.sequence)?;
        let to = Target { topic: &self.desk.topic, partition: self.partition };
        within(DEADLINE, connection.send_batch(to, bytes)).await
    }

    /// Takes the answer to the oldest batch. False when it has to be sent again.
    fn acknowledged(&self, unacked: &mut VecDeque<Unacked>, code: ErrorCode, offset: i64) -> bool {
        match code {
            ErrorCode::None | ErrorCode::DuplicateSequenceNumber => {
                let Some(batch) = unacked.pop_front() else { return false };
                let offset = (code == ErrorCode::None && offset >= 0).then_some(offset);
                self.record(Kind::Ok, &batch, offset);
                true
            }
            code if code.retriable() || code == ErrorCode::KafkaStorageError => false,
            code => {
                // The oldest batch follows on one that was acknowledged: nothing can be out of order.
                let (name, partition) = (&self.name, self.partition);
                let sequence = unacked.front().map_or(-1, |batch| batch.sequence);
                let what = format!(
                    "{name} to partition {partition} at sequence {sequence}: {code:?}, though all before \
                     was acknowledged"
                );
                self.desk.history.record(name, Kind::Fail, Op::Unexpected { what });
                false
            }
        }
    }

    fn record(&self, kind: Kind, batch: &Unacked, offset: Option<i64>) {
        let produce = Produce {
            topic: self.desk.topic.to_string(),
            partition: self.partition,
            session: self.name.clone(),
            seq: u64::try_from(batch.sequence).unwrap_or_default(),
            values: batch.values.clone(),
            offset,
        };
        self.desk.history.record(&self.name, kind, Op::Produce(produce));
    }
}

/// Reads one partition again and again, from here and there.
#[derive(Debug)]
pub struct ReaderTask {
    pub desk: Desk,
    pub name: String,
    pub partition: i32,
    pub random: Random,
    /// Also asks nodes that do not lead.
    pub anywhere: bool,
    /// Asks now and then to delete the oldest records.
    pub deletes: bool,
}

impl ReaderTask {
    /// Reads until the desk says to finish.
    pub async fn run(mut self) {
        let mut from = 0;
        while !self.desk.is_finishing() {
            if let Err(error) = self.converse(&mut from).await {
                tracing::debug!(name = self.name, %error, "reader begins again");
                let pause = self.random.millis(10..200);
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn converse(&mut self, from: &mut i64) -> io::Result<()> {
        let mut node = self.desk.leader(self.partition, &mut self.random).await;
        if self.anywhere && self.random.one_in(3) {
            node = self.random.pick(&self.desk.nodes).copied();
        }
        let node = node.ok_or(io::ErrorKind::HostUnreachable)?;
        let mut connection = Connection::open(&Desk::host(node), DEADLINE).await?;
        let topic = Arc::clone(&self.desk.topic);
        let target = Target { topic: &topic, partition: self.partition };
        while !self.desk.is_finishing() {
            let bytes = i32::try_from(self.random.between(200..8_000)).unwrap_or(200);
            let fetched = connection.fetch(target, *from, bytes).await?;
            match fetched.error {
                ErrorCode::None => self.note_poll(node, *from, &fetched),
                ErrorCode::OffsetOutOfRange => {
                    self.note_out_of_range(node, *from);
                    *from = connection.earliest(target).await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                code => return Err(io::Error::other(format!("{code:?}"))),
            }
            *from = fetched.next;
            if self.random.one_in(6) {
                let span = u64::try_from(fetched.high_watermark - fetched.log_start).unwrap_or(0);
                let back = i64::try_from(self.random.below(span.min(60))).unwrap_or(0);
                *from = (fetched.high_watermark - back).max(fetched.log_start);
            }
            if self.deletes && self.random.one_in(40) {
                self.delete(&mut connection, target, &fetched).await?;
            }
            let pause = self.random.millis(0..60);
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    fn note_poll(&self, node: i32, from: i64, fetched: &Fetched) {
        let poll = poll_of(&self.desk, self.partition, node, (from, fetched));
        self.desk.history.record(&self.name, Kind::Ok, Op::Poll(poll));
    }

    fn note_out_of_range(&self, node: i32, from: i64) {
        let topic = self.desk.topic.to_string();
        let op = Op::OutOfRange { topic, partition: self.partition, node, from };
        self.desk.history.record(&self.name, Kind::Fail, op);
    }

    async fn delete(
        &mut self,
        connection: &mut Connection,
        target: Target<'_>,
        fetched: &Fetched,
    ) -> io::Result<()> {
        let span = u64::try_from(fetched.high_watermark - fetched.log_start).unwrap_or(0);
        let before = fetched.log_start + i64::try_from(self.random.below(span)).unwrap_or(0);
        let topic = self.desk.topic.to_string();
        let op = Op::DeleteRecords { topic, partition: self.partition, before };
        self.desk.history.record(&self.name, Kind::Invoke, op.clone());
        let code = connection.delete_records(target, before).await?;
        let kind = if code == ErrorCode::None { Kind::Ok } else { Kind::Info };
        self.desk.history.record(&self.name, kind, op);
        Ok(())
    }
}

fn poll_of(desk: &Desk, partition: i32, node: i32, read: (i64, &Fetched)) -> Poll {
    let (from, fetched) = read;
    Poll {
        topic: desk.topic.to_string(),
        partition,
        node,
        from,
        records: fetched.records.clone(),
        high_watermark: fetched.high_watermark,
        log_start: fetched.log_start,
    }
}

/// Reads a whole partition, once everything is healed and written; tries until it can.
pub async fn final_read(desk: &Desk, partition: i32, mut random: Random) {
    while desk.producing.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while try_final_read(desk, partition, &mut random).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn try_final_read(desk: &Desk, partition: i32, random: &mut Random) -> io::Result<()> {
    /// Between two looks at one who says that the log ends further on than it gives out.
    const PAUSE: Duration = Duration::from_millis(50);
    let node = desk.leader(partition, random).await.ok_or(io::ErrorKind::HostUnreachable)?;
    let mut connection = Connection::open(&Desk::host(node), DEADLINE).await?;
    let target = Target { topic: &desk.topic, partition };
    let log_start = connection.earliest(target).await?;
    let end = connection.latest(target).await?;
    let mut whole: Option<Fetched> = None;
    let (mut from, mut stuck) = (log_start, 0);
    while whole.is_none() || (from < end && stuck < 40) {
        let mut fetched = connection.fetch(target, from, FETCH_BYTES).await?;
        match fetched.error {
            ErrorCode::None => {}
            code => return Err(io::Error::other(format!("{code:?}"))),
        }
        if fetched.next == from && from < end {
            stuck += 1;
            tokio::time::sleep(PAUSE).await;
        }
        from = fetched.next;
        let records = std::mem::take(&mut fetched.records);
        let sum = whole.get_or_insert_with(|| fetched.clone());
        sum.records.extend(records);
        sum.high_watermark = end.max(fetched.high_watermark);
        sum.log_start = sum.log_start.max(fetched.log_start);
    }
    if let Some(mut whole) = whole {
        whole.records.retain(|(offset, _)| *offset < whole.high_watermark);
        let start = whole.records.first().map_or(whole.log_start, |(offset, _)| *offset);
        let poll = poll_of(desk, partition, node, (start, &whole));
        desk.history.record("reader", Kind::Ok, Op::FinalRead(poll));
    }
    Ok(())
}
