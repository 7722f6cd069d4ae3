//! Counting classes of clients: what `SHOW CLASSES` and its metrics are made of.
//!
//! Owns: what became of the requests of each class, over all pools that lend. Refuses: names of
//! classes (those are the shell's), and connections that listen for others, which are of no class.
//! Invariant: no class counts what no pool has counted, and whoever waits is counted in one class:
//! its own, or the usual one where that is no more.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use crate::class::{CLASSES_MAX, Class};
use crate::id::PoolId;
use crate::pools::{Kind, Pool, Pools};

/// A class at one moment, over all pools that lend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassCensus {
    /// Which class.
    pub class: Class,
    /// How often it is served in proportion to the others.
    pub weight: NonZeroU16,
    /// Clients queued.
    pub waiting: u32,
    /// How long the one of them has waited that has waited for longest; zero where nobody waits.
    pub maxwait: Duration,
    /// Requests granted, at once or after a wait, since the counting began.
    pub served: u64,
    /// Clients refused because `query_wait_timeout` had passed, or would have, since then.
    pub timeouts: u64,
}

/// What became of requests, by class.
#[derive(Debug, Default)]
pub(crate) struct Tallies([Tally; CLASSES_MAX]);

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    served: u64,
    timeouts: u64,
}

impl Pools {
    /// Counts each class, in the order of their numbers; nothing where there are fewer than two.
    /// Costs a step for each pool and, where somebody waits for it, for each class.
    pub fn classes(&self, now: Instant) -> Vec<ClassCensus> {
        let weights = &self.limits.class_weights;
        if weights.len() < 2 {
            return Vec::new();
        }
        let begin = |((number, &weight), tally): ((u8, &NonZeroU16), &Tally)| {
            let Tally { served, timeouts } = *tally;
            let (class, waiting, maxwait) = (Class(number), 0, Duration::ZERO);
            ClassCensus { class, weight, waiting, maxwait, served, timeouts }
        };
        let mut classes: Vec<_> = (0..).zip(weights).zip(&self.tallies.0).map(begin).collect();
        for pool in self.all_pools().filter(|&pool| self.is_of_clients(pool)) {
            self.add_waiting(pool, now, &mut classes);
        }
        classes
    }

    /// The classes are others from here on: what they got is counted anew. Who waits is counted on.
    pub fn count_classes_anew(&mut self) {
        self.tallies = Tallies::default();
    }

    /// A client of a class has got a server.
    pub(crate) fn tally_served(&mut self, pool: PoolId, class: Class) {
        if let Some(tally) = self.tally_mut(pool, class) {
            tally.served += 1;
        }
    }

    /// A client of a class has no time left to wait.
    pub(crate) fn tally_timeout(&mut self, pool: PoolId, class: Class) {
        if let Some(tally) = self.tally_mut(pool, class) {
            tally.timeouts += 1;
        }
    }

    /// Asserts the invariant of the file, as far as it is about what was counted.
    pub(crate) fn check_tallies(&self) {
        let all = self.tallies.0.iter();
        let (served, timeouts) = all.fold((0, 0), |(served, timeouts), tally| {
            (served + tally.served, timeouts + tally.timeouts)
        });
        let pools = || self.pools.iter().filter(|pool| pool.kind == Kind::Lending);
        let lent: u64 = pools().map(|pool| pool.totals.checkouts).sum();
        assert!(served <= lent, "what a class got a pool has lent");
        let late = |pool: &Pool| pool.totals.wait_timeouts + pool.totals.refused_overloaded;
        let late: u64 = pools().map(late).sum();
        assert!(timeouts <= late, "whom a class has lost a pool has refused");
    }

    fn add_waiting(&self, pool: PoolId, now: Instant, classes: &mut [ClassCensus]) {
        let mut left = self.waiters.count(pool);
        // Classes that are no more included.
        for class in (0..).map(Class).take(CLASSES_MAX) {
            if left == 0 {
                return;
            }
            let Some(first) = self.waiters.first_of(pool, class) else { continue };
            let counted = &mut classes[usize::from(self.limits.class_in_force(class).0)];
            let waiting = self.waiters.count_of(pool, class);
            counted.waiting += waiting;
            counted.maxwait = counted.maxwait.max(now.saturating_duration_since(first.asked));
            left -= waiting;
        }
        assert_eq!(left, 0, "whoever waits is of a class");
    }

    fn tally_mut(&mut self, pool: PoolId, class: Class) -> Option<&mut Tally> {
        let class = self.limits.class_in_force(class);
        self.is_of_clients(pool).then(|| &mut self.tallies.0[usize::from(class.0)])
    }

    fn is_of_clients(&self, pool: PoolId) -> bool {
        match self.at(pool).kind {
            Kind::Lending => true,
            Kind::Listening => false,
        }
    }
}
