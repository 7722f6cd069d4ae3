//! The page of a fixed round, to the byte, and under promtool.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use expect_test::expect_file;
use stent_contract::reading::PostgresConnections;
use stent_contract::snapshot::TargetSnapshot;
use stent_contract::{
    AttributionMeans, Evidence, MetricId, PostgresReading, Resource, VerdictLevel,
};

use super::*;
use crate::attach::event::{Outcome as Look, Totals};
use crate::config::{Config, PostgresAccess};
use crate::publish::counts::{Counts, Outcome};
use crate::publish::points::points;
use crate::sample::Round;
use crate::tests_support::{AT_UNIX_MS, config, pool, proxy, round, verdict};

/// A round in which every metric of the agent has a point.
fn full_round() -> Round {
    let mut round = round();
    let mut leak = verdict("app/api", Resource::Connections);
    leak.level = VerdictLevel::Leak;
    let (key, text) = ("held_transactions".to_owned(), "three held".to_owned());
    leak.evidence.push(Evidence { key, value: 3.0, text });
    round.snapshot.connections.push(leak);
    let growing = round.snapshot.targets[0].memory.as_mut().unwrap();
    growing.growth_per_hour = 52_428_800.0;
    growing.seconds_to_limit = Some(28_800.0);
    round.snapshot.targets.push(TargetSnapshot {
        name: "gone".to_owned(),
        reading: None,
        memory: None,
        attribution: None,
        descriptors: None,
        threads: None,
        rejuvenations: Some(0),
    });
    let group = |state: &str, application_name: &str, count| PostgresConnections {
        state: state.to_owned(),
        user: "api".to_owned(),
        application_name: application_name.to_owned(),
        count,
    };
    round.snapshot.postgres = Some(PostgresReading {
        at_unix_ms: AT_UNIX_MS,
        max_connections: 100,
        connections: vec![group("idle", "orders", 4), group("", "say \"hi\"\\\n", 1)],
        idle_in_transaction_max_ms: 31_500,
        idle_in_transaction_pid: 77,
        blocked: None,
    });
    round.proxy = Some(proxy(vec![pool("app", "api")]));
    let mut looks = Totals::default();
    looks.looks.insert((AttributionMeans::V8Sampling, Look::Named), 2);
    looks.attached = Duration::from_secs(40);
    looks.largest_pause = Duration::from_millis(31);
    round.attaches = Some(looks);
    round
}

fn with_postgres() -> Config {
    let access = PostgresAccess {
        host: "db".to_owned(),
        port: 5432,
        user: "api".to_owned(),
        password: None,
        database: "app".to_owned(),
    };
    Config { postgres: Some(access), ..config() }
}

fn full_page() -> String {
    let counts = Counts::new("cloudwatch");
    counts.add(Outcome::Sent, 120);
    counts.add(Outcome::Dropped, 3);
    counts.set_backlog(7);
    render(points(&full_round(), &with_postgres()).into_iter().chain(counts.points()))
}

#[test]
fn the_page_of_a_full_round_is_the_golden_page() {
    // The version changes with each release; the page does not.
    let page = full_page().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    expect_file!["../../../tests/golden/metrics.txt"].assert_eq(&page);
}

#[test]
fn promtool_accepts_the_page() {
    let own = std::env::var_os("STENT_PROMTOOL").filter(|path| !path.is_empty());
    let mut promtool = Command::new(own.unwrap_or_else(|| "promtool".into()))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: apt-get install -y --no-install-recommends prometheus (or STENT_PROMTOOL)");
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(full_page().as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn every_metric_of_the_agent_and_none_of_the_proxys_is_on_the_page() {
    let page = full_page();
    let shown: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let own: BTreeSet<&str> =
        METRICS.iter().filter(|row| is_own(row.id)).map(|row| row.name).collect();
    assert_eq!(shown, own);
}

#[test]
fn what_is_gone_from_the_round_is_gone_from_the_page() {
    let mut round = full_round();
    assert!(render(points(&round, &with_postgres())).contains("application_name=\"orders\""));
    round.snapshot.targets.clear();
    round.snapshot.skipped.clear();
    round.snapshot.postgres.as_mut().unwrap().connections.remove(0);
    let page = render(points(&round, &with_postgres()));
    assert!(!page.contains("application_name=\"orders\"") && !page.contains("target=\"api\""));
}

#[test]
fn a_target_without_a_forecast_has_no_time_to_limit() {
    let page = render(points(&round(), &config()));
    assert!(!page.contains(MetricId::TimeToLimit.row().name));
    assert!(page.contains(MetricId::MemoryGrowth.row().name));
}

#[test]
fn an_agent_without_a_database_says_nothing_of_one_and_a_silent_database_is_down() {
    let up = MetricId::PostgresUp.row().name;
    assert!(!render(points(&round(), &config())).contains(up));
    assert!(render(points(&round(), &with_postgres())).contains(&format!("{up} 0\n")));
}

#[test]
fn labels_that_differ_only_in_their_escapes_stay_apart() {
    let label = |value: &str| Point {
        metric: MetricId::ProcessThreads,
        labels: vec![value.to_owned()],
        value: 1.0,
    };
    let page = render(["a\"b", "a\\\"b", "a\\b", "a\\\\b", "a\nb", "a\\nb"].map(label));
    let samples: BTreeSet<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples.len(), 6, "{page}");
    assert!(samples.contains(r#"process_threads{target="a\\\"b"} 1"#), "{page}");
}

#[test]
fn a_value_that_is_not_finite_is_no_point() {
    let mut round = round();
    round.snapshot.targets[0].memory.as_mut().unwrap().confidence = f64::NAN;
    let all = points(&round, &config());
    assert!(all.iter().all(|point| point.value.is_finite()));
    assert!(!all.iter().any(|point| point.metric == MetricId::LeakConfidence));
}
