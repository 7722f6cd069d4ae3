//! What a moment looks like: the JSON of `/snapshot`, which the agent, `stent top` and people read.
//!
//! Invariant: a snapshot holds no secret and no parameter value; statements are fingerprints
//! (literals replaced). Durations are milliseconds, moments are milliseconds since the Unix epoch.
//! A change of meaning or the removal of a field raises [`SNAPSHOT_VERSION`].

use serde::{Deserialize, Serialize};

use crate::attribution::Attribution;
use crate::diagnosis::{Diagnosis, Explanation, Verdict};
use crate::reading::{EcsTask, PostgresReading, ProcessReading};

/// The version of the shapes in this file.
pub const SNAPSHOT_VERSION: u32 = 1;

/// The answer of `/snapshot`, whichever component gives it; what does not run is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The proxy's side.
    pub proxy: Option<ProxySnapshot>,
    /// The agent's side.
    pub agent: Option<AgentSnapshot>,
}

/// The proxy at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxySnapshot {
    /// [`SNAPSHOT_VERSION`].
    pub version: u32,
    /// When it was taken, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// How long the proxy has been running.
    pub uptime_ms: u64,
    /// The proxy's process id.
    pub pid: u32,
    /// Where clients connect (`address:port`, and the socket's path if there is one).
    pub listen: Vec<String>,
    /// Where the database is (`host:port` or a socket's folder), without credentials.
    pub upstream: String,
    /// Client connections by state.
    pub clients: ClientCounts,
    /// One entry a pool.
    pub pools: Vec<PoolSnapshot>,
    /// Every checkout, longest held first, at most [`HOLDERS_MAX`].
    pub holders: Vec<Holder>,
    /// The newest ends of connections, newest first, at most [`DISCONNECTS_MAX`].
    pub disconnects: Vec<Disconnect>,
    /// The proxy's own heap.
    pub heap: Option<HeapSnapshot>,
    /// The fleet budget; absent without `fleet_budget`.
    #[serde(default)]
    pub fleet: Option<FleetSnapshot>,
}

/// This proxy's part of PostgreSQL's connections. Counts of servers and connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetSnapshot {
    /// How many servers it may have now.
    pub share: u32,
    /// How many the rule gives to it, once others have given theirs back.
    pub target: u32,
    /// How many it has, in whatever state.
    pub servers: u32,
    /// How many it could do with: those in use, and one for each waiting client.
    pub demand: u32,
    /// How many all proxies together may have, by the last reading.
    pub limit: u32,
    /// Proxies, this one included.
    pub peers: u32,
    /// Connections of others.
    pub others: u32,
    /// Why there is no control connection at present.
    pub error: Option<String>,
}

/// The most holders a snapshot carries.
pub const HOLDERS_MAX: usize = 1_000;
/// The most disconnects a snapshot carries.
pub const DISCONNECTS_MAX: usize = 100;

/// Client connections by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCounts {
    /// Between connecting and the end of the login.
    pub login: u32,
    /// Logged in, holding no server.
    pub idle: u32,
    /// Holding a server.
    pub active: u32,
    /// Queued for a server.
    pub waiting: u32,
    /// `max_client_conn`.
    pub max: u32,
}

/// One pool: the servers of one database and user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolSnapshot {
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// `session` or `transaction`.
    pub pool_mode: String,
    /// The most servers that this pool may hold.
    pub size_max: u32,
    /// Servers held by a client that runs a statement.
    pub servers_active: u32,
    /// Servers held by a client that is silent in an open transaction.
    pub servers_idle_in_transaction: u32,
    /// Servers that can be lent at once.
    pub servers_idle: u32,
    /// Servers being health-checked.
    pub servers_tested: u32,
    /// Servers being opened.
    pub servers_opening: u32,
    /// Clients queued.
    pub clients_waiting: u32,
    /// How long the first of them has been waiting.
    pub maxwait_ms: u64,
    /// The oldest silence in an open transaction.
    pub idle_in_transaction_max_ms: u64,
    /// Counters since the start.
    pub totals: PoolTotals,
    /// The newest failure to open a server, until one succeeds.
    pub connect_error: Option<String>,
    /// Servers that stay with their client because its session holds state.
    #[serde(default)]
    pub servers_pinned: u32,
    /// Clients for whom the listening connection listens.
    #[serde(default)]
    pub clients_listening: u32,
    /// Listening connections, in whatever state: one at most, beside `size_max`.
    #[serde(default)]
    pub servers_listening: u32,
    /// Whether it is paused: its clients wait until RESUME.
    #[serde(default)]
    pub paused: bool,
    /// For what servers had to stay with their clients, and how often.
    #[serde(default)]
    pub pins: Vec<PinSnapshot>,
}

/// A kind of session state for which servers had to stay with their clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinSnapshot {
    /// The cause, as in the label `cause` of `stent_pins_total`.
    pub cause: String,
    /// Fingerprint of the statement that made the state (literals replaced).
    pub statement: String,
    /// How often.
    pub count: u64,
}

