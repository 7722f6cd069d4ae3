//! What Stent's programs must agree on, and nothing else.
//!
//! Owns: the metric table ([`metric`]), the alarm table ([`alarm`]), and the DTOs that cross a
//! process boundary ([`snapshot`], [`reading`], [`diagnosis`], [`attribution`]).
//! Refuses: behaviour. Nothing here opens, waits, measures or decides.
//! Invariant: a metric or label name, and a serialisable type that another program reads, exists
//! once in the workspace: here.

pub mod alarm;
pub mod attribution;
pub mod diagnosis;
pub mod metric;
pub mod reading;
pub mod snapshot;
pub mod unit;

pub use attribution::{Attribution, AttributionMeans, Frame};
pub use diagnosis::{
    Cause, CauseKind, Diagnosis, Evidence, Explanation, JoinedCause, LeakClass, Resource, Verdict,
    VerdictLevel,
};
pub use metric::{METRICS, Metric, MetricId, MetricKind};
pub use reading::{
    DescriptorKinds, EcsContainer, EcsTask, MemoryPressure, MemoryReading, PostgresReading,
    PressureReading, ProcessReading, SocketCounts,
};
pub use snapshot::{
    AgentSnapshot, Holder, HolderState, PoolSnapshot, ProxySnapshot, Skipped, Snapshot,
    TargetSnapshot,
};
pub use unit::Unit;
