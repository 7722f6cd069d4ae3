//! Homes: which thread of the shell a client and a server's socket are with.
//!
//! A server costs least where its socket is watched already, so among those that may be lent, and
//! among the clients whose turn it nearly is, one of the same home is preferred. It is a preference
//! and no partition: caps and queues are of the whole, and a server serves every home.
//! Invariant: nobody is overtaken by a client of its class that came more than [`HOME_MARGIN`] later, nobody
//! waits beside an idle server of another home, and a choice looks at one waiter of its home, or at
//! [`HOME_LOOK_MAX`] idle servers.

use std::time::{Duration, Instant};

use crate::class::Class;
use crate::id::{Home, PoolId, WaiterId};
use crate::pools::Pools;
use crate::waiters::Waiter;

/// How much later a waiter may have come than the first of its pool and be served before it,
/// because the server that is free is of its home.
///
/// Moving a socket costs some microseconds of work, when servers are short of it; a fairness that users
/// see is one of many milliseconds.
pub const HOME_MARGIN: Duration = Duration::from_millis(5);

/// At how many idle servers a choice looks: with two homes the chance that none of so many is of the
/// one is one in 256.
pub const HOME_LOOK_MAX: usize = 8;

impl Pools {
    /// The idle server that a client gets, if it needs no probe: the last that came to rest of its
    /// own home, else the last of all.
    pub(crate) fn choose_idle(&self, pool: PoolId, home: Home, now: Instant) -> Option<u32> {
        let newest = self.slots.idle_newest(pool)?;
        let mut near = self.slots.idle_from_newest(pool).take(HOME_LOOK_MAX);
        let near = near.find(|&at| self.slots.get(at).home == home);
        Some(near.filter(|&at| self.is_fresh(at, now)).unwrap_or(newest))
    }

    /// Takes the waiter whose turn it is out of its queue, for a server of that home.
    pub(crate) fn next_waiter(&mut self, pool: PoolId, home: Home) -> Option<Waiter> {
        let (id, class) = self.whose_turn(pool, home)?;
        self.serve(id, class)
    }

    fn serve(&mut self, id: WaiterId, class: Class) -> Option<Waiter> {
        let waiter = self.waiters.serve(id, self.limits.weight(class))?;
        self.slots.change_user(waiter.pool, |user| user.waiting -= 1);
        Some(waiter)
    }

    fn whose_turn(&self, pool: PoolId, home: Home) -> Option<(WaiterId, Class)> {
        let first = self.waiters.first_in_turn(pool)?;
        let in_turn =
            |near: &&Waiter| near.asked.saturating_duration_since(first.asked) <= HOME_MARGIN;
        let near = self.waiters.first_at_home(pool, first.class, home).filter(in_turn);
        let chosen = near.unwrap_or(first);
        assert_eq!(chosen.pool, pool, "a queue is of one pool");
        Some((chosen.id, chosen.class))
    }

    /// Takes the first of those whose turn it is out of its queue.
    pub(crate) fn first_in_turn(&mut self, pool: PoolId) -> Option<Waiter> {
        let first = self.waiters.first_in_turn(pool)?;
        let (id, class) = (first.id, first.class);
        self.serve(id, class)
    }

    /// The home of the waiter whose turn it is.
    pub(crate) fn home_in_turn(&self, pool: PoolId) -> Option<Home> {
        self.waiters.first_in_turn(pool).map(|waiter| waiter.home)
    }
}
