//! Events in, decisions carried out.
//!
//! Invariant: decisions are carried out in the order in which they were taken, and an event that
//! follows from carrying one out is handled after the rest. All that follows from one event is done
//! in one turn with the broker's inside; who is to wake is woken behind it.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use stent_pool::{
    CloseCause, Condition, Decision, Event, OpenFailure, PoolId, ProbeResult, ServerId, WaiterId,
};

use super::{Broker, Inner, Role, Slot};
use crate::clients::{Asking, Outcome};
use crate::clock;
use crate::config::PoolMode;
use crate::connect::{OpenError, Opened};
use crate::dial;
use crate::disconnects::Cause;
use crate::events;
use crate::exchange::{self, ExchangeError};
use crate::link::{Link, Writing};
use crate::scratch;

/// How long a server may take to hang up after Terminate before its socket is simply dropped.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// How long to wait for that before the first repetition of a cancel request.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause of the janitor: bounds how late a lifetime is noticed.
const JANITOR_PAUSE_MAX: Duration = Duration::from_secs(1);

impl Broker {
    /// Tells the pools what happened, and does what they decide.
    pub(crate) fn handle(self: &Arc<Self>, event: Event) {
        let mut wakes = Wakes::default();
        self.settle(&mut self.inner(), event, &mut wakes);
        wakes.wake();
    }

    /// The same within a turn with the inside.
    pub(super) fn settle(self: &Arc<Self>, inner: &mut Inner, event: Event, wakes: &mut Wakes) {
        let now = clock::now();
        assert!(inner.events.is_empty(), "a turn leaves nothing to the next");
        inner.events.push_back(event);
        // Taken out, so that carrying out one decision may put its events in.
        let mut decisions = std::mem::take(&mut inner.decisions);
        while let Some(event) = inner.events.pop_front() {
            inner.pools.handle(event, now, &mut decisions);
            for decision in decisions.drain(..) {
                self.carry_out(inner, decision, wakes);
            }
        }
        inner.decisions = decisions;
        self.plan(inner);
    }

    fn carry_out(self: &Arc<Self>, inner: &mut Inner, decision: Decision, wakes: &mut Wakes) {
        match decision {
            Decision::Open { pool, server } => self.open(inner, pool, server),
            Decision::Probe { server, .. } => self.probe(inner, server),
            Decision::Grant { waiter, server, waited } => {
                inner.grant(waiter, server, waited, wakes);
            }
            Decision::Close { server, cause } => self.close(inner, server, cause),
            Decision::Refuse { waiter, refusal, .. } => {
                inner.finish_wait(waiter, Outcome::Refused(refusal), wakes);
            }
        }
    }

    /// Runs for ever: tells the pools when one of their deadlines has come.
    pub(crate) async fn janitor(self: Arc<Self>) {
        loop {
            let latest = Instant::now() + JANITOR_PAUSE_MAX;
            let next = self.inner().planned.map_or(latest, |next| next.min(latest));
            let sleep = tokio::time::sleep_until(next.into());
            tokio::select! {
                () = sleep => self.handle(Event::Tick),
                () = self.janitor.notified() => {}
            }
        }
    }

    /// Wakes the janitor if a deadline has come nearer.
    fn plan(&self, inner: &mut Inner) {
        let next = inner.pools.next_deadline();
        let earlier = match (next, inner.planned) {
            (Some(next), Some(planned)) => next < planned,
            (Some(_), None) => true,
            (None, _) => false,
        };
        inner.planned = next;
        if earlier {
            self.janitor.notify_one();
        }
    }

    /// Opens a server in a task of its own.
    fn open(self: &Arc<Self>, inner: &mut Inner, pool: PoolId, server: ServerId) {
        inner.put_slot(Slot { server, pool, idle: None, facts: None });
        let broker = Arc::clone(self);
        tokio::task::spawn_local(async move {
            let started = Instant::now();
            let opened = match broker.open_for_whom_it_waits(pool, server).await {
                Ok(opened) => broker.read_catalog(pool, opened).await,
                Err(error) => Err(error),
            };
            broker.opened(pool, server, opened, started.elapsed());
        });
    }

