//! Fetch (key 1), versions 4-18.
//!
//! Behaviour: reads whole batches of each partition in the request's order until `max_bytes` is full;
//! the first partition with data always gives at least one batch; waits up to `max_wait_ms` for
//! `min_bytes`; incremental sessions name only what changed (KIP-227); versions 13 and up speak of
//! topics by id (KIP-516); a diverging `last_fetched_epoch` is answered with where the logs part
//! (KIP-595); a consumer that tells its rack is sent to an in-sync replica there, and followers serve
//! what they know to be committed (KIP-392). Nothing of a partition is copied: memory slices and file
//! ranges go to the socket.
//! Differences from Apache Kafka: an unknown isolation level is INVALID_REQUEST, not -1; a replica that
//! does not lead answers OFFSET_NOT_AVAILABLE beyond its log's end, where Kafka's OFFSET_OUT_OF_RANGE
//! makes a consumer that still takes it for the leader begin anew.

mod asked;
mod preferred;
mod read;
mod session;

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::fetch_response::{
    FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{MonoTime, Uuid};
use ottla_replication::partition::WatchGuard;
use ottla_replication::wait::{Waiting, Watch};

use self::asked::{deadline, forgotten, isolation, limit, replica_id, wanted};
use self::preferred::RackOfReader;
use self::read::{PartitionAnswer, ReadLimits, Reader, Replica};
pub(crate) use self::session::FetchSessions;
use self::session::{Mode, PartitionKey, SessionRequest, Wanted};
use super::handler::{Answer, ApiHandler, Reply, RequestContext};
use crate::cluster::succession::known;
use crate::cluster::{self, PartitionView};
use crate::net::response::Bulk;

/// From this version on topics are named by id.
const IDS_FROM: i16 = 13;
/// From this version on there are sessions.
const SESSIONS_FROM: i16 = 7;

/// From this version on a follower may answer (KIP-392).
const FOLLOWERS_FROM: i16 = 11;
/// From this version on an answer tells who leads a partition by now, and
const CURRENT_LEADER_FROM: i16 = 12;
/// from this version on where that broker is (KIP-951).
const ENDPOINTS_FROM: i16 = 16;

#[derive(Debug)]
pub(crate) struct Fetch;

impl ApiHandler for Fetch {
    type Request = FetchRequest;
    const NAME: &'static str = "Fetch";
    const VERSIONS: std::ops::RangeInclusive<i16> = 4..=18;

    fn handle(ctx: &RequestContext, request: FetchRequest) -> Reply<FetchResponse> {
        let Some(isolation) = isolation(request.isolation_level) else {
            return Reply::message(refused(ErrorCode::InvalidRequest));
        };
        let by_id = ctx.version >= IDS_FROM;
        let session = SessionRequest {
            id: if ctx.version >= SESSIONS_FROM { request.session_id } else { 0 },
            epoch: if ctx.version >= SESSIONS_FROM { request.session_epoch } else { -1 },
            uses_ids: by_id,
        };
        let wanted = wanted(&request.topics, by_id);
        let forgotten = forgotten(&request);
        let new_id = ctx.services.random_u32().cast_signed();
        let begun =
            ctx.services.fetch_sessions.begin(session, wanted, &forgotten, ctx.now.mono, new_id);
        let (mode, wanted) = match begun {
            Ok(begun) => begun,
            Err(code) => return Reply::message(refused(code)),
        };
        let reader = Reader::of(replica_id(&request, ctx.version));
        let fetch = Fetching {
            ctx: ctx.clone(),
            mode,
            wanted,
            rack: RackOfReader::of(ctx, &request, reader),
            limits: ReadLimits {
                isolation,
                bytes_max: limit(request.max_bytes, ctx.services.edge.fetch_bytes_max),
                by_id,
                reader,
                replica: if ctx.version >= FOLLOWERS_FROM { Replica::Any } else { Replica::Leader },
            },
            bytes_min: u64::try_from(request.min_bytes).unwrap_or(0),
            deadline: deadline(ctx, request.max_wait_ms),
        };
        fetch.start()
    }
}

/// A fetch under way.
struct Fetching {
    ctx: RequestContext,
    mode: Mode,
    wanted: Vec<Wanted>,
    limits: ReadLimits,
    /// Set where another replica may suit the reader better.
    rack: Option<RackOfReader>,
    bytes_min: u64,
    /// `None` when the client does not wait.
    deadline: Option<MonoTime>,
}

impl Fetching {
    fn start(self) -> Reply<FetchResponse> {
        let answers = self.read();
        let Some(deadline) = self.deadline.filter(|_| !self.is_enough(&answers)) else {
            if self.orphaned(&answers).is_empty() {
                return Reply::Done(self.respond(answers));
            }
            return Reply::Staged(Box::pin(self.tell(answers)));
        };
        Reply::Staged(Box::pin(self.wait(answers, deadline)))
    }

    fn read(&self) -> Vec<PartitionAnswer> {
        read::all(&self.ctx.services, &self.wanted, self.limits, self.rack.as_ref())
    }

    fn is_enough(&self, answers: &[PartitionAnswer]) -> bool {
        answers.is_empty()
            || answers.iter().any(PartitionAnswer::is_remarkable)
            || bytes_of(answers) >= self.bytes_min
    }

    async fn wait(
        self,
        mut answers: Vec<PartitionAnswer>,
        deadline: MonoTime,
    ) -> Answer<FetchResponse> {
        let mut timer = self.ctx.services.clock.sleep_until(deadline);
        let mut stopping = self.ctx.services.stopping.clone();
        loop {
            let missing = self.bytes_min.saturating_sub(bytes_of(&answers));
            let watch = Watch::for_bytes(missing);
            let guards = self.register(&answers, &watch);
            // Memory of what was read is not held while nothing happens.
            drop(answers);
            let expired = tokio::select! {
                biased;
                () = stopping.stopped() => true,
                () = Waiting(watch) => false,
                () = &mut timer => true,
            };
            drop(guards);
            answers = self.read();
            if expired || self.is_enough(&answers) {
                return self.tell(answers).await;
            }
        }
    }

    /// Answers; where leadership is on its way to another broker, with that one's name.
    async fn tell(self, answers: Vec<PartitionAnswer>) -> Answer<FetchResponse> {
        let (services, orphaned) = (&self.ctx.services, self.orphaned(&answers));
        known(services, &orphaned, services.clock.now().mono).await;
        self.respond(answers)
    }

    /// The partitions that nobody is known to lead.
    fn orphaned(&self, answers: &[PartitionAnswer]) -> Vec<(Uuid, i32)> {
        let services = &self.ctx.services;
        let leaderless = |(topic, partition): &(Uuid, i32)| {
            let view = cluster::current_leader(services, *topic, *partition);
            view.is_some_and(|view| view.leader.is_none())
        };
        let misdirected = answers.iter().filter_map(PartitionAnswer::misdirected);
        misdirected.filter(leaderless).collect()
    }

    fn register(&self, answers: &[PartitionAnswer], watch: &Arc<Watch>) -> Vec<WatchGuard> {
        let isolation = self.limits.isolation;
        answers
            .iter()
            .filter_map(|answer| answer.partition.as_ref()?.watch(watch, isolation, answer.seen))
            .collect()
    }

    fn respond(self, answers: Vec<PartitionAnswer>) -> Answer<FetchResponse> {
        let mut response = FetchResponse::default();
        let mut bulk = Bulk::default();
        let leaders = self.leaders(&answers);
        let topics = &mut response.responses;
        match &self.mode {
            Mode::Sessionless => collect(topics, &mut bulk, answers, |_| true),
            Mode::Opened(session) => {
                let mut session = session.lock();
                response.session_id = session.id();
                collect(topics, &mut bulk, answers, |answer| {
                    session.tell(&answer.key, answer.telling());
                    true
                });
            }
            Mode::Incremental(session) => {
                let mut session = session.lock();
                response.session_id = session.id();
                collect(topics, &mut bulk, answers, |answer| {
                    session.tell(&answer.key, answer.telling())
                });
            }
        }
        self.tell_leaders(&mut response, leaders);
        Answer::WithBulk(response, bulk)
    }

    /// Who leads the partitions that this broker does not.
    fn leaders(&self, answers: &[PartitionAnswer]) -> Vec<(PartitionKey, PartitionView)> {
        if self.ctx.version < CURRENT_LEADER_FROM || self.ctx.services.cluster().is_none() {
            return Vec::new();
        }
        let found = answers.iter().filter_map(|answer| {
            let (topic, partition) = answer.misdirected()?;
            let view = cluster::current_leader(&self.ctx.services, topic, partition)?;
            Some((answer.key.clone(), view))
        });
        found.collect()
    }

    fn tell_leaders(
        &self,
        response: &mut FetchResponse,
        leaders: Vec<(PartitionKey, PartitionView)>,
    ) {
        let mut nodes = BTreeSet::new();
        for (key, view) in leaders {
            let Some(leader) = view.leader else { continue };
            let topics = response
                .responses
                .iter_mut()
                .filter(|topic| topic.topic_id == key.topic_id && *topic.topic.0 == *key.topic);
            let mut partitions = topics.flat_map(|topic| &mut topic.partitions);
            if let Some(data) = partitions.find(|data| data.partition_index == key.partition) {
                data.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(leader.0.into())
                    .with_leader_epoch(view.epoch.0);
                nodes.insert(leader);
            }
        }
        if self.ctx.version < ENDPOINTS_FROM {
            return;
        }
        let brokers = self.ctx.brokers_among(&nodes);
        response.node_endpoints = brokers
            .into_iter()
            .map(|broker| {
                NodeEndpoint::default()
                    .with_node_id(broker.id.0.into())
                    .with_host(super::wire::text(&broker.host))
                    .with_port(i32::from(broker.port))
                    .with_rack(broker.rack.as_deref().map(super::wire::text))
            })
            .collect();
    }
}

/// Groups the answers by topic, in their order.
fn collect(
    topics: &mut Vec<FetchableTopicResponse>,
    bulk: &mut Bulk,
    answers: Vec<PartitionAnswer>,
    mut keep: impl FnMut(&PartitionAnswer) -> bool,
) {
    for answer in answers {
        if !keep(&answer) {
            continue;
        }
        let same = topics.last().is_some_and(|last: &FetchableTopicResponse| {
            last.topic_id == answer.key.topic_id && *last.topic.0 == *answer.key.topic
        });
        if !same {
            topics.push(
                FetchableTopicResponse::default()
                    .with_topic_id(answer.key.topic_id)
                    .with_topic(super::wire::topic_name(&answer.key.topic)),
            );
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(answer.into_message(bulk));
        }
    }
}

fn bytes_of(answers: &[PartitionAnswer]) -> u64 {
    answers.iter().map(PartitionAnswer::bytes).sum()
}

fn refused(code: ErrorCode) -> FetchResponse {
    FetchResponse::default().with_error_code(code.code())
}
