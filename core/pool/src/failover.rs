//! Whether the database has moved: what servers say of their role, and what follows.
//!
//! Owns: whether there was a server that takes writes, and since when there is none. Refuses: asking
//! servers, resolving names, and deciding whose fault an error is: it is told only what a server has
//! said of itself.
//! Invariant: only a server that does not take writes *where there was one that did* moves anything;
//! a database that is read-only from the start is used as it is, and a standby that stays is used
//! after [`PATIENCE`].
//!
//! ```text
//!              a read-only server is found            a server that takes writes
//!   Settled ─────────────────────────────────▶ Moving ─────────────────────────▶ Settled
//!                (all servers are replaced)       │ PATIENCE is over: read-only servers are lent;
//!                                                 └ found again later, all are replaced once more
//! ```
//! Source: PostgreSQL, `in_hot_standby` and `default_transaction_read_only` are reported to clients
//! since version 14; error 25006 is `read_only_sql_transaction`.

use std::time::{Duration, Instant};

/// How long read-only servers are not lent after a failover has begun.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// All servers are replaced at most this often.
pub const PACE: Duration = Duration::from_secs(1);

/// What a server has said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRole {
    /// It takes writes.
    ReadWrite,
    /// It does not: a standby, or a database set to `default_transaction_read_only`.
    ReadOnly,
    /// It has not said: PostgreSQL below 14.
    Unknown,
}

/// What becomes of a server that has just logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It is lent.
    Fit,
    /// It leads to the old place: another attempt may end better.
    Misplaced,
}

/// What follows from finding a read-only server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it is as it has always been, or all are being replaced already.
    Nothing,
    /// All servers are to be replaced.
    Moved,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    state: State,
    /// When all servers were last replaced.
    replaced: Option<Instant>,
    /// How often a failover began.
    count: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// No server has ever taken writes.
    #[default]
    Unseen,
    /// One has, and none was found since that does not.
    Settled,
    /// One was.
    Moving { since: Instant },
}

impl Failover {
    /// A server has logged in and said this of itself.
    pub fn opened(&mut self, role: ServerRole, now: Instant) -> Fitness {
        match (role, self.state) {
            (ServerRole::ReadWrite, _) => {
                self.state = State::Settled;
                Fitness::Fit
            }
            (ServerRole::ReadOnly, State::Moving { since }) => {
                if now.saturating_duration_since(since) < PATIENCE {
                    Fitness::Misplaced
                } else {
                    Fitness::Fit
                }
            }
            (ServerRole::ReadOnly, State::Unseen | State::Settled) | (ServerRole::Unknown, _) => {
                Fitness::Fit
            }
        }
    }

    /// A server that is there has said that it does not take writes (now).
    pub fn found_read_only(&mut self, began_as: ServerRole, now: Instant) -> Found {
        // A server that took writes when it logged in is one that was seen.
        match (self.state, began_as) {
            (State::Unseen, ServerRole::ReadOnly) => return Found::Nothing,
            (State::Moving { since }, _) if now.saturating_duration_since(since) < PATIENCE => {}
            (State::Unseen, ServerRole::ReadWrite | ServerRole::Unknown)
            | (State::Settled | State::Moving { .. }, _) => {
                self.state = State::Moving { since: now };
                self.count += 1;
            }
        }
        let due = |at: Instant| now.saturating_duration_since(at) >= PACE;
        if !self.replaced.is_none_or(due) {
            return Found::Nothing;
        }
        assert!(matches!(self.state, State::Moving { .. }), "replacing is for a move");
        self.replaced = Some(now);
        Found::Moved
    }

    /// How often the database has moved.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether it is moving now.
    pub fn is_moving(&self, now: Instant) -> bool {
        match self.state {
            State::Moving { since } => now.saturating_duration_since(since) < PATIENCE,
            State::Unseen | State::Settled => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServerRole::{ReadOnly, ReadWrite, Unknown};

    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::disallowed_methods, reason = "times need a beginning")]
    fn begin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_database_that_is_read_only_from_the_start_is_used_as_it_is() {
        let (mut failover, now) = (Failover::default(), begin());
        assert_eq!(failover.opened(ReadOnly, now), Fitness::Fit);
        assert_eq!(failover.found_read_only(ReadOnly, now), Found::Nothing);
        assert_eq!((failover.count(), failover.is_moving(now)), (0, false));
    }

    #[test]
    fn when_the_writer_turns_read_only_all_are_replaced_until_there_is_a_writer() {
        let (mut failover, now) = (Failover::default(), begin());
        assert_eq!(failover.opened(ReadWrite, now), Fitness::Fit);
        assert_eq!(failover.found_read_only(ReadWrite, now + MS), Found::Moved);
        for later in [2, 100, 29_000] {
            assert_eq!(failover.opened(ReadOnly, now + MS * later), Fitness::Misplaced, "{later}");
        }
        assert_eq!(failover.opened(ReadWrite, now + MS * 29_100), Fitness::Fit);
        assert!(!failover.is_moving(now + MS * 29_200));
        assert_eq!(failover.opened(ReadOnly, now + MS * 29_300), Fitness::Fit, "it has settled");
        assert_eq!(failover.count(), 1);
    }

    #[test]
    fn many_that_find_it_at_once_replace_once() {
        let (mut failover, now) = (Failover::default(), begin());
        failover.opened(ReadWrite, now);
        let found = (0..200).map(|n| failover.found_read_only(ReadWrite, now + MS * n * 5));
        assert_eq!(found.filter(|found| *found == Found::Moved).count(), 1);
        assert_eq!(failover.found_read_only(ReadWrite, now + MS * 1_000), Found::Moved);
        assert_eq!(failover.count(), 1, "it is one failover");
    }

    #[test]
    fn a_standby_that_a_stale_name_led_to_is_replaced_when_somebody_writes() {
        let (mut failover, now) = (Failover::default(), begin());
        failover.opened(ReadWrite, now);
        assert_eq!(failover.opened(ReadOnly, now + MS), Fitness::Fit, "nobody has complained");
        assert_eq!(failover.found_read_only(ReadOnly, now + MS * 2), Found::Moved);
        assert_eq!(failover.opened(ReadOnly, now + MS * 3), Fitness::Misplaced);
    }

    #[test]
    fn a_standby_that_stays_is_used_in_the_end_and_replaced_when_it_is_found_again() {
        let (mut failover, now) = (Failover::default(), begin());
        failover.opened(ReadWrite, now);
        failover.found_read_only(ReadWrite, now);
        assert_eq!(failover.opened(ReadOnly, now + PATIENCE), Fitness::Fit);
        assert_eq!(failover.found_read_only(ReadOnly, now + PATIENCE + MS), Found::Moved);
        assert_eq!(failover.opened(ReadOnly, now + PATIENCE + MS * 2), Fitness::Misplaced);
        assert_eq!(failover.count(), 2);
    }

    #[test]
    fn what_says_nothing_of_itself_is_lent_and_found_out_by_asking() {
        let (mut failover, now) = (Failover::default(), begin());
        assert_eq!(failover.opened(Unknown, now), Fitness::Fit);
        assert_eq!(failover.found_read_only(Unknown, now), Found::Moved);
        assert_eq!(failover.opened(Unknown, now + MS), Fitness::Fit);
    }
}
