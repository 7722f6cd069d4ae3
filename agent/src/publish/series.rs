//! Series: which points go to CloudWatch, and with which dimensions.
//!
//! Owns: the dimension policy. Each distinct set of dimensions of a metric is billed as a metric
//! of its own (about 0.30 USD a month in 2026), so:
//! - A metric goes there only where the table gives it a CloudWatch name.
//! - Its labels become dimensions, but for those whose values others choose without a limit
//!   ([`NOT_DIMENSIONS`]): over these the points are added up.
//! - The roll-ups of the alarm table are published besides, since an alarm names one exact set.
//! - No dimension tells one task from another unless it is configured: with a task's id ten tasks
//!   cost ten times as much.
//!
//! One pool and one target make about 45 series; each further pool 11, each further target 11.
//! Refuses: time (that is `gather`'s) and configured dimensions, which the publishers add.
//! Invariant: at most [`SERIES_MAX`] series a round; dimension names and values are what CloudWatch
//! accepts (visible ASCII, 1 to 255 and 1 to 1,024 characters).

use std::collections::BTreeMap;

use stent_contract::Unit;
use stent_contract::alarm::{Aggregation, dimension, rollup};
use stent_contract::metric::MetricId;

use crate::publish::points::Point;

/// The most series of a round. What exceeds them is not published: clients could open any number
/// of databases and users, and each would be billed.
pub(crate) const SERIES_MAX: usize = 1_000;

/// Labels that never become dimensions: clients choose `application_name`, and of `sqlstate` there
/// are hundreds.
const NOT_DIMENSIONS: &[&str] = &["application_name", "sqlstate"];

/// The longest value of a dimension. Source: CloudWatch API reference, Dimension.
const VALUE_MAX: usize = 1_024;

/// The greatest magnitude of a value. Source: CloudWatch API reference, MetricDatum.
const MAGNITUDE_MAX_LOG2: i32 = 360;

/// What CloudWatch would bill as one metric, before the configured dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    /// The metric; its row has a CloudWatch name.
    pub(crate) metric: MetricId,
    /// Names and values, in the order of the row's labels.
    pub(crate) dimensions: Vec<(String, String)>,
}

/// The round's points (counters as increases) as values of series. Roll-ups come first, so that a
/// flood of databases cannot take the place of what the alarms read.
pub(crate) fn samples(points: &[Point]) -> BTreeMap<Series, f64> {
    let mut groups = Groups::default();
    for point in points.iter().filter(|point| is_publishable(point)) {
        if let Some(rolled) = rollup(point.metric) {
            groups.add(point, rolled.keep, rolled.aggregation);
        }
    }
    for point in points.iter().filter(|point| is_publishable(point)) {
        let keep = own_dimensions(point.metric);
        if rollup(point.metric).is_none_or(|rolled| rolled.keep != keep) {
            groups.add(point, &keep, Aggregation::Sum);
        }
    }
    let folded = groups.0.into_iter().filter_map(|(series, (aggregation, values))| {
        aggregation.fold(values).map(|value| (series, value))
    });
    folded.collect()
}

/// The unit of a series' values, as CloudWatch spells it.
pub(crate) fn unit(metric: MetricId) -> &'static str {
    if metric == MetricId::Heartbeat {
        return Unit::Count.cloudwatch(); // Beats, not a time: see `value`.
    }
    metric.row().unit.cloudwatch()
}

/// A heartbeat is a Unix time to Prometheus, which keeps the last value; to CloudWatch it is one
/// beat, and silence is the sign.
fn value(point: &Point) -> f64 {
    if point.metric == MetricId::Heartbeat { 1.0 } else { point.value }
}

#[derive(Default)]
struct Groups(BTreeMap<Series, (Aggregation, Vec<f64>)>);

impl Groups {
    fn add(&mut self, point: &Point, keep: &[&'static str], aggregation: Aggregation) {
        let series = series(point, keep);
        if self.0.len() >= SERIES_MAX && !self.0.contains_key(&series) {
            return;
        }
        self.0.entry(series).or_insert_with(|| (aggregation, Vec::new())).1.push(value(point));
    }
}

fn is_publishable(point: &Point) -> bool {
    let in_range = point.value.abs() <= f64::powi(2.0, MAGNITUDE_MAX_LOG2);
    in_range && point.metric.row().cloudwatch.is_some()
}

fn own_dimensions(metric: MetricId) -> Vec<&'static str> {
    let labels = metric.row().labels.iter().copied();
    labels.filter(|label| !NOT_DIMENSIONS.contains(label)).collect()
}

