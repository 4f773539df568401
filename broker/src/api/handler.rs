//! The contract of an API handler, and its erasure into one table entry.
//!
//! Owns: [`ApiHandler`], [`Reply`], [`RequestContext`] and the steps around every handler: decode,
//! handle, encode. Never: a rule of one API.
//!
//! A handler does five things, in this order: authorise, validate the shape, route, ask the domain,
//! map the answer. It runs on the connection's task and must not block; what has to wait is
//! *registered* during `handle` (appends are done, waiters stand in their queues) and only the
//! waiting itself goes into [`Reply::Staged`]. The connection polls staged replies in request order,
//! so the effects of pipelined requests happen in order while their waits overlap.

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};
use ottla_coordinator::metadata::Command;
use ottla_protocol::error_code::ErrorCode;
use ottla_protocol::model::{MonoTime, NodeId, Now};

use crate::endpoints::BrokerAddress;
use crate::metadata_service::MetadataService;
use crate::net::response::{Bulk, ResponseFrame};
use crate::services::Services;

/// How long a change of metadata may take for a client that sets no limit of its own.
const REQUEST_MAX: Duration = Duration::from_secs(60);

/// The response type that belongs to a handler's request type.
pub(crate) type ResponseOf<H> = <<H as ApiHandler>::Request as Request>::Response;

/// One API of the broker.
pub(crate) trait ApiHandler: 'static {
    /// Brings the API key and the schema.
    type Request: Request + Send + 'static;
    /// The API's name as Kafka spells it.
    const NAME: &'static str;
    /// What this broker really serves; ApiVersions is derived from it.
    const VERSIONS: RangeInclusive<i16>;
    /// Who answers it.
    const ROUTE: Route = Route::Here;

    fn handle(ctx: &RequestContext, request: Self::Request) -> Reply<ResponseOf<Self>>;
}

/// Which broker answers an API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// The one that was asked.
    Here,
    /// The active controller: whoever is asked passes the request on.
    Controller,
}

/// What a handler answers with.
#[allow(missing_debug_implementations, reason = "response types need not be Debug")]
pub(crate) enum Answer<R> {
    Message(R),
    /// A response whose bulk fields stand for stored bytes that are sent without a copy.
    WithBulk(R, Bulk),
    /// Nothing is sent: `acks=0`.
    Silent,
    /// The connection is closed, with this reason in the log.
    Disconnect(String),
}

/// A handler's result: at once, or after a wait that is already registered.
#[allow(missing_debug_implementations, reason = "holds a future")]
pub(crate) enum Reply<R> {
    Done(Answer<R>),
    Staged(Pin<Box<dyn Future<Output = Answer<R>> + Send>>),
}

impl<R> Reply<R> {
    #[must_use]
    pub(crate) fn message(response: R) -> Self {
        Self::Done(Answer::Message(response))
    }

    /// Answers with what `wait` ends in.
    pub(crate) fn staged(wait: impl Future<Output = R> + Send + 'static) -> Self
    where
        R: 'static,
    {
        Self::Staged(Box::pin(async move { Answer::Message(wait.await) }))
    }
}

/// Who asks: facts of the connection that requests share.
#[derive(Debug)]
pub struct ConnectionInfo {
    pub id: u64,
    pub peer: std::net::SocketAddr,
    pub local: std::net::SocketAddr,
    /// The listener's name, as in `listeners`.
    pub listener: Arc<str>,
}

/// What every handler gets beside the request.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub services: Arc<Services>,
    pub connection: Arc<ConnectionInfo>,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Arc<str>>,
    /// Length of the whole request frame, which a slice of it keeps in memory.
    pub frame_bytes: usize,
    /// Both clocks when the request was dispatched.
    pub now: Now,
    /// The broker that the client is connected to: this one, unless the request was passed on.
    pub through: NodeId,
    /// Set where no controller answered: the request is to be answered with this, in its own shape
    /// (handlers ask [`Self::controller`]).
    pub refused: Option<ErrorCode>,
}

impl RequestContext {
    /// Who carries out changes of metadata.
    pub(crate) fn controller(&self) -> ActiveController {
        let deadline = self.now.mono.plus(REQUEST_MAX);
        ActiveController { services: Arc::clone(&self.services), refused: self.refused, deadline }
    }

    /// Those of `nodes` that the client may talk to, as it reaches them: what answers carry beside a new
    /// leader's id (KIP-951).
    pub(crate) fn brokers_among(&self, nodes: &BTreeSet<NodeId>) -> Vec<BrokerAddress> {
        if nodes.is_empty() {
            return Vec::new();
        }
        let image = self.services.metadata.image();
        let mut brokers = self.services.endpoints.brokers_for(&self.connection, &image);
        brokers.retain(|broker| nodes.contains(&broker.id));
        brokers
    }
}

