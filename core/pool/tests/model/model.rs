//! The model: plain lists, walked from end to end, and one sentence for each rule.
//!
//! Invariant: the model changes only by an event or by a decision that it has found allowed.

use std::time::{Duration, Instant};

use stent_pool::{
    CloseCause, Condition, Decision, Event, Limits, OpenFailure, PoolId, Pools, ProbeResult,
    Refusal, SWEEP_EVERY, SWITCH_MARGIN, ServerId, WaiterId,
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
struct Server {
    id: ServerId,
    pool: PoolId,
    state: State,
    since: Instant,
    opened_at: Option<Instant>,
    retired: bool,
}

#[derive(Debug)]
struct Pool {
    id: PoolId,
    database: &'static str,
    used: bool,
    barred: bool,
    opened: u64,
    failing: bool,
}

#[derive(Debug)]
struct Waiter {
    id: WaiterId,
    pool: PoolId,
    since: Instant,
}

#[derive(Debug)]
pub(crate) struct Model {
    limits: Limits,
    pools: Vec<Pool>,
    servers: Vec<Server>,
    waiters: Vec<Waiter>,
    suspect_at: Option<Instant>,
    /// The pool whose waiters a failed login may refuse in this event.
    hopeless: Option<PoolId>,
}

impl Model {
    pub(crate) const fn new(limits: Limits) -> Self {
        let (pools, servers, waiters) = (Vec::new(), Vec::new(), Vec::new());
        Self { limits, pools, servers, waiters, suspect_at: None, hopeless: None }
    }

    pub(crate) fn add_pool(&mut self, id: PoolId, database: &'static str) {
        let (used, barred, opened, failing) = (false, false, 0, false);
        self.pools.push(Pool { id, database, used, barred, opened, failing });
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

    /// Takes in an event and what was decided upon it.
    pub(crate) fn judge(&mut self, event: Event, now: Instant, decisions: &[Decision]) {
        self.hopeless = None;
        self.take_in(event, now);
        for &decision in decisions {
            self.judge_one(decision, now);
        }
        self.settle(now);
        self.nothing_is_missing(now);
    }

    fn take_in(&mut self, event: Event, now: Instant) {
        match event {
            Event::Acquire { pool, waiter } => {
                self.waiters.push(Waiter { id: waiter, pool, since: now });
            }
            Event::Withdraw { waiter } => self.waiters.retain(|known| known.id != waiter),
            Event::Opened { server } => {
                let opened = self.free(server, None);
                opened.opened_at = Some(now);
                let pool = opened.pool;
                let pool = self.pool_mut(pool);
                (pool.opened, pool.failing, pool.barred) = (pool.opened + 1, false, false);
            }
            Event::OpenFailed { server, failure } => self.take_in_failure(server, failure),
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
                for server in self.servers.iter_mut().filter(|server| server.pool == pool) {
                    server.retired = true;
                }
            }
            Event::Tick => {}
        }
    }

    fn take_in_failure(&mut self, server: ServerId, failure: OpenFailure) {
        let pool = self.server(server).pool;
        self.servers.retain(|known| known.id != server);
        let known = self.pool_mut(pool);
        known.failing = true;
        known.barred |= failure == OpenFailure::Permanent;
        let first_try = known.opened == 0 && self.count(pool, &[State::Opening]) == 0;
        let helpless = failure == OpenFailure::Permanent || first_try;
        if helpless && self.live(pool) == 0 {
            self.hopeless = Some(pool);
        }
    }

    fn take_in_release(&mut self, server: ServerId, condition: Condition, now: Instant) {
        match condition {
            Condition::Clean => self.free(server, None),
            Condition::Doubtful => self.free(server, Some(CloseCause::Doubtful)),
            Condition::Broken => {
                self.suspect_at = Some(now);
                self.free(server, Some(CloseCause::Broken))
            }
        };
    }

    fn judge_one(&mut self, decision: Decision, now: Instant) {
        match decision {
            Decision::Open { pool, server } => self.judge_open(pool, server, now),
            Decision::Grant { waiter, server, waited } => {
                self.judge_grant(waiter, server, waited, now);
            }
            Decision::Probe { server, waiter } => {
                let pool = self.server(server).pool;
                assert!(self.waiters.iter().any(|known| known.id == waiter && known.pool == pool));
                assert!(!self.is_fresh(server, now), "only a server of doubtful health is probed");
                assert!(self.is_newest_idle(server), "the newest idle is probed first");
                let (waiting, tested) = (self.waiting(pool), self.count(pool, &[State::Tested]));
                assert!(waiting > tested, "a probe is for a waiter");
                self.put(server, State::Tested, now);
            }
            Decision::Close { server, cause } => self.judge_close(server, cause, now),
            Decision::Refuse { waiter, refusal, waited } => {
                self.judge_refusal(waiter, refusal, waited, now);
            }
        }
    }

    fn judge_open(&mut self, pool: PoolId, server: ServerId, now: Instant) {
        assert!(self.servers.iter().all(|known| known.id != server), "an id is new");
        self.settle(now);
        let under_way = self.count(pool, &[State::Opening, State::Tested]);
        let wanted = self.waiting(pool) > under_way || self.fresh_live(pool, now) < self.least(pool);
        assert!(wanted, "a server is opened for a waiter or for the minimum");
        if self.known(pool).failing {
            let begun = self.servers.iter().filter(|known| known.pool == pool);
            let begun = begun.filter(|known| known.state == State::Opening);
            let pause = self.limits.retry_max;
            assert!(
                begun.map(|known| known.since).all(|since| since + pause <= now)
                    || self.servers.iter().any(|known| known.since < now),
                "while failing, attempts go one at a time"
            );
        }
        let (state, opened_at, retired) = (State::Opening, None, false);
        self.servers.push(Server { id: server, pool, state, since: now, opened_at, retired });
        let database = self.known(pool).database;
        let most = self.limits.max_db_connections;
        assert!(self.total(pool) <= self.limits.pool_size.get(), "pool_size");
        assert!(self.count(pool, &[State::Opening]) <= self.limits.opening_max, "opening_max");
        assert!(most.is_none_or(|most| self.database_total(database) <= most.get()), "the cap");
    }

    fn judge_grant(&mut self, waiter: WaiterId, server: ServerId, waited: Duration, now: Instant) {
        let pool = self.server(server).pool;
        let first = self.waiters.iter().position(|known| known.pool == pool).unwrap();
        let first = self.waiters.remove(first);
        assert_eq!(first.id, waiter, "the first in the queue is served");
        assert_eq!(waited, now - first.since, "the wait is told");
        assert!(!self.server(server).retired, "no retired server is lent");
        if self.server(server).state == State::Idle {
            assert!(self.is_fresh(server, now), "a server of doubtful health is probed first");
            assert!(self.is_newest_idle(server), "the newest idle is lent first");
        } else {
            assert_eq!(self.server(server).state, State::Free(None), "a usable server is lent");
        }
        self.put(server, State::Lent, now);
    }

    fn judge_close(&mut self, server: ServerId, cause: CloseCause, now: Instant) {
        let known = self.server(server);
        let (pool, state) = (known.pool, known.state);
        let age = known.opened_at.map_or(Duration::ZERO, |at| now - at);
        let rested = now - known.since;
        assert!(
            matches!(state, State::Idle | State::Free(_)),
            "only a server that nobody uses is closed, not one {state:?}"
        );
        if let State::Free(Some(due)) = state {
            assert_eq!(cause, due, "the cause is the true one");
        }
        match cause {
            CloseCause::Doubtful | CloseCause::Broken | CloseCause::ProbeFailed | CloseCause::Lost => {
                assert_eq!(state, State::Free(Some(cause)), "the cause is the true one");
            }
            CloseCause::Retired => assert!(self.server(server).retired, "only the retired"),
            CloseCause::Lifetime => {
                let least_age = self.limits.server_lifetime.unwrap().mul_f64(0.9);
                assert!(age >= least_age, "nobody dies young, at {age:?}");
                assert!(self.may_shrink(pool), "the minimum is kept");
            }
            CloseCause::IdleTimeout => {
                assert!(rested >= self.limits.server_idle_timeout.unwrap(), "it rested long");
                assert!(self.live(pool) > self.least(pool), "the minimum is kept");
            }
            CloseCause::MakeRoom => self.judge_make_room(server, now),
        }
        self.put(server, State::Closing, now);
    }

    fn judge_make_room(&self, server: ServerId, now: Instant) {
        let known = self.server(server);
        let database = self.known(known.pool).database;
        let most = self.limits.max_db_connections.unwrap().get();
        assert_eq!(self.database_total(database), most, "room is short");
        let theirs = self.blocked(database).filter(|waiter| waiter.pool != known.pool);
        let theirs = theirs.map(|waiter| waiter.since).min().expect("another pool is short of room");
        if let Some(own) = self.waiters.iter().find(|waiter| waiter.pool == known.pool) {
            assert!(own.since - theirs > SWITCH_MARGIN, "theirs is far ahead of our own");
        } else if known.state == State::Idle {
            let idle = self.in_database(database).filter(|other| other.state == State::Idle);
            assert!(idle.map(|other| other.since).all(|since| since >= known.since), "longest idle");
        } else {
            assert!(now >= known.since);
        }
    }

    fn judge_refusal(&mut self, id: WaiterId, refusal: Refusal, waited: Duration, now: Instant) {
        let at = self.waiters.iter().position(|waiter| waiter.id == id).expect("it waits");
        let waiter = self.waiters.remove(at);
        assert_eq!(waited, now - waiter.since, "the wait is told");
        match refusal {
            Refusal::WaitTimeout => {
                assert!(waited >= self.limits.query_wait_timeout.unwrap(), "its time is up");
            }
            Refusal::OpenFailed => assert_eq!(self.hopeless, Some(waiter.pool), "no hope"),
            Refusal::QueueFull => {
                assert_eq!(self.waiting(waiter.pool), self.limits.waiters_max, "the queue is full");
            }
        }
    }

    /// A usable server that nobody got is idle from now on.
    fn settle(&mut self, now: Instant) {
        for server in &mut self.servers {
            if let State::Free(due) = server.state {
                assert_eq!(due, None, "an unusable server is closed at once");
                assert!(!server.retired, "a retired server is closed at once");
                (server.state, server.since) = (State::Idle, now);
            }
        }
        for waiter in &self.waiters {
            let pool = waiter.pool;
            let at = self.pools.iter().position(|known| known.id == pool).unwrap();
            self.pools[at].used = true;
        }
    }
}
