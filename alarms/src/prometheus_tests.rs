//! The unit tests of the Prometheus rules, as a file for `promtool test rules`.
//!
//! Owns: the rendering of the hand-written cases in [`cases`]. Refuses: running promtool (that is
//! the crate's tests' business).
//! Invariant: every alarm has a case in which it fires and one in which it keeps silent although
//! its metric has data; a series is named by the metric table.
//!
//! Source: Prometheus documentation, "Unit testing for rules".

mod cases;

use serde_json::{Map, Value, json};
use stent_contract::MetricId;
use stent_contract::alarm::{ALARMS, Alarm};

use crate::{prometheus, yaml};

pub use cases::{CASES, HEALTHY};

/// Label names and values.
pub type Labels = &'static [(&'static str, &'static str)];

/// A time series of a case: a sample every 15 seconds, in promtool's notation.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// The metric.
    pub metric: MetricId,
    /// Its labels, without the scrape's.
    pub labels: Labels,
    /// `2+0x8` is nine times 2, `0+15x8` grows by 15, `stale` ends the series.
    pub values: &'static str,
}

/// What one alarm does with some series.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The alarm's name.
    pub alarm: &'static str,
    /// What happens in this case.
    pub story: &'static str,
    /// What is scraped.
    pub series: &'static [Series],
    /// Minutes after the start at which the rules are looked at.
    pub minute: u32,
    /// The alerts that fire then, by their labels without `job` and `severity`; none: silence.
    pub fires: &'static [Labels],
}

const JOB: &str = "stent";

/// The labels that Prometheus adds to every series of the one instance in the cases.
const INSTANCE: (&str, &str) = ("instance", "api:9187");

/// Minutes at which the healthy service is looked at.
const HEALTHY_MINUTES: [u32; 3] = [1, 10, 30];

const HEADER: &str = "\
# Unit tests of prometheus-rules.yml. Rendered: edit the cases in the crate, not this file.
# Run with `promtool test rules prometheus-tests.yml`.
";

/// The test file; annotations name runbooks under `runbooks`, as the rules do.
pub fn render(runbooks: &str) -> String {
    let mut groups: Vec<Value> = CASES.iter().map(|case| group(case, runbooks)).collect();
    groups.push(healthy());
    let file = json!({
        "rule_files": ["prometheus-rules.yml"],
        "evaluation_interval": "15s",
        "tests": groups,
    });
    format!("{HEADER}{}", yaml::document(&file))
}

fn group(case: &Case, runbooks: &str) -> Value {
    let alarm = ALARMS.iter().find(|alarm| alarm.name == case.alarm);
    let alarm = alarm.expect("a test of the cases: each names an alarm of the table");
    let alerts: Vec<Value> =
        case.fires.iter().map(|labels| alert(alarm, labels, runbooks)).collect();
    json!({
        "name": format!("{}: {}", case.alarm, case.story),
        "interval": "15s",
        "input_series": case.series.iter().map(input).collect::<Vec<_>>(),
        "alert_rule_test": [look(case.alarm, case.minute, alerts)],
    })
}

fn healthy() -> Value {
    let looks = ALARMS.iter().flat_map(|alarm| {
        HEALTHY_MINUTES.iter().map(|minute| look(alarm.name, *minute, Vec::new()))
    });
    json!({
        "name": "a busy and healthy service sets off nothing",
        "interval": "15s",
        "input_series": HEALTHY.iter().map(input).collect::<Vec<_>>(),
        "alert_rule_test": looks.collect::<Vec<_>>(),
    })
}

fn look(alarm: &str, minute: u32, alerts: Vec<Value>) -> Value {
    json!({ "eval_time": format!("{minute}m"), "alertname": alarm, "exp_alerts": alerts })
}

fn alert(alarm: &Alarm, labels: Labels, runbooks: &str) -> Value {
    let mut expected = Map::new();
    expected.insert("job".to_owned(), json!(JOB));
    expected.insert("severity".to_owned(), json!(alarm.severity.as_str()));
    expected.extend(labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    json!({
        "exp_labels": expected,
        "exp_annotations": prometheus::annotations(alarm, runbooks),
    })
}

fn input(series: &Series) -> Value {
    let own = series.labels.iter().chain([&("job", JOB), &INSTANCE]);
    let labels: Vec<String> = own.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let name = series.metric.row().name;
    json!({ "series": format!("{name}{{{}}}", labels.join(",")), "values": series.values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_fires_in_one_case_and_keeps_silent_in_another() {
        for alarm in ALARMS {
            let own: Vec<&Case> = CASES.iter().filter(|case| case.alarm == alarm.name).collect();
            assert!(own.iter().any(|case| !case.fires.is_empty()), "{} never fires", alarm.name);
            let silent: Vec<_> = own.iter().filter(|case| case.fires.is_empty()).collect();
            assert!(!silent.is_empty(), "{} is never silent", alarm.name);
            for case in silent {
                let fed = case.series.iter().any(|series| series.metric == alarm.metric);
                assert!(fed, "{}: silent for want of data: {}", alarm.name, case.story);
            }
        }
    }

    #[test]
    fn the_healthy_service_has_data_for_every_alarm_but_the_forecast() {
        for alarm in ALARMS.iter().filter(|alarm| alarm.metric != MetricId::TimeToLimit) {
            let fed = HEALTHY.iter().any(|series| series.metric == alarm.metric);
            assert!(fed, "{} is silent for want of data", alarm.name);
        }
    }

    #[test]
    fn cases_name_alarms_of_the_table_and_labels_of_the_metric() {
        let series = CASES.iter().flat_map(|case| case.series).chain(HEALTHY);
        for one in series {
            let names: Vec<_> = one.labels.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, one.metric.row().labels, "{:?}", one.metric);
        }
        for case in CASES {
            assert!(ALARMS.iter().any(|alarm| alarm.name == case.alarm), "{}", case.alarm);
        }
    }
}
