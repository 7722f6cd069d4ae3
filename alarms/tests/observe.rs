//! The observer: snapshots in, alarms out, with time sped up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;
use std::time::Duration;

use stent_alarms::observe::Observer;
use stent_contract::alarm::ALARMS;
use stent_contract::reading::PostgresConnections;
use stent_contract::snapshot::{ClientCounts, TargetSnapshot};
use stent_contract::{
    AgentSnapshot, LeakClass, MemoryReading, PoolSnapshot, PostgresReading, ProcessReading,
    ProxySnapshot, Resource, Snapshot, Verdict, VerdictLevel,
};

/// A minute is two seconds, and a snapshot comes every second.
const SPEED: NonZeroU32 = NonZeroU32::new(30).unwrap();

fn healthy(second: u64) -> Snapshot {
    let at_unix_ms = second * 1_000;
    let pool = PoolSnapshot {
        database: "shop".to_owned(),
        user: "api".to_owned(),
        size_max: 4,
        servers_active: 2,
        servers_idle: 2,
        ..PoolSnapshot::default()
    };
    let proxy = ProxySnapshot {
        version: 1,
        at_unix_ms,
        uptime_ms: at_unix_ms,
        pid: 10,
        listen: Vec::new(),
        upstream: String::new(),
        clients: ClientCounts::default(),
        pools: vec![pool],
        holders: Vec::new(),
        disconnects: Vec::new(),
        heap: None,
        fleet: None,
    };
    let connections = PostgresConnections { count: 12, ..PostgresConnections::default() };
    let postgres = PostgresReading {
        max_connections: 50,
        connections: vec![connections],
        ..PostgresReading::default()
    };
    let memory = MemoryReading { oom_kills: Some(3), ..MemoryReading::default() };
    let target = TargetSnapshot {
        name: "bun".to_owned(),
        reading: Some(ProcessReading { memory, ..ProcessReading::default() }),
        memory: Some(verdict(Resource::Memory, VerdictLevel::Healthy)),
        attribution: None,
        descriptors: None,
        threads: None,
        rejuvenations: None,
    };
    let agent = AgentSnapshot {
        set_aside: None,
        version: 1,
        at_unix_ms,
        uptime_ms: at_unix_ms,
        pid: 11,
        proxy_reachable: true,
        targets: vec![target],
        connections: vec![verdict(Resource::Connections, VerdictLevel::Healthy)],
        diagnoses: Vec::new(),
        explanation: None,
        task: None,
        postgres: Some(postgres),
        heap: None,
        skipped: Vec::new(),
    };
    Snapshot { proxy: Some(proxy), agent: Some(agent) }
}

fn verdict(resource: Resource, level: VerdictLevel) -> Verdict {
    Verdict {
        at_unix_ms: 0,
        target: "bun".to_owned(),
        resource,
        level,
        class: LeakClass::None,
        confidence: 0.9,
        growth_per_hour: 0.0,
        seconds_to_limit: None,
        seconds_to_limit_range: None,
        evidence: Vec::new(),
    }
}

fn pool(snapshot: &mut Snapshot) -> &mut PoolSnapshot {
    &mut snapshot.proxy.as_mut().unwrap().pools[0]
}

fn agent(snapshot: &mut Snapshot) -> &mut AgentSnapshot {
    snapshot.agent.as_mut().unwrap()
}

/// Ten healthy seconds, then `trouble` for thirty; the names of what fires at the end.
fn firing_after(trouble: impl Fn(u64, &mut Snapshot)) -> Vec<&'static str> {
    let mut observer = Observer::new(SPEED);
    for second in 0..40 {
        let mut snapshot = healthy(second);
        if second >= 10 {
            trouble(second, &mut snapshot);
        }
        observer.observe(Duration::from_secs(second), &snapshot);
        if second < 10 {
            assert!(observer.firing().is_empty(), "{:?}", observer.firing());
        }
    }
    observer.firing().iter().map(|firing| firing.alarm.name).collect()
}

#[test]
fn a_healthy_service_sets_off_nothing() {
    assert!(firing_after(|_, _| {}).is_empty());
}

type Trouble = fn(u64, &mut Snapshot);

