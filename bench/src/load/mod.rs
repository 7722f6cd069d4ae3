//! The load: pgbench for what it can do, and clients of our own for the rest.
//!
//! Refuses: measuring. Invariant: a client of ours owns no buffer and no thread, so that ten
//! thousand of them cost the machine that is measured little.

pub mod client;
pub mod login;
pub mod message;
pub mod pgbench;
pub mod scan;
pub mod swarm;
