//! What a pool has done since the start, and in the last period: the figures of `SHOW STATS`.
//!
//! Owns: the totals of two moments, between one and two periods back, for rates that are neither of this
//! second nor of all time. Refuses: time of a server that a client still has, which counts when it is
//! given back.
//! Source: PgBouncer, doc/config.md (`stats_period`), src/stats.c.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_pool::Census;

use crate::broker::{Broker, Inner, PoolEntry};

/// How often the totals are taken.
const PERIOD: Duration = Duration::from_secs(60);
/// How many figures there are.
const COUNT: usize = 12;

/// The figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Servers lent.
    Assignments,
    /// Transactions.
    Transactions,
    /// Queries.
    Queries,
    /// Bytes from clients.
    Received,
    /// Bytes to clients.
    Sent,
    /// Microseconds in transactions.
    TransactionUs,
    /// Microseconds of work for clients.
    WorkUs,
    /// Microseconds that clients have waited for servers.
    WaitUs,
    /// Statements that clients had parsed.
    ClientParses,
    /// Those that PostgreSQL had to parse for it.
    ServerParses,
    /// Statements bound.
    Binds,
    /// Logins of clients.
    Logins,
}

impl Figure {
    /// All of them, in the order of PgBouncer's columns.
    pub(crate) const ALL: [Self; COUNT] = [
        Self::Assignments,
        Self::Transactions,
        Self::Queries,
        Self::Received,
        Self::Sent,
        Self::TransactionUs,
        Self::WorkUs,
        Self::WaitUs,
        Self::ClientParses,
        Self::ServerParses,
        Self::Binds,
        Self::Logins,
    ];
}

/// One of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals([u64; COUNT]);

/// The totals of two moments, by `PoolId::index`.
#[derive(Debug)]
pub(crate) struct Periods {
    before: (Instant, Vec<Totals>),
    last: (Instant, Vec<Totals>),
}

impl Totals {
    /// A pool's.
    pub(crate) fn of(entry: &PoolEntry, census: &Census) -> Self {
        let stats = &entry.stats;
        Self([
            census.totals.checkouts,
            stats.sum(|set| &set.transactions),
            stats.sum(|set| &set.queries),
            stats.sum(|set| &set.received),
            stats.sum(|set| &set.sent),
            stats.sum(|set| &set.transaction_us),
            stats.sum(|set| &set.work_us),
            u64::try_from(census.totals.waited.as_micros()).unwrap_or(u64::MAX),
            stats.sum(|set| &set.client_parses),
            stats.sum(|set| &set.server_parses),
            stats.sum(|set| &set.binds),
            stats.sum(|set| &set.logins),
        ])
    }

    /// One figure.
    pub(crate) const fn get(&self, figure: Figure) -> u64 {
        self.0[figure as usize]
    }

    /// Of what happened in so long: how much a second, and of the times of transactions and work
    /// how much for one.
    pub(crate) fn average(&self, over: Duration) -> Self {
        let us = over.as_micros().max(1);
        let a_second = |figure| {
            u64::try_from(u128::from(self.get(figure)) * 1_000_000 / us).unwrap_or(u64::MAX)
        };
        let for_one = |figure, of| self.get(figure).checked_div(self.get(of)).unwrap_or(0);
        Self(Figure::ALL.map(|figure| match figure {
            Figure::TransactionUs => for_one(figure, Figure::Transactions),
            Figure::WorkUs => for_one(figure, Figure::Queries),
            Figure::Assignments
            | Figure::Transactions
            | Figure::Queries
            | Figure::Received
            | Figure::Sent
            | Figure::WaitUs
            | Figure::ClientParses
            | Figure::ServerParses
            | Figure::Binds
            | Figure::Logins => a_second(figure),
        }))
    }

    fn each(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        let mut both = self.0.into_iter().zip(other.0);
        Self(std::array::from_fn(|_| both.next().map_or(0, |(own, other)| of(own, other))))
    }
}

impl Add for Totals {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.each(other, u64::wrapping_add)
    }
}

impl Sub for Totals {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.each(other, u64::wrapping_sub)
    }
}

impl Periods {
    /// Nothing was done yet.
    pub(crate) const fn begin(now: Instant) -> Self {
        Self { before: (now, Vec::new()), last: (now, Vec::new()) }
    }

    /// A period is over.
    fn turn(&mut self, now: Instant, totals: Vec<Totals>) {
        self.before = std::mem::replace(&mut self.last, (now, totals));
    }

    /// What a pool has done since the period before the last began, and how long that is.
    pub(crate) fn lately(&self, pool: usize, now: Totals, at: Instant) -> (Totals, Duration) {
        let (since, totals) = &self.before;
        let before = totals.get(pool).copied().unwrap_or_default();
        (now - before, at.saturating_duration_since(*since))
    }
}

impl Inner {
    fn turn_period(&mut self, now: Instant) {
        let pools = self.pools.pools();
        let totals = pools.map(|(pool, ..)| {
            Totals::of(&self.entries[pool.index()], &self.pools.census(pool, now))
        });
        let totals = totals.collect();
        self.periods.turn(now, totals);
    }
}

/// Takes the totals again and again, for ever.
pub(crate) async fn keep(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        broker.inner().turn_period(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(queries: u64, work_us: u64) -> Totals {
        let mut totals = Totals::default();
        totals.0[Figure::Queries as usize] = queries;
        totals.0[Figure::WorkUs as usize] = work_us;
        totals
    }

    #[test]
    fn counts_are_told_by_the_second_and_times_by_what_took_them() {
        let average = totals(600, 30_000).average(Duration::from_secs(60));
        assert_eq!(average, totals(10, 50));
        assert_eq!(totals(0, 0).average(Duration::ZERO), totals(0, 0));
    }

    #[test]
    fn lately_is_between_one_and_two_periods() {
        let start = Instant::now();
        let at = |periods: u32| start + PERIOD * periods;
        let mut kept = Periods::begin(start);
        let lately = |kept: &Periods, queries, now| {
            let (totals, over) = kept.lately(0, totals(queries, 0), now);
            (totals.get(Figure::Queries), over)
        };
        assert_eq!(lately(&kept, 5, at(1)), (5, PERIOD));
        kept.turn(at(1), vec![totals(6, 0)]);
        assert_eq!(lately(&kept, 8, at(2)), (8, PERIOD * 2));
        kept.turn(at(2), vec![totals(9, 0)]);
        assert_eq!(lately(&kept, 20, at(3)), (14, PERIOD * 2));
    }

    #[test]
    fn figures_stand_in_their_own_order() {
        assert!(Figure::ALL.iter().enumerate().all(|(at, figure)| *figure as usize == at));
    }
}
