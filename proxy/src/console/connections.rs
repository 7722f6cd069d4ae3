//! `SHOW CLIENTS` and `SHOW SERVERS`, with PgBouncer's columns.
//!
//! Where PgBouncer shows an address in memory, to tell connections apart and to say which belong
//! together, Stent shows its number of the client, and of the server its process. What Stent does not
//! know of a connection is null: the near end's address, and the statements of a server that is lent.
//! Source: PgBouncer, doc/usage.md ("SHOW CLIENTS", "SHOW SERVERS") and src/admin.c.

use std::time::{Duration, Instant};

use stent_pool::WaiterId;
use stent_wire::auth::hba::Encryption;
use stent_wire::startup::Replication;
use stent_wire::time::sql_time;

use super::show::View;
use super::table::{Column, Table, Value, text, whole};
use crate::broker::{Inner, Slot, unix_ms};
use crate::clients::{Client, ClientState};
use crate::dial::Wish;
use crate::stream::Peer;

const COLUMNS: &[Column] = &[
    text("type"),
    text("user"),
    text("database"),
    text("replication"),
    text("state"),
    text("addr"),
    whole("port"),
    text("local_addr"),
    whole("local_port"),
    text("connect_time"),
    text("request_time"),
    whole("wait"),
    whole("wait_us"),
    whole("close_needed"),
    text("ptr"),
    text("link"),
    whole("remote_pid"),
    text("tls"),
    text("application_name"),
    whole("prepared_statements"),
    whole("id"),
];

/// What both tables say of a connection.
struct Row {
    kind: &'static str,
    user: Value,
    database: Value,
    replication: Replication,
    state: &'static str,
    addr: Value,
    port: Value,
    connected: Instant,
    /// When it was last asked for something, as far as that is known.
    asked: Option<Instant>,
    waits: Duration,
    ptr: Value,
    link: Value,
    remote_pid: Value,
    tls: &'static str,
    application_name: Value,
    statements: Value,
    id: u64,
}

/// The connections with clients; those of the console have no database.
pub(super) fn clients(view: &View<'_>) -> Table {
    let inner = view.broker.inner();
    let mut table = Table::new(COLUMNS);
    for client in inner.clients.iter() {
        table.push(client_row(&inner, client, view.now).values(view.now));
    }
    table
}

/// The connections with PostgreSQL.
pub(super) fn servers(view: &View<'_>) -> Table {
    let inner = view.broker.inner();
    let mut table = Table::new(COLUMNS);
    for slot in inner.servers.iter().flatten() {
        table.push(server_row(&inner, slot, view.now).values(view.now));
    }
    table
}

fn client_row(inner: &Inner, client: &Client, now: Instant) -> Row {
    let entry = client.pool.map(|pool| &inner.entries[pool.index()]);
    let or_null = |name: Option<String>| name.map_or(Value::Null, Value::from);
    let checkout = client.holds.as_ref().and_then(|facts| facts.checkout());
    let waits_since = match client.state {
        ClientState::Waiting => inner.pools.asked_at(WaiterId(client.id.waiter_key())),
        ClientState::Login | ClientState::Idle | ClientState::Active => None,
    };
    let (addr, port) = match client.peer {
        Peer::Tcp(addr) => (addr.ip().to_string().into(), Value::from(u32::from(addr.port()))),
        Peer::Unix(_) => ("unix".into(), Value::Null),
    };
    let server = client.holds.as_ref();
    Row {
        kind: "C",
        user: or_null(entry.map(|entry| entry.user.to_string())),
        database: or_null(entry.map(|entry| entry.database.to_string())),
        replication: server.map_or(Replication::Off, |facts| facts.replication),
        state: match client.state {
            ClientState::Login => "login",
            ClientState::Idle => "idle",
            ClientState::Waiting => "waiting",
            ClientState::Active => "active",
        },
        addr,
        port,
        connected: client.connected,
        asked: waits_since.or_else(|| checkout.map(|checkout| checkout.state_since)),
        waits: waits_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
        ptr: client.id.serial().to_string().into(),
        link: server.map_or(Value::Null, |facts| facts.backend_pid.to_string().into()),
        remote_pid: client.peer.pid().map_or(Value::Null, Value::from),
        tls: match client.encryption {
            Encryption::None => "",
            Encryption::Tls => "TLS",
        },
        application_name: client.application_name().into(),
        statements: client.statements.0.into(),
        id: client.id.serial(),
    }
}

fn server_row(inner: &Inner, slot: &Slot, now: Instant) -> Row {
    let entry = &inner.entries[slot.pool.index()];
    let facts = slot.facts.as_deref();
    let checkout = facts.and_then(|facts| facts.checkout());
    let client = checkout.and_then(|checkout| inner.clients.get(checkout.client));
    let cancelled = facts.is_some_and(|facts| facts.cancels().sent > 0);
    let pid = facts.map(|facts| facts.backend_pid);
    Row {
        kind: "S",
        user: entry.user.to_string().into(),
        database: entry.database.to_string().into(),
        replication: facts.map_or(Replication::Off, |facts| facts.replication),
        state: match (facts, &slot.idle, checkout) {
            (None, ..) => "new",
            (Some(_), Some(_), _) => "idle",
            (Some(_), None, Some(_)) => "active",
            (Some(_), None, None) if cancelled => "being_canceled",
            (Some(_), None, None) => "tested",
        },
        addr: facts.map_or(Value::Null, |facts| facts.place.host.to_string().into()),
        port: facts.map_or(Value::Null, |facts| u32::from(facts.place.port).into()),
        connected: facts.map_or(now, |facts| facts.opened),
        asked: checkout.map(|checkout| checkout.since),
        waits: Duration::ZERO,
        ptr: pid.map_or(Value::Null, |pid| pid.to_string().into()),
        link: client.map_or(Value::Null, |client| client.id.serial().to_string().into()),
        remote_pid: pid.map_or(Value::Null, Value::from),
        tls: match facts.map(|facts| facts.cancel_by) {
            Some(Wish::Tls) => "TLS",
            Some(Wish::Plain | Wish::TlsIfCan) | None => "",
        },
        application_name: client.map_or(Value::Null, |client| client.application_name().into()),
        statements: slot.idle.as_ref().map_or(Value::Null, |link| link.statements.len().into()),
        id: pid.map_or(0, u64::from),
    }
}

impl Row {
    fn values(self, now: Instant) -> Vec<Value> {
        let seconds = unix_ms() / 1_000;
        let at = |at: Instant| {
            let ago = now.saturating_duration_since(at).as_secs();
            Value::from(sql_time(seconds.saturating_sub(ago)))
        };
        let replication = match self.replication {
            Replication::Off => "none",
            Replication::Physical => "physical",
            Replication::Logical => "logical",
        };
        vec![
            self.kind.into(),
            self.user,
            self.database,
            replication.into(),
            self.state.into(),
            self.addr,
            self.port,
            Value::Null,
            Value::Null,
            at(self.connected),
            at(self.asked.unwrap_or(self.connected)),
            self.waits.as_secs().into(),
            self.waits.subsec_micros().into(),
            Value::Whole(0),
            self.ptr,
            self.link,
            self.remote_pid,
            self.tls.into(),
            self.application_name,
            self.statements,
            self.id.into(),
        ]
    }
}
