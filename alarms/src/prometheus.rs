//! The alarm table as Prometheus alerting rules.
//!
//! Owns: the PromQL of each kind of condition. Refuses: names and numbers of its own.
//! Invariants: a gauge is looked at over two periods, so that a scrape every minute is enough and a
//! value between two scrapes is not lost; every alert keeps `job` and `instance` where one instance
//! is to blame; both sides of an operator carry the same labels (else the rule could never fire).
//!
//! Source: Prometheus documentation, "Alerting rules" and "Query functions".

use std::time::Duration;

use serde_json::{Map, Value, json};
use stent_contract::MetricId;
use stent_contract::alarm::{
    ALARMS, Aggregation, Alarm, Comparison, Condition, SignOfLife, Statistic, rollup,
};

use crate::{runbook, yaml};

/// Labels that the scrape adds and every alert keeps.
const SCRAPE_LABELS: [&str; 2] = ["job", "instance"];

/// A job whose metric has been seen within this time is expected to have it still. Prometheus
/// cannot know of a job that it has never seen.
const EXPECTED_AFTER: Duration = Duration::from_secs(86_400);

const HEADER: &str = "\
# Stent's alerting rules. Rendered from the alarm table: edit the table, not this file.
# Check with `promtool check rules`, test with `promtool test rules prometheus-tests.yml`.
";

/// The rule file.
pub fn rules(runbooks: &str) -> String {
    let rules: Vec<Value> = ALARMS.iter().map(|alarm| rule(alarm, runbooks)).collect();
    let file = json!({ "groups": [{ "name": "stent", "rules": rules }] });
    format!("{HEADER}{}", yaml::document(&file))
}

fn rule(alarm: &Alarm, runbooks: &str) -> Value {
    let mut rule = Map::new();
    rule.insert("alert".to_owned(), json!(alarm.name));
    rule.insert("expr".to_owned(), json!(expression(alarm)));
    if !alarm.hold.is_zero() {
        rule.insert("for".to_owned(), json!(duration(alarm.hold)));
    }
    rule.insert("labels".to_owned(), json!({ "severity": alarm.severity.as_str() }));
    rule.insert("annotations".to_owned(), annotations(alarm, runbooks));
    Value::Object(rule)
}

pub(crate) fn annotations(alarm: &Alarm, runbooks: &str) -> Value {
    json!({
        "summary": alarm.summary,
        "description": alarm.description,
        "runbook_url": runbook(alarm, runbooks),
    })
}

/// The PromQL that has a result while one look finds the trouble.
pub fn expression(alarm: &Alarm) -> String {
    let series = format!("{}{}", alarm.metric.row().name, matchers(alarm));
    let over = aggregation(alarm);
    let by = kept(alarm.by);
    let period = alarm.window.period;
    match alarm.condition {
        Condition::Level { statistic, comparison, threshold } => {
            let range = duration(period * 2);
            let function = function(statistic);
            let operator = operator(comparison);
            format!("{over} by ({by}) ({function}({series}[{range}])) {operator} {threshold}")
        }
        Condition::Increase { more_than } => {
            let range = duration(period * alarm.window.periods);
            // increase() extrapolates to the ends of its range: two events may come out as 2.5.
            let more_than = more_than + 0.5;
            format!("sum by ({by}) (increase({series}[{range}])) > {more_than}")
        }
        Condition::Share { whole, at_least } => {
            let whole = whole.row().name;
            format!("sum by ({by}) ({series})\n/ max by ({by}) ({whole})\n>= {at_least}")
        }
        Condition::Silence { sign: SignOfLife::UnixTime { older_than } } => {
            let age = older_than.as_secs();
            format!("time() - max by ({by}) ({series}) > {age}\nor {}", vanished(&series))
        }
        Condition::Silence { sign: SignOfLife::Component(name) } => {
            let up = MetricId::Up.row();
            let label = up.labels[0];
            let up = format!("max by ({by}) ({}{{{label}=\"{name}\"}}) < 1", up.name);
            format!("{up}\nor {}", vanished(&series))
        }
    }
}

/// The jobs which had the series lately and have it no more: a series that ended says nothing.
/// By job, since a rollout replaces instances.
fn vanished(series: &str) -> String {
    let range = duration(EXPECTED_AFTER);
    format!("(count by (job) (last_over_time({series}[{range}])) unless count by (job) ({series}))")
}

fn matchers(alarm: &Alarm) -> String {
    if alarm.selector.is_empty() {
        return String::new();
    }
    let own = alarm.selector.iter();
    let matchers: Vec<String> = own.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{{{}}}", matchers.join(","))
}

fn kept(by: &[&str]) -> String {
    let labels: Vec<&str> = SCRAPE_LABELS.iter().chain(by).copied().collect();
    labels.join(", ")
}

fn aggregation(alarm: &Alarm) -> &'static str {
    match rollup(alarm.metric).map(|rollup| rollup.aggregation) {
        None | Some(Aggregation::Max) => "max",
        Some(Aggregation::Min) => "min",
        Some(Aggregation::Sum) => "sum",
    }
}

const fn function(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Average => "avg_over_time",
        Statistic::Maximum => "max_over_time",
    }
}

const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::GreaterThan => ">",
        Comparison::AtLeast => ">=",
        Comparison::LessThan => "<",
    }
}

/// A duration of whole seconds in Prometheus' spelling, with the greatest unit that divides it.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
        if seconds > 0 && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}
