//! From a frame to a handler.
//!
//! Owns: header, table lookup, version check, the guard, the refusal of what is not served.
//! Never: a rule of one API, except that ApiVersions answers versions that it does not know (KIP-511).

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::frame::{self, RequestHead};
use ottla_protocol::guard;
use ottla_protocol::model::Now;

use super::api_versions;
use super::handler::{ConnectionInfo, Dispatched, Outcome, RequestContext, Route};
use crate::forwarding;
use crate::net::response::{Bulk, ResponseFrame};
use crate::services::Services;

const API_VERSIONS: i16 = 18;

/// The last client id of a connection, shared by its requests: clients send the same one each time.
#[derive(Debug, Default)]
pub(crate) struct ClientIds {
    last: Option<Arc<str>>,
}

impl ClientIds {
    fn intern(&mut self, id: Option<&Bytes>) -> Option<Arc<str>> {
        let id = id?;
        match &self.last {
            Some(last) if last.as_bytes() == &id[..] => {}
            _ => self.last = Some(Arc::from(String::from_utf8_lossy(id))),
        }
        self.last.clone()
    }
}

/// Runs the request in `frame`.
pub(crate) fn request(
    services: &Arc<Services>,
    connection: &Arc<ConnectionInfo>,
    ids: &mut ClientIds,
    frame: Bytes,
    now: Now,
) -> Dispatched {
    let request = match frame::parse_request(&frame) {
        Ok(request) => request,
        Err(error) => return disconnect(format!("request header: {error}")),
    };
    let (header, body) = (request.head, request.body);
    let Some(row) = super::row_of(header.api_key) else {
        return disconnect(format!("API key {} is not served here", header.api_key));
    };
    let entry = &super::TABLE[row];
    let ctx = RequestContext {
        services: Arc::clone(services),
        connection: Arc::clone(connection),
        version: header.api_version,
        correlation_id: header.correlation_id,
        client_id: ids.intern(header.client_id.as_ref()),
        frame_bytes: frame.len(),
        now,
        through: services.node_id,
        refused: None,
    };
    services.metrics.count_request(row);
    if !entry.versions.contains(&header.api_version) {
        if entry.key == API_VERSIONS {
            return unknown_api_versions(&header);
        }
        return disconnect(format!(
            "{} version {} is not served; {}-{} are",
            entry.name,
            header.api_version,
            entry.versions.start(),
            entry.versions.end()
        ));
    }
    if let Err(error) = guard::check(header.api_key, header.api_version, &body) {
        return disconnect(format!("{} v{}: {error}", entry.name, header.api_version));
    }
    if entry.route == Route::Controller
        && let Some(cluster) = services.cluster()
        && !cluster.controller().here
    {
        return forwarding::to_controller(&ctx, entry.key, body);
    }
    entry.dispatch(&ctx, body)
}

/// Carries out a request that was checked, on this broker.
pub(crate) fn here(ctx: &RequestContext, key: i16, body: Bytes) -> Dispatched {
    match super::row_of(key) {
        Some(row) => super::TABLE[row].dispatch(ctx, body),
        None => disconnect(format!("API key {key} is not served here")),
    }
}

/// Carries out a request that another broker passed on: it is checked as if a client had sent it.
pub(crate) fn passed_on(ctx: &RequestContext, key: i16, body: Bytes) -> Dispatched {
    let entry = super::row_of(key).map(|row| &super::TABLE[row]);
    let known = entry
        .filter(|entry| entry.route == Route::Controller && entry.versions.contains(&ctx.version));
    let Some(entry) = known else {
        return disconnect(format!("API key {key} v{} is not passed on", ctx.version));
    };
    if let Err(error) = guard::check(key, ctx.version, &body) {
        return disconnect(format!("{} v{}: {error}", entry.name, ctx.version));
    }
    entry.dispatch(ctx, body)
}

/// A client that is newer than we are learns so in the one layout that every client can read.
fn unknown_api_versions(header: &RequestHead) -> Dispatched {
    let response = api_versions::unknown_version();
    match ResponseFrame::encode(&response, 0, header.correlation_id, Bulk::default()) {
        Ok(frame) => Dispatched::Now(Outcome::Write(frame)),
        Err(error) => disconnect(format!("ApiVersions v0 does not encode: {error}")),
    }
}

fn disconnect(reason: String) -> Dispatched {
    Dispatched::Now(Outcome::Disconnect(reason))
}
