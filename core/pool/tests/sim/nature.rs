//! How a simulated world behaves, and who lives in it.
//!
//! Invariant: a client does one thing at a time, and each of its requests has one answer.

use std::time::Duration;

use stent_pool::{Home, Refusal, ServerId};

/// How the world behaves. Durations are the longest; the shortest is half of it.
#[derive(Clone, Debug)]
pub(crate) struct Nature {
    pub(crate) login: Duration,
    pub(crate) probe: Duration,
    pub(crate) close: Duration,
    /// How long a client holds its server, by pool.
    pub(crate) hold: Vec<Duration>,
    /// How long a client does without.
    pub(crate) think: Duration,
    /// How long until a client gives up by itself, at one request in eight.
    pub(crate) patience: Option<Duration>,
    /// One release in this many is doubtful; 0: none.
    pub(crate) doubtful_one_in: u32,
    /// One login in this many fails although PostgreSQL is up; 0: none.
    pub(crate) login_fails_one_in: u32,
    /// When PostgreSQL refuses logins: from the first to the second.
    pub(crate) outages: Vec<(Duration, Duration)>,
    /// When clients stop asking.
    pub(crate) last_request: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Thinking,
    Waiting,
    Holding(ServerId),
}

/// A client and what came of its requests.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) pool: usize,
    pub(crate) home: Home,
    pub(crate) doing: Doing,
    pub(crate) asked_at: Duration,
    pub(crate) asked: u64,
    pub(crate) left: u64,
    pub(crate) waits: Vec<Duration>,
    pub(crate) refusals: Vec<Refusal>,
}

impl Client {
    pub(crate) const fn new(pool: usize, home: Home) -> Self {
        Self {
            pool,
            home,
            doing: Doing::Thinking,
            asked_at: Duration::ZERO,
            asked: 0,
            left: 0,
            waits: Vec::new(),
            refusals: Vec::new(),
        }
    }
}
