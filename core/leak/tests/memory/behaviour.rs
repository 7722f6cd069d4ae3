//! The memory detector over restarts, silence, recorded processes and arbitrary input.

use std::time::Duration;

use super::common::{MB, START_MS, family, noise};
use proptest::prelude::*;
use stent_contract::{LeakClass, Verdict, VerdictLevel};
use stent_leak::{MemoryDetector, MemorySample, MemorySettings};

fn detector() -> MemoryDetector {
    MemoryDetector::new("api", MemorySettings::every(Duration::from_secs(1)))
}

/// A reading of the life that began at `started_s`.
fn sample(second: u64, started_s: u64, anon: f64) -> MemorySample {
    MemorySample {
        at_unix_ms: START_MS + second * 1_000,
        pid: 100 + started_s as u32,
        started_unix_ms: START_MS + started_s * 1_000,
        anon: anon as u64,
        charged: anon as u64,
        limit: Some(8_000_000_000),
        heap: None,
        transactions: None,
    }
}

/// Readings of a recorded process, with a verdict after each.
fn replay(trace: &str) -> Vec<(u64, Verdict)> {
    let mut detector = detector();
    let rows = trace.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    rows.map(|row| {
        let fields: Vec<u64> =
            row.split(',').map(|field| field.parse().expect("the trace holds numbers")).collect();
        let anon = (fields[1] + fields[2]) as f64 * 1_024.0;
        detector.observe(&sample(fields[0], 0, anon));
        (fields[0], detector.verdict(START_MS + fields[0] * 1_000))
    })
    .collect()
}

#[test]
fn a_recorded_healthy_bun_server_is_healthy_throughout() {
    for (second, verdict) in replay(include_str!("traces/bun_healthy.csv")) {
        assert_eq!(verdict.level, VerdictLevel::Healthy, "second {second}: {verdict:#?}");
    }
}

#[test]
fn a_recorded_leaking_bun_server_is_suspect_within_a_minute_and_in_the_end() {
    // The recording ends two minutes after the onset, at a fortieth of the way to the limit.
    let verdicts = replay(include_str!("traces/bun_leak.csv"));
    let found = verdicts.iter().position(|(_, v)| v.level >= VerdictLevel::Suspect).unwrap();
    assert!((31..=90).contains(&verdicts[found].0), "at second {}", verdicts[found].0);
    let (_, last) = verdicts.last().unwrap();
    assert_eq!((last.level, last.class), (VerdictLevel::Suspect, LeakClass::Leak), "{last:#?}");
    let rate = last.growth_per_hour / 3_600.0 / MB;
    assert!((1.3..2.3).contains(&rate), "{rate} MB/s");
    assert!(last.confidence > 0.9, "{last:#?}");
}

#[test]
fn a_restart_is_judged_afresh() {
    let mut detector = detector();
    for second in 0..300u64 {
        detector.observe(&sample(second, 0, 50.0 * MB + second as f64 * MB));
    }
    assert_eq!(detector.verdict(START_MS + 300_000).level, VerdictLevel::Leak);
    detector.observe(&sample(300, 300, 50.0 * MB));
    let verdict = detector.verdict(START_MS + 300_000);
    assert_eq!((verdict.level, verdict.growth_per_hour), (VerdictLevel::Healthy, 0.0));
}

#[test]
fn a_leak_that_restarts_keep_hiding_is_found_by_the_third_life() {
    // 0.25 MB/s for four minutes: no life alone proves it.
    let mut detector = detector();
    let mut worst = Vec::new();
    for life in 0..3u64 {
        let mut level = VerdictLevel::Healthy;
        for second in 0..240u64 {
            let now = life * 300 + second;
            detector.observe(&sample(now, life * 300, 50.0 * MB + second as f64 * 0.25 * MB));
            level = level.max(detector.verdict(START_MS + now * 1_000).level);
        }
        worst.push(level);
    }
    assert!(worst[0] < VerdictLevel::Leak && worst[2] == VerdictLevel::Leak, "{worst:?}");
}

#[test]
fn growth_towards_the_level_at_which_an_earlier_life_settled_is_its_way_there() {
    let mut detector = detector();
    for second in 0..400u64 {
        detector.observe(&sample(second, 0, 300.0 * MB));
    }
    for second in 400..600u64 {
        detector.observe(&sample(second, 400, 50.0 * MB + (second - 400) as f64 * MB));
        let verdict = detector.verdict(START_MS + second * 1_000);
        assert_eq!(verdict.level, VerdictLevel::Healthy, "second {second}: {verdict:#?}");
    }
}

