//! The whole way of a run against a real PostgreSQL, and the committed results.
//!
//! Refuses: judging figures; that they are there, and of a kind that can be, is all that is asked.

use std::path::Path;

use anyhow::Result;
use stent_bench::endpoint::{Auth, Kind, Running, Setup};
use stent_bench::figure::{Figure, Figures};
use stent_bench::lab::Lab;
use stent_bench::load::message;
use stent_bench::load::swarm::{Stop, Swarm};
use stent_bench::plan::Plan;
use stent_bench::report::{self, Raw};
use stent_bench::session::Session;
use stent_bench::{cells, curves};

fn session(cells: &str, only: &str) -> Result<Session> {
    let mut plan = Plan::of(cells, only, "direct,stent")?;
    plan.rounds = 1;
    plan.seconds = 0.3;
    plan.retries = 0;
    plan.idle = vec![20];
    Session::open(Lab::start(1)?, plan)
}

fn value(figures: &[Figure], place: (&str, &str), endpoint: &str, name: &str) -> f64 {
    let found = Figures(figures).median(place, endpoint, |values| values.get(name).copied());
    found.unwrap_or_else(|| panic!("no {name} of {endpoint} in {place:?}: {figures:?}"))
}

#[test]
fn e2e_a_small_run_has_every_figure_and_makes_its_tables() {
    let mut session = session(
        "",
        "simple/1,prepared/16,select,copy,TLS,trust,SCRAM,20,connecting,1 worker,2 workers",
    )
    .unwrap();
    cells::run(&mut session).unwrap();
    let raw = Raw::of(&session, &["--rounds".to_owned(), "1".to_owned()]);
    let figures = &raw.figures;
    let places = [
        ("tps", "simple/1"),
        ("tps", "simple/16"),
        ("tps", "prepared/16"),
        ("latency", "simple/16"),
        ("tls", "simple/16"),
        ("streaming", "select"),
        ("streaming", "copy out"),
        ("streaming", "copy in"),
        ("streaming", "TLS select"),
        ("connect", "trust"),
        ("connect", "SCRAM"),
        ("connect", "TLS, trust"),
        ("storm", "20 ms queries"),
        ("storm", "connecting at once"),
        ("workers", "1 worker"),
        ("workers", "2 workers"),
    ];
    for place in places {
        assert!(value(figures, place, "stent", "proxy_us") > 0.0, "{place:?}");
        assert!(value(figures, place, "stent", "units") > 0.0, "{place:?}");
    }
    assert_eq!(value(figures, ("tps", "simple/1"), "direct", "proxy_us"), 0.0);
    assert!(value(figures, ("tps", "simple/1"), "direct", "server_us") > 0.0);
    let latency = |name| value(figures, ("latency", "simple/16"), "stent", name);
    assert!(latency("p50_us") <= latency("p99_us"));
    assert!(latency("p99_us") <= latency("due_p99_us"), "what was due includes what was late");
    assert!(value(figures, ("memory", "20"), "stent", "base_kib") > 0.0);
    assert_eq!(value(figures, ("storm", "20 ms queries"), "stent", "errors"), 0.0);
    let page = raw.tables();
    for title in ["## Limits", "Streaming", "us a connection", "Idle clients", "Jain"] {
        assert!(page.contains(title), "{title} is not in {page}");
    }
    assert!(raw.summary().contains("| | direct | stent |"), "{}", raw.summary());
    let again: Raw = serde_json::from_str(&raw.text().unwrap()).unwrap();
    assert_eq!(again.tables(), page);
}

#[test]
fn e2e_curves_are_measured_in_front_of_a_server_that_answers_at_once() {
    let mut session = session("tps", "").unwrap();
    curves::run(&mut session, &curves::Size::tiny()).unwrap();
    let raw = Raw::of(&session, &["--curves".to_owned()]);
    for curve in curves::NAMES {
        let cases = Figures(&raw.figures).cases(curve);
        assert!(cases.len() > 1, "{curve} has {cases:?}");
        for case in cases {
            assert!(value(&raw.figures, (curve, case), "stent", "proxy_us") > 0.0);
        }
    }
    assert!(raw.curves().contains("idle clients"), "{}", raw.curves());
}

#[test]
fn every_variant_of_stent_is_found_and_starts() {
    let lab = Lab::start(1).unwrap();
    for kind in [Kind::Stent, Kind::StentNamed, Kind::StentAll] {
        let version = kind.version(&lab).unwrap();
        assert!(version.is_some_and(|version| version.contains("stent")), "{kind:?} is not here");
        let endpoint = Running::start(kind, Setup::PLAIN, &lab).unwrap();
        let mut client = lab.login(&endpoint).unwrap().client().unwrap();
        client.ask(&message::extended("select $1", "7"), &mut [0; 1024]).unwrap();
        let named =
            endpoint.settings().iter().any(|line| line.starts_with("STENT_STATEMENT_CACHE"));
        assert_eq!(named, kind != Kind::Stent, "{:?}", endpoint.settings());
    }
}

#[test]
fn clients_of_a_swarm_that_get_errors_count_them() {
    let lab = Lab::start(1).unwrap();
    let endpoint = Running::start(Kind::Direct, Setup::PLAIN, &lab).unwrap();
    let (mut swarm, logins) = Swarm::connect(&lab.login(&endpoint).unwrap(), 3).unwrap();
    assert_eq!(logins.len(), 3);
    let length = Stop::After(std::time::Duration::from_millis(200));
    let done = swarm
        .run(length, |_, _, out| out.extend_from_slice(&message::query("select 1/0")))
        .unwrap();
    assert!(done.iter().all(|done| done.errors > 0 && done.transactions == 0), "{done:?}");
    let done =
        swarm.run(length, |_, _, out| out.extend_from_slice(&message::query("select 1"))).unwrap();
    assert!(done.iter().all(|done| done.errors == 0 && done.transactions > 0), "{done:?}");
}

#[test]
fn a_wrong_password_is_refused_by_the_lab_that_asks_for_one() {
    let lab = Lab::start(1).unwrap();
    let setup = Setup { auth: Auth::Scram, ..Setup::PLAIN };
    let endpoint = Running::start(Kind::Stent, setup, &lab).unwrap();
    lab.login(&endpoint).unwrap().client().unwrap();
    let mut login = lab.login(&endpoint).unwrap();
    login.password = Some(stent_wire::auth::secret::Password::new(b"wrong").unwrap());
    let error = login.client().err().expect("a wrong password is refused");
    assert!(format!("{error:#}").contains("28P01"), "{error:#}");
}

#[test]
fn the_committed_tables_follow_from_the_committed_figures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mend = "run `cargo run -p stent-bench -- --render` and commit what it writes";
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let raw = Raw::read(&root.join("bench/results/raw.json")).unwrap();
    assert!(read("bench/results/table.md") == raw.tables(), "table.md is stale: {mend}");
    let readme = read("README.md");
    let fresh = report::spliced(&readme, &raw.summary()).unwrap();
    assert!(readme == fresh, "the README's figures are stale: {mend}");
    let curves = Raw::read(&root.join("bench/results/curves.json")).unwrap();
    assert!(read("bench/results/curves.md") == curves.curves(), "curves.md is stale: {mend}");
}
