//! Renders the metric table to dashboards: one for CloudWatch, one for Grafana.
//!
//! Owns: which metrics stand together ([`rows`]) and how a metric becomes a query of either side.
//! Refuses: names (the table's), files and clocks: every function returns text.
//! Invariant: the same table renders to the same bytes, what is rendered is committed in
//! `dashboards/rendered/`, and no panel asks for a metric that nobody publishes.

pub mod cloudwatch;
pub mod grafana;
pub mod rows;

use serde_json::Value;

/// Every committed file: its path from the root of the repository, and its text.
pub fn render_all() -> Vec<(String, String)> {
    vec![
        file("cloudwatch.json", &cloudwatch::body("Stent", "api")),
        file("grafana.json", &grafana::dashboard()),
    ]
}

fn file(name: &str, document: &Value) -> (String, String) {
    (format!("dashboards/rendered/{name}"), format!("{document:#}\n"))
}
