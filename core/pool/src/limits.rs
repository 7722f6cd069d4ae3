//! The settings of the pools and the named limits of the crate.
//!
//! Invariant: nothing in this crate grows beyond a number of this file. Values out of range are
//! brought into range here (see each field), so that no setting can make a decision impossible.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use crate::class::{CLASSES_MAX, Class};
use crate::sizes::SizeRule;

/// The most pools (pairs of database and user). A pool is never removed: it costs some 300 bytes.
pub const POOLS_MAX: usize = 4_096;

/// The usual [`Limits::retry_min`].
pub const RETRY_MIN: Duration = Duration::from_millis(50);

/// The usual [`Limits::retry_max`].
pub const RETRY_MAX: Duration = Duration::from_secs(1);

/// The usual [`Limits::opening_max`].
pub const OPENING_MAX: u32 = 8;

/// The most logins in progress over all pools: what a PostgreSQL that has just come back can stand.
pub const OPENING_ALL_MAX: u32 = 32;

/// How precise `server_lifetime` and `server_idle_timeout` are: idle servers are looked over at
/// most this often.
pub const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// How much longer than a pool's own first waiter a waiter of another pool of the same database
/// must have waited before a server changes pools for it, while `max_db_connections` is reached.
///
/// A change costs a login. Strictly the oldest first would log in anew at each transaction as soon
/// as two pools compete; with a margin, servers move until the pools wait equally long, and no
/// waiter is ever more than the margin behind its turn.
pub const SWITCH_MARGIN: Duration = Duration::from_millis(50);

/// What bounds the pools. The names are PgBouncer's wherever the thing is PgBouncer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most servers of one pool, in whatever state.
    pub pool_size: NonZeroU32,
    /// How many servers beyond `pool_size` a pool may have for those who have waited for
    /// `reserve_pool_timeout`.
    pub reserve_pool_size: u32,
    /// How long a waiter waits before a server of the reserve is opened for it; `None`: none is.
    pub reserve_pool_timeout: Option<Duration>,
    /// How many servers a pool that has been used keeps open. Above `pool_size` it is `pool_size`.
    pub min_pool_size: u32,
    /// The pools that have sizes of their own, in the order in which they are tried.
    pub size_rules: Vec<SizeRule>,
    /// The most servers of one database over all users, in whatever state.
    pub max_db_connections: Option<NonZeroU32>,
    /// The most servers of one user over all databases, in whatever state.
    pub max_user_connections: Option<NonZeroU32>,
    /// The most servers of all databases together, in whatever state.
    pub max_server_connections: Option<NonZeroU32>,
    /// How long a waiter waits before it is refused; `None`: for ever.
    pub query_wait_timeout: Option<Duration>,
    /// The age at which a server is replaced. Each server draws its own from the last tenth of
    /// it, so that servers opened together do not end together.
    pub server_lifetime: Option<Duration>,
    /// How many times a server is lent before it is replaced.
    pub server_max_uses: Option<NonZeroU32>,
    /// How long a server above `min_pool_size` may be idle before it is closed.
    pub server_idle_timeout: Option<Duration>,
    /// A server idle for longer than this is probed before it is lent.
    pub server_check_delay: Duration,
    /// The shortest pause after a failed login.
    pub retry_min: Duration,
    /// The longest pause after failed logins. Below `retry_min` it is `retry_min`. A pause is
    /// never longer than a quarter of the time for which logins have failed, or twice
    /// `retry_min`.
    pub retry_max: Duration,
    /// The most waiters of one pool; the next is refused at once.
    pub waiters_max: u32,
    /// How often each [`Class`] is served, in proportion to the others, while several wait for a pool;
    /// the first is the usual one's. Fewer than two: there are no classes. At most
    /// [`CLASSES_MAX`]; more are ignored.
    pub class_weights: Vec<NonZeroU16>,
    /// The most logins in progress in one pool. 0 means 1.
    pub opening_max: u32,
}

impl Limits {
    /// The same limits with each value in its range.
    pub(crate) fn in_range(mut self) -> Self {
        self.min_pool_size = self.min_pool_size.min(self.pool_size.get());
        if self.reserve_pool_timeout.is_none() {
            self.reserve_pool_size = 0;
        }
        self.class_weights.truncate(CLASSES_MAX);
        self.retry_max = self.retry_max.max(self.retry_min);
        self.opening_max = self.opening_max.max(1);
        self
    }

    /// The class of a client, if there is such a class; else the usual one.
    pub(crate) fn class_in_force(&self, class: Class) -> Class {
        if usize::from(class.0) < self.class_weights.len() { class } else { Class::USUAL }
    }

    /// The weight of a class; 1 for one that is no more.
    pub(crate) fn weight(&self, class: Class) -> u32 {
        self.class_weights.get(usize::from(class.0)).map_or(1, |weight| weight.get().into())
    }
}
