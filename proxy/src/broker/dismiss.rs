//! The closing phase of a drain: who leaves, and when.
//!
//! Owns: the turn of each client. Clients that are closed all at once come back all at once, to a proxy
//! or a PostgreSQL that has to log them all in, so they leave one after the other, the oldest first.
//! Refuses: ending a session (each looks whether its turn has come), and cutting anybody.
//! Invariant: a turn that has come stays come, and every turn comes within [`window`], which is over well
//! before the drain's own limit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use super::{Broker, Draining};
use crate::clients::ClientId;

/// How far apart clients leave, where there is time for it.
const APART: Duration = Duration::from_millis(10);
/// The longest time over which they are spread: whoever waits for the end of the proxy waits for it.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// Who leaves when.
pub(crate) struct Turns {
    /// The numbers of the clients, in order.
    serials: Vec<u64>,
    window: Duration,
}

impl Turns {
    /// The clients with these numbers leave within part of `limit`.
    fn new(mut serials: Vec<u64>, limit: Duration) -> Self {
        serials.sort_unstable();
        let window = window(serials.len(), limit);
        Self { serials, window }
    }

    /// Up to which number clients have had their turn so long after the beginning; everybody when the
    /// window is over, whoever has come meanwhile included.
    fn up_to(&self, elapsed: Duration) -> u64 {
        if elapsed >= self.window {
            return u64::MAX;
        }
        let gone = elapsed.as_nanos() * self.serials.len() as u128 / self.window.as_nanos();
        let next = usize::try_from(gone).ok().and_then(|gone| self.serials.get(gone));
        next.copied().unwrap_or(u64::MAX)
    }
}

/// Over how long so many clients are spread: half of the limit at the most, for those whose turn comes
/// in the middle of a transaction have to finish it.
fn window(clients: usize, limit: Duration) -> Duration {
    let clients = u32::try_from(clients).unwrap_or(u32::MAX);
    APART.saturating_mul(clients.saturating_sub(1)).min(limit / 2).min(WINDOW_MAX)
}

impl Broker {
    /// Stops taking new work; within part of `limit` all clients get their turn to leave.
    pub(crate) fn drain(&self, limit: Duration) -> Turns {
        let serials = self.inner().clients.iter().map(|client| client.id.serial()).collect();
        self.draining.store(2, Ordering::Release);
        Turns::new(serials, limit)
    }

    /// Lets those leave whose turn has come, so long after the beginning.
    pub(crate) fn dismiss(self: &Arc<Self>, turns: &Turns, elapsed: Duration) {
        let up_to = turns.up_to(elapsed);
        let before = self.dismissed.swap(up_to, Ordering::AcqRel);
        if before == up_to {
            return;
        }
        let wakers: Vec<Waker> = {
            let inner = self.inner();
            let turn = inner.clients.iter().filter(|client| client.id.serial() > before);
            let turn = turn.filter(|client| client.id.serial() <= up_to);
            turn.filter_map(|client| client.waker.clone()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether a client is to leave as soon as it is at rest.
    pub(crate) fn is_dismissed(&self, client: ClientId) -> bool {
        self.draining() == Draining::Closing
            && client.serial() <= self.dismissed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn clients_leave_one_after_the_other_the_oldest_first() {
        let turns = Turns::new(vec![7, 3, 9, 20, 11], 60 * S);
        assert_eq!(turns.window, 40 * MS);
        let gone = |elapsed: u32| {
            let up_to = turns.up_to(MS * elapsed);
            turns.serials.iter().filter(|&&serial| serial <= up_to).count()
        };
        assert_eq!([0, 7, 8, 16, 24, 32, 39, 40].map(gone), [1, 1, 2, 3, 4, 5, 5, 5]);
    }

    #[test]
    fn at_the_end_of_the_window_everybody_leaves_late_comers_too() {
        let turns = Turns::new(vec![1, 2], S);
        assert_eq!(turns.up_to(turns.window), u64::MAX);
        assert_eq!(Turns::new(Vec::new(), S).up_to(Duration::ZERO), u64::MAX, "nobody is there");
        assert_eq!(Turns::new(vec![4], S).up_to(Duration::ZERO), u64::MAX, "one waits for none");
    }

    #[test]
    fn however_many_they_are_their_turns_are_over_at_half_of_the_limit() {
        for (clients, limit) in [(100_000, S), (50, S / 10), (3, MS), (7, Duration::ZERO)] {
            assert!(window(clients, limit) <= limit / 2, "{clients} in {limit:?}");
        }
        assert_eq!(window(100_000, 3_600 * S), WINDOW_MAX);
    }
}
