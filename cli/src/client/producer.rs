//! Sending records: partitions chosen, batches collected, sent and retried in order.
//!
//! Owns: sticky and keyed partitioning, one batch per partition, sequences of the idempotent
//! producer, retries of retriable errors. Never: reads input. Invariant: with acks other than 0,
//! what [`Producer::finish`] reports as sent has been acknowledged, in the order it was given per
//! partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, TopicName};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{ProducerEpoch, ProducerId};
use ottla_protocol::records::{BatchBuilder, BuildError, Compression, NewRecord};
use tokio::task::JoinHandle;

use super::error::ClientError;
use super::partitioner::partition_of;
use super::{Client, Lane, text};

/// When a broker acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acks {
    None,
    Leader,
    All,
}

impl Acks {
    const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ProducerSettings {
    pub(crate) acks: Acks,
    pub(crate) compression: Compression,
    /// A batch is sent when it holds this much before compression.
    pub(crate) batch_bytes: usize,
    pub(crate) idempotent: bool,
}

/// What became of the records of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) records: i64,
    pub(crate) bytes: i64,
    /// -1 with `acks=0`.
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProduceError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{topic}-{partition}: {}", .words.as_deref().unwrap_or_else(|| .code.message()))]
    Refused { topic: String, partition: i32, code: ErrorCode, words: Option<String> },
    #[error("a record cannot be put into a batch: {0}")]
    Build(#[from] BuildError),
    #[error("there is no partition {partition}: partitions count from 0, and there are {count}")]
    NoPartition { topic: String, partition: i32, count: i32 },
    #[error("the sender ended unexpectedly: {0}")]
    Ended(String),
}

impl From<ProduceError> for crate::failure::Failure {
    fn from(error: ProduceError) -> Self {
        let text = error.to_string();
        match error {
            ProduceError::Client(error) => error.into(),
            ProduceError::Refused { topic, partition, code, words } => {
                let failure = Self::refused(format!("{topic}-{partition}"), code, words.as_deref());
                match code {
                    ErrorCode::MessageTooLarge => failure.fix(
                        "send smaller records or batches (-X batch.size), or raise \
                         max.message.bytes of the topic",
                    ),
                    _ => failure,
                }
            }
            ProduceError::NoPartition { topic, .. } => {
                Self::item(topic, "UNKNOWN_TOPIC_OR_PARTITION", text)
                    .fix("choose another with -p, or let keys choose with --repartition")
            }
            ProduceError::Build(_) => Self::item("", "RECORD_TOO_LARGE", text),
            ProduceError::Ended(_) => Self::item("", "INTERNAL", text),
        }
    }
}

/// Where a record shall go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Partition(i32),
    /// By its key, or to the partition that is being filled.
    Any,
}

/// The identity of an idempotent producer and its next sequences.
#[derive(Debug)]
struct Identity {
    id: ProducerId,
    epoch: ProducerEpoch,
    sequences: BTreeMap<i32, i32>,
}

/// The base offset of each partition's batch.
type Acknowledged = Result<Vec<(i32, i64)>, ProduceError>;

/// A batch on its way: partition, bytes, number of records.
type Ready = Vec<(i32, Bytes, i32)>;

#[derive(Debug)]
pub(crate) struct Producer {
    client: Arc<Client>,
    topic: String,
    settings: ProducerSettings,
    partitions: i32,
    identity: Option<Identity>,
    /// The partition that takes records without a key.
    sticky: i32,
    open: BTreeMap<i32, BatchBuilder>,
    sending: Option<JoinHandle<Acknowledged>>,
    in_flight: Vec<(i32, i32, i64)>,
    sent: BTreeMap<i32, Sent>,
    /// A batch was refused: what comes after it would stand in front of it, so nothing more is sent.
    broken: bool,
}

impl Producer {
    /// A producer to a topic that has `partitions`.
    pub(crate) async fn open(
        client: Arc<Client>,
        topic: &str,
        partitions: i32,
        settings: ProducerSettings,
    ) -> Result<Self, ProduceError> {
        let identity = if settings.idempotent { identity(&client).await? } else { None };
        // Runs spread over partitions without a random generator: the process id differs.
        let sticky = i32::try_from(std::process::id() % partitions.max(1).unsigned_abs());
        Ok(Self {
            client,
            topic: topic.to_owned(),
            settings,
            partitions,
            identity,
            sticky: sticky.unwrap_or(0),
            open: BTreeMap::new(),
            sending: None,
            in_flight: Vec::new(),
            sent: BTreeMap::new(),
            broken: false,
        })
    }

