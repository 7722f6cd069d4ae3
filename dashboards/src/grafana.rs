//! The Grafana dashboard: a JSON model for import, its data source chosen at import.
//!
//! Invariant: each query is of a metric in the table, spelled as the metric's kind asks.
//! Source: Grafana documentation, "JSON model".

use serde_json::{Value, json};
use stent_contract::metric::{Metric, MetricId, MetricKind};
use stent_contract::unit::Unit;

use crate::rows::{Panel, ROWS};

/// Grafana's grid is this wide.
const GRID: usize = 24;
const HEIGHT: usize = 8;
const PER_LINE: usize = 3;

/// The dashboard.
pub fn dashboard() -> Value {
    let mut panels = Vec::new();
    let mut y = 0;
    for row in ROWS {
        panels.push(json!({
            "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "id": panels.len() + 1,
            "gridPos": { "x": 0, "y": y, "w": GRID, "h": 1 },
        }));
        y += 1;
        for (index, panel) in row.panels.iter().enumerate() {
            let width = GRID / PER_LINE;
            let (column, line) = (index % PER_LINE, index / PER_LINE);
            let place = json!({
                "x": column * width, "y": y + line * HEIGHT, "w": width, "h": HEIGHT,
            });
            panels.push(panel_json(panel, panels.len() + 1, place));
        }
        y += row.panels.len().div_ceil(PER_LINE) * HEIGHT;
    }
    json!({
        "title": "Stent",
        "uid": "stent",
        "tags": ["stent", "postgresql"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "templating": { "list": [{
            "name": "datasource", "type": "datasource", "query": "prometheus",
            "label": "Data source",
        }] },
        "panels": panels,
    })
}

/// What Prometheus is asked for a metric.
pub fn query(metric: &Metric) -> String {
    match metric.kind {
        MetricKind::Gauge if metric.id == MetricId::Heartbeat => {
            format!("time() - {}", metric.name)
        }
        MetricKind::Gauge => metric.name.to_owned(),
        MetricKind::Counter => format!("rate({}[5m])", metric.name),
        MetricKind::Histogram(_) => {
            let labels = metric.labels.join(", ");
            format!(
                "histogram_quantile(0.99, sum by (le, {labels}) (rate({}_bucket[5m])))",
                metric.name
            )
        }
    }
}

fn panel_json(panel: &Panel, id: usize, place: Value) -> Value {
    let rows: Vec<&Metric> = panel.metrics.iter().map(|id| id.row()).collect();
    let targets: Vec<Value> =
        rows.iter().zip('A'..).map(|(row, letter)| target(row, letter)).collect();
    let help: Vec<&str> = rows.iter().map(|row| row.help).collect();
    json!({
        "type": "timeseries",
        "id": id,
        "title": panel.title,
        "description": help.join("\n\n"),
        "datasource": { "type": "prometheus", "uid": "${datasource}" },
        "gridPos": place,
        "fieldConfig": { "defaults": { "unit": unit(rows[0]), "min": 0 }, "overrides": [] },
        "targets": targets,
    })
}

fn target(metric: &Metric, letter: char) -> Value {
    let mut legend = metric.name.to_owned();
    for label in metric.labels {
        legend.push_str(&format!(" {{{{{label}}}}}"));
    }
    json!({ "refId": letter.to_string(), "expr": query(metric), "legendFormat": legend })
}

/// Grafana's name of a unit.
const fn unit(metric: &Metric) -> &'static str {
    match (metric.unit, metric.kind) {
        (Unit::Bytes, MetricKind::Counter) => "Bps",
        (Unit::Bytes, _) => "bytes",
        (Unit::BytesPerHour, _) => "bytes",
        (Unit::Seconds, MetricKind::Counter) => "percentunit",
        (Unit::Seconds, _) => "s",
        (Unit::Ratio, _) => "percentunit",
        (Unit::Count, MetricKind::Counter) => "cps",
        (Unit::Count, _) => "short",
    }
}
