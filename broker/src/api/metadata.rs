//! Metadata (key 3), versions 0-13.
//!
//! Behaviour: brokers, the controller and topics with their partitions' leaders. Version 0 means all
//! topics by an empty list, later ones by null. Unknown names are created when the client and
//! `auto.create.topics.enable` allow it; ids (version 12 and up, KIP-516) never are.
//! Authorised operations are those of a broker without an authorizer: all of them.
//! Differences from Apache Kafka: a topic that was just created is answered with its leader at once,
//! not with UNKNOWN_TOPIC_OR_PARTITION until a second request.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};
use ottla_coordinator::metadata::topic_name::is_internal;
use ottla_coordinator::metadata::{MetadataImage, TopicImage};
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::cluster::view;
use crate::metadata_service::MetadataService;

/// From this version on null is all topics.
const NULL_IS_ALL_FROM: i16 = 1;
/// From this version on a client may forbid creation; older ones always ask for it.
const CREATION_FLAG_FROM: i16 = 4;
/// From this version on topics may be asked for by id.
const IDS_FROM: i16 = 12;

#[derive(Debug)]
pub(crate) struct Metadata;

impl ApiHandler for Metadata {
    type Request = MetadataRequest;
    const NAME: &'static str = "Metadata";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=13;

    fn handle(ctx: &RequestContext, request: MetadataRequest) -> Reply<MetadataResponse> {
        if ctx.version < IDS_FROM && asks_by_id(&request) {
            return Reply::message(refused(request));
        }
        let image = ctx.services.metadata.image();
        let missing = missing(ctx, &request, &image);
        if missing.is_empty() {
            return Reply::message(respond(ctx, &request, &image, &[]));
        }
        let ctx = ctx.clone();
        Reply::staged(async move {
            let failed = MetadataService::create_missing(&ctx.services, missing).await;
            respond(&ctx, &request, &ctx.services.metadata.image(), &failed)
        })
    }
}

/// Versions 10 and 11 have the fields but not the right to use them.
fn asks_by_id(request: &MetadataRequest) -> bool {
    let mut asked = request.topics.iter().flatten();
    asked.any(|topic| topic.name.is_none() || !topic.topic_id.is_nil())
}

/// The whole request refused, with nothing of the cluster in the answer (as Kafka has it).
fn refused(request: MetadataRequest) -> MetadataResponse {
    let topics = request.topics.into_iter().flatten().map(|topic| {
        MetadataResponseTopic::default()
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_name(Some(topic.name.unwrap_or_default()))
            .with_topic_id(topic.topic_id)
            .with_topic_authorized_operations(wire::OPERATIONS_NOT_ASKED)
    });
    MetadataResponse::default()
        .with_controller_id(BrokerId(-1))
        .with_topics(topics.collect())
        .with_cluster_authorized_operations(wire::OPERATIONS_NOT_ASKED)
}

/// Names that are asked for, unknown, and may be created.
fn missing(ctx: &RequestContext, request: &MetadataRequest, image: &MetadataImage) -> Vec<String> {
    let allowed = ctx.version < CREATION_FLAG_FROM || request.allow_auto_topic_creation;
    if !allowed || !ctx.services.configuration().broker.topics.auto_create {
        return Vec::new();
    }
    let asked = request.topics.iter().flatten().filter(|topic| topic.topic_id.is_nil());
    let names: BTreeSet<&str> = asked.filter_map(|topic| Some(&*topic.name.as_ref()?.0)).collect();
    names.into_iter().filter(|name| image.topic(name).is_none()).map(str::to_owned).collect()
}

