//! Measurements of Stent against a direct connection and its peers.
//!
//! Owns: what is started and how it is measured. Refuses: judging: it prints what it saw, beside
//! the limits that Stent has set itself.
//! Invariant: endpoints are measured in turn within each round, so that a machine whose speed drifts
//! bends all of them alike; CPU is the kernel's own account of each process.

pub mod cells;
pub mod curves;
pub mod endpoint;
pub mod faults;
pub mod figure;
pub mod hot_path;
pub mod lab;
pub mod load;
pub mod meter;
pub mod plan;
pub mod report;
pub mod session;
pub mod soak;
pub mod stub;
