//! The model: plain lists, walked from end to end, and one sentence for each rule.
//!
//! Invariant: the model changes only by an event or by a decision that it has found allowed.

use std::num::NonZeroU32;
use std::time::Instant;

use stent_pool::{
    CLASSES_MAX, Class, CloseCause, Condition, Event, Home, Limits, OpenFailure, PoolId,
    ProbeResult, ServerId, WaiterId,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Opening,
    Idle,
    Tested,
    Lent,
    Closing,
    /// An event has freed it; the decision must follow within the same event.
    Free(Option<CloseCause>),
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: ServerId,
    pub(crate) pool: PoolId,
    pub(crate) state: State,
    pub(crate) since: Instant,
    pub(crate) home: Home,
    pub(crate) opened_at: Option<Instant>,
    pub(crate) retired: bool,
    pub(crate) uses: u32,
    /// It was given back worn.
    pub(crate) worn: bool,
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) id: PoolId,
    pub(crate) database: &'static str,
    pub(crate) user: &'static str,
    pub(crate) used: bool,
    pub(crate) barred: bool,
    pub(crate) paused: bool,
    pub(crate) opened: u64,
    /// When the last failure was noticed, since the last success.
    pub(crate) failed_at: Option<Instant>,
    /// Bounds of the moment of the next attempt, while failing.
    pub(crate) not_before: Instant,
    pub(crate) not_after: Instant,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) id: WaiterId,
    pub(crate) home: Home,
    pub(crate) pool: PoolId,
    pub(crate) since: Instant,
    /// When its time began to run: then, or when its pool was resumed.
    pub(crate) runs_since: Instant,
    pub(crate) class: Class,
    /// How many of each class were served since it was the first of its own.
    pub(crate) overtaken: [u32; CLASSES_MAX],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) failed_at: Instant,
    pub(crate) not_before: Instant,
    pub(crate) not_after: Instant,
}

/// What a cap is the cap of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    Database(&'static str),
    User(&'static str),
    All,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) limits: Limits,
    /// When they were last changed, and the most who waited for one pool then.
    pub(crate) resized: Option<(Instant, u32)>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) servers: Vec<Server>,
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) suspect_at: Option<Instant>,
    /// When nobody could be reached last, since the last success, with the bounds of the moment of
    /// the next attempt.
    pub(crate) outage: Option<Outage>,
    /// When the last attempt to open ended.
    pub(crate) attempt_ended: Instant,
    /// Whether PostgreSQL was ever reached.
    pub(crate) reached: bool,
    /// The pools whose waiters a failed login refuses in this event.
    pub(crate) hopeless: Vec<PoolId>,
    /// How many requests of each class were granted.
    pub(crate) served: [u64; CLASSES_MAX],
    /// How many clients of each class had no time left.
    pub(crate) timeouts: [u64; CLASSES_MAX],
}