fn series(point: &Point, keep: &[&'static str]) -> Series {
    let labels = point.metric.row().labels.iter().zip(&point.labels);
    let kept = labels.filter(|(label, _)| keep.contains(label));
    let dimensions = kept.map(|(label, value)| (dimension(label), dimension_value(value)));
    Series { metric: point.metric, dimensions: dimensions.collect() }
}

/// A label's value as CloudWatch accepts it: what is not visible ASCII is written as its code point.
/// Source: CloudWatch API reference, Dimension.
fn dimension_value(label: &str) -> String {
    if label.trim().is_empty() {
        return "(none)".to_owned();
    }
    let mut value = String::with_capacity(label.len());
    for letter in label.chars() {
        let is_visible = letter.is_ascii_graphic() || letter == ' ';
        let spelled =
            if is_visible { letter.to_string() } else { letter.escape_unicode().to_string() };
        if value.len() + spelled.len() > VALUE_MAX {
            break;
        }
        value.push_str(&spelled);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use stent_contract::alarm::ALARMS;

    fn point(metric: MetricId, labels: &[&str], value: f64) -> Point {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Point { metric, labels, value }
    }

    fn shown(points: &[Point]) -> Vec<String> {
        let line = |(series, value): (Series, f64)| {
            let name = series.metric.row().cloudwatch.unwrap();
            let dimensions: Vec<String> =
                series.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{name}[{}] {value}", dimensions.join(","))
        };
        samples(points).into_iter().map(line).collect()
    }

    #[test]
    fn labels_become_dimensions_and_the_roll_up_stands_beside_them() {
        let points = [
            point(MetricId::PoolUtilization, &["app", "api"], 0.25),
            point(MetricId::PoolUtilization, &["app", "web"], 0.75),
        ];
        assert_eq!(
            shown(&points),
            [
                "PoolUtilization[] 0.75",
                "PoolUtilization[Database=app,User=api] 0.25",
                "PoolUtilization[Database=app,User=web] 0.75",
            ]
        );
    }

    #[test]
    fn a_label_that_clients_choose_is_added_up_and_never_billed() {
        let points = [
            point(MetricId::PostgresConnections, &["idle", "api", "a"], 2.0),
            point(MetricId::PostgresConnections, &["idle", "api", "b"], 3.0),
        ];
        assert_eq!(
            shown(&points),
            ["PostgresConnections[] 5", "PostgresConnections[State=idle,User=api] 5"]
        );
    }

    #[test]
    fn a_metric_without_a_cloudwatch_name_stays_at_home() {
        assert!(samples(&[point(MetricId::ProcessThreads, &["api"], 9.0)]).is_empty());
    }

    #[test]
    fn a_value_beyond_cloudwatchs_range_is_not_published() {
        let of = |value| samples(&[point(MetricId::MemoryGrowth, &["api"], value)]).len();
        assert_eq!(of(2f64.powi(360)), 1);
        assert_eq!(of(2f64.powi(361)), 0);
        assert_eq!(of(-2f64.powi(361)), 0);
        assert_eq!(of(f64::NAN), 0);
    }

    #[test]
    fn a_dimension_value_is_visible_ascii_of_limited_length() {
        assert_eq!(dimension_value("größe\n"), r"gr\u{f6}\u{df}e\u{a}");
        assert_eq!(dimension_value(" "), "(none)");
        assert_eq!(dimension_value(&"é".repeat(1_000)).len(), 1_020);
    }

    #[test]
    fn a_flood_of_databases_makes_no_more_than_the_limit_of_series() {
        let flood: Vec<Point> = (0..5_000)
            .map(|n| point(MetricId::MaxWait, &[&format!("db{n}"), "api"], f64::from(n)))
            .collect();
        assert_eq!(samples(&flood).len(), SERIES_MAX);
        assert!(shown(&flood).contains(&"ClientMaxWait[] 4999".to_owned()), "the alarm sees all");
    }

    #[test]
    fn a_flood_of_one_metric_leaves_room_for_the_roll_ups_of_the_others() {
        let mut flood: Vec<Point> = (0..5_000)
            .map(|n| point(MetricId::PendingRequests, &[&format!("db{n}"), "api"], 1.0))
            .collect();
        flood.push(point(MetricId::OomKills, &["api"], 1.0));
        assert!(shown(&flood).contains(&"OomKills[] 1".to_owned()));
    }

    #[test]
    fn a_heartbeat_is_one_beat() {
        assert_eq!(shown(&[point(MetricId::Heartbeat, &[], 1.7e9)]), ["AgentHeartbeat[] 1"]);
        assert_eq!(unit(MetricId::Heartbeat), "Count");
    }

    #[test]
    fn every_alarmed_metric_is_published_with_just_the_alarms_own_dimensions() {
        for alarm in ALARMS {
            let labels: Vec<&str> = alarm
                .metric
                .row()
                .labels
                .iter()
                .map(|label| alarm.selector.iter().find(|(l, _)| l == label).map_or("x", |s| s.1))
                .collect();
            let expected: Vec<(String, String)> = alarm
                .selector
                .iter()
                .map(|(label, value)| (dimension(label), (*value).to_owned()))
                .collect();
            let published = samples(&[point(alarm.metric, &labels, 1.0)]);
            let found = published.keys().any(|series| series.dimensions == expected);
            assert!(found, "{} reads what nobody publishes", alarm.name);
        }
    }
}
