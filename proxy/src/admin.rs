//! The proxy's admin pages over HTTP: `/metrics`, `/livez`, `/readyz`, `/snapshot`.
//!
//! Owns: answering GET. Refuses: everything that changes something.
//! Invariant: a slow or hostile reader costs one bounded connection and nothing else.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use stent_contract::snapshot::Snapshot;
use tokio::task::JoinSet;

use crate::broker::{Broker, Draining};
use crate::listen::Listener;
use crate::page;
use crate::stream::Stream;

/// The most admin connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live.
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// What a page needs.
pub(crate) struct Admin {
    broker: Arc<Broker>,
    listen: Arc<[String]>,
}

impl Admin {
    /// Admin pages of a proxy that listens there.
    pub(crate) fn new(broker: Arc<Broker>, listen: Arc<[String]>) -> Rc<Self> {
        Rc::new(Self { broker, listen })
    }

    /// Serves for ever.
    pub(crate) async fn serve(self: Rc<Self>, listener: Listener) {
        // They end with this task: who asks again then asks whoever listens then.
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await;
            while open.try_join_next().is_some() {}
            if open.len() >= CONNECTIONS_MAX {
                continue;
            }
            let admin = Rc::clone(&self);
            open.spawn_local(async move {
                let _ = tokio::time::timeout(CONNECTION_MAX, admin.connection(stream)).await;
            });
        }
    }

    async fn connection(self: &Rc<Self>, stream: Stream) -> Result<(), hyper::Error> {
        let service = service_fn(|request: Request<Incoming>| {
            let response = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(response) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(16 * 1024);
        match stream {
            Stream::Tcp(stream) => http.serve_connection(TokioIo::new(stream), service).await,
            Stream::Unix(stream) => http.serve_connection(TokioIo::new(stream), service).await,
            Stream::Tls(stream) => http.serve_connection(TokioIo::new(stream), service).await,
            Stream::Gone => Ok(()),
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
            response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET"));
            return response;
        }
        match path {
            "/metrics" => {
                let snapshot = self.broker.snapshot(&self.listen);
                let text = page::render(&self.broker, &snapshot);
                page_of(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            "/livez" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/snapshot" => {
                let proxy = Some(self.broker.snapshot(&self.listen));
                match serde_json::to_string(&Snapshot { proxy, agent: None }) {
                    Ok(json) => page_of(StatusCode::OK, "application/json", json),
                    Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
                }
            }
            _ => plain(StatusCode::NOT_FOUND, "try /metrics, /livez, /readyz or /snapshot\n"),
        }
    }

    /// Ready: clients are taken, and the way to PostgreSQL is open.
    fn ready(&self) -> Response<Full<Bytes>> {
        if self.broker.draining() != Draining::No {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
        }
        match self.broker.closed_way() {
            Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
            None => plain(StatusCode::OK, "ready\n"),
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    page_of(status, "text/plain; charset=utf-8", text.to_owned())
}

fn page_of(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
