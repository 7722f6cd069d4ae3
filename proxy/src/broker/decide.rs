//! Events in, decisions entered: the part of each step that needs the inside, in one piece.
//!
//! Owns: the order. Decisions are entered in the order in which they were taken, and an event that
//! follows from entering one is handled after the rest. What needs no inside (tasks, sockets,
//! wake-ups, the log) is put down as [`Due`] and done when the inside is free again.
//! Invariant: what the pools hold of a server and where its link is change in one piece, so another
//! worker never meets a decision about a server that is not in our hands.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use stent_pool::{
    CloseCause, Condition, Decision, Event, Limits, PoolId, Pools, ServerId, WaiterId,
};

use super::{Broker, Custody, Inner, Slot};
use crate::clients::{Asking, ClientId, ClientState, Outcome};
use crate::connect::OpenError;
use crate::leftovers;
use crate::link::Link;
use crate::shared::Guard;

/// What is to be done with the inside free.
pub(super) enum Due {
    /// Connect and log in.
    Open { pool: PoolId, server: ServerId },
    /// Ask for a sign of life.
    Probe { link: Box<Link> },
    /// End a server whose place is free already.
    Close { link: Box<Link>, cause: CloseCause },
    /// A server has ended whose place is free already.
    Forget { server: ServerId },
    /// A client's wait has ended.
    Wake(Waker),
    /// The janitor sleeps for too long.
    Plan,
}

/// Room for events and decisions on their way, kept so that a checkout allocates nothing.
pub(super) struct Queues {
    events: VecDeque<Event>,
    decisions: Vec<Decision>,
    dues: Vec<Due>,
    /// Until when the janitor sleeps.
    asleep_until: Instant,
}

impl Queues {
    /// Empty, with a janitor that is about to look.
    pub(super) const fn new(now: Instant) -> Self {
        Self { events: VecDeque::new(), decisions: Vec::new(), dues: Vec::new(), asleep_until: now }
    }
}

impl Inner {
    /// Frees what a storm has needed.
    pub(crate) fn give_back(&mut self) {
        self.clients.give_back();
        self.pools.give_back();
        let used = self.servers.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.servers.truncate(used);
        self.servers.shrink_to(leftovers::enough(used));
        let Queues { events, decisions, dues, asleep_until: _ } = &mut self.queues;
        events.shrink_to(leftovers::enough(0));
        decisions.shrink_to(leftovers::enough(0));
        dues.shrink_to(leftovers::enough(0));
    }
}

impl Broker {
    /// Frees this worker's room for what is due, beyond what is usual.
    pub(crate) fn give_back_dues(&self) {
        super::carry_out::give_back_spare(leftovers::enough(0));
    }

    /// Tells the pools what happened, and does what they decide.
    pub(crate) fn handle(self: &Arc<Self>, event: Event) {
        let mut inner = self.inner();
        inner.decide(event, crate::clock::now());
        self.leave(inner);
    }

    /// Frees the inside and does what is due.
    pub(crate) fn leave(self: &Arc<Self>, mut inner: Guard<'_, Inner>) {
        if inner.queues.dues.is_empty() {
            return;
        }
        let mut dues = super::carry_out::spare();
        std::mem::swap(&mut dues, &mut inner.queues.dues);
        drop(inner);
        self.carry_out(dues);
    }
}

impl Inner {
    /// Why a pool has no server, as far as attempts to open one tell.
    pub(crate) fn why_closed(&self, pool: PoolId) -> Option<&Arc<OpenError>> {
        self.entries[pool.index()].open_error.as_ref().or(self.unreachable.as_ref())
    }

    /// Tells the pools what happened and enters what they decide.
    pub(super) fn decide(&mut self, event: Event, now: Instant) {
        debug_assert!(self.queues.events.is_empty(), "one event at a time");
        self.decide_all(event, now);
    }

    fn decide_all(&mut self, event: Event, now: Instant) {
        let mut next = Some(event);
        let mut decisions = std::mem::take(&mut self.queues.decisions);
        while let Some(event) = next {
            self.pools.handle(event, now, &mut decisions);
            for decision in decisions.drain(..) {
                self.enter(decision);
            }
            next = self.queues.events.pop_front();
        }
        self.queues.decisions = decisions;
        if let Some(next) = self.pools.next_deadline()
            && next < self.queues.asleep_until
        {
            self.queues.asleep_until = next;
            self.queues.dues.push(Due::Plan);
        }
    }

    /// Other limits hold from here on.
    pub(super) fn set_limits(&mut self, limits: Limits, now: Instant) {
        self.change(now, |pools, out| pools.set_limits(limits, now, out));
    }

    /// Lets the pools have so many servers and enters what they decide.
    pub(crate) fn allow(&mut self, most: u32, now: Instant) {
        self.change(now, |pools, out| pools.allow(Some(most), now, out));
    }

    /// Changes the pools otherwise than by an event, and enters what they decide.
    fn change(&mut self, now: Instant, change: impl FnOnce(&mut Pools, &mut Vec<Decision>)) {
        let mut decisions = Vec::new();
        change(&mut self.pools, &mut decisions);
        for decision in decisions {
            self.enter(decision);
        }
        // What follows from entering them, and the janitor's next look.
        let next = self.queues.events.pop_front().unwrap_or(Event::Tick);
        self.decide_all(next, now);
    }

