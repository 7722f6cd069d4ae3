//! What the model holds of decisions: which are allowed, and which must not be missing.
//!
//! Invariant: a sentence here is a rule of the crate's head, said again in other words.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use stent_pool::{
    Class, CloseCause, Decision, Event, HOME_MARGIN, Home, Limits, PoolId, Pools, Refusal,
    SWEEP_EVERY, SWITCH_MARGIN, ServerId, WaiterId,
};

use crate::model::{Model, Pool, Scope, Server, State, Waiter, number};

impl Model {
    /// Takes in an event and what was decided upon it.
    pub(crate) fn judge(&mut self, event: Event, now: Instant, decisions: &[Decision]) {
        self.hopeless.clear();
        self.take_in(event, now);
        for &decision in decisions {
            self.judge_one(decision, now);
        }
        self.settle(now);
        self.nothing_is_missing(now);
    }

    /// Takes in other limits and what was decided upon them.
    pub(crate) fn judge_resize(&mut self, limits: Limits, now: Instant, decisions: &[Decision]) {
        let waiting = self.pools.iter().map(|pool| self.waiting(pool.id)).max().unwrap_or(0);
        self.resized = Some((now, waiting));
        if self.limits.class_weights != limits.class_weights {
            self.waiters.iter_mut().for_each(|waiter| waiter.overtaken = Default::default());
        }
        self.limits = limits;
        for &decision in decisions {
            self.judge_one(decision, now);
        }
        self.settle(now);
        self.nothing_is_missing(now);
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
        assert!(self.openings_left(pool, now) > 0, "beyond pool_size for the late only");
        let under_way = self.count(pool, &[State::Opening, State::Tested]);
        let own = self.servers.iter().filter(|known| known.pool == pool);
        let mut own = own.filter(|known| matches!(known.state, State::Idle | State::Lent));
        let succeeds = own.any(|known| self.may_be_old(known, now));
        let succeeds = succeeds && self.count(pool, &[State::Opening]) == 0;
        let wanted = self.waiting(pool) > under_way
            || self.fresh_live(pool, now) < self.least(pool)
            || succeeds;
        assert!(
            wanted,
            "a server is opened for a waiter, for the minimum or in place of an old one"
        );
        assert!(!self.known(pool).paused, "a paused pool opens nothing");
        let retry_max = self.limits.retry_max;
        if let Some(outage) = &mut self.outage {
            assert!(now >= outage.not_before, "attempts of all pools keep their distance");
            (outage.not_before, outage.not_after) = (now + retry_max, now + retry_max);
        }
        let known = self.pool_mut(pool);
        if known.failed_at.is_some() {
            assert!(now >= known.not_before, "attempts keep their distance while failing");
            (known.not_before, known.not_after) = (now + retry_max, now + retry_max);
        }
        let (state, opened_at, retired) = (State::Opening, None, false);
        let home = Home::default();
        let (id, since, uses, worn) = (server, now, 0, false);
        let new = Server { id, pool, state, since, home, opened_at, retired, uses, worn };
        self.servers.push(new);
        let most = self.size(pool) + self.reserve(pool);
        assert!(self.total(pool) <= most, "pool_size and the reserve");
        assert!(self.count(pool, &[State::Opening]) <= self.limits.opening_max, "opening_max");
        let full = |scope, most: Option<NonZeroU32>| {
            let most = most.map_or(u32::MAX, NonZeroU32::get);
            number(self.within(scope).count()) > most
        };
        let database = Scope::Database(self.known(pool).database);
        assert!(!full(database, self.limits.max_db_connections), "max_db_connections");
        let user = Scope::User(self.known(pool).user);
        assert!(!full(user, self.limits.max_user_connections), "max_user_connections");
        assert!(!full(Scope::All, self.limits.max_server_connections), "max_server_connections");
    }

