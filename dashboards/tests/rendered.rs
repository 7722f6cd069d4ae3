//! The committed dashboards are those that the table renders to, and ask only for what there is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use stent_contract::metric::METRICS;
use stent_dashboards::{cloudwatch, grafana, render_all, rows::ROWS};

#[test]
fn the_committed_files_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (path, text) in render_all() {
        let committed = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(committed == text, "{path} is stale: run `cargo xtask gen`");
    }
}

#[test]
fn each_metric_of_the_table_stands_on_at_most_one_panel_and_panels_are_not_empty() {
    let mut seen = BTreeSet::new();
    for panel in ROWS.iter().flat_map(|row| row.panels) {
        assert!(!panel.metrics.is_empty(), "{}", panel.title);
        for id in panel.metrics {
            assert!(seen.insert(*id), "{} stands twice", id.row().name);
        }
    }
    assert!(seen.len() * 10 >= METRICS.len() * 8, "most metrics are shown");
}

#[test]
fn every_grafana_query_is_of_a_metric_of_the_table() {
    let dashboard = grafana::dashboard();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            assert!(METRICS.iter().any(|metric| query.contains(metric.name)), "{query}");
            queries += 1;
        }
    }
    assert!(queries > 20, "{queries} queries");
}

#[test]
fn the_cloudwatch_body_keeps_to_the_limits_and_asks_only_for_published_metrics() {
    let body = cloudwatch::body("Stent", "api");
    let widgets = body["widgets"].as_array().unwrap();
    assert!((1..=500).contains(&widgets.len()));
    let published: Vec<&str> = METRICS.iter().filter_map(|metric| metric.cloudwatch).collect();
    let number = |widget: &Value, key: &str| widget[key].as_u64().unwrap();
    for widget in widgets {
        assert!(number(widget, "x") + number(widget, "width") <= 24, "{widget}");
        assert!((1..=1000).contains(&number(widget, "height")), "{widget}");
        for series in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            let search = series[0]["expression"].as_str().unwrap();
            let known = published.iter().any(|name| search.contains(&format!("\"{name}\"")));
            assert!(known, "{search}");
        }
    }
}
