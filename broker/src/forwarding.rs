//! Requests that only the active controller can answer, passed on to it whole.
//!
//! Owns: the envelope around a request on its way, and the wait until the metadata here shows what the
//! controller did, so that a client that goes on with this broker sees it. Never: what the request means.
//! (Kafka's Envelope, KIP-590, without its principal: there is no authentication yet.)
//!
//! A request is sent again when the answer is lost, as Kafka's `NodeToControllerChannelManager` does: it
//! may be carried out twice, and the second time be answered e.g. TOPIC_ALREADY_EXISTS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{NodeId, Offset};
use ottla_replication::peer::ControlError;
use serde::{Deserialize, Serialize};

use crate::api;
use crate::api::handler::{ConnectionInfo, Dispatched, Outcome, RequestContext};
use crate::cluster::control::refused;
use crate::cluster::{self};
use crate::net::response::ResponseFrame;
use crate::services::Services;

/// How long a client is kept waiting for a controller (Kafka's channel named "forwarding").
const WITHIN: Duration = Duration::from_secs(60);
/// For one attempt: longer than a controller takes for any request (AddRaftVoter: 20 s), because one that is
/// given up here is made again.
const CALL_MAX: Duration = Duration::from_secs(25);
const ATTEMPT_EVERY: Duration = Duration::from_millis(20);

/// Who asked what, beside the body.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    key: i16,
    version: i16,
    correlation: i32,
    client: Option<String>,
    listener: String,
    peer: SocketAddr,
    local: SocketAddr,
    /// The broker that the client is connected to.
    through: i32,
}

/// Passes a request on, or carries it out here where this node has become the controller meanwhile.
pub(crate) fn to_controller(ctx: &RequestContext, key: i16, body: Bytes) -> Dispatched {
    let ctx = ctx.clone();
    Dispatched::Later(Box::pin(async move {
        let envelope = Envelope {
            key,
            version: ctx.version,
            correlation: ctx.correlation_id,
            client: ctx.client_id.as_deref().map(str::to_owned),
            listener: ctx.connection.listener.to_string(),
            peer: ctx.connection.peer,
            local: ctx.connection.local,
            through: ctx.services.node_id.0,
        };
        let packed = pack(&envelope, &body);
        let deadline = ctx.now.mono.plus(WITHIN);
        loop {
            if let Some(outcome) = attempt(&ctx, key, &body, &packed).await {
                return outcome;
            }
            let now = ctx.services.clock.now().mono;
            if now >= deadline || ctx.services.is_draining() {
                return overdue(&ctx, key, body).await;
            }
            ctx.services.clock.sleep_until(now.plus(ATTEMPT_EVERY)).await;
        }
    }))
}

/// The request's own answer that there was no controller in time (Kafka's `ForwardingManager.onTimeout`).
async fn overdue(ctx: &RequestContext, key: i16, body: Bytes) -> Outcome {
    let refused = Some(ErrorCode::RequestTimedOut);
    let ctx = RequestContext { refused, ..ctx.clone() };
    match api::dispatch::here(&ctx, key, body) {
        Dispatched::Now(outcome) => outcome,
        Dispatched::Later(wait) => wait.await,
    }
}

async fn attempt(ctx: &RequestContext, key: i16, body: &Bytes, packed: &Bytes) -> Option<Outcome> {
    let services = &ctx.services;
    let cluster = services.cluster()?;
    let controller = cluster.controller();
    match controller.node {
        Some(node) if node == cluster.me => {
            if !controller.here {
                return None;
            }
            match api::dispatch::here(ctx, key, body.clone()) {
                Dispatched::Now(outcome) => Some(outcome),
                Dispatched::Later(wait) => Some(wait.await),
            }
        }
        Some(node) => {
            let called = cluster.peers.call(node, cluster::FORWARD, packed.clone(), CALL_MAX).await;
            match called {
                Ok(mut answer) if answer.len() >= 8 => {
                    let offset = Offset(answer.get_i64());
                    services.metadata.applied(offset).await;
                    Some(Outcome::Write(ResponseFrame::of_bytes(answer)))
                }
                Ok(_) => None,
                Err(error) => {
                    tracing::debug!(%node, %error, "the controller did not answer");
                    None
                }
            }
        }
        None => None,
    }
}

fn pack(envelope: &Envelope, body: &Bytes) -> Bytes {
    let head = serde_json::to_vec(envelope).unwrap_or_default();
    let mut packed = BytesMut::with_capacity(4 + head.len() + body.len());
    packed.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
    packed.put_slice(&head);
    packed.put_slice(body);
    packed.freeze()
}

fn unpack(mut packed: Bytes) -> Option<(Envelope, Bytes)> {
    if packed.len() < 4 {
        return None;
    }
    let len = usize::try_from(packed.get_u32()).ok()?;
    if packed.len() < len {
        return None;
    }
    let head = packed.split_to(len);
    Some((serde_json::from_slice(&head).ok()?, packed))
}

