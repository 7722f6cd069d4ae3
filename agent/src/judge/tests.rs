//! Whole rounds of readings, judged.

use super::*;
use stent_contract::{LeakClass, MemoryReading, Resource};

const START_MS: u64 = 1_700_000_000_000;

/// A target that grows by a megabyte a second.
fn leaking(second: u64) -> TargetReading {
    let memory = MemoryReading {
        rss_anon: 40_000_000 + second * 1_000_000,
        limit: Some(1_000_000_000),
        ..MemoryReading::default()
    };
    let reading = ProcessReading {
        at_unix_ms: START_MS + second * 1_000,
        pid: 7,
        command: "bun".to_owned(),
        started_unix_ms: START_MS,
        memory,
        ..ProcessReading::default()
    };
    let charged = memory.rss_anon;
    let reading = Some(reading);
    let (name, program) = ("api".to_owned(), "api".to_owned());
    TargetReading { name, program, charged, reading, ..TargetReading::default() }
}

fn at(unix_ms: u64) -> Moment {
    Moment { unix_ms, steady_ms: unix_ms }
}

#[test]
fn a_clock_set_by_a_day_in_the_middle_of_a_leak_changes_nothing_but_the_date() {
    const DAY_MS: u64 = 86_400_000;
    for set in [|ms: u64| ms + DAY_MS, |ms: u64| ms - DAY_MS] {
        let mut judge = Judge::new(Duration::from_secs(1));
        let mut last = None;
        for second in 0..300 {
            let steady_ms = START_MS + second * 1_000;
            let unix_ms = if second < 150 { steady_ms } else { set(steady_ms) };
            let mut target = leaking(second);
            target.reading.as_mut().unwrap().at_unix_ms = unix_ms;
            last = Some(judge.judge(Moment { unix_ms, steady_ms }, vec![target], None));
        }
        let verdict = last.unwrap().targets.remove(0).memory.unwrap();
        assert_eq!(verdict.level, VerdictLevel::Leak);
        assert_eq!(verdict.at_unix_ms, set(START_MS + 299_000));
        assert!((3.4e9..3.8e9).contains(&verdict.growth_per_hour), "{verdict:?}");
    }
}

#[test]
fn counters_that_go_back_are_a_new_beginning_and_no_traffic_of_their_own() {
    let mut judge = Judge::new(Duration::from_secs(1));
    let mut last = None;
    for second in 0..300 {
        let now = START_MS + second * 1_000;
        let mut proxy = crate::sample::tests::proxy_snapshot(now, Vec::new());
        // The proxy is restarted again and again.
        proxy.pools[0].totals.transactions = (second % 50) * 100;
        let mut target = leaking(second);
        let reading = target.reading.as_mut().unwrap();
        reading.cpu_seconds = Some(50.0 - (second % 7) as f64);
        reading.memory.oom_kills = Some(9 - second % 9);
        last = Some(judge.judge(at(now), vec![target], Some(&proxy)));
    }
    let verdict = last.unwrap().targets.remove(0).memory.unwrap();
    assert_eq!(verdict.level, VerdictLevel::Leak);
    let each = verdict.evidence.iter().find(|e| e.key == "bytes_per_transaction");
    // 100 transactions a second of a megabyte.
    assert!(each.is_none_or(|each| (9e3..2e4).contains(&each.value)), "{each:?}");
}

#[test]
fn each_target_has_its_own_verdict_and_only_the_leaking_one_a_diagnosis() {
    let mut judge = Judge::new(Duration::from_secs(1));
    let mut last = None;
    for second in 0..300 {
        let absent = TargetReading { name: "worker".to_owned(), ..TargetReading::default() };
        let round = vec![absent, leaking(second)];
        last = Some(judge.judge(at(START_MS + second * 1_000), round, None));
    }
    let judged = last.unwrap();
    let levels: Vec<_> = judged
        .targets
        .iter()
        .map(|target| (target.name.as_str(), target.memory.as_ref().unwrap().level))
        .collect();
    assert_eq!(levels, [("worker", VerdictLevel::Healthy), ("api", VerdictLevel::Leak)]);
    assert_eq!(judged.diagnoses.len(), 1);
    assert_eq!(judged.diagnoses[0].verdict.resource, Resource::Memory);
    assert!(judged.diagnoses[0].summary.starts_with("'api' leaks memory: 3.60 GB/h"));
}

