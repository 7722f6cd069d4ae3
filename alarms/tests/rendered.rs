//! The committed files against the table: fresh, complete, within CloudWatch's limits, and each
//! alarm with its runbook page. `UPDATE_RENDERED=1` rewrites the files instead of comparing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stent_alarms::evaluate::MetricAlarm;
use stent_alarms::{RUNBOOKS, Settings, cloudformation, cloudwatch, render_all};
use stent_contract::alarm::ALARMS;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the crate stands in the repository").to_owned()
}

fn files_below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.insert(path);
        }
    }
    files
}

#[test]
fn the_committed_files_are_what_the_table_renders_to() {
    let rewrite = std::env::var_os("UPDATE_RENDERED").is_some();
    let mut expected = BTreeSet::new();
    for (path, text) in render_all() {
        let path = root().join(path);
        if rewrite {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{} is stale: UPDATE_RENDERED=1 cargo test", path.display());
        expected.insert(path);
    }
    assert_eq!(files_below(&root().join("alarms/rendered")), expected, "a file of no alarm");
}

#[test]
fn each_alarm_has_its_runbook_page_and_each_page_its_alarm() {
    let folder = root().join(RUNBOOKS);
    let pages: BTreeSet<PathBuf> = files_below(&folder);
    let expected: BTreeSet<PathBuf> =
        ALARMS.iter().map(|alarm| folder.join(format!("{}.md", alarm.name))).collect();
    assert_eq!(pages, expected);
}

#[test]
fn each_runbook_page_has_its_four_sections_in_order() {
    for alarm in ALARMS {
        let page = root().join(RUNBOOKS).join(format!("{}.md", alarm.name));
        let text = fs::read_to_string(page).unwrap();
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        let title = format!("# {}", alarm.name);
        let expected = [&title, "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];
        assert_eq!(headings, expected, "{}", alarm.name);
        assert!(text.contains("```"), "{}: no command to run", alarm.name);
        assert!(text.contains(alarm.metric.row().name), "{}: its metric", alarm.name);
    }
}

#[test]
fn put_metric_alarm_documents_keep_cloudwatchs_limits() {
    for alarm in ALARMS {
        let document = cloudwatch::put_metric_alarm(alarm, &Settings::reference());
        let rule = MetricAlarm::parse(&document);
        assert!(rule.is_ok(), "{}: {rule:?}", alarm.name);
        let description = document["AlarmDescription"].as_str().unwrap();
        assert!(description.chars().count() <= cloudwatch::DESCRIPTION_MAX, "{}", alarm.name);
        assert!(description.contains(&format!("{RUNBOOKS}/{}.md", alarm.name)));
        assert!(document["AlarmName"].as_str().unwrap().len() <= 255);
        assert!(document["Dimensions"].as_array().unwrap().len() <= 30);
        let window =
            rule.unwrap().period_seconds() * document["EvaluationPeriods"].as_u64().unwrap();
        assert!(window <= 86_400, "{}", alarm.name);
    }
}

#[test]
fn topics_go_where_the_severity_sends_them() {
    let settings = Settings {
        topic_arn: Some("arn:aws:sns:eu-west-1:123456789012:page".to_owned()),
        warning_topic_arn: Some("arn:aws:sns:eu-west-1:123456789012:ticket".to_owned()),
        ..Settings::reference()
    };
    for alarm in ALARMS {
        let document = cloudwatch::put_metric_alarm(alarm, &settings);
        let topic = document["AlarmActions"][0].as_str().unwrap();
        let expected = if alarm.severity.as_str() == "critical" { "page" } else { "ticket" };
        assert!(topic.ends_with(expected), "{}", alarm.name);
    }
}

#[test]
fn a_deployment_without_dimensions_gets_alarms_without_them() {
    let settings = Settings { dimensions: Vec::new(), ..Settings::reference() };
    let heartbeat = ALARMS.iter().find(|alarm| alarm.name == "StentAgentSilent").unwrap();
    let document = cloudwatch::put_metric_alarm(heartbeat, &settings);
    assert_eq!(document["Dimensions"], Value::Array(Vec::new()));
    assert_eq!(document["AlarmName"], "StentAgentSilent");
}

#[test]
fn the_template_says_of_each_alarm_what_the_document_says() {
    let template = cloudformation::template();
    let settings = Settings::reference();
    let same = ["MetricName", "Statistic", "Period", "EvaluationPeriods", "DatapointsToAlarm"];
    let same = same.iter().chain(&["ComparisonOperator", "TreatMissingData", "Tags"]);
    for alarm in ALARMS {
        let properties = &template["Resources"][alarm.name]["Properties"];
        let document = cloudwatch::put_metric_alarm(alarm, &settings);
        for field in same.clone() {
            assert_eq!(properties[field], document[field], "{}: {field}", alarm.name);
        }
        let fixed = properties["Dimensions"].as_array().unwrap().iter().skip(1);
        let document_fixed = document["Dimensions"].as_array().unwrap().iter().skip(1);
        assert!(fixed.eq(document_fixed), "{}", alarm.name);
    }
}
