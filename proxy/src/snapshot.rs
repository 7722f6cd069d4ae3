//! The proxy at one moment, as the DTO that everybody else reads.
//!
//! Invariant: taking a snapshot changes nothing; statements leave as fingerprints.

use std::time::{Duration, Instant};

use stent_contract::snapshot::{
    HOLDERS_MAX, HeapSnapshot, Holder, HolderState, PoolSnapshot, PoolTotals, ProxySnapshot,
    SNAPSHOT_VERSION,
};
use stent_pool::{Cap, PoolId};
use tikv_jemalloc_ctl::{epoch, stats};

use crate::broker::{Broker, Inner, PoolEntry, Slot, unix_ms};
use crate::clock::ms;

impl Broker {
    /// Everything.
    pub(crate) fn snapshot(&self, listen: &[String]) -> ProxySnapshot {
        let now = Instant::now();
        let mut holders = self.holders(now, |_, _| true);
        holders.truncate(HOLDERS_MAX);
        let inner = self.inner();
        ProxySnapshot {
            version: SNAPSHOT_VERSION,
            at_unix_ms: unix_ms(),
            uptime_ms: ms(self.started.elapsed()),
            pid: std::process::id(),
            listen: listen.to_vec(),
            upstream: self.target(),
            clients: inner.clients.counts(self.present().config.max_client_conn.get()),
            pools: self.pool_snapshots(&inner, now),
            holders,
            disconnects: inner.disconnects.newest().collect(),
            heap: heap(),
            fleet: self.fleet_snapshot(),
        }
    }

    /// Who holds the servers of a pool, or all those below a cap that keeps it from growing, longest
    /// first.
    pub(crate) fn holders_of(&self, pool: PoolId, cap: Option<Cap>) -> Vec<Holder> {
        self.holders(Instant::now(), |inner, of| {
            let [one, other] = [pool, of].map(|pool| &inner.entries[pool.index()]);
            match cap {
                None => of == pool,
                Some(Cap::User) => one.user == other.user,
                Some(Cap::Database) => one.database == other.database,
                Some(Cap::All) => true,
            }
        })
    }

    /// Who holds those servers whose pool is wanted, longest first.
    pub(crate) fn holders(
        &self,
        now: Instant,
        wanted: impl Fn(&Inner, PoolId) -> bool,
    ) -> Vec<Holder> {
        let inner = self.inner();
        let slots = inner.servers.iter().flatten();
        let wanted = slots.filter(|slot| wanted(&inner, slot.pool));
        let mut holders: Vec<Holder> =
            wanted.filter_map(|slot| holder(&inner, slot, now)).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held_ms));
        holders
    }

    fn pool_snapshots(&self, inner: &Inner, now: Instant) -> Vec<PoolSnapshot> {
        let pools: Vec<PoolId> = inner.pools.pools().map(|(pool, ..)| pool).collect();
        pools
            .into_iter()
            .map(|pool| {
                let mode = self.config.pool_mode.as_str();
                pool_snapshot(inner, pool, &inner.entries[pool.index()], mode, now)
            })
            .collect()
    }
}

