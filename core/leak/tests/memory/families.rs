//! The memory detector on families of series whose answer is known.

use super::common::{Family, HOUR, MB, START_MS, family, noise, saturating, saw};
use stent_contract::{LeakClass, VerdictLevel};

/// Seeds of every family: fixed, so that a failure can be run again, and printed with it.
const SEEDS: [u64; 2] = [1, 4_000];

fn healthy_families() -> Vec<Family> {
    let mut diurnal = family("live set that follows the load of the day", 10, 72.0, |t, r| {
        200.0 * MB + 0.8 * MB * day(t) + noise(r, 3.0 * MB)
    });
    diurnal.rate = Some(Box::new(day));
    let mut ramp = family("load that doubles for good", 1, 1.0, |t, r| {
        100.0 * MB + 1.0 * MB * doubling(t) + noise(r, 2.0 * MB)
    });
    ramp.rate = Some(Box::new(doubling));
    vec![
        family("flat", 1, 2.0, |_, r| 120.0 * MB + noise(r, 4.0 * MB)),
        family("flat over days", 30, 120.0, |_, r| 300.0 * MB + noise(r, 20.0 * MB)),
        family("short teeth", 1, 2.0, |t, r| {
            100.0 * MB + saw(t, 9.0, 30.0 * MB) + noise(r, 2.0 * MB)
        }),
        family("teeth of minutes", 1, 3.0, |t, r| {
            100.0 * MB + saw(t, 240.0, 60.0 * MB) + noise(r, 2.0 * MB)
        }),
        family("teeth of two hours", 10, 48.0, |t, r| {
            150.0 * MB + saw(t, 2.0 * HOUR, 120.0 * MB) + noise(r, 3.0 * MB)
        }),
        family("warm-up of seconds", 1, 0.5, |t, r| {
            40.0 * MB + saturating(t, 8.0, 80.0 * MB) + noise(r, 2.0 * MB)
        }),
        family("warm-up of half an hour", 1, 3.0, |t, r| {
            80.0 * MB + saturating(t, 0.5 * HOUR, 120.0 * MB) + noise(r, 2.0 * MB)
        }),
        family("cache that fills to its bound", 10, 48.0, |t, r| {
            150.0 * MB + saturating(t, 4.0 * HOUR, 150.0 * MB) + noise(r, 3.0 * MB)
        }),
        family("one step", 1, 2.0, |t, r| {
            let step = if t > 1_800.0 { 150.0 * MB } else { 0.0 };
            100.0 * MB + step + noise(r, 3.0 * MB)
        }),
        family("nightly batch", 30, 120.0, |t, r| {
            let batch = if t.rem_euclid(24.0 * HOUR) < 1_800.0 { 400.0 * MB } else { 0.0 };
            200.0 * MB + batch + noise(r, 5.0 * MB)
        }),
        diurnal,
        ramp,
    ]
}

/// Requests a second: a sine of one day.
fn day(t: f64) -> f64 {
    100.0 + 80.0 * (t / (24.0 * HOUR) * std::f64::consts::TAU).sin()
}

/// Requests a second: doubles within five minutes, half an hour after the start.
fn doubling(t: f64) -> f64 {
    100.0 + 100.0 * ((t - 1_800.0) / 300.0).clamp(0.0, 1.0)
}

/// A leaking family: when it begins to leak, and by when `leak` must stand. Seconds.
struct Leaking {
    family: Family,
    onset_s: f64,
    within_s: f64,
}

fn leaking(family: Family, onset_s: f64, within_s: f64) -> Leaking {
    Leaking { family, onset_s, within_s }
}

