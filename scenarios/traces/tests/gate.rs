//! The detector's quality on a few seeds must not get worse.
//!
//! The full table is in docs/leaks.md; this is a fast part of it on seeds of its own. The margins
//! are what so few traces vary by.

use stent_traces::{CountScore, report};

/// Seeds that nothing was tuned on.
const SEEDS: std::ops::Range<u64> = 500..504;

#[test]
fn precision_recall_point_of_detection_forecasts_and_calm_stay_what_they_are() {
    let stent = report::stent(SEEDS);
    let (leak, suspect) = (&stent.leak, stent.suspect.all());
    let all = leak.all();
    println!("seeds {SEEDS:?}\n{}", report::table(std::slice::from_ref(leak)));
    println!("{}", report::calibration(leak));
    println!("{}", report::changes(&stent));
    assert!(all.precision() >= 0.88, "precision {}", all.precision());
    assert!(leak.recall() >= 0.88, "recall {}", leak.recall());
    assert!(all.way(0.5).is_some_and(|way| way <= 0.48), "way {:?}", all.way(0.5));
    assert!(all.error(0.5).is_some_and(|error| error <= 0.12), "error {:?}", all.error(0.5));
    assert!(suspect.precision() >= 0.8, "precision of suspect {}", suspect.precision());
    let (traces, _, falls) = stent.changes[0];
    assert!(falls <= traces, "a verdict flickers: {falls} taken back in {traces} leaks");
    let (earlier, inside, later) = all.calibration();
    let share = inside as f64 / (earlier + inside + later) as f64;
    assert!((0.6..=0.95).contains(&share), "{share} of the intervals contain the truth");
}

#[test]
fn descriptors_and_threads_that_pile_up_are_told_from_pools_that_fill() {
    let score = CountScore::of(SEEDS);
    println!("seeds {SEEDS:?}\n{}", score.text());
    let all = score.all();
    assert!(all.precision() >= 0.85, "precision {}", all.precision());
    assert!(score.recall() >= 0.85, "recall {}", score.recall());
    assert!(all.way(0.5).is_some_and(|way| way <= 0.5), "way {:?}", all.way(0.5));
}