/// The first second at which a leak of 0.4 MB/s from 60 MB on is found.
fn found_at(mut detector: MemoryDetector) -> u64 {
    let leaks = |second: u64| 60.0 * MB + second as f64 * 0.4 * MB;
    let found = (0..1_200u64).find(|second| {
        detector.observe(&sample(*second, 0, leaks(*second)));
        detector.level(START_MS + second * 1_000) == VerdictLevel::Leak
    });
    found.expect("it is found")
}

#[test]
fn growth_beyond_where_the_revision_before_settled_is_found_sooner() {
    let mut before = detector();
    for second in 0..1_500u64 {
        before.observe(&sample(second, 0, 62.0 * MB));
    }
    let baseline = before.into_baseline().expect("it settled");
    assert_eq!(baseline.settled_at, 62.0 * MB);
    let (alone, after) = (found_at(detector()), found_at(detector().after(&baseline)));
    assert!(after < alone, "second {after} with the baseline, {alone} without");
}

#[test]
fn growth_up_to_where_the_revision_before_settled_is_its_way_there() {
    let mut before = detector();
    for second in 0..400u64 {
        before.observe(&sample(second, 0, 300.0 * MB));
    }
    let mut detector = detector().after(&before.into_baseline().expect("it settled"));
    for second in 0..200u64 {
        detector.observe(&sample(second, 0, 50.0 * MB + second as f64 * MB));
        let verdict = detector.verdict(START_MS + second * 1_000);
        assert_eq!(verdict.level, VerdictLevel::Healthy, "second {second}: {verdict:#?}");
    }
}

#[test]
fn of_a_revision_that_follows_another_in_the_same_detector_growth_up_to_there_is_its_way() {
    let mut detector = detector();
    for second in 0..400u64 {
        detector.observe(&sample(second, 0, 300.0 * MB));
    }
    detector.change_revision();
    for second in 400..600u64 {
        detector.observe(&sample(second, 400, 50.0 * MB + (second - 400) as f64 * MB));
        let verdict = detector.verdict(START_MS + second * 1_000);
        assert_eq!(verdict.level, VerdictLevel::Healthy, "second {second}: {verdict:#?}");
    }
    let verdict = detector.verdict(START_MS + 599_000);
    let text = verdict.evidence.iter().find(|e| e.key == "previous_revision_bytes");
    let text = text.map(|evidence| evidence.text.as_str());
    assert_eq!(text, Some("the revision before settled at 300 MB: this is the way there"));
}

/// The worst level in each of three lives of five minutes that grow by 0.15 MB/s, with what is done
/// between them.
fn worst_of_three(between: impl Fn(&mut MemoryDetector)) -> Vec<VerdictLevel> {
    let mut detector = detector();
    let lives = (0..3u64).map(|life| {
        if life > 0 {
            between(&mut detector);
        }
        let began = life * 300;
        let levels = (began..began + 290).map(|second| {
            let grown = (second - began) as f64 * 0.15 * MB;
            detector.observe(&sample(second, began, 40.0 * MB + grown));
            detector.level(START_MS + second * 1_000)
        });
        levels.max().expect("it was looked at")
    });
    lives.collect()
}

#[test]
fn growth_of_the_revision_before_is_not_held_against_this_one() {
    let restarts = worst_of_three(|_| {});
    let revisions = worst_of_three(MemoryDetector::change_revision);
    assert!(restarts[2] > restarts[0], "restarts of one revision add up: {restarts:?}");
    assert_eq!(revisions, [restarts[0]; 3], "those of three revisions do not");
}

#[test]
fn a_revision_that_grew_to_its_end_is_no_baseline() {
    let mut before = detector();
    for second in 0..300u64 {
        before.observe(&sample(second, 0, 50.0 * MB + second as f64 * MB));
    }
    assert_eq!(before.into_baseline(), None);
}

#[test]
fn memory_that_is_given_back_withdraws_the_leak_at_once() {
    let mut detector = detector();
    for second in 0..350u64 {
        let grown = second.saturating_sub(60) as f64 * MB;
        detector.observe(&sample(second, 0, 50.0 * MB + grown));
    }
    assert_eq!(detector.verdict(START_MS + 350_000).level, VerdictLevel::Leak);
    for second in 350..352u64 {
        detector.observe(&sample(second, 0, 55.0 * MB));
    }
    assert!(detector.verdict(START_MS + 352_000).level < VerdictLevel::Leak);
}

