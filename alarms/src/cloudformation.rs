//! The alarm table as one CloudFormation template.
//!
//! Owns: the template's parameters and conditions. Refuses: thresholds of its own; each resource is
//! built from the same parts as the PutMetricAlarm document.
//! Invariant: a parameter has a default unless no default could be right.
//!
//! Source: AWS CloudFormation user guide, AWS::CloudWatch::Alarm.

use serde_json::{Map, Value, json};
use stent_contract::alarm::{ALARMS, Alarm, Condition, Severity, SignOfLife};

use crate::RUNBOOKS;
use crate::cloudwatch::{
    self, Threshold, description, metric_name, pair, selected, treat_missing_data,
};

/// Stands for the folder of the runbook pages in a text under `Fn::Sub`.
const RUNBOOKS_PARAMETER: &str = "${Runbooks}";

/// The template with every alarm.
pub fn template() -> Value {
    let resources: Map<String, Value> =
        ALARMS.iter().map(|alarm| (alarm.name.to_owned(), resource(alarm))).collect();
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Stent's alarms. Rendered from the alarm table: edit the table, not this file.",
        "Parameters": parameters(),
        "Conditions": {
            "HasServiceName": given("ServiceName"),
            "HasTopic": given("TopicArn"),
            "HasWarningTopic": given("WarningTopicArn"),
            "WatchesProxy": { "Fn::Equals": [{ "Ref": "WatchProxy" }, "true"] },
        },
        "Resources": resources,
    })
}

fn parameters() -> Value {
    let arn_or_nothing = "^$|^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:.+$";
    json!({
        "Namespace": {
            "Type": "String",
            "Default": "Stent",
            "AllowedPattern": "^(?!AWS/)[^:].{0,254}$",
            "Description": "The CloudWatch namespace that the agent publishes to.",
        },
        "ServiceName": {
            "Type": "String",
            "Default": "",
            "Description": "The value of the dimension ServiceName, where the agent is configured \
                with it; empty where the agent adds no dimensions. Also begins the alarms' names.",
        },
        "TopicArn": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": arn_or_nothing,
            "Description": "SNS topic of critical alarms (a page); empty: nobody is told.",
        },
        "WarningTopicArn": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": arn_or_nothing,
            "Description": "SNS topic of warnings; empty: TopicArn.",
        },
        "Runbooks": {
            "Type": "String",
            "Default": RUNBOOKS,
            "Description": "Where the runbook pages are, without a trailing slash.",
        },
        "WatchProxy": {
            "Type": "String",
            "Default": "true",
            "AllowedValues": ["true", "false"],
            "Description": "false where the agent runs without the proxy: StentProxyDown would \
                always be in alarm.",
        },
        "PostgresConnectionsNearMax": {
            "Type": "Number",
            "MinValue": 1,
            "Description": "Alarm at this many client connections of PostgreSQL: 85 % of its \
                max_connections. No default: a wrong one would always fire, or never.",
        },
    })
}

fn resource(alarm: &Alarm) -> Value {
    let test = cloudwatch::test(alarm);
    let threshold = match test.threshold {
        Threshold::Fixed(threshold) => json!(threshold),
        Threshold::ShareOfMaxConnections(_) => json!({ "Ref": "PostgresConnectionsNearMax" }),
    };
    let service = json!({ "Name": "ServiceName", "Value": { "Ref": "ServiceName" } });
    let mut dimensions = vec![when("HasServiceName", service, no_value())];
    dimensions.extend(selected(alarm).iter().map(pair));
    let named = json!({ "Fn::Sub": format!("${{ServiceName}}-{}", alarm.name) });
    let mut resource = json!({
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": when("HasServiceName", named, json!(alarm.name)),
            "AlarmDescription": { "Fn::Sub": description(alarm, RUNBOOKS_PARAMETER) },
            "AlarmActions": topics(alarm.severity),
            "OKActions": topics(alarm.severity),
            "Namespace": { "Ref": "Namespace" },
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
        },
    });
    if watches_proxy(alarm) {
        resource["Condition"] = json!("WatchesProxy");
    }
    resource
}

/// Whether the alarm would always fire where there is no proxy.
const fn watches_proxy(alarm: &Alarm) -> bool {
    match alarm.condition {
        Condition::Silence { sign: SignOfLife::Component(_) } => true,
        Condition::Silence { sign: SignOfLife::UnixTime { .. } }
        | Condition::Level { .. }
        | Condition::Increase { .. }
        | Condition::Share { .. } => false,
    }
}

fn topics(severity: Severity) -> Value {
    let critical = when("HasTopic", json!([{ "Ref": "TopicArn" }]), no_value());
    match severity {
        Severity::Critical => critical,
        Severity::Warning => {
            when("HasWarningTopic", json!([{ "Ref": "WarningTopicArn" }]), critical)
        }
    }
}

fn given(parameter: &str) -> Value {
    json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": parameter }, ""] }] })
}

fn when(condition: &str, then: Value, otherwise: Value) -> Value {
    json!({ "Fn::If": [condition, then, otherwise] })
}

fn no_value() -> Value {
    json!({ "Ref": "AWS::NoValue" })
}
