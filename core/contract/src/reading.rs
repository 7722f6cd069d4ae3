//! One sample of a target or of PostgreSQL.
//!
//! Invariant: sizes are bytes; what could not be read is `None`, never zero. Virtual size is
//! absent on purpose: it says nothing about memory in use.

use serde::{Deserialize, Serialize};

/// One sample of a watched process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessReading {
    /// When, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The process id at that moment.
    pub pid: u32,
    /// The command's name, as the kernel shows it.
    pub command: String,
    /// When the process started, milliseconds since the Unix epoch: tells one life from the next.
    pub started_unix_ms: u64,
    /// Which build it is: the value of the variable `build_variable`, or the ECS task's family and
    /// revision. Tells a restart from a new revision.
    #[serde(default)]
    pub revision: Option<String>,
    /// Memory.
    pub memory: MemoryReading,
    /// Open file descriptors.
    pub file_descriptors: Option<u32>,
    /// Threads.
    pub threads: Option<u32>,
    /// CPU time so far, seconds, user and system.
    pub cpu_seconds: Option<f64>,
    /// The heap in use as the target's own runtime says, bytes, where it says so.
    #[serde(default)]
    pub heap: Option<u64>,
    /// Requests served so far, as the target's own metrics say, where they say so.
    #[serde(default)]
    pub requests: Option<u64>,
    /// What its descriptors are, as of the last minute; only of a few targets.
    #[serde(default)]
    pub descriptor_kinds: Option<DescriptorKinds>,
    /// The sockets of its network namespace.
    #[serde(default)]
    pub sockets: Option<SocketCounts>,
    /// Memory pressure of its cgroup; version 1 has none.
    #[serde(default)]
    pub pressure: Option<PressureReading>,
}

/// Open descriptors by what they lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorKinds {
    /// Files, folders and devices: what has a path.
    pub files: u32,
    /// Sockets, also those that are not connected.
    pub sockets: u32,
    /// Pipes.
    pub pipes: u32,
    /// What only the process has: epoll, timers, eventfd, inotify.
    pub events: u32,
    /// Anything else.
    pub others: u32,
}

/// TCP sockets of a network namespace, IPv4 and IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketCounts {
    /// Sockets in use, listening ones included.
    pub in_use: u32,
    /// Closed by their process, and not yet by the other side.
    pub orphaned: u32,
    /// Waiting after their end; each keeps its port from the same peer for a minute.
    pub time_wait: u32,
}

/// Memory pressure of a cgroup (PSI).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PressureReading {
    /// At least one of its tasks stood still for want of memory.
    pub some: MemoryPressure,
    /// All of them did.
    pub full: MemoryPressure,
}

/// One kind of pressure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryPressure {
    /// Share of the last ten seconds, 0 to 1.
    pub share: f64,
    /// Seconds in all.
    pub total_seconds: f64,
}

/// Memory of a process and of its cgroup. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReading {
    /// Anonymous resident memory (`RssAnon`): the honest growth number.
    pub rss_anon: u64,
    /// File-backed resident memory (`RssFile`).
    pub rss_file: u64,
    /// Shared resident memory (`RssShmem`).
    pub rss_shmem: u64,
    /// Proportional set size, where the kernel allows reading it.
    pub pss: Option<u64>,
    /// Swapped-out anonymous memory (`VmSwap`).
    pub swap: u64,
    /// Memory charged to the target's cgroup.
    pub cgroup_usage: Option<u64>,
    /// Anonymous memory of the cgroup.
    pub cgroup_anon: Option<u64>,
    /// Swap charged to the cgroup, where it is accounted.
    #[serde(default)]
    pub cgroup_swap: Option<u64>,
    /// The limit that ends the target: its cgroup's if set, else the machine's memory.
    pub limit: Option<u64>,
    /// Processes that the kernel killed in this cgroup so far.
    pub oom_kills: Option<u64>,
}

/// The ECS task that the agent runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EcsTask {
    /// The task definition's family.
    pub family: String,
    /// Its revision: with the family it tells one build's lives from the next's.
    pub revision: String,
    /// The task's memory limit, bytes.
    pub limit: Option<u64>,
    /// Its containers, by name.
    pub containers: Vec<EcsContainer>,
}

/// A container of the task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EcsContainer {
    /// Its name in the task definition.
    pub name: String,
    /// When it started, as ECS writes it; empty where it is not known.
    pub started_at: String,
    /// Memory charged to it, page cache included, bytes; `None` in its first second.
    pub usage: Option<u64>,
    /// Anonymous memory, bytes.
    pub anon: Option<u64>,
    /// The limit that is reached first: its own or the task's, bytes.
    pub limit: Option<u64>,
}

/// PostgreSQL's own side, from `pg_stat_activity` and `pg_settings`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PostgresReading {
    /// When, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// `max_connections`.
    pub max_connections: u32,
    /// Client backends by state, user and application.
    pub connections: Vec<PostgresConnections>,
    /// The oldest idle-in-transaction session, milliseconds; 0 where there is none.
    pub idle_in_transaction_max_ms: u64,
    /// Its process id, 0 where there is none.
    pub idle_in_transaction_pid: u32,
    /// Statements that wait for a lock, as far as PostgreSQL lets us see.
    #[serde(default)]
    pub blocked: Option<u32>,
}

/// A group of client backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresConnections {
    /// `pg_stat_activity.state`, empty where PostgreSQL hides it.
    pub state: String,
    /// `usename`.
    pub user: String,
    /// `application_name`.
    pub application_name: String,
    /// How many.
    pub count: u32,
}