/// The active controller as handlers of [`Route::Controller`] know it.
#[derive(Clone, Debug)]
pub(crate) struct ActiveController {
    services: Arc<Services>,
    refused: Option<ErrorCode>,
    deadline: MonoTime,
}

impl ActiveController {
    /// With the time that the request itself allows. Without one (librdkafka sends 0 unless it is told
    /// otherwise) the general limit stays.
    #[must_use]
    pub(crate) fn within(mut self, now: Now, timeout_ms: i32) -> Self {
        if let Ok(millis @ 1..) = u64::try_from(timeout_ms) {
            self.deadline = self.deadline.min(now.mono.plus(Duration::from_millis(millis)));
        }
        self
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// As [`MetadataService::submit`], and where there is no controller.
    pub(crate) async fn submit<C>(&self, command: C) -> Result<C::Reply, ErrorCode>
    where
        C: Command + Send + 'static,
        C::Reply: Send + 'static,
    {
        MetadataService::submit_until(self.reached()?, command, self.deadline).await
    }

    /// This node's services, to act for the controller with.
    ///
    /// # Errors
    /// The code to answer with, where there is no controller.
    pub(crate) fn reached(&self) -> Result<&Arc<Services>, ErrorCode> {
        self.refused.map_or(Ok(&self.services), Err)
    }
}

/// An encoded outcome, ready for the connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    Write(ResponseFrame),
    Silent,
    Disconnect(String),
}

impl Outcome {
    /// Bytes that it will write.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Write(frame) => frame.len(),
            Self::Silent | Self::Disconnect(_) => 0,
        }
    }
}

/// The erased [`Reply`].
#[allow(missing_debug_implementations, reason = "holds a future")]
pub(crate) enum Dispatched {
    Now(Outcome),
    Later(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

/// One row of the API table.
#[derive(Clone, Debug)]
pub(crate) struct ApiEntry {
    pub key: i16,
    pub name: &'static str,
    pub versions: RangeInclusive<i16>,
    pub route: Route,
    dispatch: fn(&RequestContext, Bytes) -> Dispatched,
}

impl ApiEntry {
    #[must_use]
    pub(crate) const fn of<H: ApiHandler>() -> Self {
        Self {
            key: <H::Request as Request>::KEY,
            name: H::NAME,
            versions: H::VERSIONS,
            route: H::ROUTE,
            dispatch: dispatch::<H>,
        }
    }

    /// Decodes `body`, which the guard has passed, and runs the handler.
    #[must_use]
    pub(crate) fn dispatch(&self, ctx: &RequestContext, body: Bytes) -> Dispatched {
        (self.dispatch)(ctx, body)
    }
}

fn dispatch<H: ApiHandler>(ctx: &RequestContext, mut body: Bytes) -> Dispatched {
    let request = match H::Request::decode(&mut body, ctx.version) {
        Ok(request) => request,
        Err(error) => {
            return Dispatched::Now(Outcome::Disconnect(format!(
                "{} v{} does not decode: {error}",
                H::NAME,
                ctx.version
            )));
        }
    };
    let (version, correlation_id) = (ctx.version, ctx.correlation_id);
    match H::handle(ctx, request) {
        Reply::Done(answer) => Dispatched::Now(encode(H::NAME, version, correlation_id, answer)),
        Reply::Staged(wait) => Dispatched::Later(Box::pin(async move {
            encode(H::NAME, version, correlation_id, wait.await)
        })),
    }
}

fn encode<R: Encodable + HeaderVersion>(
    name: &'static str,
    version: i16,
    correlation_id: i32,
    answer: Answer<R>,
) -> Outcome {
    let (response, bulk) = match answer {
        Answer::Message(response) => (response, Bulk::default()),
        Answer::WithBulk(response, bulk) => (response, bulk),
        Answer::Silent => return Outcome::Silent,
        Answer::Disconnect(reason) => return Outcome::Disconnect(reason),
    };
    match ResponseFrame::encode(&response, version, correlation_id, bulk) {
        Ok(frame) => Outcome::Write(frame),
        // A response we built does not fit its own version: our fault, never the client's.
        Err(error) => {
            tracing::error!(api = name, version, %error, "response does not encode");
            Outcome::Disconnect(format!("{name} v{version}: response does not encode: {error}"))
        }
    }
}
