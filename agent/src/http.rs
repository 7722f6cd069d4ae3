//! The agent's pages over HTTP/1: `/metrics`, `/livez`, `/readyz`, `/snapshot`.
//!
//! Owns: answering GET and HEAD. Refuses: everything that changes something, and request bodies.
//! Invariant: at most [`CONNECTIONS_MAX`] connections, each for at most [`CONNECTION_MAX`] and with
//! a head of at most [`HEAD_BYTES_MAX`] that must come within [`HEAD_MAX`]; a page is made of what
//! the last round left behind, so no reader ever touches a round.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use stent_contract::{AgentSnapshot, Snapshot};
use tokio::sync::{Semaphore, watch};

use crate::listen::{Listener, Stream};
use crate::publish::counts::Counts;
use crate::publish::page;
use crate::round::Latest;

/// The most connections at a time. Others wait in the kernel's queue for a place.
const CONNECTIONS_MAX: usize = 32;
/// How long the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(3);
/// The largest head. hyper takes no less than 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most header fields.
const HEADERS_MAX: usize = 64;
/// How long a connection may live.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// The loop is taken for dead when it has not ended a round for this many intervals.
const INTERVALS_MAX: u32 = 10;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const KNOWN: &str = "/metrics  Prometheus text format\n\
                     /livez    200 while the agent takes rounds\n\
                     /readyz   200 once there is something to show, and no target is set aside\n\
                     /snapshot JSON of the last round\n";

/// What the pages are made of.
#[derive(Debug)]
pub(crate) struct Pages {
    latest: watch::Receiver<Option<Latest>>,
    counts: Vec<Counts>,
    started: tokio::time::Instant,
    silence_max: Duration,
}

impl Pages {
    /// Pages of a loop that takes a round every `interval`.
    pub(crate) fn new(
        latest: watch::Receiver<Option<Latest>>,
        counts: Vec<Counts>,
        interval: Duration,
    ) -> Self {
        let silence_max = interval.saturating_mul(INTERVALS_MAX);
        Self { latest, counts, started: tokio::time::Instant::now(), silence_max }
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, listener: Listener) {
        let pages = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // Connections end with this task.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let stream = listener.accept().await;
            while connections.try_join_next().is_some() {}
            let pages = Arc::clone(&pages);
            connections.spawn(async move {
                pages.connection(stream).await;
                drop(place);
            });
        }
    }

    async fn connection(&self, stream: Box<dyn Stream>) {
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(self.answer(request.method(), request.uri().path()))
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(CONNECTION_MAX, served).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a request to the agent's pages failed"),
            Err(_) => tracing::debug!("a request to the agent's pages took too long"),
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = page_of(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match path {
            "/metrics" => self.metrics(),
            "/livez" => self.livez(),
            "/readyz" => self.readyz(),
            "/snapshot" => self.snapshot(),
            _ => page_of(StatusCode::NOT_FOUND, TEXT, format!("no such page; there are\n{KNOWN}")),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let latest = self.latest.borrow().clone();
        let of_round = latest.iter().flat_map(|latest| latest.points.iter().cloned());
        let of_publishers = self.counts.iter().flat_map(Counts::points);
        let text = page::render(of_round.chain(of_publishers));
        page_of(StatusCode::OK, page::CONTENT_TYPE, text)
    }

    fn livez(&self) -> Response<Full<Bytes>> {
        let last = self.latest.borrow().as_ref().map_or(self.started, |latest| latest.at);
        let silence = last.elapsed();
        if silence <= self.silence_max {
            return page_of(StatusCode::OK, TEXT, "alive\n");
        }
        let text = format!("no round for {:.1} s\n", silence.as_secs_f64());
        page_of(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        let latest = self.latest.borrow();
        let set_aside = latest.as_ref().map(|latest| latest.snapshot.set_aside.as_deref());
        match set_aside {
            Some(None) => page_of(StatusCode::OK, TEXT, "ready\n"),
            Some(Some(target)) => {
                let text = format!("{target} is looked into: siblings take its newcomers\n");
                page_of(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
            }
            None => {
                page_of(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the first round has not ended\n")
            }
        }
    }

    fn snapshot(&self) -> Response<Full<Bytes>> {
        let latest = self.latest.borrow().clone();
        let agent = latest.map(|latest| AgentSnapshot::clone(&latest.snapshot));
        match serde_json::to_vec(&Snapshot { proxy: None, agent }) {
            Ok(json) => page_of(StatusCode::OK, JSON, json),
            Err(error) => page_of(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        }
    }
}

fn page_of(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
