//! Opening: how many servers a pool wants beyond those it has, and when it may try.
//!
//! A pool opens one server for each waiter that neither a probe nor a login under way will serve,
//! and as many as `min_pool_size` lacks; within `pool_size`, `max_db_connections`,
//! `max_server_connections`, `opening_max` and the pause after a failure. Invariant: no cap is ever exceeded, by any state of servers.

use std::time::{Duration, Instant};

use crate::backoff::Permit;
use crate::event::{Decision, OpenFailure, Refusal};
use crate::id::{Home, PoolId, ServerId};
use crate::limits::OPENING_ALL_MAX;
use crate::pools::{Minimum, Pools};
use crate::slots::State;

/// How soon a pool below its minimum looks again for room that others have taken.
const MINIMUM_EVERY: Duration = Duration::from_secs(1);

/// What a server is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Somebody waits.
    Waiters,
    /// The minimum, or the successor of an old one.
    Stock,
}

impl Pools {
    pub(crate) fn opened(
        &mut self,
        server: ServerId,
        home: Home,
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        let Some(at) = self.expect_in(server, State::Opening) else { return };
        self.slots.settle(at, home);
        let number = self.slots.get(at).pool;
        let pool = &mut self.pools[number.index()];
        pool.totals.opened += 1;
        pool.backoff.succeed();
        pool.minimum = Minimum::Kept;
        self.retries.remove(number.0);
        self.reached = true;
        let lifetime = self.limits.server_lifetime;
        let lifetime = lifetime.map(|longest| self.seed.between(longest.mul_f64(0.9), longest));
        self.slots.set_due(at, now, lifetime.and_then(|lifetime| now.checked_add(lifetime)));
        match self.reason_not_to_keep(at) {
            Some(cause) => self.close(at, cause, now, out),
            None => self.offer(at, now, out),
        }
        self.spare_overage(number, now, out);
        self.replenish(number, now, out);
        self.end_outage(now, out);
    }

    /// PostgreSQL has answered: all pools that could not reach it, and would, try now.
    pub(crate) fn end_outage(&mut self, now: Instant, out: &mut Vec<Decision>) {
        if self.outage.failures() == 0 {
            return;
        }
        self.outage.succeed();
        self.note_sweep(now);
        for pool in self.all_pools() {
            if self.retries.key(pool.0).is_some() || self.unserved(pool) > 0 {
                self.retries.remove(pool.0);
                self.replenish(pool, now, out);
            }
        }
    }

    pub(crate) fn open_failed(
        &mut self,
        server: ServerId,
        failure: OpenFailure,
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        let Some(at) = self.expect_in(server, State::Opening) else { return };
        let slot = self.slots.dismiss(at);
        let number = slot.pool;
        self.at_mut(number).totals.open_failed += 1;
        match failure {
            OpenFailure::Permanent | OpenFailure::Transient => {
                let pool = &mut self.pools[number.index()];
                pool.backoff.fail(slot.since, now, &self.limits, &mut self.seed);
                if failure == OpenFailure::Permanent {
                    pool.minimum = Minimum::Barred;
                }
                let first = pool.totals.opened == 0 && self.is_not_opening(number);
                let hopeless = first || failure == OpenFailure::Permanent;
                if hopeless && self.slots.live(number) == 0 && !self.is_paused(number) {
                    self.refuse_all(number, Refusal::OpenFailed, now, out);
                }
                self.end_outage(now, out);
            }
            OpenFailure::Crowded => {
                let pool = &mut self.pools[number.index()];
                pool.backoff.fail(slot.since, now, &self.limits, &mut self.seed);
                self.end_outage(now, out);
            }
            OpenFailure::Unreachable => self.unreachable(slot.since, now, out),
        }
        self.spare_overage(number, now, out);
        self.replenish_user(number, now, out);
    }

    /// An attempt that began at `begun` found nobody: so would those of all other pools.
    fn unreachable(&mut self, begun: Instant, now: Instant, out: &mut Vec<Decision>) {
        self.outage.fail(begun, now, &self.limits, &mut self.seed);
        self.rate_all(now);
        if self.reached {
            return; // It was there before and will be again.
        }
        for pool in self.all_pools() {
            if self.is_not_opening(pool) && !self.is_paused(pool) {
                self.refuse_all(pool, Refusal::OpenFailed, now, out);
            }
        }
    }

    fn is_not_opening(&self, pool: PoolId) -> bool {
        self.slots.count(pool, State::Opening) == 0
    }

    /// Opens what the pool wants and may have: first for waiters, then for the minimum.
    pub(crate) fn replenish(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        let database = self.at(pool).database;
        self.rate_hunger(pool, now);
        self.share_room(database, now, out);
        self.make_room(database, now, out);
        self.keep_minimum(pool, now, out);
    }

