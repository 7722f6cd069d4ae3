//! The pools in a simulated world: clients, a PostgreSQL that takes its time, dies and comes back,
//! and a clock of discrete events. Each run depends on its seed alone, which a failure prints.

#![expect(clippy::unwrap_used, reason = "a test may stop where it is surprised")]

mod nature;
mod queue;
mod scenarios;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a scenario with many seeds and says which one failed.
fn for_seeds(seeds: std::ops::Range<u64>, scenario: impl Fn(u64)) {
    for seed in seeds {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!("the failing seed is {seed}");
            resume_unwind(failure);
        }
    }
}
