//! When a pool may try to log in again after a failure.
//!
//! Attempts made together count as one failure. While the pool is failing, attempts go one at a
//! time, never closer than the pause; an attempt that hangs does not hold up the next for longer
//! than the longest pause. Invariant: the pause lies in `retry_min..=retry_max`.

use std::time::Instant;

use crate::limits::Limits;
use crate::seed::Seed;

/// The recent luck of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backoff {
    /// The last attempt that ended succeeded, or none has ended yet.
    Well,
    /// The last attempt failed.
    Failing {
        /// How many attempts in a row, attempts made together counting once.
        failures: u32,
        /// Since when.
        since: Instant,
        /// When the last of them was noticed.
        failed_at: Instant,
        /// Not before then.
        retry_at: Instant,
    },
}

/// What the pool may do about its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// As many at once as are allowed at all.
    Many,
    /// One.
    One,
    /// None before then.
    NotBefore(Instant),
}

impl Permit {
    /// What two of them allow together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotBefore(one), Self::NotBefore(another)) => Self::NotBefore(one.max(another)),
            (Self::NotBefore(at), _) | (_, Self::NotBefore(at)) => Self::NotBefore(at),
            (Self::One, _) | (_, Self::One) => Self::One,
            (Self::Many, Self::Many) => Self::Many,
        }
    }
}

impl Backoff {
    pub(crate) fn permit(&self, now: Instant) -> Permit {
        match *self {
            Self::Well => Permit::Many,
            Self::Failing { retry_at, .. } if now < retry_at => Permit::NotBefore(retry_at),
            Self::Failing { .. } => Permit::One,
        }
    }

    pub(crate) const fn failures(&self) -> u32 {
        match *self {
            Self::Well => 0,
            Self::Failing { failures, .. } => failures,
        }
    }

    /// An attempt begins: while failing, the next has to wait for its outcome or the longest pause.
    pub(crate) fn attempt(&mut self, now: Instant, limits: &Limits) {
        match self {
            Self::Well => {}
            Self::Failing { retry_at, .. } => {
                assert!(*retry_at <= now, "no attempt begins within the pause");
                *retry_at = now + limits.retry_max;
            }
        }
    }

    pub(crate) fn succeed(&mut self) {
        *self = Self::Well;
    }

    /// An attempt that began at `begun` has failed.
    pub(crate) fn fail(&mut self, begun: Instant, now: Instant, limits: &Limits, seed: &mut Seed) {
        if let Self::Failing { failed_at, .. } = self
            && begun < *failed_at
        {
            return; // It was under way when its companion failed: no news.
        }
        let (failures, since) = match *self {
            Self::Well => (1, now),
            Self::Failing { failures, since, .. } => (failures.saturating_add(1), since),
        };
        // Who has been down for long may be found up a little later than who was down for a moment.
        let down = now.saturating_duration_since(since);
        let longest = (down / 4).max(limits.retry_min * 2).min(limits.retry_max);
        // Half of the pause is fixed, half is drawn, so that many proxies do not come back together.
        let shortest = limits.retry_min.max(longest / 2).min(longest);
        let pause = seed.between(shortest, longest);
        *self = Self::Failing { failures, since, failed_at: now, retry_at: now + pause };
    }
}
