//! The admin pages: names of the table, true counts, no secret.

use stent_contract::metric::{Component, METRICS, MetricKind};
use stent_testkit::Postgres;

use super::support::Proxy;

#[tokio::test]
async fn metrics_are_those_of_the_table_and_count_what_happened() {
    let pg = Postgres::start().unwrap();
    let proxy = super::fleet::member(&pg);
    let client = proxy.client().await;
    for _ in 0..5 {
        client.batch_execute("select 1").await.unwrap();
    }
    let (status, page) = proxy.get("/metrics");
    assert_eq!(status, 200);
    let families: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for family in &families {
        assert!(METRICS.iter().any(|metric| metric.name == *family), "{family} is in no table");
        assert_eq!(families.iter().filter(|other| other == &family).count(), 1, "{family} twice");
    }
    for metric in METRICS.iter().filter(|metric| metric.component == Component::Proxy) {
        let only_on_failure =
            metric.labels.contains(&"sqlstate") || metric.labels == ["side", "cause"];
        if metric.labels == ["class"] {
            assert!(!families.contains(&metric.name), "{}: nobody is of a class", metric.name);
            continue;
        }
        assert!(only_on_failure || families.contains(&metric.name), "{} is missing", metric.name);
    }
    let labels = "database=\"postgres\",user=\"postgres\"";
    let waits = MetricKind::Histogram(stent_contract::metric::LATENCY_BUCKETS);
    assert_eq!(stent_contract::MetricId::WaitTime.row().kind, waits);
    assert!(page.contains(&format!("stent_transactions_total{{{labels}}} 5")), "{page}");
    assert!(page.contains("db_client_connection_wait_time_seconds_bucket"));
}

#[test]
fn unknown_pages_and_methods_are_told_what_there_is() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let (status, text) = proxy.get("/nope");
    assert_eq!(status, 404);
    assert!(text.contains("/metrics"));
}

#[tokio::test]
async fn no_page_shows_a_password_or_a_literal() {
    const CANARY: &str = "canary7f3a";
    let pg = Postgres::builder().auth("scram-sha-256").password(CANARY).start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let client = proxy.client().await;
    client.batch_execute(&format!("begin; select '{CANARY}'")).await.unwrap();
    for path in ["/metrics", "/snapshot", "/readyz", "/livez"] {
        assert!(!proxy.get(path).1.contains(CANARY), "{path}");
    }
}
