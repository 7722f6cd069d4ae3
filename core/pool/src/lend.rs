//! Lending: who gets which server, and who goes away without.
//!
//! The server that came to rest last is lent first, so that surplus servers stay idle and end by
//! `server_idle_timeout`. Waiters are served in the order of arrival, classes of them in turns (`lines`), and a released
//! server goes straight to the first; with more than one home, nearly so (`home`). Invariant: nobody waits beside an idle server of the pool, except those
//! for whom one is being probed.

use std::time::{Duration, Instant};

use crate::class::Class;
use crate::event::{CloseCause, Condition, Decision, ProbeResult, Refusal};
use crate::id::{Home, PoolId, ServerId, WaiterId};
use crate::pools::{Minimum, Pools};
use crate::slots::State;
use crate::waiters::Waiter;

impl Pools {
    pub(crate) fn acquire(
        &mut self,
        pool: PoolId,
        waiter: WaiterId,
        (home, class): (Home, Class),
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        assert!(pool.index() < self.pools.len(), "a pool is made before it is asked");
        let waiting = self.waiters.count(pool);
        if waiting == 0
            && let Some(server) = self.choose_idle(pool, home, now)
            && self.is_fresh(server, now)
            && !self.waiters.contains(waiter)
        {
            return self.grant(server, waiter, (home, class), Duration::ZERO, now, out);
        }
        if self.waiters.contains(waiter) {
            return self.misfit();
        }
        if waiting >= self.limits.waiters_max {
            return self.refuse((pool, class), waiter, Refusal::QueueFull, Duration::ZERO, out);
        }
        let class = self.limits.class_in_force(class);
        if let Some(forecast) = self.hopeless_wait(pool, class, now) {
            let refusal = Refusal::Overloaded { forecast };
            return self.refuse((pool, class), waiter, refusal, Duration::ZERO, out);
        }
        self.waiters.push(pool, waiter, (home, class), now);
        self.slots.change_user(pool, |user| user.waiting += 1);
        assert!(self.waiters.count(pool) <= self.limits.waiters_max, "waiters_max is kept");
        self.at_mut(pool).pace.begin(now);
        if self.at(pool).minimum == Minimum::Unused {
            self.at_mut(pool).minimum = Minimum::Kept;
        }
        self.serve_from_idle(pool, now, out);
        self.replenish(pool, now, out);
    }

    /// Takes out a client, if it is queued.
    fn leave_queue(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.waiters.remove(id)?;
        self.slots.change_user(waiter.pool, |user| user.waiting -= 1);
        Some(waiter)
    }

    pub(crate) fn withdraw(&mut self, waiter: WaiterId, now: Instant) {
        if let Some(waiter) = self.leave_queue(waiter) {
            self.at_mut(waiter.pool).totals.withdrawn += 1;
            self.rest_pace(waiter.pool);
            self.appease(waiter.pool, now);
        }
    }

    pub(crate) fn release(
        &mut self,
        server: ServerId,
        condition: Condition,
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        let Some(at) = self.expect_in(server, State::Lent) else { return };
        let unfit = match condition {
            Condition::Clean => self.reason_to_end(at, now),
            Condition::Worn => {
                self.slots.wear_out(at);
                self.reason_to_end(at, now)
            }
            Condition::Doubtful => Some(CloseCause::Doubtful),
            Condition::Broken => {
                self.suspect_at = Some(now);
                Some(CloseCause::Broken)
            }
        };
        self.take_back(at, unfit, now, out);
    }

    pub(crate) fn probed(
        &mut self,
        server: ServerId,
        result: ProbeResult,
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        let Some(at) = self.expect_in(server, State::Tested) else { return };
        let unfit = match result {
            ProbeResult::Healthy => self.reason_to_end(at, now),
            ProbeResult::Failed => {
                self.suspect_at = Some(now);
                Some(CloseCause::ProbeFailed)
            }
        };
        self.take_back(at, unfit, now, out);
    }

