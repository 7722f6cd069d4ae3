//! The agent's `/metrics` page.
//!
//! Owns: turning the points of the last round into the text format 0.0.4. A recorder is built for
//! each scrape and thrown away: what is gone from the round (a target, an application name) is gone
//! from the page, nothing grows between scrapes, and there is no upkeep to forget. The agent's
//! part of the table has no histogram, so there is nothing that a scrape could lose.
//! Refuses: the proxy's metrics, which stand on the proxy's page.
//! Invariant: every name and label comes from the metric table; the same points make the same bytes.

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit as RecorderUnit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use stent_contract::metric::{METRICS, Metric, MetricKind};
use stent_contract::unit::Unit;

use crate::publish::points::{Point, is_own};

/// The media type. Source: Prometheus documentation, "Exposition formats".
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// The page.
pub(crate) fn render(points: impl IntoIterator<Item = Point>) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    for row in METRICS.iter().filter(|row| is_own(row.id)) {
        describe(&recorder, row);
    }
    for point in points.into_iter().filter(|point| is_own(point.metric)) {
        set(&recorder, point);
    }
    arranged(&recorder.handle().render())
}

fn describe(recorder: &PrometheusRecorder, row: &Metric) {
    let name = KeyName::from_const_str(row.name);
    let help = SharedString::const_str(row.help);
    let unit = match row.unit {
        Unit::Bytes => Some(RecorderUnit::Bytes),
        Unit::Count => Some(RecorderUnit::Count),
        Unit::Seconds => Some(RecorderUnit::Seconds),
        Unit::BytesPerHour | Unit::Ratio => None,
    };
    match row.kind {
        MetricKind::Counter => recorder.describe_counter(name, unit, help),
        MetricKind::Gauge => recorder.describe_gauge(name, unit, help),
        MetricKind::Histogram(_) => recorder.describe_histogram(name, unit, help),
    }
}

/// Every value is set as a gauge: the recorder's counters are whole numbers, and CPU time is not.
/// [`arranged`] writes the right type above the family.
fn set(recorder: &PrometheusRecorder, point: Point) {
    let row = point.metric.row();
    assert_eq!(row.labels.len(), point.labels.len(), "{} has its labels", row.name);
    // The recorder takes a single backslash for the beginning of an escape; a pair is one backslash.
    let values = point.labels.iter().map(|value| value.replace('\\', r"\\"));
    let labels = row.labels.iter().zip(values).map(|(label, value)| Label::new(*label, value));
    let key = Key::from_parts(row.name, labels.collect::<Vec<_>>());
    recorder.register_gauge(&key, &METADATA).set(point.value);
}

/// The families in the table's order, their samples sorted, counters called counters.
fn arranged(rendered: &str) -> String {
    let mut page = String::with_capacity(rendered.len());
    let families: Vec<&str> = rendered.split("\n\n").collect();
    for row in METRICS {
        let as_gauge = format!("# TYPE {} gauge", row.name);
        let family = families.iter().find(|family| family.lines().any(|line| line == as_gauge));
        let Some(family) = family else { continue };
        let kind = match row.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge | MetricKind::Histogram(_) => "gauge",
        };
        let mut samples: Vec<&str> = family.lines().filter(|line| !line.starts_with('#')).collect();
        samples.sort_unstable();
        let help = family.lines().filter(|line| line.starts_with("# HELP "));
        let head = format!("# TYPE {} {kind}", row.name);
        for line in help.chain([head.as_str()]).chain(samples) {
            page.push_str(line);
            page.push('\n');
        }
    }
    page
}

#[cfg(test)]
mod tests;