#[test]
fn the_worst_diagnosis_comes_first_and_transactions_are_the_traffic() {
    let mut judge = Judge::new(Duration::from_secs(1));
    let mut last = None;
    for second in 0..300 {
        let now = START_MS + second * 1_000;
        // In the end one transaction is silent for seven seconds: a suspect beside the leak.
        let silence = (second > 292).then(|| (second - 292) * 1_000);
        let holder = silence.map(|ms| crate::sample::tests::silent_holder(1, "unix", ms));
        let holders = holder.into_iter().collect();
        let mut proxy = crate::sample::tests::proxy_snapshot(now, holders);
        proxy.pools[0].totals.transactions = second * 100;
        last = Some(judge.judge(at(now), vec![leaking(second)], Some(&proxy)));
    }
    let judged = last.unwrap();
    let levels: Vec<_> = judged.diagnoses.iter().map(|d| d.verdict.level).collect();
    assert_eq!(levels, [VerdictLevel::Leak, VerdictLevel::Suspect]);
    let keys: Vec<_> =
        judged.diagnoses[0].verdict.evidence.iter().map(|e| e.key.as_str()).collect();
    assert!(keys.contains(&"bytes_per_transaction"), "{keys:?}");
}

#[test]
fn descriptors_that_are_never_closed_are_a_leak_with_the_way_to_their_limit() {
    let mut judge = Judge::new(Duration::from_secs(1));
    let mut last = None;
    for second in 0..250 {
        let mut target = leaking(0);
        let reading = target.reading.as_mut().unwrap();
        reading.at_unix_ms = START_MS + second * 1_000;
        reading.file_descriptors = Some(30 + 3 * second as u32);
        reading.threads = Some(12);
        target.descriptors_max = Some(1_024);
        last = Some(judge.judge(at(START_MS + second * 1_000), vec![target], None));
    }
    let judged = last.unwrap();
    let target = &judged.targets[0];
    let (descriptors, threads) = (target.descriptors.as_ref(), target.threads.as_ref());
    let descriptors = descriptors.unwrap();
    assert_eq!(descriptors.resource, Resource::Descriptors);
    assert_eq!(
        (descriptors.level, descriptors.class),
        (VerdictLevel::Leak, LeakClass::DescriptorLeak)
    );
    let left = descriptors.seconds_to_limit.unwrap();
    assert!((60.0..110.0).contains(&left), "82 s are left: {left}");
    assert_eq!(threads.unwrap().level, VerdictLevel::Healthy);
    let said: Vec<_> = judged.diagnoses.iter().map(|d| d.summary.as_str()).collect();
    assert!(said[0].starts_with("'api' leaks descriptors: 10"), "{said:?}");
    assert_eq!(said.len(), 1);
}

/// A target that fills to 240 MB in 200 seconds and stays there, in each of its lives of 600 seconds;
/// the last verdict of the second life but for its level: each level above healthy that was said in it.
fn second_life(revisions: [&str; 2]) -> (Vec<VerdictLevel>, Verdict) {
    let mut judge = Judge::new(Duration::from_secs(1));
    let mut worst = Vec::new();
    let mut last = None;
    for (life, revision) in (0_u64..).zip(revisions) {
        for second in 0..(if life == 0 { 600 } else { 180 }) {
            let mut target = leaking(second.min(200));
            let reading = target.reading.as_mut().unwrap();
            reading.pid = 7 + life as u32;
            reading.started_unix_ms = START_MS + life * 600_000;
            reading.revision = Some(revision.to_owned());
            let now = START_MS + (life * 600 + second) * 1_000;
            let verdict = judge.judge(at(now), vec![target], None).targets.remove(0).memory;
            if life == 1 && verdict.as_ref().unwrap().level > VerdictLevel::Healthy {
                worst.push(verdict.as_ref().unwrap().level);
            }
            last = verdict;
        }
    }
    (worst, last.unwrap())
}