    fn judge_grant(&mut self, waiter: WaiterId, server: ServerId, waited: Duration, now: Instant) {
        let pool = self.server(server).pool;
        let at = self.waiters.iter().position(|known| known.id == waiter).expect("it waits");
        let class = self.waiters[at].class;
        let mut alike = self.waiters.iter().filter(|known| known.class == class);
        let first = alike.find(|known| known.pool == pool).unwrap();
        let (first, first_since) = (first.id, first.since);
        let served = self.waiters.remove(at);
        self.judge_turn(pool, class);
        self.book_grant(class);
        assert_eq!(served.pool, pool, "a server of its own pool");
        assert_eq!(waited, now - served.since, "the wait is told");
        if first != waiter {
            let near = served.home == self.server(server).home;
            assert!(near, "only for a server of its own home is anybody served before the first");
            let behind = served.since - first_since;
            assert!(behind <= HOME_MARGIN, "nobody is overtaken by one that came much later");
        }
        assert!(!self.server(server).retired, "no retired server is lent");
        assert!(!self.known(pool).paused, "a paused pool lends nothing");
        if self.server(server).state == State::Idle {
            assert!(self.is_fresh(server, now), "a server of doubtful health is probed first");
            let near = self.server(server).home == served.home;
            assert!(near || self.is_newest_idle(server), "the newest idle is lent first");
        } else {
            assert_eq!(self.server(server).state, State::Free(None), "a usable server is lent");
        }
        self.put(server, State::Lent, now);
        let lent = self.server_mut(server);
        (lent.home, lent.uses) = (served.home, lent.uses + 1);
    }

    /// While several classes wait each is served by its weight: nobody starves.
    fn judge_turn(&mut self, pool: PoolId, served: Class) {
        let weights = self.limits.class_weights.clone();
        let weight = |class: Class| {
            weights.get(usize::from(class.0)).map_or(1, |weight| u32::from(weight.get()))
        };
        let mut seen = Vec::new();
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.pool == pool) {
            if waiter.class == served {
                waiter.overtaken = Default::default();
            }
            if waiter.class == served || seen.contains(&waiter.class) {
                continue;
            }
            seen.push(waiter.class);
            let times = &mut waiter.overtaken[usize::from(served.0)];
            *times += 1;
            let most = weight(served).div_ceil(weight(waiter.class)) + 1;
            assert!(*times <= most, "class {} is served before {}", served.0, waiter.class.0);
        }
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
            CloseCause::Doubtful
            | CloseCause::Broken
            | CloseCause::ProbeFailed
            | CloseCause::Lost => {
                assert_eq!(state, State::Free(Some(cause)), "the cause is the true one");
            }
            CloseCause::Retired => assert!(self.server(server).retired, "only the retired"),
            CloseCause::Reserve => {
                let tested = self.count(pool, &[State::Tested]);
                assert!(self.waiting(pool) <= tested, "it is kept while somebody waits for it");
                assert!(self.is_crowded(pool), "only beyond pool_size");
            }
            CloseCause::Shrunk => assert!(self.is_crowded(pool), "only above a cap"),
            CloseCause::Lifetime | CloseCause::Worn => {
                assert_eq!(known.worn, cause == CloseCause::Worn, "the cause is the true one");
                assert!(self.may_be_old(known, now), "nobody dies young, at {age:?}");
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
        let known = self.known(self.server(server).pool);
        let (database, user) = (Scope::Database(known.database), Scope::User(known.user));
        let reasons = [database, user, Scope::All].map(|scope| self.makes_room(server, scope, now));
        assert!(reasons.contains(&Ok(())), "no cap is a reason: {reasons:?}");
    }

