//! OffsetFetch (key 9), versions 1-10.
//!
//! Behaviour: see `coordinator::group`. One group up to v7, several from v8 on (KIP-709). All topics by
//! null from v2 on. A group or partition without an offset is answered with -1 and no error. With
//! `require_stable` (v7, KIP-447) offsets that a transaction may still change are an error. From v10 on
//! topics go by id (KIP-848): ids that do not exist get UNKNOWN_TOPIC_ID, and an offset that was
//! committed for an earlier topic of the same name is not answered.
//! Differences from Apache Kafka: none known.

mod response;

use std::sync::Arc;

use kafka_protocol::messages::OffsetFetchResponse;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_coordinator::group::{FetchOffsetsRequest, FetchTopic, GroupError, Input, Stability};
use ottla_protocol::messages::OffsetFetchRequest as WireRequest;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::group_service::Answer;
use response::{AnsweredGroup, respond};

/// From this version on a request has several groups.
const GROUPS_FROM: i16 = 8;
const IDS_FROM: i16 = 10;

#[derive(Debug)]
pub(crate) struct OffsetFetch;

impl ApiHandler for OffsetFetch {
    type Request = WireRequest;
    const NAME: &'static str = "OffsetFetch";
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=10;

    fn handle(ctx: &RequestContext, mut request: WireRequest) -> Reply<OffsetFetchResponse> {
        let stability = if request.require_stable { Stability::Required } else { Stability::Any };
        let groups = match ctx.version {
            GROUPS_FROM.. => std::mem::take(&mut request.groups),
            _ => vec![only_group(&request)],
        };
        let asked: Vec<AskedGroup> =
            groups.into_iter().map(|group| AskedGroup::submit(ctx, group, stability)).collect();
        let version = ctx.version;
        let services = Arc::clone(&ctx.services);
        if asked.iter().all(AskedGroup::is_ready) {
            let ready = asked.into_iter().map(AskedGroup::ready).collect();
            return Reply::message(respond(version, &services, ready));
        }
        Reply::staged(async move {
            let mut answered = Vec::with_capacity(asked.len());
            for group in asked {
                answered.push(group.wait().await);
            }
            respond(version, &services, answered)
        })
    }
}

/// The request of v1-7 as one group of the later ones.
fn only_group(request: &WireRequest) -> OffsetFetchRequestGroup {
    let topic = |topic: &OffsetFetchRequestTopic| {
        OffsetFetchRequestTopics::default()
            .with_name(topic.name.clone())
            .with_partition_indexes(topic.partition_indexes.clone())
    };
    let topics = request.topics.as_ref().map(|topics| topics.iter().map(topic).collect());
    OffsetFetchRequestGroup::default().with_group_id(request.group_id.clone()).with_topics(topics)
}

struct AskedGroup {
    id: Arc<str>,
    asked: Option<Vec<FetchTopic>>,
    /// Topics by ids that do not exist: they never reach the group.
    unknown: Vec<OffsetFetchRequestTopics>,
    answer: Result<Answer, GroupError>,
}

impl AskedGroup {
    fn submit(ctx: &RequestContext, group: OffsetFetchRequestGroup, stability: Stability) -> Self {
        let id = wire::shared(&group.group_id.0);
        let mut unknown = Vec::new();
        let by_id = ctx.version >= IDS_FROM;
        let topics: Option<Vec<FetchTopic>> = group.topics.map(|topics| {
            let known = topics.into_iter().filter_map(|topic| {
                let name = match by_id {
                    false => Some(wire::shared(&topic.name.0)),
                    true => ctx.services.topics.by_id(topic.topic_id).map(|e| Arc::clone(&e.name)),
                };
                match name {
                    Some(name) => Some(FetchTopic {
                        topic: name,
                        topic_id: topic.topic_id,
                        partitions: topic.partition_indexes,
                    }),
                    None => {
                        unknown.push(topic);
                        None
                    }
                }
            });
            known.collect()
        });
        let request =
            FetchOffsetsRequest { group_id: Arc::clone(&id), topics: topics.clone(), stability };
        let answer = ctx
            .services
            .groups
            .submit(&ctx.services, &id, ctx.now, |token| Input::FetchOffsets(token, request));
        Self { id, asked: topics, unknown, answer }
    }

    fn is_ready(&self) -> bool {
        !matches!(self.answer, Ok(Answer::Later(_)))
    }

    fn ready(self) -> AnsweredGroup {
        let result = match self.answer {
            Ok(Answer::Ready(reply)) => Ok(reply),
            Ok(Answer::Later(_)) => Err(GroupError::CoordinatorNotAvailable),
            Err(error) => Err(error),
        };
        AnsweredGroup::new(self.id, self.asked, self.unknown, result)
    }

    async fn wait(self) -> AnsweredGroup {
        let result = match self.answer {
            Ok(answer) => answer.wait().await,
            Err(error) => Err(error),
        };
        AnsweredGroup::new(self.id, self.asked, self.unknown, result)
    }
}
