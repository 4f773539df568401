//! FindCoordinator (key 10), versions 0-6.
//!
//! Behaviour: the broker that coordinates a group: this one, as long as there is only one. The first
//! question creates `__consumer_offsets`. One key up to v3, a list from v4 on (KIP-699). Transactions
//! are not served yet: UNSUPPORTED_VERSION, which ends `initTransactions` at once with the reason,
//! where COORDINATOR_NOT_AVAILABLE would be retried for a minute; share coordinators (v6, KIP-932) and
//! unknown types are refused as invalid, as by a Kafka without them.
//! Differences from Apache Kafka: the answer waits for the topic to be created, where Kafka answers
//! COORDINATOR_NOT_AVAILABLE until the client has asked again.

use std::sync::Arc;

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::error_code::ErrorCode;

use super::handler::{ApiHandler, Reply, RequestContext};
use super::wire;
use crate::cluster;
use crate::endpoints::BrokerAddress;
use crate::group_service::OFFSETS_TOPIC;
use crate::metadata_service::MetadataService;

/// From this version on a request has several keys.
const KEYS_FROM: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

#[derive(Debug)]
pub(crate) struct FindCoordinator;

impl ApiHandler for FindCoordinator {
    type Request = FindCoordinatorRequest;
    const NAME: &'static str = "FindCoordinator";
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=6;

    fn handle(
        ctx: &RequestContext,
        request: FindCoordinatorRequest,
    ) -> Reply<FindCoordinatorResponse> {
        let keys = match ctx.version {
            KEYS_FROM.. => request.coordinator_keys,
            _ => vec![request.key],
        };
        match request.key_type {
            GROUP if keys.is_empty() => Reply::message(respond(ctx, keys, &Err(ErrorCode::None))),
            GROUP => match ctx.services.topics.by_name(OFFSETS_TOPIC) {
                Some(_) => Reply::message(respond(ctx, keys, &Ok(()))),
                None => Reply::staged(create_first(ctx.clone(), keys)),
            },
            TRANSACTION => Reply::message(respond(ctx, keys, &Err(ErrorCode::UnsupportedVersion))),
            _ => Reply::message(respond(ctx, keys, &Err(ErrorCode::InvalidRequest))),
        }
    }
}

async fn create_first(ctx: RequestContext, keys: Vec<StrBytes>) -> FindCoordinatorResponse {
    let services = Arc::clone(&ctx.services);
    let failed = MetadataService::create_missing(&services, vec![OFFSETS_TOPIC.to_owned()]).await;
    let found = match failed.first() {
        None => Ok(()),
        Some((_, code)) => {
            tracing::error!(%code, "__consumer_offsets cannot be created: no groups");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    };
    respond(&ctx, keys, &found)
}

/// The broker that coordinates a group: the leader of its partition of `__consumer_offsets`.
fn coordinator(ctx: &RequestContext, group: &str) -> Result<BrokerAddress, ErrorCode> {
    let services = &ctx.services;
    let endpoints = &services.endpoints;
    if services.cluster().is_none() {
        // As Kafka: a group whose partition has no leader has no coordinator.
        let served = services.groups.serves(services, group);
        let own = endpoints.own_for(&ctx.connection);
        return if served { Ok(own) } else { Err(ErrorCode::CoordinatorNotAvailable) };
    }
    let none = ErrorCode::CoordinatorNotAvailable;
    let image = services.metadata.image();
    let topic = image.topic(OFFSETS_TOPIC).ok_or(none)?;
    let index = services.groups.partition_of(services, group);
    let view = cluster::current_leader(services, topic.id, index).ok_or(none)?;
    let leader = view.leader.ok_or(none)?;
    let brokers = endpoints.brokers_for(&ctx.connection, &image);
    brokers.into_iter().find(|broker| broker.id == leader).ok_or(none)
}

/// What a client's log should say; nothing where there is no error.
fn explained(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::None => None,
        ErrorCode::UnsupportedVersion => Some("this version of Ottla does not serve transactions"),
        code => Some(code.message()),
    }
}

fn respond(
    ctx: &RequestContext,
    keys: Vec<StrBytes>,
    found: &Result<(), ErrorCode>,
) -> FindCoordinatorResponse {
    let of = |key: &StrBytes| match found.and_then(|()| coordinator(ctx, key)) {
        Ok(broker) => {
            let port = i32::from(broker.port);
            (ErrorCode::None, broker.id.get(), wire::text(&broker.host), port)
        }
        Err(code) => (code, -1, StrBytes::default(), -1),
    };
    if ctx.version >= KEYS_FROM {
        let coordinator = |key: StrBytes| {
            let (code, id, host, port) = of(&key);
            Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(id))
                .with_host(host)
                .with_port(port)
                .with_error_code(code.code())
                .with_error_message(Some(wire::text(explained(code).unwrap_or_default())))
        };
        return FindCoordinatorResponse::default()
            .with_coordinators(keys.into_iter().map(coordinator).collect());
    }
    let (code, id, host, port) = of(&keys.first().cloned().unwrap_or_default());
    // Kafka says "NONE" where there is no error.
    let message = explained(code).unwrap_or("NONE");
    FindCoordinatorResponse::default()
        .with_error_code(code.code())
        .with_error_message(Some(wire::text(message)))
        .with_node_id(BrokerId(id))
        .with_host(host)
        .with_port(port)
}
