//! Statements that need a database in which nobody is: a pool's idle servers make way.
//!
//! DROP DATABASE, ALTER DATABASE RENAME and CREATE DATABASE with its template wait five seconds for
//! others to leave, then fail with 55006. Servers that are only kept for later leave at once.
//! Owns: recognising those statements by their first words. Refuses: judging them: a server closed for
//! nothing costs a login, and one that a client has stays with it.
//! Source: PostgreSQL, `CountOtherDBBackends` in `src/backend/storage/ipc/procarray.c`.

use std::sync::Arc;

use stent_pool::{Event, PoolId};

use super::Broker;

/// What CREATE DATABASE copies where it names nothing.
const TEMPLATE: &[u8] = b"template1";
/// How much of a statement is looked at: a few names and options.
const STATEMENT_MAX: usize = 1_024;

impl Broker {
    /// A client of a pool sends a statement.
    pub(crate) fn make_way(self: &Arc<Self>, own: PoolId, sql: &[u8]) {
        if !needs_an_empty_database(sql) {
            return;
        }
        let (broker, sql) = (Arc::clone(self), sql[..sql.len().min(STATEMENT_MAX)].to_vec());
        // Later, for the caller is in the middle of a message; the server waits for seconds.
        tokio::task::spawn_local(async move {
            for pool in broker.named_in(&sql).into_iter().filter(|pool| *pool != own) {
                broker.handle(Event::RetireAll { pool });
            }
        });
    }

    /// Pools with servers in a database that the statement may mean.
    fn named_in(&self, sql: &[u8]) -> Vec<PoolId> {
        let inner = self.inner();
        let mut pools = inner.pools_with_servers();
        pools.retain(|pool| names(sql, inner.entries[pool.index()].database.as_bytes()));
        pools
    }
}

/// Whether the statement begins with DROP, ALTER or CREATE DATABASE. A comment in front hides it.
fn needs_an_empty_database(sql: &[u8]) -> bool {
    let first = sql.iter().find(|byte| !byte.is_ascii_whitespace());
    if !first.is_some_and(|first| matches!(first | 0x20, b'd' | b'a' | b'c')) {
        return false;
    }
    let mut words = sql.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let verbs = [&b"drop"[..], b"alter", b"create"];
    verbs.iter().any(|verb| first.eq_ignore_ascii_case(verb))
        && second.eq_ignore_ascii_case(b"database")
}

/// Whether the statement may mean that database.
fn names(sql: &[u8], database: &[u8]) -> bool {
    debug_assert!(!database.is_empty(), "a pool has a database");
    database == TEMPLATE
        || sql.windows(database.len()).any(|part| part.eq_ignore_ascii_case(database))
}
