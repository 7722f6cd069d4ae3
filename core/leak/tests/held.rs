//! The detector of held connections and its explanations, fed with the proxy's snapshots.

use proptest::prelude::*;
use stent_contract::snapshot::{ClientCounts, Disconnect};
use stent_contract::{Holder, HolderState, LeakClass, PoolSnapshot, ProxySnapshot, VerdictLevel};
use stent_leak::{HeldDetector, HeldSettings, explain_connections};

const START_MS: u64 = 1_700_000_000_000;

fn holder(client: u64, state: HolderState, held_ms: u64, state_ms: u64) -> Holder {
    Holder {
        client_id: client,
        database: "shop".to_owned(),
        user: "app".to_owned(),
        client_addr: format!("127.0.0.1:{}", 4_710 + client),
        client_pid: Some(123),
        application_name: "postgres.js".to_owned(),
        backend_pid: 900 + client as u32,
        state,
        held_ms,
        state_ms,
        last_statement: "update orders set state = $1 where id = $2".to_owned(),
        pinned_by: Vec::new(),
    }
}

/// A holder that has been silent in its transaction for `ms`.
fn silent(client: u64, ms: u64) -> Holder {
    holder(client, HolderState::IdleInTransaction, ms + 10, ms)
}

fn snapshot(second: u64, size: u32, waiting: u32, holders: Vec<Holder>) -> ProxySnapshot {
    ProxySnapshot {
        version: 1,
        at_unix_ms: START_MS + second * 1_000,
        uptime_ms: second * 1_000,
        pid: 50,
        listen: Vec::new(),
        upstream: String::new(),
        clients: ClientCounts::default(),
        pools: vec![PoolSnapshot {
            database: "shop".to_owned(),
            user: "app".to_owned(),
            size_max: size,
            clients_waiting: waiting,
            maxwait_ms: u64::from(waiting) * 1_000,
            ..PoolSnapshot::default()
        }],
        holders,
        disconnects: Vec::new(),
        heap: None,
        fleet: None,
    }
}

fn detector() -> HeldDetector {
    HeldDetector::new(HeldSettings::default())
}

/// The level after a snapshot, at its own moment.
fn level(detector: &mut HeldDetector, snapshot: &ProxySnapshot) -> VerdictLevel {
    detector.observe(snapshot);
    detector.verdicts(snapshot.at_unix_ms)[0].level
}

#[test]
fn a_statement_that_runs_for_an_hour_is_no_leak() {
    let mut detector = detector();
    for second in 0..60 {
        let working = holder(1, HolderState::Active, second * 60_000, second * 60_000);
        let level = level(&mut detector, &snapshot(second, 1, 9, vec![working]));
        assert_eq!(level, VerdictLevel::Healthy);
    }
}

#[test]
fn a_transaction_that_keeps_talking_is_no_leak_however_long_it_is() {
    let mut detector = detector();
    for second in 0..7_200 {
        let pause = (second % 4) * 1_000;
        let talking = holder(1, HolderState::IdleInTransaction, second * 1_000, pause);
        let level = level(&mut detector, &snapshot(second, 4, 0, vec![talking]));
        assert_eq!(level, VerdictLevel::Healthy, "second {second}");
    }
}

#[test]
fn a_silent_session_without_a_transaction_is_not_judged() {
    let mut detector = detector();
    let idle = holder(1, HolderState::Idle, 9_000_000, 9_000_000);
    assert_eq!(level(&mut detector, &snapshot(1, 4, 0, vec![idle])), VerdictLevel::Healthy);
}

#[test]
fn one_silence_beyond_the_threshold_is_suspect_and_after_a_minute_a_leak() {
    let mut detector = detector();
    let mut seen = Vec::new();
    for second in [4u64, 5, 6, 59, 60] {
        let holders = vec![silent(1, second * 1_000)];
        seen.push(level(&mut detector, &snapshot(second, 20, 0, holders)));
    }
    use VerdictLevel::{Healthy, Leak, Suspect};
    assert_eq!(seen, [Healthy, Healthy, Suspect, Suspect, Leak]);
}

/// One transaction is forgotten every three seconds.
fn forgotten(second: u64) -> Vec<Holder> {
    (0..=second / 3).map(|n| silent(n + 1, (second - 3 * n) * 1_000)).collect()
}