#[test]
fn a_leak_that_stops_growing_is_withdrawn_within_two_windows() {
    let mut detector = detector();
    for second in 0..600u64 {
        let grown = second.clamp(60, 150) as f64 * MB;
        detector.observe(&sample(second, 0, 50.0 * MB + grown));
    }
    let verdict = detector.verdict(START_MS + 600_000);
    assert_eq!(verdict.level, VerdictLevel::Healthy, "{verdict:#?}");
}

#[test]
fn a_week_of_readings_takes_up_no_more_than_64_kib() {
    let mut detector = detector();
    let before = detector.footprint();
    for minute in 0..7 * 24 * 60_u64 {
        detector.observe(&sample(minute * 60, 0, 50.0 * MB + minute as f64 * 10_000.0));
    }
    assert_eq!(detector.footprint(), before);
    assert!(before <= 64 * 1024, "{before} bytes");
}

#[test]
fn without_readings_nothing_is_claimed() {
    let mut detector = detector();
    assert_eq!(detector.verdict(START_MS).confidence, 0.0);
    for second in 0..200u64 {
        detector.observe(&sample(second, 0, 50.0 * MB + second as f64 * MB));
    }
    let verdict = detector.verdict(START_MS + 400_000);
    assert_eq!((verdict.level, verdict.confidence), (VerdictLevel::Healthy, 0.0));
    assert_eq!(verdict.evidence[0].text, "no reading for 3 min");
}

#[test]
fn a_frozen_hour_raises_no_alarm_when_readings_come_back() {
    let flat = |random: &mut fastrand::Rng| 80.0 * MB + noise(random, 2.0 * MB);
    let mut random = fastrand::Rng::with_seed(5);
    let mut detector = detector();
    for second in (0..300u64).chain(3_900..4_400) {
        let level = if second < 3_900 { 0.0 } else { 90.0 * MB };
        detector.observe(&sample(second, 0, flat(&mut random) + level));
        let verdict = detector.verdict(START_MS + second * 1_000);
        assert_eq!(verdict.level, VerdictLevel::Healthy, "second {second}: {verdict:#?}");
    }
}

#[test]
fn the_same_series_gives_the_same_text() {
    let leak = family("leak", 1, 0.05, |t, r| 40.0 * MB + t * MB + noise(r, 2.0 * MB));
    let said = || {
        let detector = leak.run(9, |_, _| {});
        let verdict = detector.verdict(START_MS + 180_000);
        let lines: Vec<String> =
            verdict.evidence.iter().map(|e| format!("{}: {}", e.key, e.text)).collect();
        format!("{:?} {:.2}\n{}\n", verdict.level, verdict.confidence, lines.join("\n"))
    };
    assert_eq!(said(), said());
    expect_test::expect![[r#"
        Leak 0.98
        floor_growth_bytes: the floor of anonymous memory rose by 172 MB in 3 min (3.59 GB/h), from 40.0 MB to 212 MB
        shape_odds: it grows in a straight line: over 1000 times as likely as anything that will stop
        drawdown_bytes: the deepest fall in between was 0 B
        leak_probability: neither warm-up, plateau nor load explains it, and it was watched long enough
        seconds_to_limit: at this rate the limit, 1.00 GB of anonymous memory, is reached in 13 min
    "#]].assert_eq(&said());
}

proptest! {
    #[test]
    fn bounded_noise_is_healthy(
        seed in any::<u64>(),
        level_mb in 10.0..2_000.0f64,
        share in 0.0..0.3f64,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut detector = detector();
        for second in 0..400u64 {
            let anon = level_mb * MB * (1.0 + noise(&mut random, share));
            detector.observe(&sample(second, 0, anon));
            let verdict = detector.verdict(START_MS + second * 1_000);
            prop_assert_eq!(verdict.level, VerdictLevel::Healthy, "second {}", second);
        }
    }

    #[test]
    fn no_sequence_of_readings_breaks_the_detector(
        readings in prop::collection::vec(
            (any::<u64>(), 0..3u32, any::<u64>(), any::<u64>(), any::<Option<u64>>()), 0..200)
    ) {
        let mut detector = detector();
        for (at_unix_ms, pid, anon, charged, other) in readings {
            detector.observe(&MemorySample {
                at_unix_ms, pid, started_unix_ms: u64::from(pid), anon, charged,
                limit: other, heap: other, transactions: other,
            });
            let verdict = detector.verdict(at_unix_ms);
            prop_assert!((0.0..=1.0).contains(&verdict.confidence));
            prop_assert!(verdict.growth_per_hour.is_finite());
        }
    }
}
