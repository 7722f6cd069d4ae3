//! What the proxy's memory is for.
//!
//! Owns: adding up sizes and capacities by kind. Everything here is what was asked of the allocator,
//! rounded up to what it gives (jemalloc's size classes); what cannot be seen from here (the sockets'
//! buffers in the kernel, what waits in a session, the runtime) is nobody's row.
//! Refuses: to measure on the way of a query: whoever asks pays.
//! Invariant: no byte is counted in two rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use stent_wire::auth::hba::Encryption;
use stent_wire::memory::given;
use stent_wire::prepared::Texts;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::broker::{Broker, Inner, PoolEntry, Slot};
use crate::clients::Client;
use crate::facts::Facts;
use crate::firewall::Firewall;
use crate::link::Link;
use crate::pool_stats::PoolStats;
use crate::session::Session;
use crate::{scratch, stash};

/// What tokio keeps beside a task's future: header, scheduler, number, links, waker.
/// Source: tokio 1.54, `src/runtime/task/core.rs` (`Cell`), aligned to 128 bytes.
const TASK_LEN: usize = 104;
/// A socket's registration with the reactor, behind an `Arc`, aligned to 128 bytes.
/// Source: tokio 1.54, `src/runtime/io/scheduled_io.rs`.
const SOCKET_LEN: usize = 256;
/// What rustls keeps of a connection behind its own struct: mostly the buffer into which it reads
/// records. Measured: a test holds it to what the allocator says.
const TLS_LEN: usize = 5_280;
/// A place in a slab beside its content, where there is no niche.
const PLACE_LEN: usize = 8;
/// The counters of an `Arc`.
const ARC_LEN: usize = 16;

/// A row of `SHOW MEM`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What for.
    pub(crate) name: &'static str,
    /// Bytes of one, where all are alike.
    pub(crate) size: Option<usize>,
    /// How many there are.
    pub(crate) used: usize,
    /// Room for how many more is kept.
    pub(crate) free: usize,
    /// Bytes of all.
    pub(crate) total: usize,
}

/// All rows.
pub(crate) fn rows(broker: &Broker) -> Vec<Row> {
    let texts = texts(&broker.texts.lock());
    let inner = &*broker.inner();
    let mut rows =
        vec![clients(inner), client_tls(inner), client_params(inner), client_statements(inner)];
    rows.extend(servers(inner));
    rows.extend([waiters(inner), texts, pools(inner), functions(inner), ends(inner)]);
    let (count, spare) = stash::size();
    rows.push(Row { name: "spare_buffers", size: None, used: 0, free: count, total: spare });
    rows.push(of_one("scratch_buffers", scratch::size()));
    rows
}

const fn of_one(name: &'static str, total: usize) -> Row {
    Row { name, size: None, used: 1, free: 0, total }
}

/// Beside its place in the register: its task, its socket and its cancel key.
fn clients(inner: &Inner) -> Row {
    const KEY_LEN: usize = given(4);
    let place = size_of::<Client>() + PLACE_LEN;
    let task = given((size_of::<Session>() + TASK_LEN).next_multiple_of(128));
    let size = place + task + SOCKET_LEN + KEY_LEN;
    let (used, free) = (inner.clients.len(), inner.clients.room());
    Row { name: "clients", size: Some(size), used, free, total: used * size + free * place }
}

/// TLS with clients.
fn client_tls(inner: &Inner) -> Row {
    let encrypted = |client: &&Client| client.encryption == Encryption::Tls;
    let used = inner.clients.iter().filter(encrypted).count();
    let size = given(size_of::<TlsStream<TcpStream>>()) + TLS_LEN;
    Row { name: "client_tls", size: Some(size), used, free: 0, total: used * size }
}

/// Start-up parameters: clients with the same share one list.
fn client_params(inner: &Inner) -> Row {
    let mut lists = BTreeMap::new();
    for params in inner.clients.iter().filter_map(|client| client.params.as_ref()) {
        let len = given(ARC_LEN + size_of_val(&**params)) + given(params.heap_len());
        lists.insert(Arc::as_ptr(params), len);
    }
    let total = lists.values().sum();
    Row { name: "client_params", size: None, used: lists.len(), free: 0, total }
}

