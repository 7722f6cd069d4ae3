//! What will happen, by time; what happens at the same time happens in the order of its planning.
//!
//! Invariant: time does not run backwards.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use stent_pool::ServerId;

/// Something in the world outside the pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// A client wants a server.
    Wants(usize),
    /// A client has finished with its server.
    Done(usize),
    /// A client loses patience; the number says with which of its requests.
    Leaves(usize, u64),
    /// A login ends.
    Login(ServerId),
    /// A probe ends.
    Probe(ServerId),
    /// The end of an idle server is noticed.
    Noticed(ServerId),
    /// A socket is closed.
    Closed(ServerId),
    /// Every server process dies.
    Crash,
    /// All servers of a pool are declared stale.
    Retire(usize),
    /// Maintenance of a pool's database begins and ends.
    Pause(usize),
    Resume(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    planned: BinaryHeap<Reverse<(Duration, u64, Happening)>>,
    count: u64,
}

impl Queue {
    pub(crate) fn plan(&mut self, at: Duration, happening: Happening) {
        self.count += 1;
        self.planned.push(Reverse((at, self.count, happening)));
    }

    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.planned.peek().map(|Reverse((at, _, _))| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Duration, Happening)> {
        self.planned.pop().map(|Reverse((at, _, happening))| (at, happening))
    }
}
