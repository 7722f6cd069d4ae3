//! Making a server the client's own before its first request: the client's parameters, and the
//! channels that are listened on for it.
//!
//! Invariant: no byte of the client's request is sent before the parameters are in force, so a
//! server that fails here costs the client nothing but time.

use std::sync::Arc;
use std::time::Duration;

use stent_wire::params::Params;
use stent_wire::report::{Report, Severity, SqlState};

use super::{Phase, Session, Step};
use crate::broker::Acquired;
use crate::exchange::{self, ExchangeError};
use crate::link::{Link, Writing};
use crate::traces::Loaded;

/// A server with what came of preparing it.
pub(super) struct Prepared {
    pub(super) link: Box<Link>,
    pub(super) result: Result<(), ExchangeError>,
}

impl Session {
    /// A server was granted: prepare it if its parameters are not this client's.
    pub(super) fn take(&mut self, link: Box<Link>) {
        let load = if link.traces.loaded == Loaded::No { self.load() } else { None };
        if link.applied == self.params && load.is_none() {
            self.phase = Phase::Linked(link);
            return;
        }
        let params = Arc::clone(&self.params);
        let timeout = self.broker.present().config.server_connect_timeout;
        self.phase = Phase::Preparing(Box::pin(apply(link, params, load, timeout)));
    }

    /// The preparation has ended.
    pub(super) fn prepared(&mut self, prepared: Prepared) -> Step {
        let Prepared { mut link, result } = prepared;
        self.take_heard(&mut link);
        match result {
            Err(error) if !link.traces.pins.is_empty() && !link.is_clean() => {
                self.server_lost(link, error.to_string())
            }
            Err(_) if !link.traces.pins.is_empty() => {
                self.phase = Phase::Linked(link);
                Step::Again
            }
            Ok(()) => {
                self.phase = Phase::Linked(link);
                Step::Again
            }
            Err(ExchangeError::Refused(mut report)) if link.is_clean() => {
                self.broker.release(self.id, link);
                report.severity = Severity::Error;
                self.refuse(&report);
                Step::Again
            }
            Err(error) => {
                self.broker.release_lost(self.id, link);
                self.ask_again(&error)
            }
        }
    }

    /// The server died before it saw anything of the request: ask for another.
    fn ask_again(&mut self, error: &ExchangeError) -> Step {
        match self.broker.acquire(self.id, self.pool) {
            Acquired::Link(link) => self.take(link),
            Acquired::Later => self.phase = Phase::Waiting,
            Acquired::Refused(_) => {
                let report = Report::error(SqlState::CONNECTION_FAILURE, error.to_string());
                self.refuse(&report);
            }
        }
        Step::Again
    }
}

/// Gives a server the client's parameters, and the channels that are listened on for it.
async fn apply(
    mut link: Box<Link>,
    params: Arc<Params>,
    load: Option<(Vec<u8>, Option<u64>)>,
    timeout: Duration,
) -> Prepared {
    let answer = tokio::time::timeout(timeout, async {
        if let Some(sql) = params.sync_sql(&link.applied) {
            exchange::query(&mut link, &sql).await?;
        }
        link.applied = params;
        if let Some((sql, echoing)) = load {
            exchange::query(&mut link, &sql).await?;
            link.traces.loaded = Loaded::Yes(echoing);
        }
        Ok(())
    });
    let result = match answer.await {
        Ok(result) => result,
        Err(_) => {
            link.writing = Writing::Failed;
            Err(ExchangeError::OutOfStep("no answer in time".to_owned()))
        }
    };
    Prepared { link, result }
}