    /// Reads the catalog on the first server of a database, so that its first client's calls are
    /// known.
    async fn read_catalog(&self, pool: PoolId, mut opened: Opened) -> Result<Opened, OpenError> {
        let firewall = self.firewall(pool);
        if self.config.pool_mode == PoolMode::Session || !firewall.is_due() {
            return Ok(opened);
        }
        let (timeout, target) = (self.config.server_connect_timeout, &self.config.upstream);
        let target = dial::target(target);
        match tokio::time::timeout(timeout, firewall.learn(&mut opened.link)).await {
            Ok(Ok(()) | Err(ExchangeError::Refused(_))) => Ok(opened),
            Ok(Err(ExchangeError::Io(source))) => Err(OpenError::Connect { target, source }),
            Ok(Err(ExchangeError::OutOfStep(why))) => Err(OpenError::Protocol { target, why }),
            Err(_) => Err(OpenError::Timeout { target, seconds: timeout.as_secs_f64() }),
        }
    }

    fn opened(
        self: &Arc<Self>,
        pool: PoolId,
        server: ServerId,
        opened: Result<Opened, OpenError>,
        took: Duration,
    ) {
        match opened {
            Ok(Opened { link, welcome }) => {
                let mut inner = self.inner();
                let entry = &mut inner.entries[pool.index()];
                entry.stats.create.record(took);
                entry.open_error = None;
                entry.welcomes.set_base(welcome);
                let slot = inner.slot(server).expect("a server being opened keeps its place");
                slot.facts = Some(Arc::clone(&link.facts));
                slot.idle = Some(link);
                drop(inner);
                self.watch(server);
                self.handle(Event::Opened { server });
            }
            Err(error) => {
                let (database, user) = self.names(pool);
                events::OpenFailed { database: &database, user: &user, error: &error }.emit();
                let failure = if error.is_permanent() {
                    OpenFailure::Permanent
                } else {
                    OpenFailure::Transient
                };
                let mut inner = self.inner();
                inner.servers[server.index()] = None;
                let entry = &mut inner.entries[pool.index()];
                let sqlstate = error.sqlstate();
                entry.open_error = Some(Arc::new(error));
                let counted = match &entry.role {
                    Role::Listens(hub) => hub.pool,
                    Role::Lends(_) => pool,
                };
                inner.entries[counted.index()].count_failure(sqlstate.as_str());
                drop(inner);
                self.handle(Event::OpenFailed { server, failure });
            }
        }
    }

    /// Asks an idle server for a sign of life, in a task of its own.
    fn probe(self: &Arc<Self>, inner: &mut Inner, server: ServerId) {
        let mut link = inner.take_idle(server);
        let broker = Arc::clone(self);
        tokio::task::spawn_local(async move {
            let answer = tokio::time::timeout(PROBE_TIMEOUT, exchange::probe(&mut link)).await;
            let healthy = match answer {
                Ok(Ok(())) if link.is_clean() => ProbeResult::Healthy,
                _ => ProbeResult::Failed,
            };
            broker.inner().put_idle(link);
            broker.handle(Event::Probed { server, healthy });
        });
    }

    /// Ends a server: Terminate, then wait for the server to hang up, so that its place is free
    /// on PostgreSQL's side too when the pool hears of it.
    fn close(self: &Arc<Self>, inner: &mut Inner, server: ServerId, cause: CloseCause) {
        let mut link = inner.take_idle(server);
        inner.servers[server.index()] = None;
        let detail = link.last_words.as_deref().unwrap_or("");
        inner.server_ended(link.pool, &link.facts, Cause::of_close(cause), detail);
        if matches!(cause, CloseCause::Broken | CloseCause::Lost) {
            drop(link);
            inner.events.push_back(Event::Closed { server });
            return;
        }
        let broker = Arc::clone(self);
        tokio::task::spawn_local(async move {
            let _ = tokio::time::timeout(CLOSE_GRACE, broker.end(&mut link)).await;
            broker.handle(Event::Closed { server });
        });
    }

