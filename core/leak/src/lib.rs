//! Series in, verdicts and diagnoses out: memory growth and held connections.
//!
//! Owns: how readings become a [`Verdict`](stent_contract::Verdict) ([`memory`], [`held`]) and how
//! a verdict becomes a [`Diagnosis`](stent_contract::Diagnosis) ([`explain`]).
//! Refuses: clocks, files, sockets and randomness; the moment is an argument, in milliseconds since
//! the Unix epoch, as the readings carry it.
//! Invariant: memory is fixed after construction (series) or capped by a named limit (holders),
//! whatever the readings say, and the same readings give the same text.

pub mod counts;
mod course;
mod explain;
mod fits;
mod forecast;
pub mod held;
mod lives;
pub mod memory;
mod quantity;
mod regress;
mod rise;
mod series;
mod stats;
mod text;
mod think;

pub use counts::{CountDetector, CountSample, Counted};
pub use explain::{
    MemoryFacts, Surroundings, explain_all, explain_connections, explain_count, explain_memory,
};
pub use held::{HeldDetector, HeldSettings};
pub use memory::{Baseline, MemoryDetector, MemorySample, MemorySettings};
