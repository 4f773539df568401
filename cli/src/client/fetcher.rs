//! Reading partitions from their leaders, all leaders at once.
//!
//! Owns: positions, leaders, one long poll per leader, recovery when leaders move or offsets
//! vanish. Never: looks into records beyond batch headers. Invariant: chunks of one partition
//! arrive in offset order without gaps, except where the log itself was trimmed (which is
//! reported).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use ottla_protocol::error_code::ErrorCode;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::error::ClientError;
use super::offsets::{self, EARLIEST, Isolation, LATEST, Partition};
use super::records::Chunk;
use super::{Client, Lane, text};

/// How much to ask for, and of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchSettings {
    pub(crate) isolation: Isolation,
    pub(crate) max_bytes: i32,
    pub(crate) partition_max_bytes: i32,
    pub(crate) min_bytes: i32,
    pub(crate) max_wait: Duration,
    pub(crate) on_out_of_range: OutOfRange,
}

/// What to do when the log no longer has an offset (`auto.offset.reset`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OutOfRange {
    ToStart,
    ToEnd,
    Fail,
}

/// From where to where a partition is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) from: i64,
    /// `None`: for ever.
    pub(crate) until: Option<i64>,
}

impl Span {
    fn done(self) -> bool {
        self.until.is_some_and(|until| self.from >= until)
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    Records(Chunk),
    /// Something the user should know, that does not end the reading.
    Warning(String),
}

/// A running reader. Dropping it ends its tasks.
#[derive(Debug)]
pub(crate) struct Fetcher {
    events: mpsc::Receiver<Result<Event, ClientError>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fetcher {
    pub(crate) fn start(
        client: Arc<Client>,
        settings: FetchSettings,
        spans: BTreeMap<Partition, Span>,
    ) -> Self {
        let (sender, events) = mpsc::channel(2);
        let reader = Reader {
            client,
            settings,
            spans,
            leaders: BTreeMap::new(),
            polling: BTreeSet::new(),
            polls: JoinSet::new(),
            failures: 0,
        };
        Self { events, task: tokio::spawn(reader.run(sender)) }
    }

    /// The next event; `None` when every partition is read to its end.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        self.events.recv().await
    }
}

type Answer = (i32, BTreeMap<Partition, i64>, Result<FetchResponse, ClientError>);

struct Reader {
    client: Arc<Client>,
    settings: FetchSettings,
    spans: BTreeMap<Partition, Span>,
    leaders: BTreeMap<Partition, i32>,
    /// Leaders with a poll under way.
    polling: BTreeSet<i32>,
    polls: JoinSet<Answer>,
    /// Rounds without an answer since the last good one.
    failures: u32,
}

type Sender = mpsc::Sender<Result<Event, ClientError>>;

impl Reader {
    async fn run(mut self, sender: Sender) {
        if let Err(error) = self.read(&sender).await {
            // Nobody listens any more: then nobody misses the error.
            sender.send(Err(error)).await.ok();
        }
    }

