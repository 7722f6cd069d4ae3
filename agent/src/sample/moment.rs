//! When a round is, by two clocks.
//!
//! Owns: the way from one clock to the other, and noticing that the wall clock was set.
//! Refuses: reading clocks. Invariant: the steady moment never goes back, whatever is done to the
//! wall clock.

use std::time::Instant;

use super::millis;
use super::skipped::{Reason, Skips, Source};
use crate::judge::Moment;

/// The wall clock was set where it left the steady one by more than this between two rounds: small steps are
/// time servers at work.
const SET_MIN_MS: i128 = 60_000;

/// Both clocks at the agent's start.
#[derive(Debug)]
pub(super) struct Clocks {
    started: Instant,
    started_unix_ms: u64,
    /// How far the wall clock was ahead of the steady one in the last round.
    ahead_ms: i128,
}

impl Clocks {
    pub(super) fn new(started: Instant, started_unix_ms: u64) -> Self {
        Self { started, started_unix_ms, ahead_ms: 0 }
    }

    /// The moment of a round. A clock that was set is counted; nothing is left out for it.
    pub(super) fn read(&mut self, now: Instant, unix_ms: u64, skips: &mut Skips) -> Moment {
        let steady_ms = self.started_unix_ms.saturating_add(self.uptime_ms(now));
        let ahead_ms = i128::from(unix_ms) - i128::from(steady_ms);
        let set_ms = ahead_ms - std::mem::replace(&mut self.ahead_ms, ahead_ms);
        if set_ms.abs() > SET_MIN_MS {
            let reason = if set_ms < 0 { Reason::WentBack } else { Reason::JumpedAhead };
            skips.count(Source::Clock, reason, &format_args!("by {} s", set_ms / 1_000));
        }
        Moment { unix_ms, steady_ms }
    }

    pub(super) fn uptime_ms(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.started))
    }
}
