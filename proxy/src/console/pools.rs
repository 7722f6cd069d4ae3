//! `SHOW POOLS`, with PgBouncer's columns.
//!
//! Where Stent has no such state the column is 0: its cancel requests never wait for a place among
//! the servers, and a server that is to be probed before it is lent counts as idle.
//! Invariant: the states of servers are disjoint.
//! Source: PgBouncer, doc/usage.md ("SHOW POOLS") and src/admin.c.

use super::show::View;
use super::table::{Column, Table, Value, text, whole};
use crate::broker::Inner;
use crate::clients::ClientState;

const COLUMNS: &[Column] = &[
    text("database"),
    text("user"),
    whole("cl_active"),
    whole("cl_waiting"),
    whole("cl_active_cancel_req"),
    whole("cl_waiting_cancel_req"),
    whole("sv_active"),
    whole("sv_active_cancel"),
    whole("sv_being_canceled"),
    whole("sv_idle"),
    whole("sv_used"),
    whole("sv_tested"),
    whole("sv_login"),
    whole("maxwait"),
    whole("maxwait_us"),
    text("pool_mode"),
    text("load_balance_hosts"),
];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let inner = view.broker.inner();
    let counts = Counts::of(&inner);
    let mode = view.broker.config.pool_mode.as_str();
    let mut table = Table::new(COLUMNS);
    for (pool, ..) in inner.pools.pools() {
        let (entry, census) = (&inner.entries[pool.index()], inner.pools.census(pool, view.now));
        let Counts { clients, requests, cancelled } = &counts;
        let at = pool.index();
        table.push(vec![
            entry.database.to_string().into(),
            entry.user.to_string().into(),
            clients[at].into(),
            census.waiting.into(),
            requests[at].into(),
            Value::Whole(0),
            census.lent.saturating_sub(cancelled[at]).into(),
            requests[at].into(),
            cancelled[at].into(),
            census.idle.into(),
            Value::Whole(0),
            census.tested.into(),
            census.opening.into(),
            census.maxwait.as_secs().into(),
            census.maxwait.subsec_micros().into(),
            mode.into(),
            Value::Null,
        ]);
    }
    table
}

/// What pools do not count themselves, by `PoolId::index`.
struct Counts {
    /// Clients that hold a server or ask for none.
    clients: Vec<u32>,
    /// Cancel requests on their way.
    requests: Vec<u32>,
    /// Servers that are held back after a cancel request.
    cancelled: Vec<u32>,
}

impl Counts {
    fn of(inner: &Inner) -> Self {
        let zero = vec![0; inner.entries.len()];
        let mut counts = Self { clients: zero.clone(), requests: zero.clone(), cancelled: zero };
        for client in inner.clients.iter() {
            match (client.pool, client.state) {
                (Some(pool), ClientState::Idle | ClientState::Active) => {
                    counts.clients[pool.index()] += 1;
                }
                (None, _) | (Some(_), ClientState::Login | ClientState::Waiting) => {}
            }
        }
        for slot in inner.servers.iter().flatten() {
            let Some(facts) = &slot.facts else { continue };
            let cancels = facts.cancels();
            counts.requests[slot.pool.index()] += cancels.on_the_way;
            if cancels.sent > 0 && facts.checkout().is_none() && slot.idle.is_none() {
                counts.cancelled[slot.pool.index()] += 1;
            }
        }
        counts
    }
}