    /// Why a server need not be closed for others below that cap, if so.
    fn makes_room(&self, server: ServerId, scope: Scope, now: Instant) -> Result<(), &'static str> {
        let known = self.server(server);
        let reason = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
        let closing = self.within(scope).filter(|other| other.state == State::Closing).count();
        let blocked = self.blocked(scope, now);
        let short = blocked.len().saturating_sub(self.left(scope) as usize);
        reason(closing < short, "more are closed than are needed")?;
        let theirs = blocked.iter().filter(|waiter| waiter.pool != known.pool);
        let theirs =
            theirs.map(|waiter| waiter.runs_since).min().ok_or("nobody else is blocked")?;
        let own = self.waiters.iter().find(|waiter| waiter.pool == known.pool);
        match (known.state, own) {
            (State::Idle, _) => {
                let mut idle = self.within(scope).filter(|at| at.state == State::Idle);
                reason(idle.all(|other| other.since >= known.since), "another has been idle longer")
            }
            (_, Some(own)) => {
                let ahead = own.runs_since - theirs;
                reason(ahead > SWITCH_MARGIN, "theirs is not far ahead of our own")
            }
            (_, None) => Ok(()),
        }
    }

    /// The waiters who would have a server opened now if that cap were not reached.
    fn blocked(&self, scope: Scope, now: Instant) -> Vec<&Waiter> {
        match scope {
            Scope::Database(database) => {
                let pools = self.pools.iter().filter(|pool| pool.database == database);
                pools
                    .flat_map(|pool| self.demand(pool, self.openings_left(pool.id, now), now))
                    .collect()
            }
            Scope::User(user) => {
                let pools = self.pools.iter().filter(|pool| pool.user == user);
                let pools = pools.filter(|pool| self.can_have_room(pool.database));
                let wished = |pool: &Pool| self.openings_beside_user(pool.id, now);
                pools.flat_map(|pool| self.demand(pool, wished(pool), now)).collect()
            }
            Scope::All => {
                let mut databases: Vec<_> = self.pools.iter().map(|pool| pool.database).collect();
                databases.dedup();
                let fitting = |database| {
                    let scope = Scope::Database(database);
                    let mut blocked = self.blocked(scope, now);
                    blocked.sort_by_key(|waiter| waiter.runs_since);
                    blocked.into_iter().take(self.left(scope) as usize)
                };
                databases.into_iter().flat_map(fitting).collect()
            }
        }
    }

    /// Whether a database has room, or will when somebody asks.
    fn can_have_room(&self, database: &'static str) -> bool {
        let scope = Scope::Database(database);
        let yields = |server: &Server| {
            matches!(server.state, State::Idle | State::Closing | State::Free(None))
        };
        self.left(scope) > 0 || self.within(scope).any(yields)
    }

    /// A pool's waiters for whom it would open so many servers, were it not for pauses.
    fn demand(&self, pool: &Pool, most: u32, now: Instant) -> Vec<&Waiter> {
        let outage = self.outage.map(|outage| outage.not_before);
        let may = match (pool.failed_at.map(|_| pool.not_before), outage) {
            (Some(at), _) if now < at => 0,
            (_, Some(at)) if now < at => 0,
            (None, None) => u32::MAX,
            (Some(_), _) | (None, Some(_)) => 1,
        };
        let own = self.waiters.iter().filter(|waiter| waiter.pool == pool.id);
        let served = self.count(pool.id, &[State::Opening, State::Tested]);
        own.skip(served as usize).take(most.min(may) as usize).collect()
    }

    fn openings_left(&self, pool: PoolId, now: Instant) -> u32 {
        self.openings_beside_user(pool, now).min(self.left(Scope::User(self.known(pool).user)))
    }

    fn openings_beside_user(&self, pool: PoolId, now: Instant) -> u32 {
        if self.known(pool).paused {
            return 0;
        }
        let opening = self.count(pool, &[State::Opening]);
        let (size, total) = (self.size(pool), self.total(pool));
        let mut places = size.saturating_sub(total);
        if total >= size {
            places = (size + self.reserve(pool)).saturating_sub(total).min(self.late(pool, now));
        }
        places.min(self.limits.opening_max.saturating_sub(opening))
    }

    /// Those whom nothing under way will serve and who have waited for the reserve.
    fn late(&self, pool: PoolId, now: Instant) -> u32 {
        let Some(timeout) = self.limits.reserve_pool_timeout else { return 0 };
        let served = self.count(pool, &[State::Opening, State::Tested]);
        let own = self.waiters.iter().filter(|waiter| waiter.pool == pool);
        let unserved = own.skip(served as usize);
        number(unserved.filter(|waiter| now - waiter.runs_since >= timeout).count())
    }

    fn judge_refusal(&mut self, id: WaiterId, refusal: Refusal, waited: Duration, now: Instant) {
        let at = self.waiters.iter().position(|waiter| waiter.id == id).expect("it waits");
        let waiter = self.waiters.remove(at);
        self.book_refusal(waiter.class, refusal);
        assert_eq!(waited, now - waiter.since, "the wait is told");
        match refusal {
            Refusal::WaitTimeout => {
                let ran = now - waiter.runs_since;
                assert!(ran >= self.limits.query_wait_timeout.unwrap(), "its time is up");
                assert!(
                    !self.known(waiter.pool).paused,
                    "while a pool is paused time stands still"
                );
            }
            Refusal::OpenFailed => assert!(self.hopeless.contains(&waiter.pool), "no hope"),
            Refusal::Overloaded { forecast } => {
                assert!(forecast > self.limits.query_wait_timeout.unwrap(), "it would be too late");
                assert!(!self.known(waiter.pool).paused, "its time runs");
                let most = self.size(waiter.pool) + self.reserve(waiter.pool);
                assert!(self.total(waiter.pool) >= most, "it cannot grow");
                assert_eq!(waited, Duration::ZERO, "it is told at once");
            }
            Refusal::QueueFull => {
                assert!(self.waiting(waiter.pool) >= self.limits.waiters_max, "the queue is full");
            }
        }
    }

    fn nothing_is_missing(&self, now: Instant) {
        for pool in &self.pools {
            let waiting = self.waiting(pool.id);
            let tested = self.count(pool.id, &[State::Tested]);
            let opening = self.count(pool.id, &[State::Opening]);
            let idle = self.count(pool.id, &[State::Idle]);
            let longest = self.resized.map_or(0, |(_, waiting)| waiting);
            let longest = self.limits.waiters_max.max(longest);
            assert!(waiting <= longest, "the queue has an end");
            let may_rest = !self.known(pool.id).paused && !self.is_crowded(pool.id);
            assert!(idle == 0 || may_rest, "nothing is kept while paused, or above a cap");
            assert!(idle == 0 || waiting <= tested, "nobody waits beside an idle server");
            let hopeless = self.hopeless.contains(&pool.id);
            assert!(!hopeless || waiting == 0, "nobody waits without hope");
            let full = self.is_full(pool.id);
            if pool.failed_at.is_none()
                && self.outage.is_none()
                && !full
                && self.openings_left(pool.id, now) > 0
            {
                assert!(waiting <= tested + opening, "a server is opened for each waiter");
                let coming = self.live(pool.id) + opening;
                assert!(
                    !self.is_uncapped() || coming >= self.least(pool.id),
                    "the minimum is filled"
                );
            }
        }
        let databases = self.pools.iter().map(|pool| Scope::Database(pool.database));
        let users = self.pools.iter().map(|pool| Scope::User(pool.user));
        let scopes = databases.chain(users).chain([Scope::All]);
        for scope in scopes.filter(|&scope| self.left(scope) == 0) {
            let closing = self.within(scope).filter(|server| server.state == State::Closing);
            let short = self.blocked(scope, now);
            let short = short
                .iter()
                .filter(|at| self.outage.is_none() && self.known(at.pool).failed_at.is_none());
            let idle = self.within(scope).any(|at| at.state == State::Idle);
            assert!(!idle || closing.count() >= short.count(), "idle servers make room");
        }
    }

    /// What time alone must have brought about by now.
    pub(crate) fn nothing_is_overdue(&self, now: Instant) {
        let timeout = self.limits.query_wait_timeout;
        for waiter in self.waiters.iter().filter(|waiter| !self.known(waiter.pool).paused) {
            let in_time = timeout.is_none_or(|timeout| waiter.runs_since + timeout > now);
            assert!(in_time, "waiters are refused in time");
        }
        for pool in &self.pools {
            let served = self.count(pool.id, &[State::Opening, State::Tested]);
            let wanted = self.waiting(pool.id) > served || {
                self.live(pool.id) + self.count(pool.id, &[State::Opening]) < self.least(pool.id)
            };
            let free = self.openings_left(pool.id, now) > 0;
            let due = wanted && free && self.is_uncapped();
            let in_time = match (pool.failed_at, self.outage) {
                (Some(_), None) => now <= pool.not_after,
                (None, Some(outage)) => now <= outage.not_after,
                (None, None) | (Some(_), Some(_)) => true,
            };
            assert!(!due || in_time, "who fails tries again in time");
            let well = pool.failed_at.is_none() && self.outage.is_none();
            assert!(!due || !well, "who is late has a server of the reserve opened in time");
        }
        for server in self.servers.iter().filter(|server| server.state == State::Idle) {
            let (rest, life) = (self.limits.server_idle_timeout, self.limits.server_lifetime);
            let opened_at = server.opened_at.expect("an idle server has been opened");
            let late = |since: Instant, limit: Option<Duration>| {
                limit.is_some_and(|limit| since + limit + SWEEP_EVERY < now)
            };
            let pool = self.known(server.pool);
            let replaceable = self.count(server.pool, &[State::Opening]) == 0
                && (pool.failed_at.is_none() && self.outage.is_none());
            // Who was too old already when lives became shorter has a tenth of one left.
            let begun = self.resized.zip(life).map(|((at, _), life)| at + life / 10 - life);
            let begun = begun.map_or(opened_at, |begun| begun.max(opened_at));
            let late = late(server.since, rest) || (late(begun, life) && replaceable);
            // One that may go only now is looked at by the next sweep.
            let since = server.since.max(self.attempt_ended);
            let since = self.resized.map_or(since, |(at, _)| since.max(at));
            let late = late && since + SWEEP_EVERY < now;
            assert!(!late || self.stock(server.pool) > 0, "idle servers end in time");
        }
    }

    /// The pools count as the model does.
    pub(crate) fn compare(&self, pools: &Pools, now: Instant) {
        for pool in &self.pools {
            let census = pools.census(pool.id, now);
            let count = |state| self.count(pool.id, &[state]);
            assert_eq!(census.opening, count(State::Opening));
            assert_eq!(census.idle, count(State::Idle));
            assert_eq!(census.tested, count(State::Tested));
            assert_eq!(census.lent, count(State::Lent));
            assert_eq!(census.closing, count(State::Closing));
            assert_eq!(census.waiting, self.waiting(pool.id));
            assert_eq!(census.totals.opened, pool.opened);
            let first = self.waiters.iter().find(|waiter| waiter.pool == pool.id);
            let maxwait = first.map_or(Duration::ZERO, |first| now - first.since);
            assert_eq!(census.maxwait, maxwait);
        }
        self.compare_classes(pools, now);
        let deadline = pools.next_deadline();
        let mut running = self.waiters.iter().filter(|waiter| !self.known(waiter.pool).paused);
        let awaited = running.next().is_some() && self.limits.query_wait_timeout.is_some();
        assert!(!awaited || deadline.is_some(), "somebody's time is running");
    }

    fn is_fresh(&self, server: ServerId, now: Instant) -> bool {
        let since = self.server(server).since;
        now - since <= self.limits.server_check_delay
            && self.suspect_at.is_none_or(|suspect_at| since > suspect_at)
    }

    fn is_newest_idle(&self, id: ServerId) -> bool {
        let server = self.server(id);
        let mut idle = self.servers.iter().filter(|other| other.pool == server.pool);
        server.state == State::Idle
            && idle.all(|other| other.state != State::Idle || other.since <= server.since)
    }

    /// Logged in or about to be, and certainly not past their lifetime.
    fn fresh_live(&self, pool: PoolId, now: Instant) -> u32 {
        let own = self.servers.iter().filter(|server| server.pool == pool);
        let own = own.filter(|server| server.state != State::Closing);
        number(own.filter(|server| !self.may_be_old(server, now)).count())
    }

    /// Whether age may take one of the pool's live servers.
    fn may_shrink(&self, pool: PoolId) -> bool {
        let (live, least) = (self.live(pool), self.least(pool));
        let crowded = self.total(pool) >= self.size(pool) || self.is_full(pool);
        let calm = self.count(pool, &[State::Opening, State::Closing]) == 0;
        live > least || (live == least && crowded && calm)
    }
}
