//! Produce (key 0), versions 3-13; 0-2 are advertised and closed on, as Kafka does (KIP-896).
//!
//! Behaviour: each partition's batches are validated and appended in the request's order; with
//! `acks=0` nothing is answered and an error closes the connection; with `acks=1` the answer follows
//! the append; with `acks=-1` it follows the commit, which by default means that the records are
//! on the disk. While leadership moves to another broker, the answer waits for that one's name. Records
//! are never decoded into values nor copied. Versions 13 and up name topics by id (KIP-516).
//! Transactional batches are refused until transactions are served.
//! Differences from Apache Kafka: a null records field is answered with INVALID_RECORD instead of
//! never; a decompression failure is CORRUPT_MESSAGE instead of -1.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::Offset;
use ottla_protocol::records::validate;
use ottla_replication::partition::{
    Appended, Outcome as SubmissionOutcome, Partition, Submission, SubmittedBatch, Until,
};
use ottla_replication::wait::{Countdown, Waiting};
use ottla_storage::{AppendOrigin, LeaderAppend, LeaderBatch};

use super::error::KafkaError;
use super::handler::{ApiHandler, Reply, RequestContext};
use crate::services::Services;
use crate::topics::TopicEntry;

mod copies;
mod leaders;
mod refusal;

use copies::{Copies, copied};
use leaders::{Leaders, enough_replicas, successors};
use refusal::{Refusal, silent};

const IDS_FROM: i16 = 13;
/// From this version on an answer tells who leads a partition by now, and where that broker is (KIP-951).
const CURRENT_LEADER_FROM: i16 = 10;

#[derive(Debug)]
pub(crate) struct Produce;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Acks {
    None,
    Leader,
    All,
}

/// One partition's result, before the wait for its commit.
struct Outcome {
    index: i32,
    result: Result<(Arc<Partition>, Sent), Refusal>,
}

/// Records on their way.
enum Sent {
    /// In the log of a partition with one replica.
    Appended(Appended),
    /// Given to the partition's group.
    Submitted(Arc<Submission>, Option<Copies>),
}

struct TopicOutcome {
    topic: TopicProduceData,
    partitions: Vec<Outcome>,
}

impl ApiHandler for Produce {
    type Request = ProduceRequest;
    const NAME: &'static str = "Produce";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=13;

    fn handle(ctx: &RequestContext, request: ProduceRequest) -> Reply<ProduceResponse> {
        let acks = match request.acks {
            0 => Ok(Acks::None),
            1 => Ok(Acks::Leader),
            -1 => Ok(Acks::All),
            other => Err(Refusal::of(
                ErrorCode::InvalidRequiredAcks,
                format!("acks={other} is none of 0, 1 and -1 (all)"),
            )),
        };
        let wait = Countdown::held();
        let mut topics = Vec::with_capacity(request.topic_data.len());
        for mut topic in request.topic_data {
            let data = std::mem::take(&mut topic.partition_data);
            let partitions = match &acks {
                Ok(acks) => produce_topic(ctx, &topic, data, *acks, &wait),
                Err(refusal) => refuse_all(data, refusal),
            };
            topics.push(TopicOutcome { topic, partitions });
        }
        wait.done();
        match acks {
            Ok(Acks::None) => silent(&topics),
            Ok(acks) if !wait.is_done() || topics.iter().any(TopicOutcome::has_to_wait) => {
                let timeout = u64::try_from(request.timeout_ms).unwrap_or(0);
                let deadline = ctx.now.mono.plus(Duration::from_millis(timeout));
                let ctx = ctx.clone();
                Reply::staged(async move {
                    tokio::select! {
                        biased;
                        () = async {
                            Waiting(wait).await;
                            copied(&ctx, &topics).await;
                            successors(&ctx, &topics).await;
                        } => {}
                        () = ctx.services.clock.sleep_until(deadline) => {}
                    }
                    respond(&ctx, topics, acks)
                })
            }
            Ok(acks) => Reply::message(respond(ctx, topics, acks)),
            Err(_) => Reply::message(respond(ctx, topics, Acks::Leader)),
        }
    }
}

fn produce_topic(
    ctx: &RequestContext,
    topic: &TopicProduceData,
    data: Vec<PartitionProduceData>,
    acks: Acks,
    wait: &Arc<Countdown>,
) -> Vec<Outcome> {
    let entry = match find_topic(ctx, topic) {
        Ok(entry) => entry,
        Err(refusal) => return refuse_all(data, &refusal),
    };
    entry.metrics.produce_requests.inc();
    data.into_iter()
        .map(|data| {
            let index = data.index;
            let result = produce_partition(ctx, &entry, data, acks, wait);
            if result.is_err() {
                entry.metrics.produce_failures.inc();
            }
            Outcome { index, result }
        })
        .collect()
}

fn find_topic(ctx: &RequestContext, topic: &TopicProduceData) -> Result<Arc<TopicEntry>, Refusal> {
    let topics = &ctx.services.topics;
    let entry = if ctx.version >= IDS_FROM {
        topics.by_id(topic.topic_id).ok_or_else(|| Refusal::from(ErrorCode::UnknownTopicId))?
    } else {
        let unknown = || Refusal::from(ErrorCode::UnknownTopicOrPartition);
        topics.by_name(&topic.name.0).ok_or_else(unknown)?
    };
    if entry.is_internal() {
        let message = format!("Cannot append to internal topic {}", entry.name);
        return Err(Refusal::of(ErrorCode::InvalidTopicException, message));
    }
    Ok(entry)
}