fn pool_snapshot(
    inner: &Inner,
    pool: PoolId,
    entry: &PoolEntry,
    mode: &str,
    now: Instant,
) -> PoolSnapshot {
    let census = inner.pools.census(pool, now);
    let silent = silent_in_transaction(inner, pool, now);
    let silent_count = u32::try_from(silent.len()).unwrap_or(u32::MAX);
    PoolSnapshot {
        database: entry.database.to_string(),
        user: entry.user.to_string(),
        pool_mode: mode.to_owned(),
        size_max: census.size_max,
        servers_active: census.lent.saturating_sub(silent_count),
        servers_idle_in_transaction: silent_count,
        servers_idle: census.idle,
        servers_tested: census.tested,
        servers_opening: census.opening,
        clients_waiting: census.waiting,
        maxwait_ms: ms(census.maxwait),
        idle_in_transaction_max_ms: silent.iter().copied().max().map_or(0, ms),
        totals: PoolTotals {
            transactions: entry.stats.sum(|stats| &stats.transactions),
            queries: entry.stats.sum(|stats| &stats.queries),
            received_bytes: entry.stats.sum(|stats| &stats.received),
            sent_bytes: entry.stats.sum(|stats| &stats.sent),
            checkouts: census.totals.checkouts,
            timeouts: census.totals.wait_timeouts + census.totals.refused_overloaded,
            wait_us: u64::try_from(census.totals.waited.as_micros()).unwrap_or(u64::MAX),
            opened: census.totals.opened,
            closed: census.totals.closed,
        },
        connect_error: inner.why_closed(pool).map(ToString::to_string),
        servers_pinned: pinned(inner, pool),
        clients_listening: entry
            .hub()
            .map_or(0, |hub| u32::try_from(hub.counts.clients.get()).unwrap_or(u32::MAX)),
        servers_listening: entry.hub().map_or(0, |hub| servers_of(inner, hub.ear)),
        paused: inner.pools.is_paused(pool),
        pins: entry.stats.pins.lock().kinds().to_vec(),
    }
}

/// The servers of a pool in whatever state.
fn servers_of(inner: &Inner, pool: PoolId) -> u32 {
    let slots = inner.servers.iter().flatten().filter(|slot| slot.pool == pool);
    u32::try_from(slots.count()).unwrap_or(u32::MAX)
}

/// How many servers stay with their clients.
fn pinned(inner: &Inner, pool: PoolId) -> u32 {
    let slots = inner.servers.iter().flatten().filter(|slot| slot.pool == pool);
    let facts = slots.filter_map(|slot| slot.facts.as_ref());
    u32::try_from(facts.filter(|facts| !facts.pins().is_empty()).count()).unwrap_or(u32::MAX)
}

/// How long each client that is silent in an open transaction has been so.
fn silent_in_transaction(inner: &Inner, pool: PoolId, now: Instant) -> Vec<Duration> {
    let slots = inner.servers.iter().flatten().filter(|slot| slot.pool == pool);
    slots
        .filter_map(|slot| slot.facts.as_ref()?.checkout())
        .filter(|checkout| {
            matches!(
                checkout.state,
                HolderState::IdleInTransaction | HolderState::IdleInFailedTransaction
            )
        })
        .map(|checkout| now.saturating_duration_since(checkout.state_since))
        .collect()
}

fn holder(inner: &Inner, slot: &Slot, now: Instant) -> Option<Holder> {
    let facts = slot.facts.as_ref()?;
    let checkout = facts.checkout()?;
    let client = inner.clients.get(checkout.client)?;
    let entry = &inner.entries[slot.pool.index()];
    Some(Holder {
        client_id: checkout.client.serial(),
        database: entry.database.to_string(),
        user: entry.user.to_string(),
        client_addr: client.peer.to_string(),
        client_pid: client.peer.pid(),
        application_name: client.application_name(),
        backend_pid: facts.backend_pid,
        state: checkout.state,
        held_ms: ms(now.saturating_duration_since(checkout.since)),
        state_ms: ms(now.saturating_duration_since(checkout.state_since)),
        last_statement: facts.fingerprint(),
        pinned_by: facts.pins().iter().map(|cause| cause.as_str().to_owned()).collect(),
    })
}

/// The process's own heap, where jemalloc is its allocator.
pub(crate) fn heap() -> Option<HeapSnapshot> {
    epoch::advance().ok()?;
    let read = |value: Result<usize, _>| value.ok().map(|value| value as u64);
    let allocated = read(stats::allocated::read())?;
    // jemalloc linked in but not in use counts nothing.
    (allocated > 0).then_some(HeapSnapshot {
        allocated,
        active: read(stats::active::read())?,
        resident: read(stats::resident::read())?,
    })
}
