//! What the tests of this crate begin with: a configuration, a round, a pool.
//!
//! Invariant: every value is fixed, so that a page made of it can be compared to the byte.

use std::path::PathBuf;
use std::time::Duration;

use stent_contract::snapshot::{
    ClientCounts, HeapSnapshot, PoolTotals, SNAPSHOT_VERSION, TargetSnapshot,
};
use stent_contract::{
    AgentSnapshot, DescriptorKinds, LeakClass, MemoryPressure, MemoryReading, PoolSnapshot,
    PressureReading, ProcessReading, ProxySnapshot, Resource, Skipped, SocketCounts, Verdict,
    VerdictLevel,
};

use crate::config::Config;
use crate::sample::Round;

/// The moment of [`round`].
pub(crate) const AT_UNIX_MS: u64 = 1_700_000_000_000;

/// Watches nothing and publishes nowhere.
pub(crate) fn config() -> Config {
    Config {
        targets: Vec::new(),
        sample_interval: Duration::from_secs(1),
        proxy_admin: None,
        admin: None,
        postgres: None,
        postgres_interval: Duration::from_secs(10),
        root: PathBuf::from("/"),
        cloudwatch: None,
        emf: None,
        memory_limit: None,
        heap_metrics: Vec::new(),
        build_variable: None,
        ecs_metadata: None,
        attribution: crate::config::Attribution::Off,
        sibling_drain: Duration::ZERO,
    }
}

/// A round that saw one healthy target, `api`, and no proxy.
pub(crate) fn round() -> Round {
    let memory = MemoryReading {
        rss_anon: 100 << 20,
        rss_file: 20 << 20,
        rss_shmem: 0,
        pss: Some(110 << 20),
        swap: 0,
        cgroup_usage: Some(130 << 20),
        cgroup_anon: Some(100 << 20),
        cgroup_swap: Some(0),
        limit: Some(512 << 20),
        oom_kills: Some(0),
    };
    let reading = ProcessReading {
        at_unix_ms: AT_UNIX_MS,
        pid: 42,
        command: "bun".to_owned(),
        started_unix_ms: AT_UNIX_MS - 3_600_000,
        revision: Some("orders:42".to_owned()),
        memory,
        file_descriptors: Some(37),
        threads: Some(11),
        cpu_seconds: Some(12.34),
        heap: Some(7_340_032),
        requests: None,
        descriptor_kinds: Some(DescriptorKinds {
            files: 12,
            sockets: 20,
            pipes: 2,
            events: 3,
            others: 0,
        }),
        sockets: Some(SocketCounts { in_use: 31, orphaned: 1, time_wait: 7 }),
        pressure: Some(PressureReading {
            some: MemoryPressure { share: 0.25, total_seconds: 3.5 },
            full: MemoryPressure { share: 0.125, total_seconds: 1.25 },
        }),
    };
    let target = TargetSnapshot {
        name: "api".to_owned(),
        reading: Some(reading),
        memory: Some(verdict("api", Resource::Memory)),
        attribution: None,
        descriptors: None,
        threads: None,
        rejuvenations: None,
    };
    let snapshot = AgentSnapshot {
        set_aside: None,
        version: SNAPSHOT_VERSION,
        at_unix_ms: AT_UNIX_MS,
        uptime_ms: 60_000,
        pid: 41,
        proxy_reachable: false,
        targets: vec![target],
        connections: Vec::new(),
        diagnoses: Vec::new(),
        explanation: None,
        task: None,
        postgres: None,
        heap: Some(HeapSnapshot { allocated: 1 << 20, active: 2 << 20, resident: 4 << 20 }),
        skipped: vec![Skipped {
            target: "api".to_owned(),
            source: "pss".to_owned(),
            reason: "unreadable".to_owned(),
            count: 3,
        }],
    };
    Round { snapshot, proxy: None, attaches: None }
}

/// A healthy verdict.
pub(crate) fn verdict(target: &str, resource: Resource) -> Verdict {
    Verdict {
        at_unix_ms: AT_UNIX_MS,
        target: target.to_owned(),
        resource,
        level: VerdictLevel::Healthy,
        class: LeakClass::None,
        confidence: 0.9,
        growth_per_hour: 0.0,
        seconds_to_limit: None,
        seconds_to_limit_range: None,
        evidence: Vec::new(),
    }
}

/// A proxy with these pools, older than the agent.
pub(crate) fn proxy(pools: Vec<PoolSnapshot>) -> ProxySnapshot {
    ProxySnapshot {
        version: SNAPSHOT_VERSION,
        at_unix_ms: AT_UNIX_MS,
        uptime_ms: 3_600_000,
        pid: 1,
        listen: vec!["127.0.0.1:6432".to_owned()],
        upstream: "db:5432".to_owned(),
        clients: ClientCounts { login: 0, idle: 5, active: 2, waiting: 1, max: 100 },
        pools,
        holders: Vec::new(),
        disconnects: Vec::new(),
        heap: None,
        fleet: None,
    }
}

/// A pool of four servers, three of them held.
pub(crate) fn pool(database: &str, user: &str) -> PoolSnapshot {
    PoolSnapshot {
        database: database.to_owned(),
        user: user.to_owned(),
        pool_mode: "transaction".to_owned(),
        size_max: 4,
        servers_active: 2,
        servers_idle_in_transaction: 1,
        servers_idle: 1,
        totals: PoolTotals { transactions: 10, ..PoolTotals::default() },
        ..PoolSnapshot::default()
    }
}
