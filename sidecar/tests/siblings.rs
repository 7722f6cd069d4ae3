//! `sibling_drain`: a target steps aside before it is looked into, and `/readyz` says so.

mod common;

use common::running::{SOON, Stent, terminated};
use common::{Written, http};
use stent_testkit::{Postgres, wait_for};

const LEAKER: &str = "import time\nkept = []\ndef keep():\n    kept.append(bytearray(100_000))\n\
    while True:\n    keep()\n    time.sleep(0.02)\n";

#[test]
fn a_target_that_is_looked_into_makes_stent_unready_until_the_look_is_over() {
    let postgres = Postgres::start().expect("a PostgreSQL");
    let module = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../heap/python");
    let mut stent = Stent::new(&postgres.url());
    for (key, value) in [
        ("AUTH_TYPE", "trust"),
        ("ATTRIBUTION", "on"),
        ("SIBLING_DRAIN", "1"),
        ("SAMPLE_INTERVAL", "0.1"),
        ("MEMORY_LIMIT", "4GB"),
    ] {
        stent.command.env(format!("STENT_{key}"), value);
    }
    stent.command.env("STENT_HEAP_PYTHON", module).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut process = stent.start(&["run", "--", "python3", "-c", LEAKER]);
    wait_for("readiness", SOON, || http::get(&stent.admin, "/readyz")).expect("ready");
    let aside = || {
        let (status, body) = http::ask(&stent.admin, "GET", "/readyz")?;
        (status == 503 && body.contains("python3 is looked into")).then_some(())
    };
    wait_for("the target to step aside", 8 * SOON, aside).expect("it steps aside");
    let looked_into = || process.stderr().contains("attribution: done").then_some(());
    assert_eq!(looked_into(), None, "it steps aside before the look has ended");
    wait_for("the end of the look", 3 * SOON, looked_into).expect("it ends");
    wait_for("readiness again", SOON, || http::get(&stent.admin, "/readyz")).expect("ready");
    terminated(&mut process);
}

#[test]
fn in_ecs_it_is_said_that_unhealthy_tasks_are_replaced() {
    let drain = ("STENT_SIBLING_DRAIN", "20");
    let ecs = ("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/x");
    let warnings = |variables: &[(&str, &str)]| {
        let written = Written { variables, ..Written::default() };
        written.load().expect("a configuration").warnings.join("\n")
    };
    assert!(warnings(&[drain, ecs]).contains("ECS replaces a task"));
    assert!(!warnings(&[drain]).contains("ECS replaces a task"));
    assert!(!warnings(&[ecs]).contains("ECS replaces a task"));
}