    /// Ends a server whatever it is doing. It may have more requests before it than the one that
    /// a cancel request ends, so that is repeated until it hangs up.
    async fn end(self: &Arc<Self>, link: &mut Link) {
        let mut pause = CANCEL_AGAIN;
        if link.ledger.awaits_client() || link.ledger.streams_both_ways() {
            return hang_up(link).await;
        }
        loop {
            crate::cancel::cancel_running(self, link).await;
            match tokio::time::timeout(pause, hang_up(link)).await {
                Ok(()) => return,
                Err(_) => pause *= 2,
            }
        }
    }

    /// The proxy ends: every idle server is told so.
    pub(crate) fn say_goodbye(&self) {
        let mut inner = self.inner();
        for slot in inner.servers.iter_mut().flatten() {
            if let Some(mut link) = slot.idle.take() {
                let _ = link.stream.try_write(&[b'X', 0, 0, 0, 4]);
            }
        }
    }
}

impl Inner {
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

    /// Puts a link into its place.
    pub(super) fn put_idle(&mut self, link: Box<Link>) {
        let slot = self.slot(link.server).expect("a live link keeps its place");
        debug_assert!(slot.idle.is_none());
        slot.idle = Some(link);
    }

    /// A client gets its server. One that has left meanwhile leaves it behind.
    fn grant(&mut self, waiter: WaiterId, server: ServerId, waited: Duration, wakes: &mut Wakes) {
        let link = self.take_idle(server);
        self.entries[link.pool.index()].stats.wait.record(waited);
        if self.waiting_hub(waiter).is_none() && self.clients.by_waiter(waiter.0).is_none() {
            self.put_idle(link);
            self.events.push_back(Event::Release { server, condition: Condition::Clean });
            return;
        }
        self.finish_wait(waiter, Outcome::Granted(link), wakes);
    }

    /// Hands a waiting client the end of its wait.
    fn finish_wait(&mut self, waiter: WaiterId, outcome: Outcome, wakes: &mut Wakes) {
        if let Some(hub) = self.waiting_hub(waiter) {
            return hub.settle(outcome);
        }
        let client = self.clients.by_waiter(waiter.0);
        let client = client.expect("a wait is withdrawn before its client leaves");
        assert!(client.outcome.is_none(), "a wait ends once");
        client.outcome = Some(outcome);
        match client.asking {
            Asking::Now => {}
            Asking::No => wakes.add(client.waker.clone()),
        }
    }

    /// Takes an idle server out.
    pub(crate) fn take_idle(&mut self, server: ServerId) -> Box<Link> {
        let slot = self.slot(server).expect("the pool decides about servers that are there");
        slot.idle.take().expect("the pool decides about servers that are in our hands")
    }
}

/// Who is to be woken when the inside is let go: seldom more than one.
#[derive(Default)]
pub(super) struct Wakes {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakes {
    fn add(&mut self, waker: Option<Waker>) {
        match &self.first {
            None => self.first = waker,
            Some(_) => self.more.extend(waker),
        }
    }

    pub(super) fn wake(self) {
        self.first.into_iter().chain(self.more).for_each(Waker::wake);
    }
}

/// Terminate, then read until the server hangs up.
pub(super) async fn hang_up(link: &mut Link) {
    if link.writing == Writing::Open && link.to_server.is_empty() {
        let _ = link.stream.try_write(&[b'X', 0, 0, 0, 4]);
    }
    link.stream.shutdown_write();
    std::future::poll_fn(|cx| {
        loop {
            let read = scratch::with(|scratch| link.stream.poll_read(cx, &mut scratch.read));
            match read {
                std::task::Poll::Ready(Ok(n)) if n > 0 => {}
                std::task::Poll::Ready(_) => return std::task::Poll::Ready(()),
                std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
    })
    .await;
}
