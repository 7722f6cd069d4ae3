//! What siblings are worth, on a few seeds: the full table is in docs/leaks.md.

use stent_traces::Truth;
use stent_traces::group_report::Control;
use stent_traces::groups::{GROUPS, Group};

/// Seeds that nothing was tuned on.
const SEEDS: std::ops::Range<u64> = 500..503;

fn group(name: &str) -> &'static Group {
    GROUPS.iter().find(|group| group.name == name).expect("it stands in the table")
}

#[test]
fn what_siblings_share_raises_fewer_false_suspicions_beside_them() {
    let [mut alone, mut beside] = [0, 0];
    for name in ["all_fill_caches", "all_have_long_teeth", "shared_job", "shared_job_each_day"] {
        let control = Control::of(group(name), SEEDS);
        let suspected = control.suspected.each_ref().map(stent_traces::Score::false_alarms);
        println!("{name}: {suspected:?} suspected falsely");
        assert!(control.beside.false_alarms() <= control.alone.false_alarms(), "{name}");
        alone += suspected[0];
        beside += suspected[1];
    }
    assert!(alone >= 8 && beside * 2 <= alone, "{beside} beside siblings, {alone} alone");
}

#[test]
fn leaks_of_all_and_of_one_are_found_beside_siblings_and_those_of_one_sooner() {
    for name in ["all_leak", "one_leaks", "one_leaks_late"] {
        let control = Control::of(group(name), SEEDS);
        let ways = [&control.alone, &control.beside].map(|score| score.way(0.5).expect("found"));
        println!("{name}: found at {ways:?} of the way");
        assert_eq!(control.beside.found(), control.leaks, "{name}");
        assert_eq!(control.beside.false_alarms(), 0, "{name}");
        assert!(ways[1] <= ways[0], "{name}: {ways:?}");
        assert!(name != "one_leaks" || ways[1] < ways[0], "{name}: {ways:?}");
    }
}

#[test]
fn a_group_is_the_same_for_the_same_seed_and_its_processes_differ_in_noise_and_share_the_limit() {
    for group in GROUPS {
        let (first, again) = (group.traces(7), group.traces(7));
        assert!(first.len() >= 2, "{}", group.name);
        assert!(first.iter().zip(&again).all(|(a, b)| a.rows == b.rows), "{}", group.name);
        assert_ne!(first[0].rows, first[1].rows, "{}", group.name);
        let limit = |trace: &stent_traces::Trace| trace.rows.first().map(|row| row.limit);
        assert_eq!(limit(&first[0]), limit(&first[1]), "{}", group.name);
    }
}

#[test]
fn healthy_processes_of_groups_never_reach_their_limit_and_one_that_leaks_has_an_end() {
    for (group, seed) in GROUPS.iter().flat_map(|group| (0..3).map(move |seed| (group, seed))) {
        for trace in group.traces(seed) {
            match trace.truth {
                Truth::Healthy => {
                    let over = trace.rows.iter().find(|row| row.rss >= row.limit);
                    assert_eq!(over, None, "{}, seed {seed}", group.name);
                }
                Truth::Leak { onset_s, end_s, .. } => {
                    assert!(end_s > onset_s + 60.0, "{}, seed {seed}", group.name);
                }
            }
        }
    }
}
