//! The detector's quality on a few seeds must not get worse.
//!
//! The full table is in docs/leaks.md; this is a fast part of it on seeds of its own. The margins
//! are what so few traces vary by.

use stent_traces::report;

/// Seeds that nothing was tuned on.
const SEEDS: std::ops::Range<u64> = 500..504;

#[test]
fn precision_recall_point_of_detection_and_forecasts_stay_what_they_are() {
    let leak = report::stent(SEEDS).leak;
    let all = leak.all();
    println!("seeds {SEEDS:?}\n{}", report::table(std::slice::from_ref(&leak)));
    println!("{}", report::calibration(&leak));
    assert!(all.precision() >= 0.88, "precision {}", all.precision());
    assert!(leak.recall() >= 0.88, "recall {}", leak.recall());
    assert!(all.way(0.5).is_some_and(|way| way <= 0.48), "way {:?}", all.way(0.5));
    assert!(all.error(0.5).is_some_and(|error| error <= 0.12), "error {:?}", all.error(0.5));
    let (earlier, inside, later) = all.calibration();
    let share = inside as f64 / (earlier + inside + later) as f64;
    assert!((0.6..=0.95).contains(&share), "{share} of the intervals contain the truth");
}
