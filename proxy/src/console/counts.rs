//! Servers and clients by something that pools have: a database, a user.

use std::collections::BTreeMap;

use stent_pool::PoolId;

use crate::broker::{Inner, PoolEntry};

/// Servers and clients, over some pools.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) servers: u64,
    pub(super) clients: u64,
}

/// The counts of each name that `of` finds in the pools, and of the names beside them.
pub(super) fn by(
    inner: &Inner,
    of: fn(&PoolEntry) -> &str,
    beside: impl Iterator<Item = String>,
) -> BTreeMap<String, Counts> {
    let pools = inner.entries.iter().map(|entry| of(entry).to_owned());
    let mut all: BTreeMap<_, _> =
        pools.chain(beside).map(|name| (name, Counts::default())).collect();
    let mut count = |pool: PoolId, add: fn(&mut Counts)| {
        let name = of(&inner.entries[pool.index()]);
        add(all.get_mut(name).expect("each pool's name is there"));
    };
    for slot in inner.servers.iter().flatten() {
        count(slot.pool, |counts| counts.servers += 1);
    }
    for pool in inner.clients.iter().filter_map(|client| client.pool) {
        count(pool, |counts| counts.clients += 1);
    }
    all
}
