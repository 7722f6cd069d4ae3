//! What the shell tells the pools, and what the pools tell the shell to do.
//!
//! Invariant: these are plain values without sockets or text, so that a run can be recorded,
//! replayed and compared.

use std::time::Duration;

use crate::class::Class;
use crate::id::{Home, PoolId, ServerId, WaiterId};

/// Something that happened. An event that names a server which is gone, or is in a state that the
/// event does not fit, changes nothing (see [`crate::Pools::misfits`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client needs a server. Answered by one `Grant` or one `Refuse`, now or later, unless the
    /// client withdraws.
    Acquire {
        /// From which pool.
        pool: PoolId,
        /// For whom.
        waiter: WaiterId,
        /// Where it is.
        home: Home,
        /// With whom it takes turns where it has to wait.
        class: Class,
    },
    /// A client left while it was waiting, probed for or not. Without effect where the client
    /// does not wait: a server granted to it must be released in any case.
    Withdraw {
        /// Who left.
        waiter: WaiterId,
    },
    /// The login succeeded: the server said ReadyForQuery.
    Opened {
        /// The server of the `Open`.
        server: ServerId,
        /// Where its socket is. With a grant it becomes the client's.
        home: Home,
    },
    /// The attempt ended without a usable connection, and its socket is closed: the id is gone.
    OpenFailed {
        /// The server of the `Open`.
        server: ServerId,
        /// Whether another attempt could end otherwise.
        failure: OpenFailure,
    },
    /// The probe of a server ended.
    Probed {
        /// The server of the `Probe`.
        server: ServerId,
        /// How.
        healthy: ProbeResult,
    },
    /// A client gives its server back.
    Release {
        /// The server of the `Grant`.
        server: ServerId,
        /// In which condition.
        condition: Condition,
    },
    /// The socket of an idle server ended or said something unasked for. Without effect on a
    /// server that is tested or lent: its probe or its client will notice.
    Lost {
        /// Which.
        server: ServerId,
    },
    /// The socket of a server that was to be closed is closed: its place is free.
    Closed {
        /// The server of the `Close`.
        server: ServerId,
    },
    /// Every present server of a pool leads to the wrong place (failover, reload): idle ones are
    /// closed now, the others at the end of what they are doing.
    RetireAll {
        /// Which pool.
        pool: PoolId,
    },
    /// The database behind a pool is about to be away (maintenance): from now on nobody is lent a
    /// server and none is opened; idle ones are closed now, the others at the end of what they are
    /// doing. Whoever waits keeps its place, and its time stands still. Without effect on a pool
    /// that is paused.
    Pause {
        /// Which pool.
        pool: PoolId,
    },
    /// It is back. Each waiter's time begins anew, past failures are forgotten. Without effect on a
    /// pool that is not paused.
    Resume {
        /// Which pool.
        pool: PoolId,
    },
    /// [`crate::Pools::next_deadline`] has come.
    Tick,
}

/// Why a server could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// PostgreSQL answered, and will answer the same: 28P01, 28000, 3D000 and the like.
    Permanent,
    /// 53300 and the like: a later attempt may succeed.
    Transient,
    /// 53300 although the proxy has a place of the fleet's budget: others have taken it for a
    /// moment. Clients wait on.
    Crowded,
    /// Nothing answered, or PostgreSQL takes nobody (57P03): it would have failed in any pool. A
    /// later attempt may succeed, and what it finds is true for all pools.
    Unreachable,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The server answered as it should.
    Healthy,
    /// It did not, or not in time.
    Failed,
}

/// The condition in which a client gives its server back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Ready for the next client: idle, no transaction, nothing owed.
    Clean,
    /// The same, but its memory has grown too large: it is replaced as if its `server_lifetime`
    /// were over.
    Worn,
    /// Open transaction, COPY, outstanding replies, protocol error: never lent again.
    Doubtful,
    /// The socket is gone.
    Broken,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Connect and log in.
    Open {
        /// With the database and user of this pool.
        pool: PoolId,
        /// The name of the new server.
        server: ServerId,
    },
    /// Ask an idle server for a sign of life.
    Probe {
        /// Which.
        server: ServerId,
        /// The first in the queue without a probe of its own: for information, not a promise.
        waiter: WaiterId,
    },
    /// A client has its server until it releases it.
    Grant {
        /// Who.
        waiter: WaiterId,
        /// Which.
        server: ServerId,
        /// How long the client has waited.
        waited: Duration,
    },
    /// End a server: Terminate, close, then report [`Event::Closed`].
    Close {
        /// Which; nothing else will be decided about it.
        server: ServerId,
        /// Why.
        cause: CloseCause,
    },
    /// A client will not get a server; it no longer waits.
    Refuse {
        /// Who.
        waiter: WaiterId,
        /// Why.
        refusal: Refusal,
        /// How long the client has waited.
        waited: Duration,
    },
}

/// Why a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseCause {
    /// Older than its `server_lifetime`, or lent `server_max_uses` times.
    Lifetime,
    /// Given back [`Condition::Worn`], then or later.
    Worn,
    /// Idle for `server_idle_timeout`.
    IdleTimeout,
    /// Given back in a state that must not reach another client.
    Doubtful,
    /// Given back with its socket gone.
    Broken,
    /// Its probe failed.
    ProbeFailed,
    /// Its socket ended while it was idle.
    Lost,
    /// It was present at a [`Event::RetireAll`] or [`Event::Pause`].
    Retired,
    /// It is one more than `pool_size`, and nobody waits any more.
    Reserve,
    /// It is one more than [`crate::Pools::set_limits`] has left room for.
    Shrunk,
    /// Its place, under `max_db_connections`, is needed by another pool.
    MakeRoom,
}

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// `query_wait_timeout` has passed.
    WaitTimeout,
    /// No server can be opened and the pool has none.
    OpenFailed,
    /// The pool has [`crate::Limits::waiters_max`] waiters already.
    QueueFull,
    /// At the pace of the pool it would wait longer than `query_wait_timeout`.
    Overloaded {
        /// How long, at the very least.
        forecast: Duration,
    },
}
