//! The ends of connections: why, whose, and the newest ones in full.
//!
//! Owns: the closed list of causes. Invariant: each end of a connection is counted once, and the
//! ring holds at most as many as a snapshot shows.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stent_contract::snapshot::{DISCONNECTS_MAX, Disconnect};
use stent_pool::CloseCause;

use crate::clock::ms;
use crate::stream::Peer;

/// Which side's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// A client's.
    Client,
    /// A server's.
    Server,
}

impl Side {
    /// The value of the label `side`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Why a connection ended. One list for both sides; the comments say which sides use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// Client: it said Terminate.
    Terminated,
    /// Client: its socket ended without Terminate. Server: likewise while it was idle.
    Gone,
    /// Client: it spoke something that is not the protocol, or broke it.
    ProtocolError,
    /// Client: its login failed.
    LoginFailed,
    /// Client: its login took longer than `client_login_timeout`.
    LoginTimeout,
    /// Client: `max_client_conn` was reached.
    TooManyClients,
    /// Client: its address had too many logins that had not ended.
    TooManyLogins,
    /// Client: more notifications waited for it than are kept.
    TooSlow,
    /// Client: it held a server for longer than it may.
    HoldLimit,
    /// Client: its server ended under it. Server: it ended while it was lent.
    ServerLost,
    /// Both: our task of it has panicked.
    Panicked,
    /// Both: the proxy shuts down.
    Shutdown,
    /// Server: older than `server_lifetime`.
    Lifetime,
    /// Server: its memory was above `server_max_memory`.
    Memory,
    /// Server: idle for `server_idle_timeout`.
    IdleTimeout,
    /// Server: given back in a state that must not reach another client.
    Doubtful,
    /// Server: its probe failed.
    ProbeFailed,
    /// Server: retired by PAUSE, RECONNECT, a reload or a failover.
    Retired,
    /// Server: beyond the size of its pool, where nobody waits any more.
    Reserve,
    /// Server: one more than the limits allow since they were changed.
    Shrunk,
    /// Server: its place was needed by another pool.
    MakeRoom,
    /// Server: a client of session mode needed one that was started with its own parameters.
    Restarted,
}

impl Cause {
    /// The value of the label `cause`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Gone => "gone",
            Self::ProtocolError => "protocol_error",
            Self::LoginFailed => "login_failed",
            Self::LoginTimeout => "login_timeout",
            Self::TooManyClients => "too_many_clients",
            Self::TooManyLogins => "too_many_logins",
            Self::TooSlow => "too_slow",
            Self::HoldLimit => "hold_limit",
            Self::ServerLost => "server_lost",
            Self::Panicked => "panicked",
            Self::Shutdown => "shutdown",
            Self::Lifetime => "lifetime",
            Self::Memory => "memory",
            Self::IdleTimeout => "idle_timeout",
            Self::Doubtful => "doubtful",
            Self::ProbeFailed => "probe_failed",
            Self::Retired => "retired",
            Self::Reserve => "reserve",
            Self::Shrunk => "shrunk",
            Self::MakeRoom => "make_room",
            Self::Restarted => "restarted",
        }
    }

    /// The cause behind a decision of the pool.
    pub(crate) const fn of_close(cause: CloseCause) -> Self {
        match cause {
            CloseCause::Lifetime => Self::Lifetime,
            CloseCause::Worn => Self::Memory,
            CloseCause::IdleTimeout => Self::IdleTimeout,
            CloseCause::Doubtful => Self::Doubtful,
            CloseCause::Broken => Self::ServerLost,
            CloseCause::ProbeFailed => Self::ProbeFailed,
            CloseCause::Lost => Self::Gone,
            CloseCause::Retired => Self::Retired,
            CloseCause::Reserve => Self::Reserve,
            CloseCause::Shrunk => Self::Shrunk,
            CloseCause::MakeRoom => Self::MakeRoom,
        }
    }
}

/// Who was at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// A client.
    Client(Peer),
    /// A server, with its process.
    Server {
        /// Its process id.
        backend_pid: u32,
    },
}

impl Who {
    /// Whose connection it was.
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Client(_) => Side::Client,
            Self::Server { .. } => Side::Server,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(peer) => peer.fmt(f),
            Self::Server { backend_pid } => backend_pid.fmt(f),
        }
    }
}

/// The end of a connection. It is put into words only for those who ask: connections come and go by
/// the thousand.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) who: Who,
    pub(crate) cause: Cause,
    /// The pool's; empty before login.
    pub(crate) database: Arc<str>,
    /// The pool's; empty before login.
    pub(crate) user: Arc<str>,
    /// How long it had lived.
    pub(crate) age: Duration,
    pub(crate) at_unix_ms: u64,
    pub(crate) detail: Box<str>,
}

impl Ended {
    /// For a snapshot.
    fn in_words(&self) -> Disconnect {
        Disconnect {
            at_unix_ms: self.at_unix_ms,
            side: self.who.side().as_str().to_owned(),
            cause: self.cause.as_str().to_owned(),
            database: self.database.to_string(),
            user: self.user.to_string(),
            who: self.who.to_string(),
            age_ms: ms(self.age),
            detail: self.detail.to_string(),
        }
    }
}

/// Counts and remembers.
#[derive(Debug, Default)]
pub(crate) struct Disconnects {
    counts: BTreeMap<(Side, Cause), u64>,
    newest: VecDeque<Ended>,
}

impl Disconnects {
    /// Counts an end and keeps it among the newest.
    pub(crate) fn add(&mut self, ended: Ended) {
        *self.counts.entry((ended.who.side(), ended.cause)).or_insert(0) += 1;
        if self.newest.len() == DISCONNECTS_MAX {
            self.newest.pop_back();
        }
        self.newest.push_front(ended);
        assert!(self.newest.len() <= DISCONNECTS_MAX);
    }

    /// Counts by side and cause.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Side, Cause, u64)> + '_ {
        self.counts.iter().map(|(&(side, cause), &count)| (side, cause, count))
    }

    /// The newest, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = Disconnect> {
        self.newest.iter().map(Ended::in_words)
    }

    /// How many of them are kept, and their memory in bytes, names aside: those are the pools'.
    pub(crate) fn kept(&self, given: impl Fn(usize) -> usize) -> (usize, usize) {
        let room = given(self.newest.capacity() * size_of::<Ended>());
        let details = self.newest.iter().map(|ended| given(ended.detail.len()));
        (self.newest.len(), room + details.sum::<usize>())
    }
}
