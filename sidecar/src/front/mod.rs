//! The supervisor's admin endpoint: one address for both components.
//!
//! Owns: `/metrics` (both pages merged by family, and the supervisor's own), `/livez`, `/readyz`
//! (the proxy's), `/snapshot` (both halves). Refuses: everything else.
//! Invariant: a component that is dead, slow or broken costs its own part of an answer and
//! [`COMPONENT_LIMIT`] at the most.

pub(crate) mod merge;
mod own;
mod server;

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use stent_contract::Snapshot;
use tokio::sync::watch;

use crate::config::address::Address;
use crate::http::{self, GetError, Reply};

pub(crate) use server::{bind, serve};

/// How long a component may take.
const COMPONENT_LIMIT: Duration = Duration::from_secs(2);

/// Where the components serve, which nobody else needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) proxy: Address,
    pub(crate) agent: Address,
}

/// What the supervisor knows of its children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restarts {
    pub(crate) proxy: u64,
    pub(crate) agent: u64,
    /// Whether the command of `stent run` is being restarted before its memory limit.
    pub(crate) is_renewing: bool,
}

/// What answers requests.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) endpoints: Endpoints,
    pub(crate) restarts: watch::Receiver<Restarts>,
    /// Whether a target that is set aside makes us unready.
    pub(crate) siblings: Siblings,
}

/// Whether there are others that can take newcomers (`sibling_drain`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Siblings {
    None,
    Some,
}

/// An answer before it is HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

const TEXT: &str = "text/plain; charset=utf-8";
/// Source: Prometheus documentation, "Exposition formats".
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

impl Answer {
    fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: TEXT, body: body.into() }
    }
}

impl Front {
    /// Answers one request.
    pub(crate) async fn answer(&self, method: &Method, path: &str) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match path {
            "/livez" => Answer::text(StatusCode::OK, "alive\n"),
            "/readyz" => self.readyz().await,
            "/metrics" => self.metrics().await,
            "/snapshot" => self.snapshot().await,
            _ => {
                let known = "not found; try /metrics, /livez, /readyz or /snapshot\n";
                Answer::text(StatusCode::NOT_FOUND, known)
            }
        }
    }

    async fn readyz(&self) -> Answer {
        if self.restarts.borrow().is_renewing {
            let body = "the command is being restarted before its memory limit\n";
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, body);
        }
        if let Some(target) = self.set_aside().await {
            let body = format!("{target} is looked into: siblings take its newcomers\n");
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, body);
        }
        match http::get(&self.endpoints.proxy, "/readyz", COMPONENT_LIMIT).await {
            Ok(reply) => Answer::text(reply.status, reply.body),
            Err(error) => {
                let body = format!("the proxy does not answer: {error}\n");
                Answer::text(StatusCode::SERVICE_UNAVAILABLE, body)
            }
        }
    }

    /// The target that siblings stand in for. An agent that does not answer sets nobody aside.
    async fn set_aside(&self) -> Option<String> {
        if self.siblings == Siblings::None {
            return None;
        }
        let reply = http::get(&self.endpoints.agent, "/snapshot", COMPONENT_LIMIT).await;
        let reply = successful("agent", "/snapshot", reply)?;
        serde_json::from_slice::<Snapshot>(&reply.body).ok()?.agent?.set_aside
    }

    async fn both(&self, path: &'static str) -> (Option<Reply>, Option<Reply>) {
        let (proxy, agent) = tokio::join!(
            http::get(&self.endpoints.proxy, path, COMPONENT_LIMIT),
            http::get(&self.endpoints.agent, path, COMPONENT_LIMIT),
        );
        (successful("proxy", path, proxy), successful("agent", path, agent))
    }

    async fn metrics(&self) -> Answer {
        let (proxy, agent) = self.both("/metrics").await;
        let restarts = *self.restarts.borrow();
        let supervisor = own::page(restarts, proxy.as_ref(), agent.as_ref());
        let text = |reply: Option<Reply>| {
            reply.map(|reply| String::from_utf8_lossy(&reply.body).into_owned()).unwrap_or_default()
        };
        let body = merge::pages(&[&text(proxy), &text(agent), &supervisor]);
        Answer { status: StatusCode::OK, content_type: METRICS, body: body.into() }
    }

    async fn snapshot(&self) -> Answer {
        let (proxy, agent) = self.both("/snapshot").await;
        let read = |reply: Option<Reply>| -> Snapshot {
            let parsed = reply.map(|reply| serde_json::from_slice(&reply.body));
            parsed.and_then(Result::ok).unwrap_or_default()
        };
        let merged = Snapshot { proxy: read(proxy).proxy, agent: read(agent).agent };
        let body = serde_json::to_vec(&merged).expect("a snapshot has string keys only");
        Answer { status: StatusCode::OK, content_type: JSON, body: body.into() }
    }
}

fn successful(component: &str, path: &str, reply: Result<Reply, GetError>) -> Option<Reply> {
    match reply {
        Ok(reply) if reply.status.is_success() => Some(reply),
        Ok(reply) => {
            tracing::debug!(component, path, status = reply.status.as_u16(), "refused to answer");
            None
        }
        Err(error) => {
            tracing::debug!(component, path, %error, "does not answer");
            None
        }
    }
}