    /// How many servers the pool would open for waiters now, were the database without a cap.
    pub(crate) fn appetite(&mut self, pool: PoolId, now: Instant) -> u32 {
        let unserved = self.unserved(pool);
        if unserved == 0 {
            return 0;
        }
        unserved.min(self.openings_left(pool, For::Waiters, now))
    }

    /// Waiters whom nothing under way will serve.
    pub(crate) fn unserved(&self, pool: PoolId) -> u32 {
        self.waiters.count(pool).saturating_sub(self.under_way(pool))
    }

    /// Servers that will soon serve a waiter.
    pub(crate) fn under_way(&self, pool: PoolId) -> u32 {
        self.slots.count(pool, State::Opening) + self.slots.count(pool, State::Tested)
    }

    pub(crate) fn open(&mut self, number: PoolId, now: Instant, out: &mut Vec<Decision>) {
        self.pools[number.index()].backoff.attempt(now, &self.limits);
        if self.outage.failures() > 0 {
            self.outage.attempt(now, &self.limits);
            self.rate_all(now);
        }
        let server = self.slots.admit(number, self.at(number).epoch, now);
        out.push(Decision::Open { pool: number, server });
        assert!(self.slots.total(number) <= self.size_with_reserve(number), "pool_size is kept");
        self.rank(self.at(number).database);
        let opening = self.slots.count(number, State::Opening);
        assert!(opening <= self.limits.opening_max, "opening_max is kept");
        assert!(!self.is_database_crowded(self.at(number).database), "max_db_connections is kept");
        assert!(!self.is_crowded_over_all(), "max_server_connections is kept");
        assert!(!self.is_user_crowded(number), "max_user_connections is kept");
        self.appease_user(number, now);
    }

    /// Whether the pool has fewer servers than `min_pool_size`, not counting those that have
    /// outlived their lifetime and wait for a replacement.
    pub(crate) fn lacks_minimum(&self, pool: PoolId) -> bool {
        let coming = self.slots.live(pool) + self.slots.count(pool, State::Opening);
        self.at(pool).minimum == Minimum::Kept
            && coming - self.slots.overage(pool) < self.size_min(pool)
    }

    /// Opens the successor of a server that has outlived its lifetime and is in use all the same,
    /// where there is room for both: until it is there, the old one goes on.
    pub(crate) fn replace(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        let database = self.at(pool).database;
        let others_first = self.wanted > 0 || self.databases[database as usize].hunger > 0;
        if self.slots.idle_young(pool) == 0
            && self.slots.count(pool, State::Opening) == 0
            && !others_first
            && self.has_room(database)
            && self.openings_left(pool, For::Stock, now) > 0
        {
            self.open(pool, now, out);
        }
    }

    fn keep_minimum(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        let database = self.at(pool).database;
        while self.lacks_minimum(pool) {
            if self.openings_left(pool, For::Stock, now) == 0 {
                return; // The end of a login, of a server or of the pause comes back here.
            }
            let others_first = self.wanted > 0 || self.databases[database as usize].hunger > 0;
            if others_first || !self.has_room(database) {
                return self.note_sweep(now + MINIMUM_EVERY);
            }
            self.open(pool, now, out);
        }
    }

    /// How many logins the pool may begin now; where a pause forbids it, a retry is put down.
    fn openings_left(&mut self, pool: PoolId, whom: For, now: Instant) -> u32 {
        let room = self.room_of_user(pool);
        if room == 0 { 0 } else { self.openings_beside_user(pool, whom, now).min(room) }
    }

    /// How many it would begin for waiters, were its user without a cap.
    pub(crate) fn openings_wished(&mut self, pool: PoolId, now: Instant) -> u32 {
        self.openings_beside_user(pool, For::Waiters, now)
    }

    fn openings_beside_user(&mut self, pool: PoolId, whom: For, now: Instant) -> u32 {
        if self.is_paused(pool) {
            return 0;
        }
        let opening = self.slots.count(pool, State::Opening);
        let logins = self.limits.opening_max.saturating_sub(opening);
        let mut places = self.size(pool).saturating_sub(self.slots.total(pool));
        if places == 0 && whom == For::Waiters && logins > 0 {
            places = self.reserve_left(pool, now);
        }
        let places = places.min(logins);
        if places == 0 {
            return 0;
        }
        let own = self.at(pool).backoff.permit(now);
        match own.and(self.outage.permit(now)).and(self.crowd(now)) {
            Permit::Many => places.min(OPENING_ALL_MAX - self.slots.all_opening()),
            Permit::One => 1,
            Permit::NotBefore(retry_at) => {
                self.retries.set(pool.0, retry_at);
                0
            }
        }
    }

    /// After an outage all pools come at once: no more logins than PostgreSQL can stand.
    fn crowd(&self, now: Instant) -> Permit {
        if self.slots.all_opening() < OPENING_ALL_MAX {
            Permit::Many
        } else {
            Permit::NotBefore(now + self.limits.retry_min)
        }
    }
}
