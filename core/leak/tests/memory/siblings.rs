//! Processes of one program side by side: what one shows is a control for the others.

use std::time::Duration;

use super::common::{HOUR, MB, START_MS, noise, saw};
use stent_contract::{Verdict, VerdictLevel};
use stent_leak::{MemoryDetector, MemorySample, MemorySettings};

const STEP_S: u64 = 60;
const LIMIT: f64 = 2_000.0 * MB;

/// A process: when it is started, hours, and its memory at an hour of the group, by its age in hours.
struct Process {
    born_h: f64,
    memory: Box<dyn Fn(f64, f64) -> f64>,
    /// Requests a second; `None`: they are not counted.
    rate: Option<u64>,
}

fn process(born_h: f64, memory: impl Fn(f64, f64) -> f64 + 'static) -> Process {
    Process { born_h, memory: Box::new(memory), rate: None }
}

/// Whether processes are judged beside each other.
#[derive(Clone, Copy, PartialEq)]
enum Control {
    Alone,
    Beside,
}

/// What was said first of one process at each level.
#[derive(Default)]
struct Said {
    suspect_h: Option<f64>,
    leak_h: Option<f64>,
    /// Keys of all evidence that was given.
    keys: std::collections::BTreeSet<String>,
}

impl Said {
    fn hear(&mut self, hour: f64, verdict: &Verdict) {
        if verdict.level >= VerdictLevel::Suspect {
            self.suspect_h.get_or_insert(hour);
        }
        if verdict.level == VerdictLevel::Leak {
            self.leak_h.get_or_insert(hour);
        }
        self.keys.extend(verdict.evidence.iter().map(|one| one.key.clone()));
    }
}

/// Watches all of them for some hours.
fn watch(processes: &[Process], hours: f64, seed: u64, control: Control) -> Vec<Said> {
    let mut random = fastrand::Rng::with_seed(seed);
    let settings = MemorySettings::every(Duration::from_secs(STEP_S));
    let mut detectors: Vec<_> =
        processes.iter().map(|_| MemoryDetector::new("api", settings.clone())).collect();
    let mut said: Vec<Said> = processes.iter().map(|_| Said::default()).collect();
    for second in (0..(hours * HOUR) as u64).step_by(STEP_S as usize) {
        let hour = second as f64 / HOUR;
        let at_unix_ms = START_MS + second * 1_000;
        for (index, process) in processes.iter().enumerate().filter(|(_, it)| hour >= it.born_h) {
            let born_s = (process.born_h * HOUR) as u64;
            let memory = (process.memory)(hour, hour - process.born_h);
            let anon = (memory + noise(&mut random, 4.0 * MB)) as u64;
            let sample = MemorySample {
                at_unix_ms,
                pid: 7 + index as u32,
                started_unix_ms: START_MS + born_s * 1_000,
                anon,
                charged: anon,
                limit: Some(LIMIT as u64),
                heap: None,
                transactions: process.rate.map(|rate| rate * (second - born_s)),
            };
            let (before, rest) = detectors.split_at_mut(index);
            let (own, after) = rest.split_first_mut().expect("the index is one of theirs");
            let siblings: Vec<_> = match control {
                Control::Alone => Vec::new(),
                Control::Beside => before.iter().chain(after.iter()).collect(),
            };
            own.observe_beside(&sample, &siblings);
            if second.is_multiple_of(10 * STEP_S) {
                said[index].hear(hour, &own.verdict(at_unix_ms));
            }
        }
    }
    said
}

/// Fills evenly by 500 MB in 12 hours.
fn fills(_: f64, age_h: f64) -> f64 {
    300.0 * MB + 500.0 * MB * (age_h / 12.0).min(1.0)
}

#[test]
fn what_an_older_sibling_has_filled_is_the_way_there_for_a_younger_one() {
    let mut alone_suspected = 0;
    for seed in 0..4 {
        let group = || [process(0.0, fills), process(16.0, fills)];
        alone_suspected +=
            usize::from(watch(&group(), 40.0, seed, Control::Alone)[1].suspect_h.is_some());
        let beside = &watch(&group(), 40.0, seed, Control::Beside)[1];
        assert_eq!((beside.suspect_h, beside.leak_h), (None, None), "seed {seed}");
        assert!(beside.keys.contains("sibling_plateau_bytes"), "seed {seed}: {:?}", beside.keys);
    }
    assert!(alone_suspected > 0, "alone it is suspected: the control has something to explain");
}

