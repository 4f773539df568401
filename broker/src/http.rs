//! The HTTP port: health and metrics.
//!
//! Owns: `/livez`, `/readyz`, `/metrics` and their answers. Never: changes anything in the broker.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::services::Services;
use crate::stop::Stopping;

/// How long a client may take for its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Concurrent HTTP connections; further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 64;

/// After a failed accept, which is usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` turns true.
pub(crate) async fn serve(socket: TcpListener, services: Arc<Services>, mut stop: Stopping) {
    let mut tasks = JoinSet::new();
    let mut paused = stop.clone();
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = socket.accept(), if tasks.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => {
                    tasks.spawn(connection(stream, peer, Arc::clone(&services)));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed on the HTTP port");
                    if paused.pause(&services.clock, ACCEPT_PAUSE).await.is_break() {
                        break;
                    }
                }
            }
        }
    }
    tasks.shutdown().await;
}

async fn connection(stream: tokio::net::TcpStream, peer: SocketAddr, services: Arc<Services>) {
    let service = service_fn(move |request| {
        let services = Arc::clone(&services);
        async move { Ok::<_, Infallible>(answer(&request, &services)) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}

fn answer(request: &Request<Incoming>, services: &Arc<Services>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n".into());
    }
    match request.uri().path() {
        "/livez" | "/healthz" => text(StatusCode::OK, "live\n".into()),
        "/readyz" | "/v1/status/ready" => readiness(services, request.uri().query()),
        "/metrics" => metrics(services),
        path => text(
            StatusCode::NOT_FOUND,
            format!("nothing at {path}; served are /livez, /readyz and /metrics\n"),
        ),
    }
}

fn readiness(services: &Services, query: Option<&str>) -> Response<Full<Bytes>> {
    let checks = services.readiness();
    let ready = checks.iter().all(|(_, passed)| *passed);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if query.is_some_and(|query| query.split('&').any(|part| part == "verbose")) {
        let lines = checks
            .iter()
            .map(|(name, passed)| format!("[{}] {name}\n", if *passed { '+' } else { '-' }));
        return text(status, lines.collect());
    }
    text(status, if ready { "ready\n".into() } else { "not ready\n".into() })
}

fn metrics(services: &Arc<Services>) -> Response<Full<Bytes>> {
    match services.metrics.render(services) {
        Ok(body) => {
            let mut response = text(StatusCode::OK, body);
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
