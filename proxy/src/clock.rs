//! The time of the present turn: within one poll of a session the clock is read once.
//!
//! Invariant: outside such a poll the clock itself is read, so no time is older than the poll in
//! which it is asked for, and polls are short.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::None) };
}

#[derive(Clone, Copy)]
enum Turn {
    /// No session is being polled.
    None,
    /// One is, and nobody has asked for the time yet.
    Unread,
    /// One is.
    Read(Instant),
}

/// The time, as of the present turn.
pub(crate) fn now() -> Instant {
    match TURN.get() {
        Turn::Read(now) => now,
        Turn::Unread => {
            let now = Instant::now();
            TURN.set(Turn::Read(now));
            now
        }
        Turn::None => Instant::now(),
    }
}

/// A length of time in milliseconds, as logs and snapshots have it.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A turn, until it is dropped.
pub(crate) struct InTurn(());

impl InTurn {
    /// Begins a turn. Not to be nested.
    pub(crate) fn begin() -> Self {
        debug_assert!(matches!(TURN.get(), Turn::None), "turns are not nested");
        TURN.set(Turn::Unread);
        Self(())
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        TURN.set(Turn::None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_within_a_turn_and_goes_on_behind_it() {
        let before = now();
        let turn = InTurn::begin();
        let within = now();
        while Instant::now() == within {}
        assert_eq!(now(), within, "one time a turn");
        drop(turn);
        assert!(before <= within && within < now(), "the clock itself is read again");
    }
}
