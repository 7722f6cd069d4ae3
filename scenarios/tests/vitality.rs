//! The vitality scenario end to end: a real API, a real PostgreSQL, the real `stent run`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use stent_scenarios::report;
use stent_scenarios::run;
use stent_scenarios::scenario::Scenario;

const SEED: u64 = 11;

#[tokio::test]
async fn the_healthy_api_is_not_accused() {
    let scenario = Scenario::named("vitality-two-leaks").unwrap();
    let outcome = run::twin(&scenario, SEED, |tick| println!("{}", report::line(tick))).await;
    let outcome = outcome.unwrap();
    assert!(outcome.faults.is_empty(), "{}", report::twin(&outcome));
}

#[tokio::test]
async fn both_leaks_of_the_api_are_found_and_their_holder_is_named() {
    let scenario = Scenario::named("vitality-two-leaks").unwrap();
    let run = run::leaking(&scenario, SEED, Duration::ZERO, |tick| {
        println!("{}", report::line(tick));
    });
    let (outcome, rig) = run.await.unwrap();
    let text = report::leaking(&outcome, &scenario.expect, &[]);
    assert!(outcome.is_right(), "{text}");
    rig.stop().unwrap();
}
