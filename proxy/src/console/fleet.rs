//! `SHOW FLEET`: the proxies that share PostgreSQL's connections, as the last reading showed them.
//!
//! Invariant: without `fleet_budget` the table is empty; there is nothing to show.

use super::show::View;
use super::table::{Column, Table, text, whole};
use crate::clock::ms;

const COLUMNS: &[Column] = &[
    text("id"),
    text("self"),
    whole("backend_pid"),
    whole("share"),
    whole("claimed"),
    whole("servers"),
    whole("demand"),
    whole("minimum"),
    whole("silence_ms"),
];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let mut table = Table::new(COLUMNS);
    let shown = view.broker.fleet.lock();
    for peer in &shown.peers {
        let claim = peer.claim;
        let ours = peer.pid == shown.own;
        let share = if ours { shown.share } else { claim.used };
        let silence = ms(claim.silence);
        table.push(vec![
            claim.id.to_string().into(),
            if ours { "yes" } else { "no" }.into(),
            u64::from(peer.pid).into(),
            u64::from(share).into(),
            u64::from(claim.claimed).into(),
            u64::from(peer.alive).into(),
            u64::from(claim.demand).into(),
            u64::from(claim.minimum).into(),
            silence.into(),
        ]);
    }
    table
}
