//! Opening: how many servers a pool wants beyond those it has, and when it may try.
//!
//! A pool opens one server for each waiter that neither a probe nor a login under way will serve,
//! and as many as `min_pool_size` lacks; within `pool_size`, `max_db_connections`, `opening_max`
//! and the pause after a failure. Invariant: no cap is ever exceeded, by any state of servers.

use std::time::{Duration, Instant};

use crate::backoff::Permit;
use crate::event::{Decision, OpenFailure, Refusal};
use crate::id::{Home, PoolId, ServerId};
use crate::pools::{Minimum, Pools};
use crate::slots::State;

/// How soon a pool below its minimum looks again for room that others have taken.
const MINIMUM_EVERY: Duration = Duration::from_secs(1);

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
        let lifetime = self.limits.server_lifetime;
        let lifetime = lifetime.map(|longest| self.seed.between(longest.mul_f64(0.9), longest));
        self.slots.set_due(at, now, lifetime.and_then(|lifetime| now.checked_add(lifetime)));
        match self.reason_not_to_keep(at) {
            Some(cause) => self.close(at, cause, now, out),
            None => self.offer(at, now, out),
        }
        self.spare_overage(number, now, out);
        self.replenish(number, now, out);
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
        let pool = &mut self.pools[number.index()];
        pool.totals.open_failed += 1;
        pool.backoff.fail(slot.since, now, &self.limits, &mut self.seed);
        if failure == OpenFailure::Permanent {
            pool.minimum = Minimum::Barred;
        }
        let never_opened = pool.totals.opened == 0;
        let last_attempt = self.slots.count(number, State::Opening) == 0;
        let hopeless = match failure {
            OpenFailure::Permanent => true,
            OpenFailure::Transient => never_opened && last_attempt,
        };
        if hopeless && self.slots.live(number) == 0 && !self.is_paused(number) {
            self.refuse_all(number, Refusal::OpenFailed, now, out);
        }
        self.replenish(number, now, out);
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
        unserved.min(self.openings_left(pool, now))
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
        let pool = &mut self.pools[number.index()];
        pool.backoff.attempt(now, &self.limits);
        let server = self.slots.admit(number, pool.epoch, now);
        out.push(Decision::Open { pool: number, server });
        assert!(self.slots.total(number) <= self.size(number), "pool_size is kept");
        let opening = self.slots.count(number, State::Opening);
        assert!(opening <= self.limits.opening_max, "opening_max is kept");
        assert!(!self.is_database_crowded(self.at(number).database), "max_db_connections is kept");
    }

    /// Whether the pool has fewer servers than `min_pool_size`, not counting those that have
    /// outlived their lifetime and wait for a replacement.
    pub(crate) fn lacks_minimum(&self, pool: PoolId) -> bool {
        let coming = self.slots.live(pool) + self.slots.count(pool, State::Opening);
        self.at(pool).minimum == Minimum::Kept
            && coming - self.slots.overage(pool) < self.size_min(pool)
    }

    fn keep_minimum(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        let database = self.at(pool).database;
        while self.lacks_minimum(pool) {
            if self.openings_left(pool, now) == 0 {
                return; // The end of a login, of a server or of the pause comes back here.
            }
            if !self.has_room(database) || self.databases[database as usize].hunger > 0 {
                return self.note_sweep(now + MINIMUM_EVERY);
            }
            self.open(pool, now, out);
        }
    }

    /// How many logins the pool may begin now; where a pause forbids it, a retry is put down.
    fn openings_left(&mut self, pool: PoolId, now: Instant) -> u32 {
        if self.is_paused(pool) {
            return 0;
        }
        let opening = self.slots.count(pool, State::Opening);
        let places = self.size(pool).saturating_sub(self.slots.total(pool));
        let places = places.min(self.limits.opening_max.saturating_sub(opening));
        match self.at(pool).backoff.permit(now) {
            Permit::Many => places,
            Permit::One => places.min(1),
            Permit::NotBefore(retry_at) => {
                self.retries.set(pool.0, retry_at);
                0
            }
        }
    }
}
