//! Leaks that a restart every 20 minutes hides.

use std::time::Duration;

use super::common::{MB, START_MS, noise};
use stent_contract::VerdictLevel;
use stent_leak::{MemoryDetector, MemorySample, MemorySettings};

const LIFE_S: u64 = 1_200;
const STEP_S: u64 = 10;
const LIMIT: f64 = 2_000.0 * MB;

/// The number of the first life, from 1, in which a leak is called, of `lives` lives of 20 minutes
/// that are `memory` at an age in seconds.
fn found_in(
    seed: u64,
    lives: u64,
    memory: impl Fn(u64, f64, &mut fastrand::Rng) -> f64,
) -> Option<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let settings = MemorySettings::every(Duration::from_secs(STEP_S));
    let mut detector = MemoryDetector::new("api", settings);
    for life in 0..lives {
        for age in (0..LIFE_S).step_by(STEP_S as usize) {
            let at_unix_ms = START_MS + (life * LIFE_S + age) * 1_000;
            let anon = memory(life, age as f64, &mut random) as u64;
            detector.observe(&MemorySample {
                at_unix_ms,
                pid: 100 + life as u32,
                started_unix_ms: START_MS + life * LIFE_S * 1_000,
                anon,
                charged: anon,
                limit: Some(LIMIT as u64),
                heap: None,
                transactions: None,
            });
            if detector.level(at_unix_ms) == VerdictLevel::Leak {
                return Some(life + 1);
            }
        }
    }
    None
}

/// A process of 300 MB that has started up in a minute or so, with noise of up to 6 MB to each side.
fn started(age: f64, random: &mut fastrand::Rng) -> f64 {
    300.0 * MB - 60.0 * MB * (-age / 40.0).exp() + noise(random, 6.0 * MB)
}

#[test]
fn a_leak_that_a_restart_every_20_minutes_hides_is_found_by_the_third_life() {
    for megabytes_a_life in [50.0, 70.0, 100.0, 140.0, 200.0] {
        for seed in 0..10 {
            let found = found_in(seed, 4, |_, age, random| {
                started(age, random) + megabytes_a_life * MB * age / LIFE_S as f64
            });
            assert!(
                matches!(found, Some(2..=3)),
                "{megabytes_a_life} MB a life, seed {seed}: in life {found:?}"
            );
        }
    }
}

#[test]
fn growth_that_one_life_hardly_shows_is_found_in_what_lives_have_in_common() {
    for seed in 0..10 {
        let leak = |_, age: f64, random: &mut fastrand::Rng| {
            started(age, random) + noise(random, 12.0 * MB) + 24.0 * MB * age / LIFE_S as f64
        };
        let found = found_in(seed, 12, leak);
        assert!(found.is_some_and(|life| life >= 3), "seed {seed}: in life {found:?}");
    }
}

#[test]
fn what_fills_anew_after_each_restart_and_slows_down_is_no_leak() {
    for tau in [60.0, 150.0, 300.0, 450.0] {
        for seed in 0..5 {
            let found = found_in(seed, 18, |_, age, random| {
                started(age, random) + 120.0 * MB * (1.0 - (-age / tau).exp())
            });
            assert_eq!(found, None, "time constant {tau} s, seed {seed}");
        }
    }
}

#[test]
fn growth_of_one_life_after_flat_ones_is_not_that_of_all() {
    for seed in 0..5 {
        let found = found_in(seed, 6, |life, age, random| {
            let grows = if life == 5 { 30.0 * MB * age / LIFE_S as f64 } else { 0.0 };
            started(age, random) + grows
        });
        assert_eq!(found, None, "seed {seed}");
    }
}