#[test]
fn forgotten_transactions_that_add_up_are_a_leak_with_a_forecast() {
    let mut detector = detector();
    let found = (0..60)
        .find(|second| {
            level(&mut detector, &snapshot(*second, 20, 0, forgotten(*second)))
                == VerdictLevel::Leak
        })
        .expect("found within a minute");
    assert!(found <= 20, "only after {found} s");
    let verdict = &detector.verdicts(START_MS + found * 1_000)[0];
    assert_eq!((verdict.target.as_str(), verdict.class), ("shop/app", LeakClass::HeldTransaction));
    // The twentieth transaction is forgotten 57 seconds after the first.
    let truth = 57.0 - found as f64;
    let (early, late) = verdict.seconds_to_limit_range.unwrap();
    assert!(early <= truth && truth <= late, "{truth} s not in {early}..{late}");
    let hourly = verdict.growth_per_hour;
    assert!((600.0..2_400.0).contains(&hourly), "{hourly} an hour, truly 1200");
}

#[test]
fn a_pool_with_nothing_left_and_clients_waiting_is_a_leak_at_once() {
    let mut detector = detector();
    let holders: Vec<Holder> = (1..=4).map(|client| silent(client, 6_000)).collect();
    detector.observe(&snapshot(6, 4, 3, holders));
    let verdict = &detector.verdicts(START_MS + 6_000)[0];
    assert_eq!(verdict.level, VerdictLevel::Leak);
    assert_eq!(verdict.seconds_to_limit, Some(0.0));
}

#[test]
fn pauses_that_clients_end_themselves_raise_the_threshold_of_their_pool() {
    // Each transaction waits eight seconds for another service, then commits.
    let mut detector = detector();
    let mut after_learning = VerdictLevel::Healthy;
    for second in 0..400u64 {
        let holders = vec![silent(second / 9, (second % 9) * 1_000)];
        let level = level(&mut detector, &snapshot(second, 4, 0, holders));
        if second > 30 {
            after_learning = after_learning.max(level);
        }
    }
    assert_eq!(after_learning, VerdictLevel::Healthy);
}

#[test]
fn a_silence_that_a_disconnect_ended_teaches_nothing() {
    let mut detector = detector();
    for round in 0..20u64 {
        let mut gone = snapshot(round * 20 + 10, 4, 0, Vec::new());
        gone.disconnects = vec![Disconnect {
            at_unix_ms: gone.at_unix_ms - 500,
            side: "client".to_owned(),
            cause: "reset".to_owned(),
            database: "shop".to_owned(),
            user: "app".to_owned(),
            who: format!("127.0.0.1:{}", 4_710 + round),
            age_ms: 1,
            detail: String::new(),
        }];
        detector.observe(&snapshot(round * 20 + 9, 4, 0, vec![silent(round, 8_000)]));
        detector.observe(&gone);
    }
    let stuck = snapshot(900, 4, 0, vec![silent(99, 6_000)]);
    assert_eq!(level(&mut detector, &stuck), VerdictLevel::Suspect);
}

#[test]
fn released_transactions_withdraw_the_leak() {
    let mut detector = detector();
    for second in 0..40 {
        detector.observe(&snapshot(second, 20, 0, forgotten(second)));
    }
    assert_eq!(detector.verdicts(START_MS + 40_000)[0].level, VerdictLevel::Leak);
    assert_eq!(level(&mut detector, &snapshot(41, 20, 0, Vec::new())), VerdictLevel::Healthy);
    assert!(detector.stuck("shop/app").is_empty());
}

#[test]
fn a_proxy_that_no_longer_answers_leaves_no_claim_standing() {
    let mut detector = detector();
    for second in 0..40 {
        detector.observe(&snapshot(second, 20, 0, forgotten(second)));
    }
    let verdict = &detector.verdicts(START_MS + 80_000)[0];
    assert_eq!((verdict.level, verdict.confidence), (VerdictLevel::Healthy, 0.0));
}

#[test]
fn a_restarted_proxy_does_not_inherit_the_clients_of_the_last_one() {
    let mut detector = detector();
    detector.observe(&snapshot(100, 4, 0, vec![silent(1, 90_000)]));
    let mut restarted = snapshot(50, 4, 0, vec![silent(1, 10)]);
    restarted.pid = 51;
    assert_eq!(level(&mut detector, &restarted), VerdictLevel::Healthy);
}

#[test]
fn a_clock_that_is_set_back_does_not_blind_the_detector() {
    let mut detector = detector();
    detector.observe(&snapshot(10_000, 4, 0, Vec::new()));
    detector.observe(&snapshot(100, 4, 0, vec![silent(1, 9_000)]));
    assert_eq!(detector.verdicts(START_MS + 100_000)[0].level, VerdictLevel::Suspect);
}

