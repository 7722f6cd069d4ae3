//! The alarm table against the metric table: what the compiler cannot check.

use std::collections::BTreeSet;

use stent_contract::alarm::{
    ALARMS, Aggregation, Alarm, Condition, MissingData, ROLLUPS, dimension, rollup,
};
use stent_contract::{MetricKind, Unit};

#[test]
fn names_are_unique_and_fit_an_alert_a_file_and_a_logical_id() {
    let mut seen = BTreeSet::new();
    for alarm in ALARMS {
        assert!(seen.insert(alarm.name), "{} stands twice", alarm.name);
        assert!(alarm.name.starts_with("Stent"), "{}", alarm.name);
        assert!(alarm.name.bytes().all(|b| b.is_ascii_alphanumeric()), "{}", alarm.name);
    }
}

#[test]
fn each_alarm_reads_a_metric_that_cloudwatch_gets() {
    for alarm in ALARMS {
        assert!(alarm.metric.row().cloudwatch.is_some(), "{} cannot be rendered", alarm.name);
    }
}

#[test]
fn conditions_fit_the_kind_and_unit_of_their_metric() {
    for alarm in ALARMS {
        let row = alarm.metric.row();
        let counter = row.kind == MetricKind::Counter;
        match alarm.condition {
            Condition::Level { threshold, .. } => {
                assert_eq!(row.kind, MetricKind::Gauge, "{}", alarm.name);
                assert!(threshold > 0.0, "{}: 0 is where every gauge starts", alarm.name);
                assert!(sane(row.unit, threshold), "{}: {threshold} {:?}", alarm.name, row.unit);
            }
            Condition::Increase { more_than } => {
                assert!(counter, "{}: only a counter has an increase", alarm.name);
                assert!(more_than >= 0.0 && more_than.fract() == 0.0, "{}", alarm.name);
            }
            Condition::Share { whole, at_least } => {
                assert_eq!(row.unit, whole.row().unit, "{}", alarm.name);
                assert_eq!(whole.row().kind, MetricKind::Gauge, "{}", alarm.name);
                assert!(at_least > 0.5 && at_least < 1.0, "{}", alarm.name);
            }
            Condition::Silence { .. } => assert!(!counter, "{}", alarm.name),
        }
    }
}

/// Whether a threshold is one that a metric of this unit can meet and need not always meet.
fn sane(unit: Unit, threshold: f64) -> bool {
    match unit {
        Unit::Ratio => threshold < 1.0,
        Unit::Seconds => (1.0..=86_400.0).contains(&threshold),
        Unit::Count => threshold.fract() == 0.0,
        Unit::Bytes | Unit::BytesPerHour => threshold >= 1_048_576.0,
    }
}

#[test]
fn only_silence_alarms_on_missing_data() {
    for alarm in ALARMS {
        let silence = matches!(alarm.condition, Condition::Silence { .. });
        assert_eq!(alarm.missing == MissingData::Breaching, silence, "{}", alarm.name);
        assert!(alarm.missing_because.ends_with('.'), "{} gives no reason", alarm.name);
    }
}

#[test]
fn a_counter_that_shows_no_events_is_not_in_trouble() {
    for alarm in ALARMS.iter().filter(|a| matches!(a.condition, Condition::Increase { .. })) {
        assert_eq!(alarm.missing, MissingData::NotBreaching, "{}", alarm.name);
    }
}

#[test]
fn an_absent_forecast_never_keeps_an_alarm_alive() {
    let forecasts = ALARMS.iter().filter(|a| a.metric.row().help.contains("absent while"));
    let policies: Vec<_> = forecasts.map(|alarm| alarm.missing).collect();
    assert_eq!(policies, [MissingData::NotBreaching]);
}

#[test]
fn labels_of_an_alarm_are_labels_of_its_metric() {
    for alarm in ALARMS {
        let labels = alarm.metric.row().labels;
        for (label, _) in alarm.selector {
            assert!(labels.contains(label), "{}: {label}", alarm.name);
            assert!(!alarm.by.contains(label), "{}: {label} is fixed already", alarm.name);
        }
        assert!(alarm.by.iter().all(|label| labels.contains(label)), "{}", alarm.name);
    }
}

#[test]
fn cloudwatch_needs_no_dimension_that_an_alarm_does_not_know() {
    for alarm in ALARMS {
        let known: Vec<_> = alarm.selector.iter().map(|(label, _)| *label).collect();
        match rollup(alarm.metric) {
            Some(rollup) => assert_eq!(rollup.keep, known, "{}", alarm.name),
            None => assert_eq!(alarm.metric.row().labels, known, "{}", alarm.name),
        }
    }
}

#[test]
fn there_is_one_roll_up_a_metric_and_each_serves_an_alarm() {
    let mut seen = BTreeSet::new();
    for rollup in ROLLUPS {
        assert!(seen.insert(rollup.metric), "{:?} stands twice", rollup.metric);
        let users: Vec<&Alarm> = ALARMS.iter().filter(|a| a.metric == rollup.metric).collect();
        assert!(!users.is_empty(), "{:?} is billed and read by nobody", rollup.metric);
        if users.iter().any(|a| matches!(a.condition, Condition::Increase { .. })) {
            assert_eq!(rollup.aggregation, Aggregation::Sum, "{:?}", rollup.metric);
        }
    }
}

#[test]
fn texts_are_sentences_and_leave_room_for_a_link() {
    for alarm in ALARMS {
        assert!(alarm.summary.ends_with('.') && alarm.summary.len() <= 120, "{}", alarm.name);
        assert!(alarm.description.ends_with('.'), "{}", alarm.name);
        assert!(alarm.summary.len() + alarm.description.len() <= 600, "{}", alarm.name);
    }
}

#[test]
fn aggregates_are_made_of_values_only() {
    assert_eq!(Aggregation::Max.fold([0.2, 0.9, 0.4]), Some(0.9));
    assert_eq!(Aggregation::Min.fold([7.0, 3.0, 5.0]), Some(3.0));
    assert_eq!(Aggregation::Sum.fold([1.0, 2.0, 4.0]), Some(7.0));
    assert_eq!(Aggregation::Sum.fold([]), None);
}

#[test]
fn labels_become_dimensions_in_camel_case() {
    assert_eq!(dimension("application_name"), "ApplicationName");
    assert_eq!(dimension("sqlstate"), "SqlState");
    assert_eq!(dimension("user"), "User");
}