impl Model {
    pub(crate) fn new(limits: Limits, start: Instant) -> Self {
        let (pools, servers, waiters) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            limits,
            resized: None,
            pools,
            servers,
            waiters,
            suspect_at: None,
            outage: None,
            attempt_ended: start,
            reached: false,
            hopeless: Vec::new(),
            served: [0; CLASSES_MAX],
            timeouts: [0; CLASSES_MAX],
        }
    }

    pub(crate) fn add_pool(&mut self, id: PoolId, of: [&'static str; 2], start: Instant) {
        let [database, user] = of;
        self.pools.push(Pool {
            id,
            database,
            user,
            used: false,
            barred: false,
            paused: false,
            opened: 0,
            failed_at: None,
            not_before: start,
            not_after: start,
        });
    }

    pub(crate) fn pool_id(&self, number: u8) -> PoolId {
        self.pools[usize::from(number) % self.pools.len()].id
    }

    pub(crate) fn choose_server(&self, which: u8, state: State) -> Option<ServerId> {
        let fitting: Vec<_> = self.servers.iter().filter(|server| server.state == state).collect();
        Some(fitting.get(usize::from(which) % fitting.len().max(1))?.id)
    }

    pub(crate) fn choose_waiter(&self, which: u8) -> Option<WaiterId> {
        Some(self.waiters.get(usize::from(which) % self.waiters.len().max(1))?.id)
    }

    pub(crate) fn take_in(&mut self, event: Event, now: Instant) {
        match event {
            Event::Acquire { pool, waiter, home, class } => {
                let class = self.class_in_force(class);
                let (since, runs_since, overtaken) = (now, now, [0; CLASSES_MAX]);
                let id = waiter;
                self.waiters.push(Waiter { id, home, class, pool, since, runs_since, overtaken });
            }
            Event::Withdraw { waiter } => self.waiters.retain(|known| known.id != waiter),
            Event::Opened { server, home } => {
                let opened = self.free(server, None);
                opened.home = home;
                opened.opened_at = Some(now);
                let pool = opened.pool;
                (self.reached, self.outage, self.attempt_ended) = (true, None, now);
                let pool = self.pool_mut(pool);
                (pool.opened, pool.failed_at, pool.barred) = (pool.opened + 1, None, false);
            }
            Event::OpenFailed { server, failure } => self.take_in_failure(server, failure, now),
            Event::Probed { server, healthy: ProbeResult::Healthy } => {
                self.free(server, None);
            }
            Event::Probed { server, healthy: ProbeResult::Failed } => {
                self.suspect_at = Some(now);
                self.free(server, Some(CloseCause::ProbeFailed));
            }
            Event::Release { server, condition } => {
                if self.servers.iter().any(|known| known.id == server) {
                    self.take_in_release(server, condition, now);
                }
            }
            Event::Lost { server } => {
                self.suspect_at = Some(now);
                self.free(server, Some(CloseCause::Lost));
            }
            Event::Closed { server } => self.servers.retain(|known| known.id != server),
            Event::RetireAll { pool } => {
                self.retire(pool);
            }
            Event::Pause { pool } => {
                self.pool_mut(pool).paused = true;
                self.retire(pool);
            }
            Event::Resume { pool } => {
                let known = self.pool_mut(pool);
                if std::mem::take(&mut known.paused) {
                    known.failed_at = None;
                    (self.outage, self.attempt_ended) = (None, now);
                    let waiting = self.waiters.iter_mut().filter(|waiter| waiter.pool == pool);
                    waiting.for_each(|waiter| waiter.runs_since = now);
                }
            }
            Event::Tick => {}
        }
    }

    fn retire(&mut self, pool: PoolId) {
        for server in self.servers.iter_mut().filter(|server| server.pool == pool) {
            server.retired = true;
        }
    }

    fn take_in_failure(&mut self, server: ServerId, failure: OpenFailure, now: Instant) {
        let (id, begun) = (self.server(server).pool, self.server(server).since);
        self.servers.retain(|known| known.id != server);
        let (retry_min, retry_max) = (self.limits.retry_min, self.limits.retry_max);
        self.attempt_ended = now;
        let (not_before, not_after) = (now + retry_min, now + retry_max);
        let known = self.pool_mut(id);
        known.barred |= failure == OpenFailure::Permanent;
        if failure == OpenFailure::Unreachable {
            if self.outage.is_none_or(|outage| begun >= outage.failed_at) {
                self.outage = Some(Outage { failed_at: now, not_before, not_after });
            }
        } else if known.failed_at.is_none_or(|failed_at| begun >= failed_at) {
            known.failed_at = Some(now);
            (known.not_before, known.not_after) = (not_before, not_after);
        }
        let without_hope = |pool: &&Pool| {
            let last_try = self.count(pool.id, &[State::Opening]) == 0;
            let alone = pool.id == id && self.live(id) == 0;
            let hopeless = match failure {
                OpenFailure::Unreachable => !self.reached && last_try,
                OpenFailure::Crowded => false,
                OpenFailure::Permanent => alone,
                OpenFailure::Transient => alone && pool.opened == 0 && last_try,
            };
            hopeless && !pool.paused
        };
        self.hopeless = self.pools.iter().filter(without_hope).map(|pool| pool.id).collect();
        if failure != OpenFailure::Unreachable {
            self.outage = None;
        }
    }

    fn take_in_release(&mut self, server: ServerId, condition: Condition, now: Instant) {
        match condition {
            Condition::Clean => self.free(server, None),
            Condition::Worn => {
                let freed = self.free(server, None);
                freed.worn = true;
                freed
            }
            Condition::Doubtful => self.free(server, Some(CloseCause::Doubtful)),
            Condition::Broken => {
                self.suspect_at = Some(now);
                self.free(server, Some(CloseCause::Broken))
            }
        };
    }

    /// A usable server that nobody got is idle from now on.
    pub(crate) fn settle(&mut self, now: Instant) {
        for server in &mut self.servers {
            if let State::Free(due) = server.state {
                assert_eq!(due, None, "an unusable server is closed at once");
                assert!(!server.retired, "a retired server is closed at once");
                (server.state, server.since) = (State::Idle, now);
            }
        }
        for waiter in &self.waiters {
            let pool = waiter.pool;
            let at = self.pools.iter().position(|known| known.id == pool).expect("it exists");
            self.pools[at].used = true;
        }
    }

    /// A server has come into another state by a decision.
    pub(crate) fn put(&mut self, id: ServerId, state: State, now: Instant) {
        let server = self.server_mut(id);
        (server.state, server.since) = (state, now);
    }

    fn free(&mut self, id: ServerId, due: Option<CloseCause>) -> &mut Server {
        let server = self.server_mut(id);
        server.state = State::Free(due);
        server
    }

    pub(crate) fn server_mut(&mut self, id: ServerId) -> &mut Server {
        self.servers.iter_mut().find(|server| server.id == id).expect("it exists")
    }

    pub(crate) fn server(&self, id: ServerId) -> &Server {
        self.servers.iter().find(|server| server.id == id).expect("it exists")
    }

    pub(crate) fn known(&self, id: PoolId) -> &Pool {
        self.pools.iter().find(|pool| pool.id == id).expect("it exists")
    }

    pub(crate) fn pool_mut(&mut self, id: PoolId) -> &mut Pool {
        self.pools.iter_mut().find(|pool| pool.id == id).expect("it exists")
    }

    pub(crate) fn count(&self, pool: PoolId, states: &[State]) -> u32 {
        let counted = self.servers.iter().filter(|server| server.pool == pool);
        number(counted.filter(|server| states.contains(&server.state)).count())
    }

    pub(crate) fn total(&self, pool: PoolId) -> u32 {
        number(self.servers.iter().filter(|server| server.pool == pool).count())
    }

    pub(crate) fn waiting(&self, pool: PoolId) -> u32 {
        number(self.waiters.iter().filter(|waiter| waiter.pool == pool).count())
    }

    /// Logged in and not being closed; one that is just free counts.
    pub(crate) fn live(&self, pool: PoolId) -> u32 {
        let gone = self.count(pool, &[State::Opening, State::Closing]);
        self.total(pool) - gone
    }

    /// How many servers more one of the two caps allows.
    pub(crate) fn left(&self, scope: Scope) -> u32 {
        let most = match scope {
            Scope::Database(_) => self.limits.max_db_connections,
            Scope::User(_) => self.limits.max_user_connections,
            Scope::All => self.limits.max_server_connections,
        };
        most.map_or(u32::MAX, NonZeroU32::get).saturating_sub(number(self.within(scope).count()))
    }

    pub(crate) fn within(&self, scope: Scope) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(move |server| match scope {
            Scope::Database(name) => self.known(server.pool).database == name,
            Scope::User(name) => self.known(server.pool).user == name,
            Scope::All => true,
        })
    }

    pub(crate) fn is_full(&self, pool: PoolId) -> bool {
        let known = self.known(pool);
        let scopes = [Scope::Database(known.database), Scope::User(known.user), Scope::All];
        scopes.into_iter().any(|scope| self.left(scope) == 0)
    }

    pub(crate) fn is_uncapped(&self) -> bool {
        let limits = &self.limits;
        let caps =
            [limits.max_db_connections, limits.max_user_connections, limits.max_server_connections];
        caps.iter().all(Option::is_none)
    }

    /// Whether a server may have outlived its lifetime: each draws its own from the last tenth.
    pub(crate) fn may_be_old(&self, server: &Server, now: Instant) -> bool {
        let life = self.limits.server_lifetime;
        let aged = |at: Instant| life.is_some_and(|life| now - at >= life.mul_f64(0.9));
        server.worn
            || server.opened_at.is_some_and(aged)
            || self.limits.server_max_uses.is_some_and(|most| server.uses >= most.get())
    }

    /// Whether there are more servers that are to stay than a cap allows.
    pub(crate) fn is_crowded(&self, pool: PoolId) -> bool {
        let own = self.total(pool) - self.count(pool, &[State::Closing]);
        let staying = |scope| {
            let staying = self.within(scope).filter(|server| server.state != State::Closing);
            number(staying.count())
        };
        let limits = &self.limits;
        let database = Scope::Database(self.known(pool).database);
        let user = Scope::User(self.known(pool).user);
        let unserved = self.waiting(pool) > self.count(pool, &[State::Tested]);
        let needed = if unserved { self.reserve(pool) } else { 0 };
        own > self.size(pool) + needed
            || limits.max_db_connections.is_some_and(|most| staying(database) > most.get())
            || limits.max_user_connections.is_some_and(|most| staying(user) > most.get())
            || limits.max_server_connections.is_some_and(|most| staying(Scope::All) > most.get())
    }

    /// A class that does not exist is the usual one.
    pub(crate) fn class_in_force(&self, class: Class) -> Class {
        if usize::from(class.0) < self.limits.class_weights.len() { class } else { Class::USUAL }
    }
}

pub(crate) fn number(count: usize) -> u32 {
    u32::try_from(count).expect("counts are small")
}