/// A trouble for each alarm, and all that it sets off.
const TROUBLES: &[(Trouble, &[&str])] = &[
    (|_, now| pool(now).maxwait_ms = 2_500, &["StentClientWaitLong"]),
    (|second, now| pool(now).totals.timeouts = second, &["StentClientWaitTimeouts"]),
    (|_, now| pool(now).connect_error = Some(String::new()), &["StentServerConnectFailing"]),
    (|_, now| pool(now).servers_active = 4, &["StentPoolSaturated"]),
    (|_, now| pool(now).idle_in_transaction_max_ms = 31_000, &["StentIdleInTransactionHeld"]),
    (|_, now| agent(now).connections[0].level = VerdictLevel::Leak, &["StentConnectionLeak"]),
    (
        |_, now| agent(now).targets[0].memory.as_mut().unwrap().level = VerdictLevel::Leak,
        &["StentMemoryLeak"],
    ),
    (
        |_, now| {
            agent(now).targets[0].memory.as_mut().unwrap().seconds_to_limit = Some(600.0);
        },
        &["StentMemoryLimitNear"],
    ),
    (
        |second, now| {
            let reading = agent(now).targets[0].reading.as_mut().unwrap();
            reading.memory.oom_kills = Some(second);
        },
        &["StentOomKill"],
    ),
    (|second, now| agent(now).targets[0].rejuvenations = Some(second), &["StentRejuvenated"]),
    (
        |_, now| agent(now).postgres.as_mut().unwrap().connections[0].count = 43,
        &["StentPostgresConnectionsNearMax"],
    ),
    (|_, now| agent(now).postgres = None, &["StentPostgresUnreachable"]),
    (|_, now| now.proxy = None, &["StentProxyDown"]),
    (|_, now| now.agent = None, &["StentAgentSilent"]),
    (|_, now| agent(now).at_unix_ms = 9_000, &["StentAgentSilent"]),
];

#[test]
fn each_trouble_sets_off_its_alarm_and_no_other() {
    for (trouble, expected) in TROUBLES {
        assert_eq!(firing_after(trouble), *expected);
    }
    for alarm in ALARMS {
        let seen = TROUBLES.iter().any(|(_, expected)| expected.contains(&alarm.name));
        assert!(seen, "{} has no trouble here", alarm.name);
    }
}

#[test]
fn an_alarm_that_is_over_is_remembered_as_having_fired() {
    let mut observer = Observer::new(SPEED);
    for second in 0..60 {
        let mut snapshot = healthy(second);
        if (10..25).contains(&second) {
            pool(&mut snapshot).maxwait_ms = 2_500;
        }
        observer.observe(Duration::from_secs(second), &snapshot);
    }
    assert!(observer.firing().is_empty());
    let fired: Vec<_> = observer.fired().iter().map(|alarm| alarm.name).collect();
    assert_eq!(fired, ["StentClientWaitLong"]);
}

#[test]
fn a_component_that_was_never_seen_is_not_missed() {
    let mut observer = Observer::new(SPEED);
    for second in 0..40 {
        observer.observe(Duration::from_secs(second), &Snapshot::default());
    }
    assert!(observer.firing().is_empty());
}

#[test]
fn a_firing_alarm_tells_its_severity_its_trouble_and_the_figure() {
    let mut observer = Observer::new(SPEED);
    for second in 0..20 {
        let mut snapshot = healthy(second);
        pool(&mut snapshot).maxwait_ms = 2_500;
        observer.observe(Duration::from_secs(second), &snapshot);
    }
    let line = observer.firing()[0].to_string();
    assert!(line.starts_with("StentClientWaitLong (critical): Clients wait more than"), "{line}");
    assert!(line.ends_with("[stent_client_maxwait_seconds = 2.50]"), "{line}");
}

#[test]
fn a_long_gap_between_snapshots_is_silence_and_ends_in_bounded_time() {
    let mut observer = Observer::new(SPEED);
    for second in [0, 1, 2, 3, 1_000_000_000] {
        observer.observe(Duration::from_secs(second), &healthy(second));
    }
    let firing: Vec<_> = observer.firing().iter().map(|firing| firing.alarm.name).collect();
    assert_eq!(firing, ["StentProxyDown", "StentAgentSilent"]);
}
