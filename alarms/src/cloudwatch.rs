//! An alarm as the input of PutMetricAlarm.
//!
//! Owns: how the table's conditions become CloudWatch's statistic, operator and threshold.
//! Refuses: metric math, composite alarms and high-resolution periods (the table needs none).
//! Invariant: the document names exactly the dimensions of a datum that the agent publishes: the
//! configured ones and the alarm's selector.
//!
//! Source: Amazon CloudWatch API reference, PutMetricAlarm.

use serde_json::{Value, json};
use stent_contract::alarm::{
    Alarm, Comparison, Condition, MissingData, Severity, Statistic, dimension,
};

use crate::{Settings, runbook};

/// CloudWatch's limit on `AlarmDescription`, characters.
pub const DESCRIPTION_MAX: usize = 1_024;

/// Statistic, operator and threshold of one period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Test {
    pub(crate) statistic: &'static str,
    pub(crate) operator: &'static str,
    pub(crate) threshold: Threshold,
}

/// Where the threshold comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Threshold {
    /// The table.
    Fixed(f64),
    /// This share of a figure which CloudWatch does not have.
    ShareOfMaxConnections(f64),
}

/// The document for `aws cloudwatch put-metric-alarm --cli-input-json file://…`.
pub fn put_metric_alarm(alarm: &Alarm, settings: &Settings) -> Value {
    let test = test(alarm);
    let threshold = match test.threshold {
        Threshold::Fixed(threshold) => threshold,
        Threshold::ShareOfMaxConnections(share) => {
            (share * f64::from(settings.postgres_max_connections)).ceil()
        }
    };
    let name = match settings.dimensions.iter().find(|(name, _)| name == "ServiceName") {
        Some((_, service)) => format!("{service}-{}", alarm.name),
        None => alarm.name.to_owned(),
    };
    let mut dimensions: Vec<Value> = settings.dimensions.iter().map(pair).collect();
    dimensions.extend(selected(alarm).iter().map(pair));
    let topics: Vec<&String> = topic(alarm.severity, settings).into_iter().collect();
    json!({
        "AlarmName": name,
        "AlarmDescription": description(alarm, &settings.runbooks),
        "ActionsEnabled": true,
        "AlarmActions": topics,
        "OKActions": topics,
        "Namespace": settings.namespace,
        "MetricName": metric_name(alarm),
        "Dimensions": dimensions,
        "Statistic": test.statistic,
        "Period": alarm.window.period.as_secs(),
        "EvaluationPeriods": alarm.window.periods,
        "DatapointsToAlarm": alarm.window.datapoints,
        "Threshold": threshold,
        "ComparisonOperator": test.operator,
        "TreatMissingData": treat_missing_data(alarm.missing),
        "Tags": [{ "Key": "severity", "Value": alarm.severity.as_str() }],
    })
}

/// What one period is tested for.
pub(crate) fn test(alarm: &Alarm) -> Test {
    let (statistic, operator, threshold) = match alarm.condition {
        Condition::Level { statistic, comparison, threshold } => {
            (statistic_name(statistic), operator(comparison), Threshold::Fixed(threshold))
        }
        // The agent publishes a counter as its increase since the last publication.
        Condition::Increase { more_than } => {
            ("Sum", operator(Comparison::GreaterThan), Threshold::Fixed(more_than))
        }
        Condition::Share { whole: _, at_least } => (
            statistic_name(Statistic::Maximum),
            operator(Comparison::AtLeast),
            Threshold::ShareOfMaxConnections(at_least),
        ),
        // A period with a datum is never bad; one without is missing, and missing is breaching.
        Condition::Silence { sign: _ } => {
            ("SampleCount", operator(Comparison::LessThan), Threshold::Fixed(1.0))
        }
    };
    Test { statistic, operator, threshold }
}

const fn statistic_name(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Average => "Average",
        Statistic::Maximum => "Maximum",
    }
}

const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::GreaterThan => "GreaterThanThreshold",
        Comparison::AtLeast => "GreaterThanOrEqualToThreshold",
        Comparison::LessThan => "LessThanThreshold",
    }
}

pub(crate) const fn treat_missing_data(policy: MissingData) -> &'static str {
    match policy {
        MissingData::NotBreaching => "notBreaching",
        MissingData::Breaching => "breaching",
        MissingData::Ignore => "ignore",
    }
}

/// What the person reads who is woken: the sentence, the reason, the page.
pub(crate) fn description(alarm: &Alarm, runbooks: &str) -> String {
    let page = runbook(alarm, runbooks);
    format!("{} {} Runbook: {page}", alarm.summary, alarm.description)
}

pub(crate) fn metric_name(alarm: &Alarm) -> &'static str {
    alarm.metric.row().cloudwatch.expect("a test of the table: alarmed metrics go to CloudWatch")
}

/// The dimensions that the alarm itself fixes.
pub(crate) fn selected(alarm: &Alarm) -> Vec<(String, String)> {
    let own = alarm.selector.iter();
    own.map(|(label, value)| (dimension(label), (*value).to_owned())).collect()
}

pub(crate) fn pair((name, value): &(String, String)) -> Value {
    json!({ "Name": name, "Value": value })
}

fn topic(severity: Severity, settings: &Settings) -> Option<&String> {
    match severity {
        Severity::Critical => settings.topic_arn.as_ref(),
        Severity::Warning => settings.warning_topic_arn.as_ref().or(settings.topic_arn.as_ref()),
    }
}
