//! Everything that is wrong at a moment, joined and ranked.

use stent_contract::attribution::{Attribution, AttributionMeans, Frame};
use stent_contract::snapshot::{ClientCounts, Disconnect, SNAPSHOT_VERSION};
use stent_contract::{
    Cause, CauseKind, Diagnosis, Explanation, LeakClass, PoolSnapshot, PostgresReading,
    ProcessReading, ProxySnapshot, Resource, TargetSnapshot, Verdict, VerdictLevel,
};
use stent_leak::{Surroundings, explain_all};

const NOW_MS: u64 = 1_700_000_000_000;

fn diagnosis(resource: Resource, target: &str, confidence: f64) -> Diagnosis {
    let verdict = Verdict {
        at_unix_ms: NOW_MS,
        target: target.to_owned(),
        resource,
        level: VerdictLevel::Leak,
        class: LeakClass::Leak,
        confidence,
        growth_per_hour: 5e7,
        seconds_to_limit: None,
        seconds_to_limit_range: None,
        evidence: Vec::new(),
    };
    let cause = Cause { text: "cause".to_owned(), confidence, next_step: format!("mend {target}") };
    let summary = format!("{target} leaks");
    Diagnosis { verdict, summary, causes: vec![cause], holders: Vec::new() }
}

fn proxy(pool: PoolSnapshot, disconnects: Vec<Disconnect>) -> ProxySnapshot {
    ProxySnapshot {
        version: SNAPSHOT_VERSION,
        at_unix_ms: NOW_MS,
        uptime_ms: 60_000,
        pid: 77,
        listen: Vec::new(),
        upstream: "localhost:5432".to_owned(),
        clients: ClientCounts::default(),
        pools: vec![pool],
        holders: Vec::new(),
        disconnects,
        heap: None,
        fleet: None,
    }
}

fn pool(clients_waiting: u32) -> PoolSnapshot {
    PoolSnapshot {
        database: "shop".to_owned(),
        user: "app".to_owned(),
        size_max: 4,
        servers_active: 4,
        clients_waiting,
        maxwait_ms: 3_000,
        ..PoolSnapshot::default()
    }
}

fn kinds(explanation: &Explanation) -> Vec<CauseKind> {
    explanation.causes.iter().map(|cause| cause.kind).collect()
}

#[test]
fn nothing_wrong_has_no_explanation() {
    assert_eq!(explain_all(&Surroundings::default()), None);
    let proxy = proxy(pool(0), Vec::new());
    let quiet =
        Surroundings { proxy: Some(&proxy), now_unix_ms: NOW_MS, ..Surroundings::default() };
    assert_eq!(explain_all(&quiet), None);
}

#[test]
fn forgotten_transactions_come_before_the_queue_the_locks_and_the_memory_that_follow_from_them() {
    let diagnoses = [
        diagnosis(Resource::Memory, "api", 0.97),
        diagnosis(Resource::Connections, "shop/app", 0.95),
    ];
    let proxy = proxy(pool(6), Vec::new());
    let postgres = PostgresReading {
        blocked: Some(2),
        idle_in_transaction_max_ms: 90_000,
        idle_in_transaction_pid: 4711,
        ..PostgresReading::default()
    };
    let of = Surroundings {
        now_unix_ms: NOW_MS,
        diagnoses: &diagnoses,
        targets: &[],
        proxy: Some(&proxy),
        postgres: Some(&postgres),
    };
    let explanation = explain_all(&of).unwrap();
    use CauseKind::{ForgottenTransactions, Locks, MemoryGrowth};
    assert_eq!(kinds(&explanation), [ForgottenTransactions, Locks, MemoryGrowth]);
    let first = &explanation.causes[0];
    assert_eq!(
        first.text,
        "shop/app leaks; what follows: 6 clients waiting, 2 statements waiting for locks, memory that \
         grows with the requests that wait"
    );
    assert_eq!(first.next_step, "mend shop/app");
    assert!(explanation.summary.ends_with("(and 2 causes less likely)"), "{}", explanation.summary);
    assert!(explanation.causes[1].next_step.contains("pid = 4711"));
    assert_eq!(explain_all(&of), Some(explanation), "the same facts, the same text");
}

#[test]
fn descriptors_and_threads_that_pile_up_stand_beside_memory() {
    let diagnoses = [
        diagnosis(Resource::Threads, "api", 0.91),
        diagnosis(Resource::Descriptors, "api", 0.99),
        diagnosis(Resource::Memory, "api", 0.95),
    ];
    let of = Surroundings { now_unix_ms: NOW_MS, diagnoses: &diagnoses, ..Surroundings::default() };
    let explanation = explain_all(&of).unwrap();
    use CauseKind::{HandleGrowth, MemoryGrowth};
    assert_eq!(kinds(&explanation), [HandleGrowth, MemoryGrowth, HandleGrowth]);
    assert!(explanation.causes.iter().all(|cause| cause.next_step == "mend api"));
}

