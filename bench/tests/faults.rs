//! The fault matrix against a real PostgreSQL: two rows of it, and what clients make of answers.
//!
//! Refuses: judging times; that the figures are there, and that the bank's books are right, is all
//! that is asked.

use std::net::SocketAddr;

use stent_bench::endpoint::Kind;
use stent_bench::faults::bystanders::{DATABASE, HOLDERS, IDLE};
use stent_bench::faults::client::{Client, Failure, Off};
use stent_bench::faults::row::Row;
use stent_bench::faults::{self, CELL, Plan};
use stent_bench::figure::{Figures, Values};
use stent_bench::lab::Lab;
use stent_bench::report::Raw;
use stent_testkit::Postgres;

const AUDITED: [&str; 6] = ["lost", "phantom", "unbalanced", "doubled", "wrong", "torn"];

fn at(postgres: &Postgres) -> SocketAddr {
    ([127, 0, 0, 1], postgres.port()).into()
}

#[test]
fn e2e_two_rows_have_every_figure_and_the_bank_is_in_order() {
    let mut lab = Lab::for_faults(DATABASE).unwrap();
    let plan = Plan::of("kill-backend,terminate", "direct,stent", 1, &lab).unwrap();
    let done = faults::run(&mut lab, &plan, |_| Ok(())).unwrap();
    assert_eq!(done.figures.len(), 4);
    let figures = Figures(&done.figures);
    let get = |row: Row, kind: Kind, name: &str| {
        let of = |values: &Values| values.get(name).copied();
        figures.median((CELL, row.name()), kind.name(), of).unwrap_or(f64::NAN)
    };
    for row in [Row::KillBackend, Row::Terminate] {
        for kind in [Kind::Direct, Kind::Stent] {
            assert!(get(row, kind, "commits") > 0.0, "{row:?} {kind:?}");
            assert!(get(row, kind, "gap_s") > 0.0, "{row:?} {kind:?}");
            for name in AUDITED {
                assert_eq!(get(row, kind, name), 0.0, "{name} of {row:?} at {kind:?}");
            }
        }
        let holders = f64::from(HOLDERS);
        assert_eq!(get(row, Kind::Stent, "holding_errors"), holders, "their servers have died");
        assert_eq!(get(row, Kind::Direct, "idle_errors"), f64::from(IDLE), "so have these");
    }
    let raw = Raw::of_faults(&done, &Plan::versions(&plan.kinds, &lab).unwrap(), &[]);
    let page = raw.faults();
    for title in ["## Bars", "## kill -9 of a backend", "| stent |", "## The bank"] {
        assert!(page.contains(title), "{title} is not in {page}");
    }
    let again: Raw = serde_json::from_str(&raw.text().unwrap()).unwrap();
    assert_eq!(again.faults(), page);
}

#[test]
fn a_row_or_an_endpoint_that_nothing_has_is_refused_by_name() {
    let lab = Lab::for_faults(DATABASE).unwrap();
    let refused = |rows, endpoints| Plan::of(rows, endpoints, 1, &lab).unwrap_err().to_string();
    assert!(
        refused("kill-backend,flood", "").contains("no row flood: there are [\"kill-backend\"")
    );
    assert!(refused("", "pgpool").contains("no endpoint pgpool"));
}

#[test]
fn a_client_tells_answers_errors_and_ends_apart() {
    let postgres = Postgres::start().unwrap();
    let off = Off::default();
    let mut client = Client::login(at(&postgres), postgres.superuser(), "postgres", &off).unwrap();
    let answer = client.ask("begin; select 'token', null").unwrap();
    assert_eq!((answer.value(0), answer.value(1)), (Some("token"), None));
    assert_eq!(client.ask("select 1/0").unwrap_err().code(), "22012");
    assert_eq!(client.ask("commit").unwrap().tag, "ROLLBACK", "a commit that is none");
    let pid = client.ask("select pg_backend_pid()").unwrap().value(0).unwrap().parse().unwrap();
    postgres.terminate_backend(pid).unwrap();
    assert_eq!(client.ask("select 1").unwrap_err().code(), "57P01", "its last word is read");
    assert!(client.is_over());
    let refused = Client::login(at(&postgres), "nobody", "postgres", &off).err().unwrap();
    assert!(matches!(refused, Failure::Said { ref code, .. } if code == "28000"), "{refused}");
}

#[test]
fn a_client_that_waits_gives_up_when_it_is_called_off() {
    let postgres = Postgres::start().unwrap();
    let off = Off::default();
    let mut client = Client::login(at(&postgres), postgres.superuser(), "postgres", &off).unwrap();
    off.call_off();
    assert_eq!(client.ask("select pg_sleep(3600)").unwrap_err(), Failure::CalledOff);
    assert!(client.is_over());
}
