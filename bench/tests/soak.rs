//! The soak, small and without faults, against a real PostgreSQL.
//!
//! Refuses: holding a heap to a hundredth after two seconds; that is for the soak itself.

use std::time::Duration;

use stent_bench::faults::bystanders::DATABASE;
use stent_bench::lab::Lab;
use stent_bench::soak::life::Way;
use stent_bench::soak::{self, Plan, Weather};

fn plan(ways: &str) -> Plan {
    Plan {
        warm: Duration::from_secs(1),
        length: Duration::from_secs(2),
        quiet: Duration::ZERO,
        rate: 50,
        seed: 7,
        ways: Way::named(ways),
        weather: Weather::Calm,
    }
}

#[test]
fn e2e_clients_that_come_and_go_in_every_way_leave_nothing_behind() {
    let outcome = soak::run(&Lab::for_faults(DATABASE).unwrap(), plan("")).unwrap();
    assert!(outcome.clients > 0);
    for check in outcome.checks.iter().filter(|check| check.what != "heap, bytes") {
        assert!(check.holds(), "{check:?} of {outcome:?}");
    }
    assert!(outcome.checks.iter().any(|check| check.what == "heap, bytes"));
}

#[test]
fn ways_are_chosen_by_how_they_begin() {
    assert_eq!(Way::named("garbage, half"), [Way::HalfStartup, Way::Garbage]);
    assert!(Way::named("nothing like it").is_empty());
    let error = soak::run(&Lab::for_faults(DATABASE).unwrap(), plan("nothing like it"));
    assert!(error.unwrap_err().to_string().contains("no way of a client"));
}