fn produce_partition(
    ctx: &RequestContext,
    topic: &TopicEntry,
    data: PartitionProduceData,
    acks: Acks,
    wait: &Arc<Countdown>,
) -> Result<(Arc<Partition>, Sent), Refusal> {
    let partition = topic.led(data.index).map_err(|none| Refusal::from(none.code()))?;
    let records = data.records.ok_or_else(|| {
        Refusal::of(ErrorCode::InvalidRecord, "the records field is null".to_owned())
    })?;
    if acks == Acks::All && topic.config.min_insync_replicas > 1 {
        enough_replicas(ctx, topic, data.index)?;
    }
    // Kafka tells where the log starts when it was the log that refused the records.
    let log_start = || partition.watermarks().log_start;
    let batch = validate(&records, topic.rules_for(ctx.version), ctx.now.wall)
        .map_err(|error| Refusal::of_batch(&error, log_start()))?;
    if batch.header.attributes.is_transactional() {
        return Err(Refusal::of(
            ErrorCode::TransactionalIdAuthorizationFailed,
            "transactions are not served by this version of Ottla".to_owned(),
        ));
    }
    let count = u64::try_from(batch.records_count()).unwrap_or(0);
    let batch = LeaderBatch::from(batch);
    let sent = if let Some(group) = partition.group() {
        let all = acks == Acks::All;
        let copies = if all { Copies::wanted(topic, data.index, group) } else { None };
        let (origin, frame_bytes) = (AppendOrigin::Client, ctx.frame_bytes);
        let batch = SubmittedBatch { batch, origin, frame_bytes };
        let until = if acks == Acks::All { Until::Committed } else { Until::Appended };
        Sent::Submitted(partition.submit(batch, ctx.now, until, Some(wait)), copies)
    } else {
        let append = LeaderAppend {
            batches: std::slice::from_ref(&batch),
            origin: AppendOrigin::Client,
            frame_bytes: ctx.frame_bytes,
        };
        let wait = (acks == Acks::All).then_some(wait);
        let appended = partition
            .append(&append, ctx.now, wait)
            .map_err(|error| Refusal::of_log(&error, log_start()))?;
        Sent::Appended(appended)
    };
    topic.metrics.messages_in.inc_by(count);
    topic.metrics.bytes_in.inc_by(records.len() as u64);
    Ok((partition, sent))
}

fn refuse_all(data: Vec<PartitionProduceData>, refusal: &Refusal) -> Vec<Outcome> {
    data.iter().map(|data| Outcome { index: data.index, result: Err(refusal.clone()) }).collect()
}

fn respond(ctx: &RequestContext, topics: Vec<TopicOutcome>, acks: Acks) -> ProduceResponse {
    let mut leaders = Leaders::of(ctx, CURRENT_LEADER_FROM);
    let responses = topics
        .into_iter()
        .map(|outcome| {
            let topic = outcome.topic;
            let partitions = outcome.partitions.into_iter().map(|outcome| {
                let mut answer = partition(&ctx.services, outcome, acks);
                if ErrorCode::from_code(answer.error_code) == ErrorCode::NotLeaderOrFollower
                    && let Some((leader, epoch)) = leaders.find(&topic, answer.index)
                {
                    answer.current_leader = LeaderIdAndEpoch::default()
                        .with_leader_id(leader.0.into())
                        .with_leader_epoch(epoch.0);
                }
                answer
            });
            let partitions = partitions.collect();
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions)
        })
        .collect();
    ProduceResponse::default().with_responses(responses).with_node_endpoints(leaders.endpoints())
}

fn partition(services: &Services, outcome: Outcome, acks: Acks) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default()
        .with_index(outcome.index)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1);
    let (partition, sent) = match outcome.result {
        Ok(done) => done,
        Err(refusal) => return refusal.fill(response),
    };
    let info = match sent {
        Sent::Appended(appended) => {
            if acks == Acks::All && partition.high_watermark() < appended.committed_at {
                let code = if partition.is_offline() {
                    ErrorCode::KafkaStorageError
                } else {
                    ErrorCode::RequestTimedOut
                };
                return response.with_error_code(code.code());
            }
            appended.info
        }
        Sent::Submitted(submission, copies) => match submission.outcome() {
            SubmissionOutcome::Committed(info) => {
                let at = info.last_offset.next();
                let verdict = copies.map(|copies| copies.verdict(services, &partition, at));
                match verdict.filter(|code| *code != ErrorCode::None) {
                    None => info,
                    Some(code) => return response.with_error_code(code.code()),
                }
            }
            SubmissionOutcome::Appended(info) if acks != Acks::All => info,
            SubmissionOutcome::Refused(error) => {
                let log_start = partition.watermarks().log_start;
                return Refusal::of_log(&error, log_start).fill(response);
            }
            SubmissionOutcome::Appended(_) | SubmissionOutcome::Pending => {
                return response.with_error_code(ErrorCode::RequestTimedOut.code());
            }
            SubmissionOutcome::NotLeader | SubmissionOutcome::Unknown(_) => {
                let code = if partition.is_offline() {
                    ErrorCode::KafkaStorageError
                } else {
                    ErrorCode::NotLeaderOrFollower
                };
                return response.with_error_code(code.code());
            }
        },
    };
    response
        .with_base_offset(info.first_offset.0)
        .with_log_append_time_ms(info.log_append_time.0)
        .with_log_start_offset(info.log_start.max(Offset::ZERO).0)
}
