//! The evaluator against the CloudWatch user guide's tables and prose.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use stent_alarms::evaluate::{Datapoint, MetricAlarm, ParseError, State};

const STATES: [State; 3] = [State::Ok, State::Alarm, State::InsufficientData];
const TREATMENTS: [&str; 4] = ["missing", "ignore", "breaching", "notBreaching"];

/// What a cell of the guide's tables says.
#[derive(Clone, Copy, Debug)]
enum Cell {
    Ok,
    Alarm,
    Insufficient,
    Retain,
}

use Cell::{Alarm, Insufficient, Ok as Fine, Retain};

fn document(datapoints: u64, periods: u64, treatment: &str) -> Value {
    json!({
        "Period": 300,
        "EvaluationPeriods": periods,
        "DatapointsToAlarm": datapoints,
        "Statistic": "Maximum",
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 10.0,
        "TreatMissingData": treatment,
    })
}

fn points(text: &str) -> Vec<Datapoint> {
    let letters = text.split_whitespace();
    letters
        .map(|letter| match letter {
            "0" => Datapoint::Good,
            "X" => Datapoint::Breaching,
            "-" => Datapoint::Missing,
            other => panic!("{other} is no data point"),
        })
        .collect()
}

fn check(datapoints: u64, rows: &[(&str, [Cell; 4])]) {
    for (text, cells) in rows {
        for (treatment, cell) in TREATMENTS.iter().zip(cells) {
            let alarm = MetricAlarm::parse(&document(datapoints, 3, treatment)).unwrap();
            assert_eq!(alarm.range(), 5, "the tables look at five points");
            for current in STATES {
                let expected = match cell {
                    Fine => State::Ok,
                    Alarm => State::Alarm,
                    Insufficient => State::InsufficientData,
                    Retain => current,
                };
                let next = alarm.next(&points(text), current);
                assert_eq!(next, expected, "{datapoints} of 3, {text}, {treatment}, {current:?}");
            }
        }
    }
}

/// User guide, "How alarm state is evaluated when data is missing", first table.
#[test]
fn three_of_three_agrees_with_the_guides_table() {
    check(
        3,
        &[
            ("0 - X - X", [Fine, Fine, Fine, Fine]),
            ("- - - - 0", [Fine, Fine, Fine, Fine]),
            ("- - - - -", [Insufficient, Retain, Alarm, Fine]),
            ("0 X X - X", [Alarm, Alarm, Alarm, Alarm]),
            ("- - X - -", [Alarm, Retain, Alarm, Fine]),
        ],
    );
}

/// User guide, the same section, second table.
#[test]
fn two_of_three_agrees_with_the_guides_table() {
    check(
        2,
        &[
            ("0 - X - X", [Alarm, Alarm, Alarm, Alarm]),
            ("0 0 X 0 X", [Alarm, Alarm, Alarm, Alarm]),
            ("0 - X - -", [Fine, Fine, Alarm, Fine]),
            ("- - - - 0", [Fine, Fine, Alarm, Fine]),
            ("- - - X -", [Alarm, Retain, Alarm, Fine]),
        ],
    );
}

#[test]
fn breaching_points_older_than_n_real_ones_do_not_count() {
    check(2, &[("X X 0 0 0", [Fine; 4]), ("X 0 0 - 0", [Fine; 4]), ("- X 0 X 0", [Fine; 4])]);
}

#[test]
fn a_gap_does_not_hide_a_breach_among_the_real_points() {
    check(1, &[("X 0 - 0 0", [Fine; 4]), ("- - X - 0", [Alarm; 4])]);
}

#[test]
fn one_breaching_point_too_young_keeps_the_state() {
    check(3, &[("- - - - X", [Retain, Retain, Alarm, Fine])]);
}

#[test]
fn a_metric_that_stops_is_silent_for_the_whole_range_before_breaching_alarms() {
    let alarm = MetricAlarm::parse(&document(3, 3, "breaching")).unwrap();
    assert_eq!(alarm.next(&points("0 - - - -"), State::Ok), State::Ok);
    assert_eq!(alarm.next(&points("- - - - -"), State::Ok), State::Alarm);
}

#[test]
fn a_breaching_value_of_zero_is_a_value() {
    let mut lower = document(1, 1, "missing");
    lower["ComparisonOperator"] = json!("LessThanThreshold");
    let alarm = MetricAlarm::parse(&lower).unwrap();
    assert_eq!(alarm.judge(Some(0.0)), Datapoint::Breaching);
    assert_eq!(alarm.judge(None), Datapoint::Missing);
}

#[test]
fn operators_differ_at_the_threshold() {
    let at_threshold = |operator: &str| {
        let mut one = document(1, 1, "missing");
        one["ComparisonOperator"] = json!(operator);
        MetricAlarm::parse(&one).unwrap().judge(Some(10.0))
    };
    assert_eq!(at_threshold("GreaterThanThreshold"), Datapoint::Good);
    assert_eq!(at_threshold("GreaterThanOrEqualToThreshold"), Datapoint::Breaching);
    assert_eq!(at_threshold("LessThanThreshold"), Datapoint::Good);
    assert_eq!(at_threshold("LessThanOrEqualToThreshold"), Datapoint::Breaching);
}

#[test]
fn statistics_of_a_period_are_cloudwatchs() {
    let of = |statistic: &str, values: &[f64]| {
        let mut one = document(1, 1, "missing");
        one["Statistic"] = json!(statistic);
        MetricAlarm::parse(&one).unwrap().statistic(values)
    };
    let values = [4.0, 1.0, 1.0];
    assert_eq!(of("SampleCount", &values), Some(3.0));
    assert_eq!(of("Average", &values), Some(2.0));
    assert_eq!(of("Sum", &values), Some(6.0));
    assert_eq!(of("Minimum", &values), Some(1.0));
    assert_eq!(of("Maximum", &values), Some(4.0));
    assert_eq!(of("SampleCount", &[]), None, "CloudWatch has no datum of an empty period");
}

#[test]
fn documents_that_cannot_be_evaluated_are_refused_with_the_field() {
    let refuse = |field: &str, value: Value| {
        let mut one = document(2, 3, "missing");
        one[field] = value;
        MetricAlarm::parse(&one).unwrap_err()
    };
    let value = |field, value: &str| ParseError::Value(field, value.to_owned());
    assert_eq!(refuse("DatapointsToAlarm", json!(4)), value("DatapointsToAlarm", "4"));
    assert_eq!(refuse("Period", json!(7)), value("Period", "7"));
    assert_eq!(refuse("Statistic", json!("p99")), value("Statistic", "p99"));
    assert_eq!(refuse("TreatMissingData", json!("Ignore")), value("TreatMissingData", "Ignore"));
    assert_eq!(refuse("ComparisonOperator", json!(">")), value("ComparisonOperator", ">"));
    assert_eq!(refuse("Threshold", json!("10")), ParseError::Field("Threshold"));
}