fn respond(
    ctx: &RequestContext,
    request: &MetadataRequest,
    image: &MetadataImage,
    failed: &[(String, ErrorCode)],
) -> MetadataResponse {
    let all = match &request.topics {
        None => true,
        Some(topics) => ctx.version < NULL_IS_ALL_FROM && topics.is_empty(),
    };
    let operations = |asked: bool, all: i32| if asked { all } else { wire::OPERATIONS_NOT_ASKED };
    let topic_operations =
        operations(request.include_topic_authorized_operations, wire::TOPIC_OPERATIONS);
    let topics = if all {
        image.topics().map(|topic| described(ctx, image, topic, topic_operations)).collect()
    } else {
        let asked = request.topics.iter().flatten();
        let mut answered = BTreeSet::new();
        // A topic is told once, however often and in whichever way it was asked for.
        asked
            .map(|asked| one(ctx, asked, image, failed, topic_operations))
            .filter(|topic| answered.insert((topic.name.clone(), topic.topic_id)))
            .collect()
    };
    MetadataResponse::default()
        .with_brokers(brokers(ctx, image))
        .with_cluster_id(Some(wire::text(image.cluster_id())))
        .with_controller_id(BrokerId(ctx.services.controller_id().0))
        .with_topics(topics)
        .with_cluster_authorized_operations(operations(
            request.include_cluster_authorized_operations,
            wire::CLUSTER_OPERATIONS,
        ))
}

fn brokers(ctx: &RequestContext, image: &MetadataImage) -> Vec<MetadataResponseBroker> {
    ctx.services
        .endpoints
        .brokers_for(&ctx.connection, image)
        .into_iter()
        .map(|broker| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(broker.id.0))
                .with_host(wire::text(&broker.host))
                .with_port(i32::from(broker.port))
                .with_rack(broker.rack.as_deref().map(wire::text))
        })
        .collect()
}

fn one(
    ctx: &RequestContext,
    asked: &MetadataRequestTopic,
    image: &MetadataImage,
    failed: &[(String, ErrorCode)],
    operations: i32,
) -> MetadataResponseTopic {
    let by_id = !asked.topic_id.is_nil();
    let found: Option<&Arc<TopicImage>> = match &asked.name {
        Some(name) if !by_id => image.topic(&name.0),
        _ => image.topic_by_id(asked.topic_id),
    };
    if let Some(topic) = found {
        return described(ctx, image, topic, operations);
    }
    let code = if by_id || (asked.name.is_none() && ctx.version >= IDS_FROM) {
        ErrorCode::UnknownTopicId
    } else {
        let name: &str = asked.name.as_ref().map_or("", |name| &name.0);
        let known = failed.iter().find(|(failed, _)| failed == name);
        known.map_or_else(|| unknown(name), |(_, code)| *code)
    };
    MetadataResponseTopic::default()
        .with_error_code(code.code())
        .with_name(asked.name.clone())
        .with_topic_id(asked.topic_id)
        .with_is_internal(asked.name.as_ref().is_some_and(|name| is_internal(&name.0)))
        .with_topic_authorized_operations(wire::OPERATIONS_NOT_ASKED)
}

/// A name that cannot exist is told apart from one that does not.
fn unknown(name: &str) -> ErrorCode {
    match ottla_coordinator::metadata::topic_name::check(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn described(
    ctx: &RequestContext,
    image: &MetadataImage,
    topic: &TopicImage,
    operations: i32,
) -> MetadataResponseTopic {
    let partitions = topic
        .iter()
        .map(|(index, partition)| {
            let nodes = |ids: &[ottla_protocol::model::NodeId]| {
                ids.iter().map(|id| BrokerId(id.0)).collect::<Vec<_>>()
            };
            let now = view(&ctx.services, topic.id, index, partition);
            let code = match now.leader {
                Some(_) => ErrorCode::None,
                None => ErrorCode::LeaderNotAvailable,
            };
            MetadataResponsePartition::default()
                .with_error_code(code.code())
                .with_partition_index(index.0)
                .with_leader_id(BrokerId(now.leader.map_or(-1, |leader| leader.0)))
                .with_leader_epoch(now.epoch.0)
                .with_replica_nodes(nodes(&partition.replicas))
                .with_isr_nodes(nodes(&now.isr))
                .with_offline_replicas(nodes(&image.offline_replicas(partition)))
        })
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(wire::topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions)
        .with_topic_authorized_operations(operations)
}
