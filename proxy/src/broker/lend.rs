//! Checkout and checkin, as a session sees them.
//!
//! Invariant: between a grant and its release exactly one session has the link, and each session
//! that leaves while it waits has withdrawn.

use std::sync::Arc;
use std::time::Duration;

use stent_pool::{Condition, Event, PoolId, Refusal, WaiterId};
use stent_wire::effects::Effects;
use stent_wire::inspect::Cause;
use stent_wire::params::Params;
use stent_wire::startup::Replication;

use super::unwound::{Keeper, Task};
use super::{Broker, PoolEntry};
use crate::clients::{Asking, ClientId, ClientState, Outcome};
use crate::clock;
use crate::exchange::{self, ExchangeError};
use crate::link::{Link, Suspicion, Writing};
use crate::traces::Loaded;
use crate::workers;

/// How long a reset between two sessions may take.
const RESET_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may be held back after a cancel request.
const QUARANTINE_MAX: Duration = Duration::from_secs(10);
/// How long to let a signal arrive.
const QUARANTINE_STEP: Duration = Duration::from_millis(5);

/// The answer to a request for a server.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// Here it is.
    Link(Box<Link>),
    /// It comes, or a refusal does: the session is woken.
    Later,
    /// There is none.
    Refused(Refusal),
}

impl Broker {
    /// A client asks for a server of its pool.
    pub(crate) fn acquire(self: &Arc<Self>, client: ClientId, pool: PoolId) -> Acquired {
        let (now, waiter) = (clock::now(), WaiterId(client.waiter_key()));
        let mut inner = self.inner();
        inner.clients.set_state(client, ClientState::Waiting);
        let entry = inner.clients.get_mut(client);
        entry.asking = Asking::Now;
        let (home, class) = (workers::home(), entry.class);
        inner.decide(Event::Acquire { pool, waiter, home, class }, now);
        let outcome = inner.take_outcome(client, now);
        self.leave(inner);
        match at_home(outcome) {
            Some(Outcome::Granted(link)) => Acquired::Link(link),
            Some(Outcome::Refused(refusal)) => Acquired::Refused(refusal),
            Some(Outcome::Cancelled) | None => Acquired::Later,
        }
    }

    /// The end of a client's wait, if it has come. A granted link is the client's from here on.
    pub(crate) fn take_outcome(&self, client: ClientId) -> Option<Outcome> {
        at_home(self.inner().take_outcome(client, clock::now()))
    }

    /// A client leaves while it waits. What was granted to it meanwhile goes back unused.
    pub(crate) fn withdraw(self: &Arc<Self>, client: ClientId) {
        let now = clock::now();
        let mut inner = self.inner();
        let outcome = inner.take_outcome(client, now);
        if outcome.is_none() && inner.clients.get_mut(client).state == ClientState::Waiting {
            inner.decide(Event::Withdraw { waiter: WaiterId(client.waiter_key()) }, now);
            inner.clients.set_state(client, ClientState::Idle);
        }
        self.leave(inner);
        if let Some(Outcome::Granted(link)) = at_home(outcome) {
            self.release(client, link);
        }
    }

    /// A client gives its server back. The link's own book decides in which condition it is.
    pub(crate) fn release(self: &Arc<Self>, client: ClientId, mut link: Box<Link>) {
        let ended = link.writing == Writing::Failed || link.ledger.has_ended();
        if ended {
            self.client_lets_go(client, &link);
            return self.hand_back(link, Condition::Broken);
        }
        if !link.traces.is_clean() {
            self.client_lets_go(client, &link);
            return self.clean(link);
        }
        if !link.is_clean() {
            self.client_lets_go(client, &link);
            return self.hand_back(link, Condition::Doubtful);
        }
        if link.suspicion == Suspicion::ReadOnly {
            return self.ask_role(client, link);
        }
        if self.is_to_be_weighed(&link) {
            self.client_lets_go(client, &link);
            return self.settle(link);
        }
        let silent = Self::is_silent(&mut link);
        link.rest();
        let now = clock::now();
        let mut inner = self.inner();
        inner.let_go(client, &link, now);
        // Only now: until here a cancel request of the client could still find the server.
        if link.facts.was_cancelled() {
            drop(inner);
            return self.settle(link);
        }
        let condition = if silent { Condition::Clean } else { Condition::Broken };
        let server = link.server;
        inner.put_idle(link);
        inner.decide(Event::Release { server, condition }, now);
        self.leave(inner);
    }

    /// A server that a login has left half-way, or ended itself: nobody's fault, and of no use.
    pub(super) fn release_spoilt(self: &Arc<Self>, client: ClientId, link: Box<Link>) {
        self.client_lets_go(client, &link);
        self.hand_back(link, Condition::Doubtful);
    }

    /// A server's socket ended while a client had it.
    pub(crate) fn release_lost(self: &Arc<Self>, client: ClientId, mut link: Box<Link>) {
        link.writing = Writing::Failed;
        self.release(client, link);
    }

    /// A client cancels its own wait, if it still waits.
    pub(crate) fn cancel_wait(self: &Arc<Self>, client: ClientId) {
        let mut inner = self.inner();
        inner.cancel_wait(client, clock::now());
        self.leave(inner);
    }

    /// A console waits no longer.
    pub(crate) fn end_console_wait(&self, client: ClientId) {
        self.inner().end_other_wait(client);
    }

