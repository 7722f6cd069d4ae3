//! What follows from decisions and needs no inside: tasks, sockets, wake-ups, the log.
//!
//! Invariant: each server that is opened, probed or closed here is reported back to the pools once,
//! with an event.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_pool::{CloseCause, Event, OpenFailure, PoolId, ProbeResult, ServerId};

use super::decide::Due;
use super::unwound::{Keeper, Task};
use super::{Broker, Role};
use crate::clock;
use crate::config::PoolMode;
use crate::connect::{OpenError, Opened};
use crate::disconnects::Cause;
use crate::events;
use crate::exchange::{self, ExchangeError};
use crate::link::{Link, Writing};
use crate::scratch;
use crate::workers;

/// How long a server may take to hang up after Terminate before its socket is simply dropped.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// How long to wait for that before the first repetition of a cancel request.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause of the janitor: bounds how late a lifetime is noticed.
const JANITOR_PAUSE_MAX: Duration = Duration::from_secs(1);

thread_local! {
    /// Room for what is due, kept so that a wake-up allocates nothing.
    static SPARE: RefCell<Vec<Due>> = const { RefCell::new(Vec::new()) };
}

/// Empty room for what is due.
pub(super) fn spare() -> Vec<Due> {
    SPARE.take()
}

/// Keeps so much of it.
pub(super) fn give_back_spare(enough: usize) {
    SPARE.with_borrow_mut(|spare| spare.shrink_to(enough));
}

impl Broker {
    /// Does what is due.
    pub(super) fn carry_out(self: &Arc<Self>, mut dues: Vec<Due>) {
        for due in dues.drain(..) {
            match due {
                Due::Open { pool, server } => self.open(pool, server),
                Due::Probe { link } => self.probe(link),
                Due::Close { link, cause } => self.close(link, cause),
                Due::Forget { server } => self.handle(Event::Closed { server }),
                Due::Wake(waker) => waker.wake(),
                Due::Plan => self.janitor.notify_one(),
            }
        }
        SPARE.set(dues);
    }

    /// Runs for ever: tells the pools when one of their deadlines has come.
    pub(crate) async fn janitor(self: Arc<Self>) {
        loop {
            let next = self.inner().sleep(Instant::now() + JANITOR_PAUSE_MAX);
            let sleep = tokio::time::sleep_until(next.into());
            tokio::select! {
                () = sleep => self.handle(Event::Tick),
                () = self.janitor.notified() => {}
            }
        }
    }

    /// Opens a server in a task of its own.
    fn open(self: &Arc<Self>, pool: PoolId, server: ServerId) {
        let broker = Arc::clone(self);
        let keeper = Keeper::of_new(self, pool, server);
        tokio::task::spawn_local(async move {
            let _keeper = keeper;
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
        let (timeout, target) = (self.present().config.server_connect_timeout, self.target());
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
            Ok(Opened { mut link, welcome, .. }) => {
                let silent = Self::is_silent(&mut link);
                let scale = Self::scale();
                let mut inner = self.inner();
                inner.unreachable = None;
                let entry = &mut inner.entries[pool.index()];
                entry.stats.own().create.record(took);
                entry.open_error = None;
                entry.welcomes.set_base(welcome);
                let slot = inner.slot(server).expect("a server being opened keeps its place");
                slot.facts = Some(Arc::clone(&link.facts));
                slot.scale = Some(scale);
                inner.put_idle(link);
                let now = clock::now();
                inner.decide(Event::Opened { server, home: workers::home() }, now);
                if !silent {
                    inner.decide(Event::Lost { server }, now);
                }
                self.leave(inner);
            }
            Err(error) => {
                let (database, user) = self.names(pool);
                events::OpenFailed { database: &database, user: &user, error: &error }.emit();
                let failure = self.failure(&error);
                let mut inner = self.inner();
                inner.servers[server.index()] = None;
                let (sqlstate, error) = (error.sqlstate(), Arc::new(error));
                inner.unreachable =
                    (failure == OpenFailure::Unreachable).then(|| Arc::clone(&error));
                let entry = &mut inner.entries[pool.index()];
                entry.open_error = Some(error);
                let counted = match &entry.role {
                    Role::Listens(hub) => hub.pool,
                    Role::Lends(_) => pool,
                };
                inner.entries[counted.index()].count_failure(sqlstate.as_str());
                inner.decide(Event::OpenFailed { server, failure }, clock::now());
                self.leave(inner);
            }
        }
    }

    /// Asks an idle server for a sign of life, in a task of its own.
    fn probe(self: &Arc<Self>, mut link: Box<Link>) {
        let broker = Arc::clone(self);
        let keeper = Keeper::of(self, &link, Task::Probe);
        tokio::task::spawn_local(async move {
            let _keeper = keeper;
            let server = link.server;
            link.come_home();
            let answer = tokio::time::timeout(PROBE_TIMEOUT, exchange::probe(&mut link)).await;
            let healthy = match answer {
                Ok(Ok(())) if link.is_clean() && Self::is_silent(&mut link) => ProbeResult::Healthy,
                _ => ProbeResult::Failed,
            };
            let mut inner = broker.inner();
            inner.put_idle(link);
            inner.decide(Event::Probed { server, healthy }, clock::now());
            broker.leave(inner);
        });
    }

    /// Ends a server: Terminate, then wait for the server to hang up, so that its place is free
    /// on PostgreSQL's side too when the pool hears of it.
    fn close(self: &Arc<Self>, mut link: Box<Link>, cause: CloseCause) {
        let server = link.server;
        let detail = link.last_words.as_deref().unwrap_or("");
        self.inner().server_ended(link.pool, &link.facts, Cause::of_close(cause), detail);
        if matches!(cause, CloseCause::Broken | CloseCause::Lost) {
            drop(link);
            return self.handle(Event::Closed { server });
        }
        let broker = Arc::clone(self);
        let keeper = Keeper::of(self, &link, Task::Close);
        tokio::task::spawn_local(async move {
            let _keeper = keeper;
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
