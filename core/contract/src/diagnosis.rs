//! Verdicts and diagnoses: what the agent concludes, in the form in which it is published.
//!
//! Invariant: a verdict above `healthy` carries evidence, and a diagnosis carries a next step.

use serde::{Deserialize, Serialize};

use crate::snapshot::Holder;

/// How bad it is. The order is the severity; the discriminant is the value of `stent_leak_verdict`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictLevel {
    /// Nothing to report.
    #[default]
    Healthy = 0,
    /// Something grows; attribution starts, nobody is paged.
    Suspect = 1,
    /// A leak: page.
    Leak = 2,
}

/// What is leaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Memory of a process.
    Memory,
    /// Server connections of a pool.
    Connections,
    /// Open file descriptors of a process.
    Descriptors,
    /// Threads of a process.
    Threads,
}

impl Resource {
    /// The value of the label `resource`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
        }
    }
}

/// What growth is, as far as its shape and the readings beside it tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakClass {
    /// No growth.
    #[default]
    None,
    /// Memory that is kept and never released; growth without a bound.
    Leak,
    /// The same outside the runtime's heap, which stays flat.
    NativeLeak,
    /// Growth that a young process shows until it has warmed up, or on its way to a level at which
    /// earlier lives settled.
    WarmUp,
    /// Growth that slows down towards a ceiling: a cache that fills, objects that are pooled.
    CacheFilling,
    /// The same while the heap is flat: the allocator keeps what it was given back.
    AllocatorRetention,
    /// Growth by ever smaller steps while the heap is flat: holes in the heap.
    Fragmentation,
    /// Growth and fall of memory that is not the heap's: files that are cached.
    PageCache,
    /// Memory that rises with the rate of requests.
    Traffic,
    /// File descriptors that are opened and not closed.
    DescriptorLeak,
    /// Threads that are started and do not end.
    ThreadLeak,
    /// Server connections held in transactions that their clients have forgotten.
    HeldTransaction,
}

impl LeakClass {
    /// The name, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Leak => "leak",
            Self::NativeLeak => "native_leak",
            Self::WarmUp => "warm_up",
            Self::CacheFilling => "cache_filling",
            Self::AllocatorRetention => "allocator_retention",
            Self::Fragmentation => "fragmentation",
            Self::PageCache => "page_cache",
            Self::Traffic => "traffic",
            Self::DescriptorLeak => "descriptor_leak",
            Self::ThreadLeak => "thread_leak",
            Self::HeldTransaction => "held_transaction",
        }
    }
}

/// One fact that speaks for (or against) a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was looked at, a stable key: `floor_growth_bytes`, `held_transactions`.
    pub key: String,
    /// The figure.
    pub value: f64,
    /// The sentence that a person reads.
    pub text: String,
}

/// A detector's conclusion about one resource of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// When, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The target's name, or `database/user` for connections.
    pub target: String,
    /// What is judged.
    pub resource: Resource,
    /// How bad.
    pub level: VerdictLevel,
    /// What shape.
    pub class: LeakClass,
    /// How sure, 0.0 to 1.0.
    pub confidence: f64,
    /// Growth an hour: bytes for memory, their number for everything else. 0 while none is established.
    pub growth_per_hour: f64,
    /// Forecast seconds until the limit, `None` while there is none to forecast.
    pub seconds_to_limit: Option<f64>,
    /// The early and late end of that forecast.
    pub seconds_to_limit_range: Option<(f64, f64)>,
    /// Why.
    pub evidence: Vec<Evidence>,
}

/// A possible cause, with its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The sentence that a person reads.
    pub text: String,
    /// How likely, 0.0 to 1.0.
    pub confidence: f64,
    /// What to do next.
    pub next_step: String,
}

/// A verdict explained: what, where, why, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The verdict behind it.
    pub verdict: Verdict,
    /// One line for a pager.
    pub summary: String,
    /// Ranked, most likely first.
    pub causes: Vec<Cause>,
    /// For connections: who holds them, longest first.
    pub holders: Vec<Holder>,
}

/// What kind of cause it is. The order is that of roots before what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// No server can be opened.
    DatabaseAway,
    /// Servers ended by themselves.
    ServersLost,
    /// Clients hold servers in transactions that they have forgotten.
    ForgottenTransactions,
    /// Statements wait for locks.
    Locks,
    /// There is more work than servers.
    PoolTooSmall,
    /// A target's memory grows.
    MemoryGrowth,
    /// A target's descriptors or threads grow in number.
    HandleGrowth,
}

impl CauseKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::DatabaseAway,
        Self::ServersLost,
        Self::ForgottenTransactions,
        Self::Locks,
        Self::PoolTooSmall,
        Self::MemoryGrowth,
        Self::HandleGrowth,
    ];

    /// The value of the label `cause`, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DatabaseAway => "database_away",
            Self::ServersLost => "servers_lost",
            Self::ForgottenTransactions => "forgotten_transactions",
            Self::Locks => "locks",
            Self::PoolTooSmall => "pool_too_small",
            Self::MemoryGrowth => "memory_growth",
            Self::HandleGrowth => "handle_growth",
        }
    }
}

/// A cause that was found by looking at everything at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinedCause {
    /// What kind it is.
    pub kind: CauseKind,
    /// The sentence that a person reads.
    pub text: String,
    /// How likely, 0.0 to 1.0.
    pub confidence: f64,
    /// Why; never empty.
    pub evidence: Vec<Evidence>,
    /// What to do next.
    pub next_step: String,
}

/// Everything that is wrong at a moment, explained as one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// When, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// One line for a pager.
    pub summary: String,
    /// Ranked, most likely first.
    pub causes: Vec<JoinedCause>,
}
