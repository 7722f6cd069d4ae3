//! Checkout and checkin, as a session sees them.
//!
//! Invariant: between a grant and its release exactly one session has the link, and each session
//! that leaves while it waits has withdrawn.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use stent_pool::{Condition, Event, PoolId, Refusal, ServerId, WaiterId};

use super::{Broker, PoolEntry};
use crate::clients::{ClientId, ClientState, Outcome};
use crate::link::{Link, Writing};
use crate::pool_stats::add;

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
    pub(crate) fn acquire(self: &Rc<Self>, client: ClientId, pool: PoolId) -> Acquired {
        self.inner().clients.set_state(client, ClientState::Waiting);
        self.handle(Event::Acquire { pool, waiter: WaiterId(client.waiter_key()) });
        match self.take_outcome(client) {
            Some(Outcome::Granted(link)) => Acquired::Link(link),
            Some(Outcome::Refused(refusal)) => Acquired::Refused(refusal),
            None => Acquired::Later,
        }
    }

    /// The end of a client's wait, if it has come. A granted link is the client's from here on.
    pub(crate) fn take_outcome(self: &Rc<Self>, client: ClientId) -> Option<Outcome> {
        let mut inner = self.inner();
        let outcome = inner.clients.get_mut(client).outcome.take()?;
        match &outcome {
            Outcome::Granted(link) => {
                link.facts.take(client, Instant::now());
                inner.clients.get_mut(client).holds = Some(Rc::clone(&link.facts));
                inner.clients.set_state(client, ClientState::Active);
            }
            Outcome::Refused(_) => inner.clients.set_state(client, ClientState::Idle),
        }
        Some(outcome)
    }

    /// A client leaves while it waits. What was granted to it meanwhile goes back unused.
    pub(crate) fn withdraw(self: &Rc<Self>, client: ClientId) {
        if let Some(Outcome::Granted(link)) = self.take_outcome(client) {
            self.release(client, link);
            return;
        }
        if self.inner().clients.get_mut(client).state == ClientState::Waiting {
            self.handle(Event::Withdraw { waiter: WaiterId(client.waiter_key()) });
            self.inner().clients.set_state(client, ClientState::Idle);
        }
    }

    /// A client gives its server back. The link's own book decides in which condition it is.
    pub(crate) fn release(self: &Rc<Self>, client: ClientId, mut link: Box<Link>) {
        let server = link.server;
        let ended = link.writing == Writing::Failed || link.ledger.has_ended();
        let condition = if ended {
            Condition::Broken
        } else if !link.is_clean() {
            Condition::Doubtful
        } else if self.is_silent(&mut link) {
            Condition::Clean
        } else {
            Condition::Broken
        };
        link.ledger.shrink();
        let mut inner = self.inner();
        if let Some(checkout) = link.facts.give_back() {
            inner.entries[link.pool.index()].stats.hold.record(checkout.since.elapsed());
        }
        if inner.clients.get(client).is_some() {
            inner.clients.get_mut(client).holds = None;
            inner.clients.set_state(client, ClientState::Idle);
        }
        drop(inner);
        self.put_idle(link);
        self.handle(Event::Release { server, condition });
    }

    /// A server's socket ended while a client had it.
    pub(crate) fn release_lost(self: &Rc<Self>, client: ClientId, mut link: Box<Link>) {
        link.writing = Writing::Failed;
        self.release(client, link);
    }

    /// Gives back a server that no client had, after work of our own on it.
    pub(crate) fn hand_back(self: &Rc<Self>, link: Box<Link>, condition: Condition) {
        let server: ServerId = link.server;
        self.put_idle(link);
        let mut events = VecDeque::from([Event::Release { server, condition }]);
        while let Some(event) = events.pop_front() {
            self.handle(event);
        }
    }
}

impl PoolEntry {
    /// Counts a failed attempt to open a server.
    pub(super) fn count_failure(&mut self, sqlstate: &str) {
        /// Distinct SQLSTATEs of failed logins are few; more than this share one row.
        const KINDS_MAX: usize = 32;
        let known = self.open_failures.iter_mut().find(|(code, _)| code == sqlstate);
        match known {
            Some((_, count)) => *count += 1,
            None if self.open_failures.len() < KINDS_MAX => {
                self.open_failures.push((sqlstate.to_owned(), 1));
            }
            None => {
                if let Some((_, count)) = self.open_failures.last_mut() {
                    *count += 1;
                }
            }
        }
    }

    /// Counts bytes and ends of queries.
    pub(crate) fn count_sent(&self, bytes: usize) {
        add(&self.stats.sent, bytes);
    }
}
