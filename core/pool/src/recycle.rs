//! The ends of servers: lifetime, idleness, loss, retirement, and the passing of time.
//!
//! Ages are looked at when a server is given back and, for idle ones, in a sweep at most every
//! [`SWEEP_EVERY`]. The replacement of a server in use is opened first, where the caps have room for
//! both. Invariant: neither age nor
//! idleness takes a used pool below `min_pool_size`, except one server at a time where the caps
//! leave no room for the replacement beside the old one.

use std::time::Instant;

use crate::age::Age;
use crate::event::{CloseCause, Decision};
use crate::id::{PoolId, ServerId};
use crate::limits::SWEEP_EVERY;
use crate::pools::{Minimum, Pools};
use crate::slots::State;

/// How many of its lifetimes a server in use lives at the most while its successor cannot be had.
const SUCCESSION: f64 = 1.1;

impl Pools {
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Vec<Decision>) {
        self.refuse_late(now, out);
        while let Some((at, pool)) = self.retries.first()
            && at <= now
        {
            self.retries.remove(pool);
            self.replenish(PoolId(pool), now, out);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now, out);
        }
        assert!(self.next_deadline().is_none_or(|at| at > now), "a tick does all that is due");
    }

    pub(crate) fn lost(&mut self, server: ServerId, now: Instant, out: &mut Vec<Decision>) {
        let Some(at) = self.expect_in(server, State::Idle) else { return };
        let pool = self.slots.get(at).pool;
        self.suspect_at = Some(now);
        self.close(at, CloseCause::Lost, now, out);
        self.replenish(pool, now, out);
    }

    pub(crate) fn closed(&mut self, server: ServerId, now: Instant, out: &mut Vec<Decision>) {
        let Some(at) = self.expect_in(server, State::Closing) else { return };
        let pool = self.slots.dismiss(at).pool;
        self.at_mut(pool).totals.closed += 1;
        self.replenish_user(pool, now, out);
        self.spare_overage(pool, now, out);
    }

    pub(crate) fn retire_all(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        assert!(pool.index() < self.pools.len(), "a pool is made before it is retired");
        let epoch = &mut self.at_mut(pool).epoch;
        *epoch = epoch.wrapping_add(1);
        while let Some(at) = self.slots.idle_newest(pool) {
            self.close(at, CloseCause::Retired, now, out);
        }
        self.replenish(pool, now, out);
    }

    /// Whether the server was there at the last [`crate::Event::RetireAll`] of its pool.
    pub(crate) fn is_outdated(&self, at: u32) -> bool {
        let slot = self.slots.get(at);
        slot.epoch != self.at(slot.pool).epoch
    }

    pub(crate) fn close(
        &mut self,
        at: u32,
        cause: CloseCause,
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        self.slots.shift(at, State::Closing, now);
        out.push(Decision::Close { server: self.slots.get(at).id, cause });
    }

    /// Whether there is no room for one server more in the pool, under whichever cap.
    pub(crate) fn is_full(&self, pool: PoolId) -> bool {
        self.slots.total(pool) >= self.size(pool)
            || !self.has_room(self.at(pool).database)
            || self.room_of_user(pool) == 0
    }

    /// Whether the pool can do without one of its live servers.
    pub(crate) fn can_spare(&self, number: PoolId) -> bool {
        let least = self.least(number);
        let live = self.slots.live(number);
        let crowded = self.is_full(number);
        let calm = self.slots.count(number, State::Opening) == 0
            && self.slots.count(number, State::Closing) == 0
            && self.at(number).backoff.failures() == 0;
        live > least || (live == least && crowded && calm)
    }

    /// When a server has outlived its lifetime by so much that it goes without a successor.
    fn overdue(&self, at: u32) -> Option<Instant> {
        let (opened, lifetime) = (self.slots.get(at).opened()?, self.limits.server_lifetime?);
        opened.checked_add(lifetime.mul_f64(SUCCESSION))
    }

    pub(crate) fn is_overdue(&self, at: u32, now: Instant) -> bool {
        self.overdue(at).is_some_and(|overdue| overdue <= now)
    }

    /// Whether the pool can do without an idle server that has outlived its lifetime: not while its
    /// successor is on its way, or would not find PostgreSQL.
    fn can_spare_old(&self, at: u32, now: Instant) -> bool {
        let number = self.slots.get(at).pool;
        let pool = self.at(number);
        let succeeded = self.slots.idle_young(number) > 0;
        let lucky = pool.backoff.failures() == 0 || pool.minimum == Minimum::Barred;
        let replaceable =
            lucky && self.outage.failures() == 0 && self.slots.count(number, State::Opening) == 0;
        (succeeded || replaceable || self.is_overdue(at, now)) && self.can_spare(number)
    }

    /// Closes servers that have outlived their lifetime and are no longer needed.
    pub(crate) fn spare_overage(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        if self.slots.overage(pool) == 0 {
            return;
        }
        let mut next = self.slots.idle_longest(pool);
        while let Some(at) = next {
            next = self.slots.idle_after(at);
            if let Some(over) = self.slots.get(at).age().over()
                && self.can_spare_old(at, now)
            {
                self.close(at, over.cause(), now, out);
            }
        }
        self.replenish(pool, now, out);
    }

    /// Puts down when a server that has just come to rest will have to be looked at.
    pub(crate) fn note_rest(&mut self, at: u32, now: Instant) {
        for expiry in self.expiries(at).into_iter().flatten() {
            self.note_sweep(if expiry > now { expiry } else { now + SWEEP_EVERY });
        }
        if self.slots.get(at).age().over().is_some() {
            self.note_sweep(now + SWEEP_EVERY);
        }
    }

    /// Puts down that a sweep is due then, or a little later where one has just been.
    pub(crate) fn note_sweep(&mut self, at: Instant) {
        let at = self.swept_at.map_or(at, |swept| at.max(swept + SWEEP_EVERY));
        self.sweep_at = Some(self.sweep_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Looks over the idle servers of all pools. Linear, therefore rare.
    fn sweep(&mut self, now: Instant, out: &mut Vec<Decision>) {
        self.swept_at = Some(now);
        self.sweep_at = None;
        for pool in self.all_pools() {
            self.sweep_pool(pool, now, out);
        }
    }

    fn sweep_pool(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        let mut next = self.slots.idle_longest(pool);
        while let Some(at) = next {
            next = self.slots.idle_after(at);
            let over = self.slots.ripen(at, self.limits.server_max_uses, now).over();
            let [rested, _] = self.expiries(at);
            if let Some(over) = over
                && self.can_spare_old(at, now)
            {
                self.close(at, over.cause(), now, out);
            } else if rested.is_some_and(|end| end <= now)
                && self.slots.live(pool) > self.least(pool)
            {
                self.close(at, CloseCause::IdleTimeout, now, out);
            } else {
                // What is past and could not be acted upon waits for an event, not for time.
                for expiry in self.expiries(at).into_iter().flatten().filter(|&at| at > now) {
                    self.note_sweep(expiry);
                }
            }
        }
        self.replenish(pool, now, out);
    }

    /// When an idle server has rested for long enough, and when it is too old, or too old to wait
    /// for its successor.
    fn expiries(&self, at: u32) -> [Option<Instant>; 2] {
        let slot = self.slots.get(at);
        let rested = self.limits.server_idle_timeout.and_then(|rest| slot.since.checked_add(rest));
        match slot.age() {
            Age::Due(due) => [rested, due],
            Age::Over(_) => [rested, self.overdue(at)],
        }
    }

    /// How many live servers neither age nor idleness may go below.
    fn least(&self, pool: PoolId) -> u32 {
        match self.at(pool).minimum {
            Minimum::Kept => self.size_min(pool),
            Minimum::Unused | Minimum::Barred => 0,
        }
    }
}