    /// A usable server is free: to the first waiter, else to rest.
    pub(crate) fn offer(&mut self, at: u32, now: Instant, out: &mut Vec<Decision>) {
        let (pool, home) = (self.slots.get(at).pool, self.slots.get(at).home);
        match self.next_waiter(pool, home) {
            Some(waiter) => {
                self.grant_waiter(at, &waiter, now, out);
                if self.at(pool).sizes.reserve_pool_size > 0 && self.waiters.count(pool) > 0 {
                    // It may not have been the first, who is late now.
                    self.replenish(pool, now, out);
                } else {
                    self.appease(pool, now);
                }
            }
            None => {
                self.slots.shift(at, State::Idle, now);
                self.note_rest(at, now);
                self.make_room(self.at(pool).database, now, out);
            }
        }
        if self.slots.overage(pool) > 0 {
            self.replenish(pool, now, out);
        }
    }

    /// Lends idle servers to the waiters, probing first those that have been idle for long.
    pub(crate) fn serve_from_idle(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        loop {
            let tested = self.slots.count(pool, State::Tested);
            if self.waiters.count(pool) <= tested {
                return;
            }
            let home = self.home_in_turn(pool).expect("more wait than are tested");
            let Some(at) = self.choose_idle(pool, home, now) else { return };
            if self.is_fresh(at, now) {
                let waiter = self.first_in_turn(pool).expect("more wait than servers are tested");
                self.grant_waiter(at, &waiter, now, out);
                continue;
            }
            let waiter = self.waiters.nth(pool, tested).expect("more wait than are tested").id;
            self.slots.shift(at, State::Tested, now);
            out.push(Decision::Probe { server: self.slots.get(at).id, waiter });
        }
    }

    /// Refuses everybody who waits for the pool.
    pub(crate) fn refuse_all(
        &mut self,
        pool: PoolId,
        refusal: Refusal,
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        while let Some(first) = self.waiters.first(pool).map(|first| first.id) {
            let waiter = self.leave_queue(first).expect("the first waits");
            let waited = now.saturating_duration_since(waiter.asked);
            self.refuse((pool, waiter.class), waiter.id, refusal, waited, out);
        }
        self.rest_pace(pool);
        self.appease(pool, now);
    }

    /// How long one that comes now would wait at the least, if that is longer than it may: told at
    /// once, it can do something better with its time.
    fn hopeless_wait(&mut self, pool: PoolId, class: Class, now: Instant) -> Option<Duration> {
        let timeout = self.limits.query_wait_timeout?;
        if self.is_paused(pool) {
            return None; // Its time does not run.
        }
        let size = self.size_with_reserve(pool);
        let growing = self.slots.total(pool) < size || self.slots.count(pool, State::Opening) > 0;
        if growing {
            return None;
        }
        // Those of other classes may all be behind it.
        let ahead = self.waiters.count_of(pool, class);
        let turnover = size.saturating_mul(2);
        let pace = &mut self.at_mut(pool).pace;
        pace.forecast(ahead, turnover, Some(timeout), now).filter(|&wait| wait > timeout)
    }

    /// Where nobody waits any more, the pool's pace is nobody's concern.
    fn rest_pace(&mut self, pool: PoolId) {
        if self.waiters.count(pool) == 0 {
            self.at_mut(pool).pace.end();
        }
    }

    /// Refuses those whose time is up.
    pub(crate) fn refuse_late(&mut self, now: Instant, out: &mut Vec<Decision>) {
        while self.wait_deadline().is_some_and(|deadline| deadline <= now) {
            let id = self.waiters.oldest().expect("a deadline is somebody's").id;
            let waiter = self.leave_queue(id).expect("the oldest waits");
            let waited = now.saturating_duration_since(waiter.asked);
            let of = (waiter.pool, waiter.class);
            self.refuse(of, waiter.id, Refusal::WaitTimeout, waited, out);
            self.rest_pace(waiter.pool);
            self.appease(waiter.pool, now);
        }
    }

    /// When the first waiter runs out of time.
    pub(crate) fn wait_deadline(&self) -> Option<Instant> {
        let timeout = self.limits.query_wait_timeout?;
        self.waiters.oldest()?.place.since.checked_add(timeout)
    }