/// Each day from the third hour on it fills evenly for five hours, and gives it back at once.
fn daily_job(hour: f64, age_h: f64) -> f64 {
    let since = (hour - 3.0).rem_euclid(24.0);
    let begun_alive = age_h >= since && hour >= 3.0;
    300.0 * MB + if begun_alive && since < 6.0 { 600.0 * MB * (since / 5.0).min(1.0) } else { 0.0 }
}

#[test]
fn what_all_siblings_did_before_at_the_same_time_and_gave_back_is_a_job() {
    let mut alone_suspected = 0;
    for seed in 0..4 {
        let group = || [process(0.0, daily_job), process(0.5, daily_job), process(14.0, daily_job)];
        alone_suspected +=
            usize::from(watch(&group(), 40.0, seed, Control::Alone)[2].suspect_h.is_some());
        let beside = &watch(&group(), 40.0, seed, Control::Beside)[2];
        assert_eq!((beside.suspect_h, beside.leak_h), (None, None), "seed {seed}");
        assert!(beside.keys.contains("siblings_came_back"), "seed {seed}: {:?}", beside.keys);
    }
    assert!(alone_suspected > 0, "alone it is suspected: the control has something to explain");
}

fn leaks(_: f64, age_h: f64) -> f64 {
    300.0 * MB + 40.0 * MB * age_h
}

#[test]
fn growth_of_all_in_step_without_an_end_stays_a_leak_of_each() {
    for seed in 0..4 {
        for apart_h in [0.0, 5.0] {
            let group =
                [process(0.0, leaks), process(apart_h, leaks), process(2.0 * apart_h, leaks)];
            for (number, said) in watch(&group, 40.0, seed, Control::Beside).iter().enumerate() {
                assert!(said.leak_h.is_some(), "seed {seed}, {apart_h} h apart, number {number}");
                assert!(!said.keys.contains("siblings_flat"), "none is flat");
            }
        }
    }
}

#[test]
fn growth_of_one_alone_is_a_leak_sooner_and_siblings_are_named_only_where_they_do_the_same_work() {
    let flat = |_, _| 300.0 * MB;
    let group = |rates: [u64; 3]| {
        let mut group = [process(0.0, leaks), process(0.0, flat), process(0.0, flat)];
        for (process, rate) in group.iter_mut().zip(rates) {
            process.rate = Some(rate);
        }
        group
    };
    let mut gained_h = 0.0;
    for seed in 0..4 {
        let alone = watch(&group([50; 3]), 40.0, seed, Control::Alone)[0].leak_h.unwrap();
        let beside = watch(&group([50; 3]), 40.0, seed, Control::Beside);
        assert!(beside[0].keys.contains("siblings_flat"), "seed {seed}");
        assert!(beside[1..].iter().all(|said| said.suspect_h.is_none()), "seed {seed}");
        let sooner = alone - beside[0].leak_h.unwrap();
        assert!(sooner >= 0.0, "seed {seed}: {sooner} h");
        gained_h += sooner;
        let idle = &watch(&group([50, 10, 0]), 40.0, seed, Control::Beside)[0];
        assert!(!idle.keys.contains("siblings_flat"), "seed {seed}: idle ones are no control");
        assert_eq!(idle.leak_h, Some(alone), "seed {seed}");
    }
    assert!(gained_h > 0.0, "the control says something");
}

#[test]
fn a_sibling_that_collects_in_teeth_of_hours_shows_how_high_they_get() {
    let teeth = |phase: f64| {
        move |_: f64, age_h: f64| 300.0 * MB + saw((age_h + phase) * HOUR, 10.0 * HOUR, 400.0 * MB)
    };
    for seed in 0..4 {
        let group = [process(0.0, teeth(0.0)), process(12.0, teeth(0.0))];
        let beside = &watch(&group, 40.0, seed, Control::Beside)[1];
        assert_eq!((beside.suspect_h, beside.leak_h), (None, None), "seed {seed}");
    }
}

#[test]
fn siblings_take_up_no_memory_of_their_own() {
    let settings = MemorySettings::every(Duration::from_secs(1));
    let mut detectors = [0, 1].map(|_| MemoryDetector::new("api", settings.clone()));
    let fresh = detectors[0].footprint();
    for second in 0..2_000_u64 {
        let sample = MemorySample {
            at_unix_ms: START_MS + second * 1_000,
            pid: 7,
            started_unix_ms: START_MS,
            anon: 50_000_000 + second * 100_000,
            ..MemorySample::default()
        };
        let [own, other] = &mut detectors;
        own.observe_beside(&sample, &[other]);
        other.observe_beside(&sample, &[own]);
    }
    assert_eq!(detectors[0].footprint(), fresh);
    assert!(fresh <= 64 * 1024, "a target's week in 64 KiB: {fresh}");
}
