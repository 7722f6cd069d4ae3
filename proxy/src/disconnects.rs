//! The ends of connections: why, whose, and the newest ones in full.
//!
//! Owns: the closed list of causes. Invariant: each end of a connection is counted once, and the
//! ring holds at most as many as a snapshot shows.

use std::collections::{BTreeMap, VecDeque};

use stent_contract::snapshot::{DISCONNECTS_MAX, Disconnect};
use stent_pool::CloseCause;

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

/// Counts and remembers.
#[derive(Debug, Default)]
pub(crate) struct Disconnects {
    counts: BTreeMap<(Side, Cause), u64>,
    newest: VecDeque<Disconnect>,
}

impl Disconnects {
    /// Counts an end and keeps it among the newest.
    pub(crate) fn add(&mut self, side: Side, cause: Cause, entry: Disconnect) {
        *self.counts.entry((side, cause)).or_insert(0) += 1;
        if self.newest.len() == DISCONNECTS_MAX {
            self.newest.pop_back();
        }
        self.newest.push_front(entry);
        assert!(self.newest.len() <= DISCONNECTS_MAX);
    }

    /// Counts by side and cause.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Side, Cause, u64)> + '_ {
        self.counts.iter().map(|(&(side, cause), &count)| (side, cause, count))
    }

    /// The newest, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Disconnect> {
        self.newest.iter()
    }
}
