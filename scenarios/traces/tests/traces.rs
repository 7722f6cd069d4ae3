//! What the traces promise: the same seed gives the same trace, and labels are true.

use stent_traces::{FAMILIES, Truth};

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    for family in FAMILIES {
        let (first, again) = (family.trace(7), family.trace(7));
        assert_eq!(first.rows, again.rows, "{}", family.name);
        assert_ne!(first.rows, family.trace(8).rows, "{}", family.name);
    }
}

#[test]
fn no_healthy_trace_reaches_its_limit_and_each_leak_has_its_end_after_its_onset() {
    for (family, seed) in FAMILIES.iter().flat_map(|family| (0..3).map(move |seed| (family, seed)))
    {
        let trace = family.trace(seed);
        match trace.truth {
            Truth::Healthy => {
                let over = trace.rows.iter().find(|row| row.rss >= row.limit);
                assert_eq!(over, None, "{}, seed {seed}", family.name);
            }
            Truth::Leak { onset_s, end_s, .. } => {
                assert!(end_s > onset_s + 60.0, "{}, seed {seed}: {:?}", family.name, trace.truth);
            }
        }
        assert!(trace.rows.len() >= 200, "{}, seed {seed}: {}", family.name, trace.rows.len());
    }
}

#[test]
fn rows_are_in_order_and_a_new_life_counts_its_requests_afresh() {
    for family in FAMILIES {
        for pair in family.trace(3).rows.windows(2) {
            assert!(pair[1].t_s > pair[0].t_s, "{}: {pair:?}", family.name);
            let fell = pair[0].requests > pair[1].requests;
            assert_eq!(fell, pair[0].requests.is_some() && pair[0].life != pair[1].life);
        }
    }
}
