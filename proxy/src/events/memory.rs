//! The events of servers' memory.
//!
//! Invariant: as in the parent.

use tracing::{info, warn};

/// A server has more memory than it may: it is replaced.
pub(crate) struct Outgrown<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) backend_pid: u32,
    pub(crate) bytes: u64,
    pub(crate) most: u64,
}

impl Outgrown<'_> {
    /// Logs it; its end is counted when it comes, as one by `memory`.
    pub(crate) fn emit(&self) {
        let Self { database, user, backend_pid, bytes, most } = self;
        info!(database, user, backend_pid, bytes, most, "a server has outgrown server_max_memory");
    }
}

/// The servers of a pool do not tell how much memory they have.
pub(crate) struct MemoryHidden<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
}

impl MemoryHidden<'_> {
    /// Logs it, once a configuration.
    pub(crate) fn emit(&self) {
        let Self { database, user } = self;
        warn!(
            database,
            user,
            "server_max_memory has no effect on these servers: pg_backend_memory_contexts is hidden \
             from their user (it needs PostgreSQL 14, and from 15 on the role pg_read_all_stats)"
        );
    }
}