#[test]
fn where_the_revision_before_settled_is_known_of_the_next_and_said_to_be_its() {
    let keys = |verdict: &Verdict| {
        verdict.evidence.iter().map(|evidence| evidence.key.clone()).collect::<Vec<_>>()
    };
    let (worst, verdict) = second_life(["orders:41", "orders:42"]);
    assert_eq!(worst, []);
    assert!(keys(&verdict).contains(&"previous_revision_bytes".to_owned()), "{verdict:?}");
    let (worst, verdict) = second_life(["orders:42", "orders:42"]);
    assert_eq!(worst, []);
    assert!(keys(&verdict).contains(&"known_plateau_bytes".to_owned()), "{verdict:?}");
}

#[test]
fn a_revision_that_is_not_known_for_a_while_is_no_other_one() {
    let mut judge = Judge::new(Duration::from_secs(1));
    let mut levels = Vec::new();
    for second in 0..300 {
        let mut target = leaking(second);
        // The task metadata endpoint does not answer each time.
        let revision = (second % 3 != 0).then(|| "orders:42".to_owned());
        target.reading.as_mut().unwrap().revision = revision;
        let judged = judge.judge(at(START_MS + second * 1_000), vec![target], None);
        levels.push(judged.targets[0].memory.as_ref().unwrap().level);
    }
    assert_eq!(levels.last(), Some(&VerdictLevel::Leak));
}

/// Three processes that are started together, of which the first leaks 450 kB a second: after how many
/// seconds it is called a leak, and what is said then.
fn one_of_three(programs: [&str; 3]) -> (u64, Verdict) {
    let mut judge = Judge::new(Duration::from_secs(1));
    for second in 0_u64..900 {
        let round = programs.into_iter().zip(0_u32..).map(|(program, number)| {
            let mut target = leaking(0);
            let leaked = if number == 0 { second * 450_000 } else { 0 };
            // What each reading is off by differs from process to process.
            let off = (second * 7_919 + u64::from(number) * 104_729) % 1_000 * 2_000;
            let reading = target.reading.as_mut().unwrap();
            reading.at_unix_ms = START_MS + second * 1_000;
            reading.pid = 7 + number;
            reading.cpu_seconds = Some(second as f64 / 10.0);
            reading.memory.rss_anon = 60_000_000 + off + leaked;
            target.charged = reading.memory.rss_anon;
            target.name = format!("api-{number}");
            target.program = program.to_owned();
            target
        });
        let judged = judge.judge(at(START_MS + second * 1_000), round.collect(), None);
        let levels = judged.targets.iter().map(|target| target.memory.as_ref().unwrap().level);
        assert!(levels.skip(1).all(|level| level < VerdictLevel::Leak), "second {second}");
        let verdict = judged.targets[0].memory.as_ref().unwrap();
        if verdict.level == VerdictLevel::Leak {
            return (second, verdict.clone());
        }
    }
    panic!("never called a leak");
}

#[test]
fn growth_of_one_is_found_sooner_where_its_siblings_stay_flat_and_the_evidence_says_so() {
    let flat = |verdict: &Verdict| {
        verdict.evidence.iter().find(|one| one.key == "siblings_flat").map(|one| one.text.clone())
    };
    let (alone_after, alone) = one_of_three(["api", "worker", "mailer"]);
    let (after, verdict) = one_of_three(["api"; 3]);
    assert_eq!(flat(&alone), None, "they are other programs");
    assert_eq!(
        flat(&verdict).as_deref(),
        Some("2 siblings at the same age stayed flat at the same time")
    );
    assert!(after < alone_after, "{after} s beside siblings, {alone_after} s alone");
}