/// Counters of a pool since the proxy's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTotals {
    /// Transactions finished.
    pub transactions: u64,
    /// Queries finished.
    pub queries: u64,
    /// Bytes from clients.
    pub received_bytes: u64,
    /// Bytes to clients.
    pub sent_bytes: u64,
    /// Checkouts granted.
    pub checkouts: u64,
    /// Waits ended by `query_wait_timeout`.
    pub timeouts: u64,
    /// Time clients spent queued, microseconds.
    pub wait_us: u64,
    /// Servers opened.
    pub opened: u64,
    /// Servers closed.
    pub closed: u64,
}

/// What a client that holds a server is doing with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderState {
    /// A statement runs, or its result is on its way.
    Active,
    /// Silence inside an open transaction.
    IdleInTransaction,
    /// Silence inside a failed transaction that waits for its ROLLBACK.
    IdleInFailedTransaction,
    /// Silence, no transaction open: session mode, or bytes still owed.
    Idle,
}

impl HolderState {
    /// As PostgreSQL would say it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::IdleInTransaction => "idle in transaction",
            Self::IdleInFailedTransaction => "idle in failed transaction",
            Self::Idle => "idle",
        }
    }
}

/// A client that holds a server: who, since when, and with what last word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The client's number, unique over the life of the proxy.
    pub client_id: u64,
    /// The pool's database.
    pub database: String,
    /// The pool's user.
    pub user: String,
    /// `address:port`, or `unix`.
    pub client_addr: String,
    /// The client's process, where it can be known (unix socket, or looked up by the agent).
    pub client_pid: Option<u32>,
    /// `application_name`, as the client last set it at start-up or by SET.
    pub application_name: String,
    /// The server's process id, as `pg_stat_activity.pid` shows it.
    pub backend_pid: u32,
    /// What it is doing.
    pub state: HolderState,
    /// How long it has held the server.
    pub held_ms: u64,
    /// How long it has been in `state`.
    pub state_ms: u64,
    /// Fingerprint of its last statement (literals replaced), empty where none was seen.
    pub last_statement: String,
    /// The kinds of session state for which the server stays with this client.
    #[serde(default)]
    pub pinned_by: Vec<String>,
}

/// The end of one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disconnect {
    /// When.
    pub at_unix_ms: u64,
    /// `client` or `server`.
    pub side: String,
    /// The cause, as in the label `cause` of `stent_disconnects_total`.
    pub cause: String,
    /// The pool's database, empty before login.
    pub database: String,
    /// The pool's user, empty before login.
    pub user: String,
    /// The client's address, or the server's process id.
    pub who: String,
    /// How long the connection had lived.
    pub age_ms: u64,
    /// One sentence more, where there is one: the server's message, the system's error.
    pub detail: String,
}

/// A process's own heap, from jemalloc. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSnapshot {
    /// Bytes allocated by the program.
    pub allocated: u64,
    /// Bytes in pages that hold at least one allocation.
    pub active: u64,
    /// Bytes of physical memory mapped by the allocator.
    pub resident: u64,
}

/// The agent at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSnapshot {
    /// [`SNAPSHOT_VERSION`].
    pub version: u32,
    /// When it was taken.
    pub at_unix_ms: u64,
    /// How long the agent has been running.
    pub uptime_ms: u64,
    /// The agent's process id.
    pub pid: u32,
    /// Whether the proxy answered the last round.
    pub proxy_reachable: bool,
    /// The watched processes.
    pub targets: Vec<TargetSnapshot>,
    /// The newest verdict on each pool's connections.
    pub connections: Vec<Verdict>,
    /// What is wrong, worst first; empty while nothing is.
    pub diagnoses: Vec<Diagnosis>,
    /// The same and everything else that is wrong, as one ranked explanation.
    #[serde(default)]
    pub explanation: Option<Explanation>,
    /// The ECS task that it runs in, where there is one.
    #[serde(default)]
    pub task: Option<EcsTask>,
    /// The target that is looked into, or will be, where siblings stand in for it meanwhile.
    #[serde(default)]
    pub set_aside: Option<String>,
    /// PostgreSQL's own side, where it answered.
    pub postgres: Option<PostgresReading>,
    /// The agent's own heap.
    pub heap: Option<HeapSnapshot>,
    /// Readings, and parts of them, that were left out since the agent's start.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

/// How often something was left out because what was read cannot be right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The target, empty where it concerns them all.
    pub target: String,
    /// What was read: process, cpu, pss, limits, descriptors, sockets, cgroup, pressure, machine,
    /// search, build, requests, proxy, clock.
    pub source: String,
    /// What was wrong: cut_off, malformed, unreadable, went_back, jumped_ahead, too_many.
    pub reason: String,
    /// How often so far.
    pub count: u64,
}

/// A watched process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetSnapshot {
    /// The target's name: as configured, or the command's.
    pub name: String,
    /// The newest reading; `None` while the process is not there.
    pub reading: Option<ProcessReading>,
    /// The newest verdict on its memory.
    pub memory: Option<Verdict>,
    /// The newest finding of whose growth it is, where one was made.
    #[serde(default)]
    pub attribution: Option<Attribution>,
    /// The newest verdict on its open descriptors; `None` while they cannot be counted.
    #[serde(default)]
    pub descriptors: Option<Verdict>,
    /// The newest verdict on its threads; `None` while they cannot be counted.
    #[serde(default)]
    pub threads: Option<Verdict>,
    /// How often `stent run` has restarted it before its memory limit; `None` where that is off.
    #[serde(default)]
    pub rejuvenations: Option<u64>,
}
