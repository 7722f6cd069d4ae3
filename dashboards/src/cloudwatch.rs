//! The CloudWatch dashboard body.
//!
//! Only metrics that are published to CloudWatch stand on it; a panel without one is left out.
//! Series are found by SEARCH over the dimensions that the agent publishes, so that a new pool or
//! target appears by itself.
//! Invariant: within the limits of the dashboard body (500 widgets, a grid 24 wide).
//! Source: Amazon CloudWatch API reference, "Dashboard Body Structure and Syntax".

use serde_json::{Value, json};
use stent_contract::alarm::dimension;
use stent_contract::metric::{Metric, MetricKind};

use crate::rows::{Panel, ROWS};

const GRID: usize = 24;
const HEIGHT: usize = 6;
const PER_LINE: usize = 3;
/// The period of the agent's publications, seconds.
const PERIOD: u32 = 60;

/// The body for PutDashboard: metrics of one service in one namespace.
pub fn body(namespace: &str, service: &str) -> Value {
    let mut widgets = Vec::new();
    let mut y = 0;
    for row in ROWS {
        let panels: Vec<(&Panel, Vec<&Metric>)> = row
            .panels
            .iter()
            .map(|panel| (panel, published(panel)))
            .filter(|(_, metrics)| !metrics.is_empty())
            .collect();
        if panels.is_empty() {
            continue;
        }
        widgets.push(json!({
            "type": "text", "x": 0, "y": y, "width": GRID, "height": 1,
            "properties": { "markdown": format!("## {}", row.title) },
        }));
        y += 1;
        for (index, (panel, metrics)) in panels.iter().enumerate() {
            let width = GRID / PER_LINE;
            widgets.push(json!({
                "type": "metric",
                "x": index % PER_LINE * width, "y": y + index / PER_LINE * HEIGHT,
                "width": width, "height": HEIGHT,
                "properties": properties(panel, metrics, namespace, service),
            }));
        }
        y += panels.len().div_ceil(PER_LINE) * HEIGHT;
    }
    json!({ "start": "-PT6H", "periodOverride": "inherit", "widgets": widgets })
}

fn published(panel: &Panel) -> Vec<&'static Metric> {
    panel.metrics.iter().map(|id| id.row()).filter(|row| row.cloudwatch.is_some()).collect()
}

fn properties(panel: &Panel, metrics: &[&Metric], namespace: &str, service: &str) -> Value {
    let series: Vec<Value> = metrics
        .iter()
        .zip(1..)
        .map(|(metric, n)| {
            json!([{ "expression": search(metric, namespace, service), "id": format!("m{n}") }])
        })
        .collect();
    json!({
        "title": panel.title,
        "view": "timeSeries",
        "stacked": false,
        "period": PERIOD,
        "metrics": series,
        "yAxis": { "left": { "min": 0 } },
    })
}

/// All series of a metric that belong to the service.
fn search(metric: &Metric, namespace: &str, service: &str) -> String {
    let name = metric.cloudwatch.unwrap_or_default();
    // The agent sums these two away: clients choose the one, and the other is of the proxy alone.
    let published = |label: &&&str| !["application_name", "sqlstate"].contains(*label);
    let dimensions = metric.labels.iter().filter(published).map(|label| dimension(label));
    let mut schema = vec![namespace.to_owned(), "ServiceName".to_owned()];
    schema.extend(dimensions);
    // An increase is summed over the period; of a level the worst is shown.
    let statistic = match metric.kind {
        MetricKind::Counter => "Sum",
        MetricKind::Gauge | MetricKind::Histogram(_) => "Maximum",
    };
    format!(
        "SEARCH('{{{}}} MetricName=\"{name}\" ServiceName=\"{service}\"', '{statistic}', {PERIOD})",
        schema.join(",")
    )
}
