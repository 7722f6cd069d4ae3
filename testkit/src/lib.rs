//! Test support: a real PostgreSQL on its own port, a TCP proxy that misbehaves, a DNS server, child
//! processes that always end, free ports.
//!
//! Owns: whatever a test, the demo or a benchmark starts outside its own process, and its end.
//! Refuses: knowledge of Stent. Nothing here imports another crate of the workspace.
//! Invariant: what a guard started is gone when the guard is, and soon after its process is, however
//! that process ended: return, panic, `exit`, Ctrl-C or SIGKILL. A watchdog per guard sees to it.

mod dns;
mod fault;
mod port;
mod postgres;
pub mod proc;
mod process;
mod temp;
mod wait;
mod watchdog;

pub use dns::NameServer;
pub use fault::{Fault, FaultProxy};
pub use port::free_port;
pub use postgres::{Builder as PostgresBuilder, Installation, Postgres, Stop, Version};
pub use process::{Process, send_signal};
pub use rustix::process::Signal;
pub use temp::TempDir;
pub use wait::{wait_for, wait_until, wait_until_async};