    fn grant_waiter(&mut self, at: u32, waiter: &Waiter, now: Instant, out: &mut Vec<Decision>) {
        assert_eq!(waiter.pool, self.slots.get(at).pool, "a server serves its own pool");
        let waited = now.saturating_duration_since(waiter.asked);
        let timeout = self.limits.query_wait_timeout;
        self.at_mut(waiter.pool).pace.serve(timeout, now);
        self.rest_pace(waiter.pool);
        self.grant(at, waiter.id, (waiter.home, waiter.class), waited, now, out);
    }

    fn grant(
        &mut self,
        at: u32,
        waiter: WaiterId,
        (home, class): (Home, Class),
        waited: Duration,
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        self.slots.shift(at, State::Lent, now);
        self.slots.settle(at, home);
        let slot = self.slots.get(at);
        assert!(!self.is_paused(slot.pool), "a paused pool lends nothing");
        out.push(Decision::Grant { waiter, server: slot.id, waited });
        let pool = slot.pool;
        let totals = &mut self.at_mut(pool).totals;
        totals.checkouts += 1;
        totals.waited = totals.waited.saturating_add(waited);
        self.tally_served(pool, class);
    }

    fn refuse(
        &mut self,
        (pool, class): (PoolId, Class),
        waiter: WaiterId,
        refusal: Refusal,
        waited: Duration,
        out: &mut Vec<Decision>,
    ) {
        out.push(Decision::Refuse { waiter, refusal, waited });
        let totals = &mut self.at_mut(pool).totals;
        totals.waited = totals.waited.saturating_add(waited);
        match refusal {
            Refusal::WaitTimeout => totals.wait_timeouts += 1,
            Refusal::OpenFailed => totals.refused_open_failed += 1,
            Refusal::QueueFull => totals.refused_queue_full += 1,
            Refusal::Overloaded { .. } => totals.refused_overloaded += 1,
        }
        match refusal {
            Refusal::WaitTimeout | Refusal::Overloaded { .. } => self.tally_timeout(pool, class),
            Refusal::OpenFailed | Refusal::QueueFull => {}
        }
    }

    /// Whether an idle server may be lent without a probe.
    pub(crate) fn is_fresh(&self, at: u32, now: Instant) -> bool {
        let since = self.slots.get(at).since;
        let rested = now.saturating_duration_since(since);
        rested <= self.limits.server_check_delay && self.suspect_at.is_none_or(|at| at < since)
    }

    /// A server is free again: it is closed where there is a reason, else lent on.
    fn take_back(
        &mut self,
        at: u32,
        unfit: Option<CloseCause>,
        now: Instant,
        out: &mut Vec<Decision>,
    ) {
        let pool = self.slots.get(at).pool;
        let Some(cause) = unfit else {
            let old = self.slots.get(at).age().over().is_some();
            self.offer(at, now, out);
            if old {
                self.replace(pool, now, out);
            }
            return;
        };
        self.close(at, cause, now, out);
        self.serve_from_idle(pool, now, out);
        self.replenish(pool, now, out);
    }

    /// Whether a server in use that has outlived its lifetime may go: another is free in its place,
    /// or there is no room for one beside it.
    fn is_succeeded(&self, pool: PoolId) -> bool {
        let moving =
            self.slots.count(pool, State::Opening) + self.slots.count(pool, State::Closing);
        // Without room they go one at a time, so that the others can carry the load.
        let alone = moving == 0 && self.is_full(pool);
        alone || self.slots.idle_young(pool) > 0
    }

    /// Why a healthy server that is free again is not lent again, if it is not.
    fn reason_to_end(&mut self, at: u32, now: Instant) -> Option<CloseCause> {
        if let Some(cause) = self.reason_not_to_keep(at) {
            return Some(cause);
        }
        let pool = self.slots.get(at).pool;
        let uses = self.limits.server_max_uses;
        if let Some(over) = self.slots.ripen(at, uses, now).over()
            && (self.is_succeeded(pool) || self.is_overdue(at, now))
            && self.can_spare(pool)
        {
            return Some(over.cause());
        }
        let owed = self.is_owed_elsewhere(pool) || self.is_owed_to_user(pool, now);
        owed.then_some(CloseCause::MakeRoom)
    }
}