fn leaking_families() -> Vec<Leaking> {
    let after = |t: f64, onset: f64| (t - onset).max(0.0);
    let mut per_request = family("a kilobyte a request", 1, 2.0, |t, r| {
        100.0 * MB + 100.0 * 1_000.0 * t + noise(r, 2.0 * MB)
    });
    per_request.rate = Some(Box::new(|_| 100.0));
    vec![
        leaking(
            family("1 MB/s in a small process", 1, 0.2, move |t, r| {
                30.0 * MB + 1.0 * MB * after(t, 60.0) + noise(r, 2.0 * MB)
            }),
            60.0,
            300.0,
        ),
        leaking(
            family("1 MB/s in a process of 100 MB", 1, 0.2, move |t, r| {
                100.0 * MB + 1.0 * MB * after(t, 60.0) + noise(r, 2.0 * MB)
            }),
            60.0,
            420.0,
        ),
        leaking(per_request, 0.0, 0.7 * HOUR),
        leaking(
            family("60 MB/h", 1, 8.0, |t, r| {
                100.0 * MB + 60.0 * MB * t / HOUR + noise(r, 3.0 * MB)
            }),
            0.0,
            6.0 * HOUR,
        ),
        leaking(
            family("60 MB/h under teeth of 60 MB", 1, 8.0, |t, r| {
                let teeth = saw(t, 240.0, 60.0 * MB);
                100.0 * MB + 60.0 * MB * t / HOUR + teeth + noise(r, 2.0 * MB)
            }),
            0.0,
            6.0 * HOUR,
        ),
        leaking(
            family("3 MB/h", 30, 96.0, |t, r| {
                200.0 * MB + 3.0 * MB * t / HOUR + noise(r, 4.0 * MB)
            }),
            0.0,
            90.0 * HOUR,
        ),
        leaking(
            family("1 MB/h", 60, 240.0, |t, r| {
                200.0 * MB + 1.0 * MB * t / HOUR + noise(r, 2.0 * MB)
            }),
            0.0,
            230.0 * HOUR,
        ),
        leaking(
            family("a step of 10 MB each five minutes", 1, 6.0, |t, r| {
                100.0 * MB + (t / 300.0).floor() * 10.0 * MB + noise(r, 2.0 * MB)
            }),
            0.0,
            4.0 * HOUR,
        ),
    ]
}

#[test]
fn no_healthy_family_is_ever_called_a_leak_and_each_ends_healthy() {
    for family in healthy_families() {
        for seed in SEEDS {
            let detector = family.run(seed, |t, verdict| {
                assert!(
                    verdict.level < VerdictLevel::Leak,
                    "{}, seed {seed}, second {t}: {verdict:#?}",
                    family.name
                );
            });
            let verdict = detector.verdict(START_MS + family.length_s * 1_000);
            assert_eq!(
                verdict.level,
                VerdictLevel::Healthy,
                "{}, seed {seed}: {verdict:#?}",
                family.name
            );
            assert_eq!(verdict.growth_per_hour, 0.0, "{}, seed {seed}", family.name);
        }
    }
}

#[test]
fn each_leaking_family_is_called_a_leak_in_time_and_not_before_it_leaks() {
    for case in leaking_families() {
        for seed in SEEDS {
            let mut found = None;
            case.family.run(seed, |t, verdict| {
                if verdict.level == VerdictLevel::Leak && found.is_none() {
                    assert_eq!(verdict.class, LeakClass::Leak);
                    found = Some(t);
                }
            });
            let name = case.family.name;
            let found = found.unwrap_or_else(|| panic!("{name}, seed {seed}: never found"));
            eprintln!("{name}, seed {seed}: leak after {} s", found - case.onset_s);
            assert!(found > case.onset_s, "{name}, seed {seed}: before its onset, at {found} s");
            assert!(
                found <= case.onset_s + case.within_s,
                "{name}, seed {seed}: only after {} s",
                found - case.onset_s
            );
        }
    }
}

#[test]
fn the_forecast_holds_the_true_time_to_the_limit() {
    for seed in SEEDS {
        let leak = family("60 MB/h", 1, 7.0, |t, r| {
            100.0 * MB + 60.0 * MB * t / HOUR + noise(r, 3.0 * MB)
        });
        let detector = leak.run(seed, |_, _| {});
        let verdict = detector.verdict(START_MS + leak.length_s * 1_000);
        let truth = (1_000.0 - 100.0 - 60.0 * 7.0) / 60.0 * HOUR;
        let forecast = verdict.seconds_to_limit.unwrap();
        let (early, late) = verdict.seconds_to_limit_range.unwrap();
        assert!((forecast / truth - 1.0).abs() < 0.1, "seed {seed}: {forecast} for {truth}");
        assert!(early < truth && truth < late, "seed {seed}: {truth} not in {early}..{late}");
        let rate = verdict.growth_per_hour / MB;
        assert!((55.0..65.0).contains(&rate), "seed {seed}: {rate} MB/h");
    }
}