/// The names of prepared statements.
fn client_statements(inner: &Inner) -> Row {
    let each = inner.clients.iter().map(|client| client.statements);
    let (used, total) = each.fold((0, 0), |(count, len), (names, bytes)| {
        (count + names as usize, len + bytes as usize)
    });
    Row { name: "client_statements", size: None, used, free: 0, total }
}

/// Server connections, and what the idle ones know of statements.
fn servers(inner: &Inner) -> [Row; 2] {
    let facts = given(ARC_LEN + size_of::<Facts>());
    let (place, size) = (size_of::<Option<Slot>>(), given(size_of::<Link>()) + facts + SOCKET_LEN);
    let mut statements = Row { name: "server_statements", size: None, used: 0, free: 0, total: 0 };
    let mut books = 0;
    for slot in inner.servers.iter().flatten() {
        if let Some(link) = &slot.idle {
            statements.used += link.statements.len();
            statements.total += link.statements.heap_len();
            books += link.heap_len();
        }
    }
    let (used, places) = (inner.servers.iter().flatten().count(), inner.servers.capacity());
    let total = used * size + places * place + books;
    let size = Some(size + place);
    [Row { name: "servers", size, used, free: places - used, total }, statements]
}

fn waiters(inner: &Inner) -> Row {
    let (used, free, total) = inner.pools.waiting_room();
    Row { name: "waiters", size: total.checked_div(used + free), used, free, total }
}

fn texts(texts: &Texts) -> Row {
    let (used, total) = (texts.len(), texts.heap_len());
    Row { name: "statement_texts", size: None, used, free: 0, total }
}

/// Pools with their counters and histograms.
fn pools(inner: &Inner) -> Row {
    let size = size_of::<PoolEntry>() + given(ARC_LEN + size_of::<PoolStats>());
    let (used, room) = (inner.entries.len(), inner.entries.capacity());
    let free = room - used;
    let total = used * size + free * size_of::<PoolEntry>();
    Row { name: "pools", size: Some(size), used, free, total }
}

/// The names of functions that are known to leave nothing behind.
fn functions(inner: &Inner) -> Row {
    let mut catalogs: Vec<&Arc<Firewall>> =
        inner.entries.iter().map(|entry| &entry.firewall).collect();
    catalogs.sort_unstable_by_key(|catalog| Arc::as_ptr(catalog));
    catalogs.dedup_by_key(|catalog| Arc::as_ptr(catalog));
    let lens: Vec<(usize, usize)> =
        catalogs.iter().map(|catalog| catalog.functions().heap_len()).collect();
    // PostgreSQL's own are the same for all databases, and kept once.
    let shared = lens.iter().map(|(shared, _)| *shared).max().unwrap_or(0);
    let total = shared + lens.iter().map(|(_, own)| own).sum::<usize>();
    Row { name: "functions", size: None, used: catalogs.len(), free: 0, total }
}

/// The newest ends of connections.
fn ends(inner: &Inner) -> Row {
    let (used, total) = inner.disconnects.kept(given);
    Row { name: "disconnects", size: None, used, free: 0, total }
}

impl Link {
    /// The memory behind a connection, its statements aside, in bytes.
    fn heap_len(&self) -> usize {
        let buffers = [&self.carry, &self.to_server, &self.heard, &self.replay.bytes];
        let kept: usize = buffers.iter().map(|buffer| given(buffer.capacity())).sum();
        kept + self.ledger.heap_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_costs_what_was_planned() {
        assert!(size_of::<Session>() <= 256, "a session has {} bytes", size_of::<Session>());
        assert!(size_of::<Client>() <= 160, "its entry has {} bytes", size_of::<Client>());
        assert!(size_of::<Link>() <= 640, "a server connection has {}", size_of::<Link>());
    }
}
