//! The pools against a model too plain to be wrong: whatever happens in whatever order, each
//! decision was allowed, and none was missing.
//!
//! The model (`model.rs`, `judge.rs`) is told the same events and judges the decisions one by one; it shares
//! no code with the pools and looks everything up by walking plain lists.

#![expect(clippy::unwrap_used, reason = "a test may stop where it is surprised")]

mod classes;
mod judge;
mod model;
mod run;
mod sizes;

use proptest::prelude::*;

use crate::run::{Op, Setting, Sizes, run};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Proptest prints the setting and the events of a failure, cut down to the shortest.
    #[test]
    fn every_decision_is_allowed_and_none_is_missing(
        setting in setting(),
        ops in prop::collection::vec(op(), 1..250),
    ) {
        run(&setting, &ops);
    }

    #[test]
    fn equal_seeds_and_events_give_equal_decisions(
        setting in setting(),
        ops in prop::collection::vec(op(), 1..100),
    ) {
        prop_assert_eq!(run(&setting, &ops), run(&setting, &ops));
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    let parts = (sizes(), any::<u64>(), 1..4_u64, 0..4_u8);
    parts.prop_map(|(sizes, seed, homes, kind)| Setting { sizes, seed, homes, kind })
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let caps = (prop::option::of(1..6_u32), prop::option::of(1..7_u32), prop::option::of(1..5_u32));
    let own = (1..5_u32, prop_oneof![Just(0), 1..3_u32], 0..3_u32);
    let some =
        || (prop::option::of(1..4_u32), prop::option::of(0..3_u32), prop::option::of(0..3_u32));
    let others = (0..3_u8, some(), some());
    let parts = (own, caps, prop::option::of(1..5_u32), 1..4_u32, 0..3_u8, others);
    parts.prop_map(|(own, caps, server_max_uses, opening_max, classes, others)| Sizes {
        pool_size: own.0,
        reserve_pool_size: own.1,
        min_pool_size: own.2,
        max_db_connections: caps.0,
        max_server_connections: caps.1,
        max_user_connections: caps.2,
        server_max_uses,
        opening_max,
        classes,
        own: others,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..5_u8).prop_map(|pool| Op::Acquire { pool }),
        2 => any::<u8>().prop_map(|which| Op::Withdraw { which }),
        6 => any::<u8>().prop_map(|which| Op::Opened { which }),
        2 => (any::<u8>(), 0..4_u8).prop_map(|(which, kind)| Op::OpenFailed { which, kind }),
        4 => (any::<u8>(), 0..4_u8).prop_map(|(which, luck)| Op::Probed { which, luck }),
        8 => (any::<u8>(), 0..8_u8).prop_map(|(which, luck)| Op::Release { which, luck }),
        1 => any::<u8>().prop_map(|which| Op::Lost { which }),
        5 => any::<u8>().prop_map(|which| Op::Closed { which }),
        1 => (0..5_u8).prop_map(|pool| Op::RetireAll { pool }),
        1 => (0..5_u8).prop_map(|pool| Op::Pause { pool }),
        2 => (0..5_u8).prop_map(|pool| Op::Resume { pool }),
        1 => (sizes(), 0..4_u8).prop_map(|(sizes, kind)| Op::Resize { sizes, kind }),
        1 => any::<u8>().prop_map(|which| Op::Stale { which }),
        6 => (0..400_u16).prop_map(|milliseconds| Op::Pass { milliseconds }),
    ]
}
