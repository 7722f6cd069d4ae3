//! The rules of the pools, one a test, as transcripts: what is told, and what is decided.
//!
//! Times are milliseconds after the start. Servers are numbered in the order of their opening
//! (`s0`), waiters by their own number (`c1`), pools by their index (`p0`).

#![expect(clippy::unwrap_used, reason = "a test may stop where it is surprised")]

mod allowance;
mod classes;
mod harness;
mod homes;
mod lending;
mod opening;
mod pausing;
mod recycling;
mod reserve;
mod resizing;
mod room;
mod sizes;
mod users;