    /// Takes a record; sends when a batch is full.
    pub(crate) async fn push(
        &mut self,
        target: Target,
        record: NewRecord<'_>,
    ) -> Result<(), ProduceError> {
        let partition = match (target, record.key) {
            (Target::Partition(partition), _) => partition,
            (Target::Any, Some(key)) => partition_of(key, self.partitions),
            (Target::Any, None) => self.sticky,
        };
        if !(0..self.partitions).contains(&partition) {
            return Err(ProduceError::NoPartition {
                topic: self.topic.clone(),
                partition,
                count: self.partitions,
            });
        }
        let compression = self.settings.compression;
        let batch = self.open.entry(partition).or_insert_with(|| BatchBuilder::new(compression));
        let room = record_bytes(&record);
        if !batch.is_empty() && batch.size() + room > self.settings.batch_bytes {
            self.flush().await?;
            let fresh = BatchBuilder::new(compression);
            self.open.entry(partition).or_insert(fresh).push(record)?;
        } else {
            batch.push(record)?;
        }
        Ok(())
    }

    /// Whether a record waits for company.
    pub(crate) fn holds_records(&self) -> bool {
        !self.open.is_empty()
    }

    /// Sends every open batch, after the ones before are acknowledged.
    pub(crate) async fn flush(&mut self) -> Result<(), ProduceError> {
        self.settle().await?;
        if self.broken {
            self.open.clear();
            return Ok(());
        }
        let mut ready = Ready::new();
        for (partition, batch) in std::mem::take(&mut self.open) {
            let records = batch.records_count();
            let mut batch = batch;
            if let Some(identity) = &mut self.identity {
                let sequence = identity.sequences.entry(partition).or_insert(0);
                batch = batch.with_producer(identity.id, identity.epoch, *sequence);
                *sequence = ottla_protocol::records::increment_sequence(*sequence, records);
            }
            let size = i64::try_from(batch.size()).unwrap_or(i64::MAX);
            self.in_flight.push((partition, records, size));
            ready.push((partition, batch.build()?, records));
            self.sticky = (self.sticky + 1) % self.partitions;
        }
        if !ready.is_empty() {
            let sender = Sender {
                client: Arc::clone(&self.client),
                topic: self.topic.clone(),
                acks: self.settings.acks,
            };
            self.sending = Some(tokio::spawn(sender.send(ready)));
        }
        Ok(())
    }

    /// Sends what is left, unless a batch was refused before. Tells what was acknowledged, by partition,
    /// and how it ended.
    pub(crate) async fn finish(mut self) -> (BTreeMap<i32, Sent>, Result<(), ProduceError>) {
        let ended = match self.flush().await {
            Ok(()) => self.settle().await,
            Err(error) => Err(error),
        };
        (self.sent, ended)
    }

    async fn settle(&mut self) -> Result<(), ProduceError> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let in_flight = std::mem::take(&mut self.in_flight);
        let ended = sending.await.map_err(|error| ProduceError::Ended(error.to_string()));
        let offsets = ended.flatten().inspect_err(|_| self.broken = true)?;
        let bases: BTreeMap<i32, i64> = offsets.into_iter().collect();
        for (partition, records, bytes) in in_flight {
            let base = bases.get(&partition).copied().unwrap_or(-1);
            let sent = self.sent.entry(partition).or_insert(Sent {
                records: 0,
                bytes: 0,
                first_offset: base,
                last_offset: base,
            });
            sent.records += i64::from(records);
            sent.bytes += bytes;
            if base >= 0 {
                sent.last_offset = base + i64::from(records) - 1;
            }
        }
        Ok(())
    }
}

fn record_bytes(record: &NewRecord<'_>) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len) + 10)
        .sum();
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers + 20
}