    async fn read(&mut self, sender: &Sender) -> Result<(), ClientError> {
        self.spans.retain(|_, span| !span.done());
        loop {
            if self.spans.is_empty() {
                return Ok(());
            }
            self.find_leaders().await?;
            self.start_polls();
            let Some(answer) = self.polls.join_next().await else {
                // Every partition is without a leader.
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            let Ok((leader, asked, answer)) = answer else { continue };
            self.polling.remove(&leader);
            match answer {
                Ok(response) => {
                    self.failures = 0;
                    for event in self.take(response, &asked).await? {
                        if sender.send(Ok(event)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                Err(error) if error.retriable() => {
                    self.failures += 1;
                    if self.failures > 60 {
                        return Err(error);
                    }
                    for partition in asked.keys() {
                        self.leaders.remove(partition);
                    }
                    let pause = Duration::from_millis(100 * u64::from(self.failures.min(10)));
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn find_leaders(&mut self) -> Result<(), ClientError> {
        if self.spans.keys().all(|partition| self.leaders.contains_key(partition)) {
            return Ok(());
        }
        let mut topics: Vec<&str> = self.spans.keys().map(|(topic, _)| topic.as_str()).collect();
        topics.dedup();
        let view = match self.client.metadata(Some(&topics)).await {
            Ok(view) => view,
            Err(error) if error.retriable() && self.failures <= 60 => {
                self.failures += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for partition in self.spans.keys() {
            let topic = view.topic(&partition.0);
            let code = topic.map_or(ErrorCode::UnknownTopicOrPartition, |topic| topic.error);
            if !code.is_none() && !code.retriable() {
                return Err(ClientError::refused(format!("topic {}", partition.0), code));
            }
            match topic.and_then(|topic| topic.partition(partition.1)) {
                Some(found) if found.leader >= 0 => {
                    self.leaders.insert(partition.clone(), found.leader);
                }
                Some(_) => {}
                None if self.failures < 30 => self.failures += 1,
                None => {
                    let what = format!("{}-{}", partition.0, partition.1);
                    return Err(ClientError::refused(what, ErrorCode::UnknownTopicOrPartition));
                }
            }
        }
        Ok(())
    }

    fn start_polls(&mut self) {
        let mut by_leader: BTreeMap<i32, BTreeMap<Partition, i64>> = BTreeMap::new();
        for (partition, span) in &self.spans {
            if let Some(leader) = self.leaders.get(partition)
                && !self.polling.contains(leader)
            {
                by_leader.entry(*leader).or_default().insert(partition.clone(), span.from);
            }
        }
        for (leader, asked) in by_leader {
            self.polling.insert(leader);
            let (client, settings) = (Arc::clone(&self.client), self.settings);
            self.polls.spawn(async move {
                let patience = client.options().patience + settings.max_wait;
                let build = |version| request(&settings, &asked, version);
                let answer =
                    client.broker_in::<FetchRequest>(Lane::Fetch, leader, build, patience).await;
                (leader, asked, answer)
            });
        }
    }

    async fn take(
        &mut self,
        response: FetchResponse,
        asked: &BTreeMap<Partition, i64>,
    ) -> Result<Vec<Event>, ClientError> {
        let code = ErrorCode::from_code(response.error_code);
        if !code.is_none() {
            return Err(ClientError::refused("fetch", code));
        }
        let mut events = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                let partition = (topic.topic.0.to_string(), data.partition_index);
                if asked.contains_key(&partition) {
                    self.take_partition(&partition, data, &mut events).await?;
                }
            }
        }
        Ok(events)
    }

    async fn take_partition(
        &mut self,
        partition: &Partition,
        data: PartitionData,
        events: &mut Vec<Event>,
    ) -> Result<(), ClientError> {
        let Some(span) = self.spans.get_mut(partition) else { return Ok(()) };
        let code = ErrorCode::from_code(data.error_code);
        match code {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                let warning = self.out_of_range(partition).await?;
                events.push(Event::Warning(warning));
                return Ok(());
            }
            _ if code.retriable() => {
                self.leaders.remove(partition);
                self.failures += 1;
                if self.failures > 60 {
                    let what = format!("{}-{}", partition.0, partition.1);
                    return Err(ClientError::refused(what, code));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                return Ok(());
            }
            _ => {
                let what = format!("{}-{}", partition.0, partition.1);
                return Err(ClientError::refused(what, code));
            }
        }
        let records = data.records.unwrap_or_default();
        if records.is_empty() {
            return Ok(());
        }
        let aborted = match self.settings.isolation {
            Isolation::ReadUncommitted => Vec::new(),
            Isolation::ReadCommitted => data
                .aborted_transactions
                .unwrap_or_default()
                .into_iter()
                .map(|aborted| (aborted.producer_id.0, aborted.first_offset))
                .collect(),
        };
        let chunk = Chunk {
            topic: partition.0.as_str().into(),
            partition: partition.1,
            records,
            from: span.from,
            until: span.until,
            aborted,
        };
        span.from = chunk.next_offset();
        if span.done() {
            self.spans.remove(partition);
        }
        events.push(Event::Records(chunk));
        Ok(())
    }

    async fn out_of_range(&mut self, partition: &Partition) -> Result<String, ClientError> {
        let from = self.spans.get(partition).map_or(0, |span| span.from);
        let name = format!("{}-{}", partition.0, partition.1);
        let (time, where_to) = match self.settings.on_out_of_range {
            OutOfRange::ToStart => (EARLIEST, "start"),
            OutOfRange::ToEnd => (LATEST, "end"),
            OutOfRange::Fail => {
                return Err(ClientError::Refused {
                    what: name,
                    code: ErrorCode::OffsetOutOfRange,
                    message: Some(format!("offset {from} is not in the log")),
                });
            }
        };
        let question = BTreeMap::from([(partition.clone(), time)]);
        let answers = offsets::list(&self.client, &question, self.settings.isolation).await?;
        let found = match answers.get(partition) {
            Some(Ok(found)) => found.offset,
            Some(Err(code)) => return Err(ClientError::refused(name, *code)),
            None => return Err(ClientError::refused(name, ErrorCode::OffsetOutOfRange)),
        };
        if let Some(span) = self.spans.get_mut(partition) {
            span.from = found;
            if span.done() {
                self.spans.remove(partition);
            }
        }
        Ok(format!(
            "{name}: offset {from} is not in the log; reading goes on at its {where_to}, {found}"
        ))
    }
}

fn request(
    settings: &FetchSettings,
    asked: &BTreeMap<Partition, i64>,
    _version: i16,
) -> FetchRequest {
    let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
    for ((topic, index), from) in asked {
        topics.entry(topic).or_default().push(
            FetchPartition::default()
                .with_partition(*index)
                .with_fetch_offset(*from)
                .with_partition_max_bytes(settings.partition_max_bytes),
        );
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        FetchTopic::default().with_topic(TopicName(text(name))).with_partitions(partitions)
    });
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(settings.min_bytes)
        .with_max_bytes(settings.max_bytes)
        .with_isolation_level(settings.isolation.code())
        .with_topics(topics.collect())
}
