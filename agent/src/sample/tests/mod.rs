//! The samplers against fixture trees, this very process, children, sockets and PostgreSQL.

mod cgroup;
mod ecs;
mod garbage;
mod hosts;
mod kinds;
mod peer;
mod postgres;
mod process;
mod proxy;
mod round;

use std::path::{Path, PathBuf};
use std::time::Duration;

use stent_contract::snapshot::{ClientCounts, SNAPSHOT_VERSION};
use stent_contract::{Holder, HolderState, PoolSnapshot, ProxySnapshot};

use crate::config::Config;

/// A configuration that watches nothing and publishes nowhere.
pub(crate) fn config() -> Config {
    Config { postgres_interval: Duration::from_secs(1), ..crate::tests_support::config() }
}

/// A tree with its own `/proc` and `/sys/fs/cgroup`, and process 42 in it.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A proxy with one pool of four and these holders.
pub(crate) fn proxy_snapshot(at_unix_ms: u64, holders: Vec<Holder>) -> ProxySnapshot {
    let pool = PoolSnapshot {
        database: "shop".to_owned(),
        user: "app".to_owned(),
        size_max: 4,
        ..PoolSnapshot::default()
    };
    ProxySnapshot {
        version: SNAPSHOT_VERSION,
        at_unix_ms,
        uptime_ms: 60_000,
        pid: 77,
        listen: Vec::new(),
        upstream: "localhost:5432".to_owned(),
        clients: ClientCounts::default(),
        pools: vec![pool],
        holders,
        disconnects: Vec::new(),
        heap: None,
        fleet: None,
    }
}

/// A client that has been silent in a transaction for `ms`.
pub(crate) fn silent_holder(client_id: u64, client_addr: &str, ms: u64) -> Holder {
    Holder {
        client_id,
        database: "shop".to_owned(),
        user: "app".to_owned(),
        client_addr: client_addr.to_owned(),
        client_pid: None,
        application_name: "postgres.js".to_owned(),
        backend_pid: 900,
        state: HolderState::IdleInTransaction,
        held_ms: ms,
        state_ms: ms,
        last_statement: "select $1".to_owned(),
        pinned_by: Vec::new(),
    }
}