/// A new producer id, `None` where the broker has no idempotent producers.
async fn identity(client: &Client) -> Result<Option<Identity>, ClientError> {
    let mut deadline = client.deadline();
    loop {
        let answer = client
            .any::<InitProducerIdRequest>(|_| {
                InitProducerIdRequest::default()
                    .with_transactional_id(None)
                    .with_transaction_timeout_ms(60_000)
            })
            .await;
        let response = match answer {
            Err(ClientError::Unsupported { .. }) => return Ok(None),
            other => other?,
        };
        let code = ErrorCode::from_code(response.error_code);
        if code.is_none() {
            return Ok(Some(Identity {
                id: ProducerId(response.producer_id.0),
                epoch: ProducerEpoch(response.producer_epoch),
                sequences: BTreeMap::new(),
            }));
        }
        if !code.retriable() || !deadline.pause().await {
            return Err(ClientError::refused("a producer id", code));
        }
    }
}

struct Sender {
    client: Arc<Client>,
    topic: String,
    acks: Acks,
}

impl Sender {
    /// Sends batches until each is acknowledged; answers their base offsets.
    async fn send(self, mut ready: Ready) -> Acknowledged {
        let mut deadline = self.client.deadline();
        let mut done = Vec::new();
        let mut refusal = None;
        loop {
            for (leader, batches) in self.by_leader(&ready).await? {
                match self.send_to(leader, &batches).await {
                    Ok(answers) => {
                        for (partition, code, base, words) in answers {
                            // A retried batch that had arrived after all is no failure.
                            if code.is_none() || code == ErrorCode::DuplicateSequenceNumber {
                                done.push((partition, base));
                                ready.retain(|(index, ..)| *index != partition);
                            } else {
                                let topic = self.topic.clone();
                                let error = ProduceError::Refused { topic, partition, code, words };
                                if !code.retriable() {
                                    return Err(error);
                                }
                                refusal = Some(error);
                            }
                        }
                    }
                    Err(error) if error.retriable() => refusal = Some(error.into()),
                    Err(error) => return Err(error.into()),
                }
            }
            if ready.is_empty() {
                return Ok(done);
            }
            if !deadline.pause().await {
                let what = format!("a leader of {}", self.topic);
                let after = self.client.options().patience;
                return Err(refusal.unwrap_or_else(|| ClientError::TimedOut { what, after }.into()));
            }
        }
    }

    async fn by_leader(&self, ready: &Ready) -> Result<BTreeMap<i32, Ready>, ClientError> {
        let view = self.client.metadata(Some(&[&self.topic])).await?;
        let mut by_leader: BTreeMap<i32, Ready> = BTreeMap::new();
        for batch in ready {
            let leader = view
                .topic(&self.topic)
                .and_then(|topic| topic.partition(batch.0))
                .map_or(-1, |partition| partition.leader);
            if leader >= 0 {
                by_leader.entry(leader).or_default().push(batch.clone());
            }
        }
        Ok(by_leader)
    }

    async fn send_to(
        &self,
        leader: i32,
        batches: &Ready,
    ) -> Result<Vec<(i32, ErrorCode, i64, Option<String>)>, ClientError> {
        let timeout = self.client.options().patience;
        let data = batches.iter().map(|(partition, records, _)| {
            PartitionProduceData::default()
                .with_index(*partition)
                .with_records(Some(records.clone()))
        });
        let topic = TopicProduceData::default()
            .with_name(TopicName(text(&self.topic)))
            .with_partition_data(data.collect());
        let request = ProduceRequest::default()
            .with_acks(self.acks.code())
            .with_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(vec![topic]);
        let shared = self.client.connection(Lane::Requests, leader).await?;
        let mut connection = shared.lock().await;
        let version = connection.version_of::<ProduceRequest>()?;
        if self.acks == Acks::None {
            connection.send(version, &request).await?;
            let unknown =
                |(partition, ..): &(i32, Bytes, i32)| (*partition, ErrorCode::None, -1, None);
            return Ok(batches.iter().map(unknown).collect());
        }
        let patience = timeout + Duration::from_secs(1);
        let response = connection.call(version, &request, patience).await?;
        let mut answers = Vec::new();
        for answer in response.responses.into_iter().flat_map(|topic| topic.partition_responses) {
            answers.push((
                answer.index,
                ErrorCode::from_code(answer.error_code),
                answer.base_offset,
                answer.error_message.map(|words| words.to_string()),
            ));
        }
        Ok(answers)
    }
}