/// Carries out a request that another broker passed on.
///
/// # Errors
/// This node is not the active controller, or the request is none that is passed on.
pub(crate) async fn serve(services: &Arc<Services>, packed: Bytes) -> Result<Bytes, ControlError> {
    let (envelope, body) = unpack(packed)
        .ok_or_else(|| refused(ErrorCode::InvalidRequest, "the envelope is not readable"))?;
    if !services.cluster().is_some_and(|cluster| cluster.controller().here) {
        return Err(refused(ErrorCode::NotController, ErrorCode::NotController.message()));
    }
    let ctx = RequestContext {
        services: Arc::clone(services),
        connection: Arc::new(ConnectionInfo {
            id: 0,
            peer: envelope.peer,
            local: envelope.local,
            listener: Arc::from(envelope.listener),
        }),
        version: envelope.version,
        correlation_id: envelope.correlation,
        client_id: envelope.client.map(Arc::from),
        frame_bytes: body.len(),
        now: services.clock.now(),
        through: NodeId(envelope.through),
        refused: None,
    };
    let outcome = match api::dispatch::passed_on(&ctx, envelope.key, body) {
        Dispatched::Now(outcome) => outcome,
        Dispatched::Later(wait) => wait.await,
    };
    match outcome {
        Outcome::Write(frame) => {
            let mut answer = BytesMut::with_capacity(8 + frame.len());
            answer.put_i64(services.metadata.image().end().0);
            frame.copy_to(&mut answer);
            Ok(answer.freeze())
        }
        Outcome::Silent => Ok(Bytes::new()),
        Outcome::Disconnect(reason) => Err(refused(ErrorCode::InvalidRequest, reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, TimeSource};
    use crate::host::Host;
    use crate::wiring::{Broker, BrokerOptions, Storage};
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::create_topics_request::CreatableTopic;
    use kafka_protocol::messages::{
        CreateTopicsRequest, CreateTopicsResponse, DescribeQuorumRequest, DescribeQuorumResponse,
        ResponseHeader, UpdateFeaturesRequest, UpdateFeaturesResponse,
    };
    use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
    use ottla_config::loader::{self, Sources};

    /// What a client is told that asks for an active controller where there is none.
    async fn without_controller<Q: Request>(request: Q, version: i16) -> Q::Response
    where
        Q::Response: Decodable,
    {
        let clock = Arc::new(ManualClock::default());
        let settings = ["listeners=PLAINTEXT://127.0.0.1:0", "ottla.http.listener="];
        let settings = settings.map(str::to_owned).to_vec();
        let config = loader::load(&Sources { settings, ..Sources::default() }).unwrap().layers();
        let (storage, clocks) = (Storage::Memory, Some(clock.clone() as crate::clock::Clock));
        let host = Host::System;
        let options = BrokerOptions { config, storage, seed: Some(1), clock: clocks, host };
        // Alone, it knows of no controller elsewhere either.
        let broker = Broker::start(options).await.unwrap();
        let address = ([127, 0, 0, 1], 1).into();
        let ctx = RequestContext {
            services: Arc::clone(broker.services()),
            connection: Arc::new(ConnectionInfo {
                id: 1,
                peer: address,
                local: address,
                listener: Arc::from("PLAINTEXT"),
            }),
            version,
            correlation_id: 7,
            client_id: None,
            frame_bytes: 0,
            now: clock.now(),
            through: NodeId(1),
            refused: None,
        };
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        let Dispatched::Later(mut wait) = to_controller(&ctx, Q::KEY, body.freeze()) else {
            panic!("there is nothing to answer yet");
        };
        assert!(futures_util::poll!(&mut wait).is_pending());
        clock.advance(WITHIN - Duration::from_millis(1));
        assert!(futures_util::poll!(&mut wait).is_pending(), "a controller may still come");
        clock.advance(ATTEMPT_EVERY);
        let Outcome::Write(frame) = wait.await else { panic!("it is answered in its own shape") };
        let mut bytes = BytesMut::new();
        frame.copy_to(&mut bytes);
        let mut bytes = bytes.freeze();
        bytes.advance(4);
        let header = Q::Response::header_version(version);
        assert_eq!(ResponseHeader::decode(&mut bytes, header).unwrap().correlation_id, 7);
        Q::Response::decode(&mut bytes, version).unwrap()
    }

    #[tokio::test]
    async fn without_a_controller_requests_time_out_in_their_own_shape() {
        let code = ErrorCode::RequestTimedOut.code();
        let topics = ["a", "b"].map(|name| {
            CreatableTopic::default().with_name(TopicName(StrBytes::from_static_str(name)))
        });
        let created: CreateTopicsResponse =
            without_controller(CreateTopicsRequest::default().with_topics(topics.to_vec()), 5)
                .await;
        assert_eq!(created.topics.iter().map(|of| of.error_code).collect::<Vec<_>>(), [code, code]);
        let quorum: DescribeQuorumResponse =
            without_controller(DescribeQuorumRequest::default(), 1).await;
        assert_eq!(quorum.error_code, code);
        let features: UpdateFeaturesResponse =
            without_controller(UpdateFeaturesRequest::default(), 1).await;
        assert_eq!(features.error_code, code);
    }

    #[test]
    fn an_envelope_is_opened_again_and_damage_is_refused() {
        let envelope = Envelope {
            key: 19,
            version: 7,
            correlation: -3,
            client: Some("c".to_owned()),
            listener: "PLAINTEXT".to_owned(),
            peer: ([127, 0, 0, 1], 1).into(),
            local: ([127, 0, 0, 1], 2).into(),
            through: 2,
        };
        let packed = pack(&envelope, &Bytes::from_static(b"body"));
        let (opened, body) = unpack(packed.clone()).unwrap();
        assert_eq!((opened.key, opened.through, &body[..]), (19, 2, &b"body"[..]));
        for cut in 0..packed.len() - 4 {
            assert!(unpack(packed.slice(..cut)).is_none(), "{cut}");
        }
    }
}