#[test]
fn growth_whose_place_is_known_is_not_put_down_to_the_queue() {
    let diagnoses = [
        diagnosis(Resource::Memory, "api", 0.97),
        diagnosis(Resource::Connections, "shop/app", 0.95),
    ];
    let frame = Frame {
        function: "rememberSession".to_owned(),
        file: "src/sessions.js".to_owned(),
        line: Some(5),
        bytes: 4_000_000,
        share: 0.8,
        via: Vec::new(),
    };
    let attribution = Attribution {
        at_unix_ms: NOW_MS,
        means: AttributionMeans::V8Sampling,
        frames: vec![frame],
        windows: 3,
        lasted_ms: 45_000,
        largest_pause_ms: 90,
        cpu_seconds: None,
        note: String::new(),
    };
    let reading = ProcessReading { started_unix_ms: NOW_MS - 600_000, ..ProcessReading::default() };
    let target = TargetSnapshot {
        name: "api".to_owned(),
        reading: Some(reading),
        memory: None,
        attribution: Some(attribution),
        descriptors: None,
        threads: None,
        rejuvenations: None,
    };
    let proxy = proxy(pool(6), Vec::new());
    let of = Surroundings {
        now_unix_ms: NOW_MS,
        diagnoses: &diagnoses,
        targets: &[target],
        proxy: Some(&proxy),
        postgres: None,
    };
    let explanation = explain_all(&of).unwrap();
    let first = &explanation.causes[0];
    assert_eq!((first.kind, first.confidence), (CauseKind::MemoryGrowth, 0.97));
    assert_eq!(
        first.text,
        "api leaks; 80 % of it is kept by rememberSession (src/sessions.js:5); it started 10 min ago, \
         perhaps of another build"
    );
    assert!(first.next_step.contains("rememberSession"));
}

#[test]
fn descriptors_that_grow_are_a_cause_of_their_own() {
    let diagnoses = [diagnosis(Resource::Descriptors, "api", 0.9)];
    let of = Surroundings { diagnoses: &diagnoses, now_unix_ms: NOW_MS, ..Surroundings::default() };
    let explanation = explain_all(&of).unwrap();
    assert_eq!(kinds(&explanation), [CauseKind::HandleGrowth]);
    assert_eq!(explanation.summary, "api leaks");
}

#[test]
fn a_queue_without_a_finding_is_a_pool_that_is_too_small_unless_it_is_paused_or_cannot_open() {
    let explain = |pool: PoolSnapshot| {
        let proxy = proxy(pool, Vec::new());
        let of =
            Surroundings { proxy: Some(&proxy), now_unix_ms: NOW_MS, ..Surroundings::default() };
        explain_all(&of).map(|explanation| kinds(&explanation))
    };
    assert_eq!(explain(pool(3)), Some(vec![CauseKind::PoolTooSmall]));
    assert_eq!(explain(PoolSnapshot { paused: true, ..pool(3) }), None);
    assert_eq!(explain(PoolSnapshot { servers_active: 2, ..pool(3) }), None);
    let refused = Some("password authentication failed".to_owned());
    let away = PoolSnapshot { connect_error: refused, ..pool(3) };
    assert_eq!(explain(away), Some(vec![CauseKind::DatabaseAway]));
}

#[test]
fn servers_lost_within_a_minute_are_one_event_and_older_ones_are_none() {
    let lost = |age_ms: u64| Disconnect {
        at_unix_ms: NOW_MS - age_ms,
        side: "server".to_owned(),
        cause: "server_lost".to_owned(),
        database: "shop".to_owned(),
        user: "app".to_owned(),
        who: "4711".to_owned(),
        age_ms: 9,
        detail: "terminating connection due to administrator command".to_owned(),
    };
    let explain = |ends: Vec<Disconnect>| {
        let proxy = proxy(pool(0), ends);
        let of =
            Surroundings { proxy: Some(&proxy), now_unix_ms: NOW_MS, ..Surroundings::default() };
        explain_all(&of).map(|explanation| explanation.summary)
    };
    assert_eq!(explain(vec![lost(1), lost(2), lost(70_000)]), None);
    assert_eq!(
        explain(vec![lost(1), lost(2), lost(3)]).as_deref(),
        Some(
            "3 server connections lost within a minute: terminating connection due to administrator \
             command"
        )
    );
}