    /// The processes of our servers, in order.
    pub(crate) fn backends(&self) -> Vec<u32> {
        let facts = self.servers.iter().flatten().filter_map(|slot| slot.facts.as_ref());
        let mut pids: Vec<u32> = facts.map(|facts| facts.backend_pid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// The janitor looks again at this time at the latest.
    pub(super) fn sleep(&mut self, longest: Instant) -> Instant {
        let next = self.pools.next_deadline();
        self.queues.asleep_until = next.map_or(longest, |next| next.min(longest));
        self.queues.asleep_until
    }

    fn enter(&mut self, decision: Decision) {
        match decision {
            Decision::Open { pool, server } => {
                self.put_slot(Slot {
                    server,
                    pool,
                    idle: None,
                    facts: None,
                    custody: Custody::Kept,
                    scale: None,
                });
                self.queues.dues.push(Due::Open { pool, server });
            }
            Decision::Probe { server, .. } => {
                let link = self.take_idle(server);
                self.queues.dues.push(Due::Probe { link });
            }
            Decision::Grant { waiter, server, waited } => self.grant(waiter, server, waited),
            Decision::Close { server, cause } => {
                let slot =
                    self.slot(server).expect("the pool decides about servers that are there");
                let due = match slot.custody {
                    Custody::Kept => Due::Close { link: self.take_idle(server), cause },
                    Custody::Unwound => Due::Forget { server },
                };
                self.servers[server.index()] = None;
                self.queues.dues.push(due);
            }
            Decision::Refuse { waiter, refusal, .. } => {
                self.end_wait(waiter, Outcome::Refused(refusal));
            }
        }
    }

    /// A client gets its server. One that has left meanwhile gives it back unused.
    fn grant(&mut self, waiter: WaiterId, server: ServerId, waited: Duration) {
        let link = self.take_idle(server);
        self.entries[link.pool.index()].stats.own().wait.record(waited);
        let there = self.clients.by_waiter(waiter.0).is_some();
        if there || self.waiting_hub(waiter).is_some() {
            return self.end_wait(waiter, Outcome::Granted(link));
        }
        self.put_idle(link);
        self.queues.events.push_back(Event::Release { server, condition: Condition::Clean });
    }

    /// Hands a waiting client the end of its wait.
    fn end_wait(&mut self, waiter: WaiterId, outcome: Outcome) {
        if let Some(hub) = self.waiting_hub(waiter) {
            return hub.settle(outcome);
        }
        let client = self.clients.by_waiter(waiter.0);
        let client = client.expect("a wait is withdrawn before its client leaves");
        assert!(client.outcome.is_none(), "a wait ends once");
        client.outcome = Some(outcome);
        match (client.asking, &client.waker) {
            (Asking::No, Some(waker)) => self.queues.dues.push(Due::Wake(waker.clone())),
            (Asking::Now, _) | (Asking::No, None) => {}
        }
    }

    /// The end of a client's wait, if it has come. A granted link is the client's from here on.
    pub(super) fn take_outcome(&mut self, client: ClientId, now: Instant) -> Option<Outcome> {
        let entry = self.clients.get_mut(client);
        entry.asking = Asking::No;
        let outcome = entry.outcome.take()?;
        let state = match &outcome {
            Outcome::Granted(link) => {
                link.facts.take(client, now);
                entry.holds = Some(Arc::clone(&link.facts));
                ClientState::Active
            }
            Outcome::Refused(_) | Outcome::Cancelled => ClientState::Idle,
        };
        self.clients.set_state(client, state);
        Some(outcome)
    }

    /// The books of a checkout's end. From here on no cancel request of the client reaches the
    /// server.
    pub(super) fn let_go(&mut self, client: ClientId, link: &Link, now: Instant) {
        if let Some((checkout, held)) = link.facts.give_back(now) {
            let stats = self.entries[link.pool.index()].stats.own();
            stats.hold.record(held);
            stats.work_us.add_time(checkout.worked);
            stats.transaction_us.add_time(checkout.in_transactions);
        }
        if self.clients.get(client).is_some() {
            self.clients.get_mut(client).holds = None;
            self.clients.set_state(client, ClientState::Idle);
        }
    }

    /// Puts a client's wait to an end that it has asked for; whether it was waiting.
    pub(super) fn cancel_wait(&mut self, client: ClientId, now: Instant) {
        let waits = self
            .clients
            .get(client)
            .is_some_and(|client| client.state == ClientState::Waiting && client.outcome.is_none());
        if waits {
            let waiter = WaiterId(client.waiter_key());
            self.decide(Event::Withdraw { waiter }, now);
            self.end_wait(waiter, Outcome::Cancelled);
        }
    }

    /// The end of a wait that was a console's: for no server.
    pub(super) fn end_other_wait(&mut self, client: ClientId) {
        self.clients.get_mut(client).outcome = None;
        self.clients.set_state(client, ClientState::Idle);
    }

    /// The pools that have servers, in whatever state. Looks at each server.
    pub(super) fn pools_with_servers(&self) -> Vec<PoolId> {
        let mut pools: Vec<PoolId> = self.servers.iter().flatten().map(|slot| slot.pool).collect();
        pools.sort_unstable();
        pools.dedup();
        pools
    }

    /// The place of a server, if it is still that server's.
    pub(crate) fn slot(&mut self, server: ServerId) -> Option<&mut Slot> {
        self.servers.get_mut(server.index())?.as_mut().filter(|slot| slot.server == server)
    }

    fn put_slot(&mut self, slot: Slot) {
        let index = slot.server.index();
        if index >= self.servers.len() {
            self.servers.resize_with(index + 1, || None);
        }
        self.servers[index] = Some(slot);
    }

    /// Puts a link back into its place.
    pub(super) fn put_idle(&mut self, link: Box<Link>) {
        let slot = self.slot(link.server).expect("a live link keeps its place");
        debug_assert!(slot.idle.is_none());
        slot.idle = Some(link);
    }

    /// Takes an idle server out.
    fn take_idle(&mut self, server: ServerId) -> Box<Link> {
        let slot = self.slot(server).expect("the pool decides about servers that are there");
        slot.idle.take().expect("the pool decides about servers that are in our hands")
    }
}