    /// A client of session mode gives its server back: its session's state is taken off it first.
    pub(crate) fn reset_and_release(self: &Arc<Self>, client: ClientId, mut link: Box<Link>) {
        self.client_lets_go(client, &link);
        if link.started.replication != Replication::Off {
            // A replication connection is good for one client.
            return self.hand_back(link, Condition::Doubtful);
        }
        let broker = Arc::clone(self);
        let keeper = Keeper::of(self, &link, Task::Clean);
        tokio::task::spawn_local(async move {
            let _keeper = keeper;
            if grow_quiet(&mut link).await == Condition::Doubtful {
                return broker.hand_back(link, Condition::Doubtful);
            }
            let reset = exchange::query(&mut link, b"DISCARD ALL");
            let condition = match tokio::time::timeout(RESET_TIMEOUT, reset).await {
                Ok(Ok(_)) => {
                    link.applied = Arc::new(Params::default());
                    link.statements.clear();
                    Condition::Clean
                }
                Ok(Err(_)) | Err(_) => Condition::Doubtful,
            };
            broker.hand_back_weighed(link, condition).await;
        });
    }

    /// A client has left a server on which its session's state is or may be: it is taken off.
    fn clean(self: &Arc<Self>, mut link: Box<Link>) {
        // What was not asked about may be anything.
        let known = !link.traces.effects().any(Effects::MAKES);
        let mut causes = link.traces.pins;
        if link.traces.loaded != Loaded::No {
            causes.add(Cause::Listen);
        }
        let sql = if known { causes.reset_sql() } else { None };
        let sql = match sql {
            _ if !link.is_clean() => return self.hand_back(link, Condition::Doubtful),
            _ if link.traces.pins.has(Cause::Load) || link.traces.effects().any(Effects::LOAD) => {
                return self.hand_back(link, Condition::Doubtful);
            }
            Some(sql) => sql,
            None => "DISCARD ALL".to_owned(),
        };
        let broker = Arc::clone(self);
        let keeper = Keeper::of(self, &link, Task::Clean);
        tokio::task::spawn_local(async move {
            let _keeper = keeper;
            #[cfg(test)]
            crate::trap::spring(crate::trap::Place::Clean, link.facts.backend_pid);
            if grow_quiet(&mut link).await == Condition::Doubtful {
                return broker.hand_back(link, Condition::Doubtful);
            }
            let reset = exchange::query(&mut link, sql.as_bytes());
            let condition = match tokio::time::timeout(RESET_TIMEOUT, reset).await {
                Ok(Ok(_)) => Condition::Clean,
                Ok(Err(_)) | Err(_) => Condition::Doubtful,
            };
            if sql == "DISCARD ALL" || link.traces.pins.has(Cause::Setting) {
                link.applied = Arc::new(Params::default());
            }
            if sql == "DISCARD ALL" || link.traces.pins.has(Cause::Prepare) {
                link.statements.clear();
            }
            link.traces.clear();
            broker.hand_back_weighed(link, condition).await;
        });
    }

    /// Gives a server to the pool once no cancel request can hit it any more, and asked for its memory
    /// if that is due.
    fn settle(self: &Arc<Self>, mut link: Box<Link>) {
        let broker = Arc::clone(self);
        let keeper = Keeper::of(self, &link, Task::Clean);
        tokio::task::spawn_local(async move {
            let _keeper = keeper;
            let condition = grow_quiet(&mut link).await;
            broker.hand_back_weighed(link, condition).await;
        });
    }

    /// Gives a server to the pool.
    pub(super) fn hand_back(self: &Arc<Self>, mut link: Box<Link>, condition: Condition) {
        let server = link.server;
        let condition = match condition {
            Condition::Clean | Condition::Worn if !link.is_clean() => Condition::Doubtful,
            Condition::Clean | Condition::Worn if !Self::is_silent(&mut link) => Condition::Broken,
            Condition::Clean | Condition::Worn | Condition::Doubtful | Condition::Broken => {
                condition
            }
        };
        link.rest();
        let mut inner = self.inner();
        inner.put_idle(link);
        inner.decide(Event::Release { server, condition }, clock::now());
        self.leave(inner);
    }

    /// The books of a checkout's end.
    pub(super) fn client_lets_go(&self, client: ClientId, link: &Link) {
        self.inner().let_go(client, link, clock::now());
    }
}

/// A link that was granted is watched by the worker of its client from here on.
fn at_home(mut outcome: Option<Outcome>) -> Option<Outcome> {
    if let Some(Outcome::Granted(link)) = &mut outcome {
        link.come_home();
    }
    outcome
}

/// Waits until a server that was sent a cancel request has been delivered it and has proved quiet:
/// PostgreSQL up to 15 delivers one request as two signals, and the second may hit the statement
/// after the one that was meant.
async fn grow_quiet(link: &mut Link) -> Condition {
    if !link.facts.was_cancelled() {
        return Condition::Clean;
    }
    let quiet = async {
        while link.facts.cancels().on_the_way > 0 {
            tokio::time::sleep(QUARANTINE_STEP).await;
        }
        tokio::time::sleep(QUARANTINE_STEP).await;
        while let Err(error) = exchange::probe(link).await {
            let ExchangeError::Refused(_) = error else { return Condition::Doubtful };
        }
        Condition::Clean
    };
    let quiet = tokio::time::timeout(QUARANTINE_MAX, quiet).await;
    link.facts.forget_cancels();
    quiet.unwrap_or(Condition::Doubtful)
}

impl PoolEntry {
    /// Counts a failed attempt to open a server.
    pub(super) fn count_failure(&mut self, sqlstate: &str) {
        /// Distinct SQLSTATEs of failed logins are few; more than this share one row.
        const KINDS_MAX: usize = 32;
        let known = self.open_failures.iter().position(|(code, _)| code == sqlstate);
        let at = known.unwrap_or_else(|| {
            if self.open_failures.len() < KINDS_MAX {
                self.open_failures.push((sqlstate.to_owned(), 0));
            }
            self.open_failures.len() - 1
        });
        self.open_failures[at].1 += 1;
    }
}