#[test]
fn a_client_that_stands_twice_in_a_snapshot_counts_once() {
    let mut detector = detector();
    detector.observe(&snapshot(9, 4, 0, vec![silent(1, 9_000), silent(1, 9_000)]));
    assert_eq!(detector.stuck("shop/app").len(), 1);
}

#[test]
fn the_diagnosis_names_who_forgot_what_and_what_to_do() {
    let mut detector = detector();
    let mut holders: Vec<Holder> = (1..=3).map(|client| silent(client, 20_000)).collect();
    let mut failed = silent(7, 15_000);
    failed.state = HolderState::IdleInFailedTransaction;
    failed.client_pid = None;
    failed.application_name = String::new();
    failed.last_statement = "insert into audit values ($1)".to_owned();
    holders.push(failed);
    detector.observe(&snapshot(20, 4, 2, holders));
    let verdict = detector.verdicts(START_MS + 20_000).remove(0);
    let stuck = detector.stuck("shop/app");
    let census = detector.census("shop/app").unwrap();
    let diagnosis = explain_connections(&verdict, stuck, census).unwrap();
    assert_eq!(diagnosis.holders.len(), 4);
    let mut said = format!("{}\n", diagnosis.summary);
    for evidence in &diagnosis.verdict.evidence {
        said += &format!("- {}\n", evidence.text);
    }
    for cause in &diagnosis.causes {
        said += &format!("{:.2} {}\n     -> {}\n", cause.confidence, cause.text, cause.next_step);
    }
    expect_test::expect![[r#"
        pool shop/app leaks connections: 4 of 4 held by forgotten transactions, most by application 'postgres.js' (pid 123); none is left; 2 clients waiting
        - 4 server connections of 4 held in open transactions whose clients have not spoken for more than 5 s
        - the longest silence is 20 s
        - no client of this pool was seen to pause and go on
        - 2 clients queued for a connection, the first for 2 s
        - the pool has nothing left to lend
        0.73 3 transactions opened by application 'postgres.js' (pid 123) from 127.0.0.1:4711, 127.0.0.1:4712, 127.0.0.1:4713 never ended, the longest silent for 20 s; last statement: update orders set state = $1 where id = $2
             -> find the code that runs this statement last and then leaves without COMMIT or ROLLBACK: an early return, a thrown error, a missing await. To free the connections now: restart process 123, or run SELECT pg_terminate_backend(pid) for pid in (901, 902, 903)
        0.24 1 transaction opened by an application without application_name from 127.0.0.1:4717 never ended after a statement failed, the longest silent for 15 s; last statement: insert into audit values ($1)
             -> find where this statement's error is caught without ROLLBACK. To free the connections now: run SELECT pg_terminate_backend(pid) for pid in (907)
        0.01 the transactions are meant to pause this long (a person or another service is asked in the middle)
             -> do the slow part before BEGIN or after COMMIT: a paused transaction takes one of 4 servers of pool shop/app from everyone else, and keeps its locks
    "#]].assert_eq(&said);
}

#[test]
fn a_healthy_verdict_is_not_explained() {
    let mut detector = detector();
    detector.observe(&snapshot(1, 4, 0, Vec::new()));
    let verdict = detector.verdicts(START_MS + 1_000).remove(0);
    assert!(explain_connections(&verdict, Vec::new(), &PoolSnapshot::default()).is_none());
}

proptest! {
    #[test]
    fn no_sequence_of_snapshots_breaks_the_detector(
        rounds in prop::collection::vec(
            (any::<u64>(), 0..3u32, any::<u32>(),
             prop::collection::vec((0..9u64, 0..4u8, any::<u64>(), any::<u64>()), 0..12)),
            0..40)
    ) {
        let mut detector = detector();
        for (at_unix_ms, size, waiting, holders) in rounds {
            let holders = holders.into_iter().map(|(client, state, held, age)| {
                let state = match state {
                    0 => HolderState::Active,
                    1 => HolderState::Idle,
                    2 => HolderState::IdleInTransaction,
                    _ => HolderState::IdleInFailedTransaction,
                };
                holder(client, state, held, age)
            });
            let mut seen = snapshot(0, size, waiting, holders.collect());
            seen.at_unix_ms = at_unix_ms;
            detector.observe(&seen);
            for verdict in detector.verdicts(at_unix_ms) {
                prop_assert!((0.0..=1.0).contains(&verdict.confidence));
                let explained = explain_connections(
                    &verdict, detector.stuck(&verdict.target), &seen.pools[0]);
                prop_assert_eq!(explained.is_some(), verdict.level > VerdictLevel::Healthy);
            }
        }
    }
}
