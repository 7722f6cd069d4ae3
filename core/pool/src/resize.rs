//! Other limits while everything runs.
//!
//! Owns: what follows at once from a change of limits. Refuses: cutting anybody: a server that is lent
//! stays lent, and who waits waits on, also where the queue has become shorter.
//! Invariant: above a cap that was lowered there are only servers that are lent, tested, being opened
//! or being closed, and none of them is kept when it comes back.

use std::time::{Duration, Instant};

use crate::age::Over;
use crate::event::{CloseCause, Decision};
use crate::id::PoolId;
use crate::limits::Limits;
use crate::pools::Pools;
use crate::slots::State;

impl Pools {
    /// The limits that hold.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes the limits; what is to be done at once is appended to `out`.
    ///
    /// Lower caps: idle servers above them are closed, the longest idle first; others when they are
    /// given back. Higher caps and a higher minimum: servers are opened. Times hold for those who
    /// wait and for what is idle or open already, from when they began.
    pub fn set_limits(&mut self, limits: Limits, now: Instant, out: &mut Vec<Decision>) {
        let now = self.begin(now);
        let lives = |limits: &Limits| (limits.server_lifetime, limits.server_max_uses);
        let before = lives(&self.limits);
        let limits = limits.in_range();
        if limits.class_weights != self.limits.class_weights {
            self.waiters.forget_turns();
        }
        self.limits = limits;
        self.size_anew();
        if lives(&self.limits) != before {
            self.renew_lifetimes(now);
        }
        for pool in self.all_pools() {
            self.shed(pool, now, out);
        }
        self.replenish_all(now, out);
        self.make_room_for_users(now, out);
        self.note_sweep(now);
        self.end();
    }

    /// Whether all together have more servers than their cap allows, not counting those being closed.
    pub(crate) fn is_crowded_over_all(&self) -> bool {
        let staying = self.slots.len() - self.slots.all_closing() as usize;
        self.cap_over_all().is_some_and(|most| staying > most)
    }

    pub(crate) fn is_pool_crowded(&self, pool: PoolId) -> bool {
        self.staying(pool) > self.size(pool)
            && !self.needs_reserve(pool, self.slots.count(pool, State::Tested))
    }

    /// The pool's servers without those being closed.
    pub(crate) fn staying(&self, pool: PoolId) -> u32 {
        self.slots.total(pool) - self.slots.count(pool, State::Closing)
    }

    pub(crate) fn is_database_crowded(&self, database: u32) -> bool {
        let staying = self.slots.database_total(database) - self.slots.database_closing(database);
        self.limits.max_db_connections.is_some_and(|most| staying > most.get())
    }

    /// Closes idle servers above the caps.
    fn shed(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        while self.is_pool_crowded(pool)
            && let Some(at) = self.slots.idle_longest(pool)
        {
            self.close(at, CloseCause::Shrunk, now, out);
        }
        let database = self.at(pool).database;
        while self.is_database_crowded(database)
            && let Some(at) = self.slots.database_idle_longest(database)
        {
            self.close(at, CloseCause::Shrunk, now, out);
        }
        self.shed_user(pool, now, out);
        self.shed_over_all(now, out);
    }

    /// Closes idle servers above the cap of all.
    pub(crate) fn shed_over_all(&mut self, now: Instant, out: &mut Vec<Decision>) {
        while self.is_crowded_over_all()
            && let Some(at) = self.slots.all_idle_longest()
        {
            self.close(at, CloseCause::Shrunk, now, out);
        }
    }

    /// Serves all pools under other caps. All are rated before any is served: a wish from before
    /// may be one too many now.
    pub(crate) fn replenish_all(&mut self, now: Instant, out: &mut Vec<Decision>) {
        for pool in self.all_pools() {
            self.rate_hunger(pool, now);
        }
        for pool in self.all_pools() {
            self.replenish(pool, now, out);
        }
    }

    /// Draws another last day for each server, from when it was opened. Those whose last day is past
    /// by now share the next tenth of a life among them, so that they do not end together.
    fn renew_lifetimes(&mut self, now: Instant) {
        let longest = self.limits.server_lifetime;
        for at in self.slots.all_live() {
            let opened = self.slots.get(at).opened().expect("a live server has been opened");
            let due = longest.and_then(|longest| {
                let due = opened.checked_add(self.seed.between(longest.mul_f64(0.9), longest))?;
                let soon = self.seed.between(Duration::ZERO, longest / 10);
                Some(if due > now { due } else { now.checked_add(soon)? })
            });
            self.slots.renew_due(at, due);
            let over = self.slots.get(at).age().over();
            assert!(over.is_none_or(|over| over == Over::Worn), "by age its life is not over yet");
        }
    }
}
