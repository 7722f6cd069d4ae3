//! Measurements of Stent against a direct connection and, where it is installed, PgBouncer.
//!
//! Owns: what is started and how it is measured. Refuses: judging: it prints what it saw.
//! Invariant: endpoints are measured in turn within each round, so that a machine whose speed drifts
//! bends all of them alike; CPU is the kernel's own account of each process.

pub mod endpoint;
pub mod hot_path;
pub mod idle;
pub mod meter;
pub mod stub;
pub mod table;
