//! Every rendered CloudWatch alarm, fed with what the agent publishes: one series that must set it
//! off and one that must not, minute by minute.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use stent_alarms::Settings;
use stent_alarms::cloudwatch::put_metric_alarm;
use stent_alarms::evaluate::{Datapoint, MetricAlarm, State};
use stent_contract::alarm::ALARMS;

/// Points of one minute; empty: nothing was published.
type Minutes = Vec<Vec<f64>>;

struct Case {
    alarm: &'static str,
    fires: Minutes,
    silent: Minutes,
}

/// One point a minute.
fn each(values: &[f64]) -> Minutes {
    values.iter().map(|value| vec![*value]).collect()
}

fn flat(value: f64, minutes: usize) -> Minutes {
    vec![vec![value]; minutes]
}

fn nothing(minutes: usize) -> Minutes {
    vec![Vec::new(); minutes]
}

fn cases() -> Vec<Case> {
    let case = |alarm, fires, silent| Case { alarm, fires, silent };
    let healthy = |value| flat(value, 8);
    vec![
        case(
            "StentClientWaitLong",
            [flat(0.1, 5), each(&[2.0, 0.2, 3.0, 0.1, 2.0])].concat(),
            [healthy(0.9), each(&[5.0, 5.0]), healthy(0.1)].concat(),
        ),
        case(
            "StentClientWaitTimeouts",
            [healthy(0.0), flat(1.0, 1), flat(0.0, 2)].concat(),
            [healthy(0.0), nothing(20)].concat(),
        ),
        case(
            "StentServerConnectFailing",
            [healthy(0.0), each(&[1.0, 0.0, 1.0, 1.0])].concat(),
            [healthy(0.0), each(&[1.0, 0.0, 0.0, 1.0]), nothing(10)].concat(),
        ),
        case("StentConnectionLeak", [healthy(0.0), flat(2.0, 2)].concat(), flat(1.0, 30)),
        case("StentMemoryLeak", [healthy(1.0), flat(2.0, 3)].concat(), flat(1.0, 30)),
        case(
            "StentPoolSaturated",
            flat(0.97, 5),
            [flat(0.97, 4), flat(0.9, 1), flat(0.97, 4), flat(0.5, 1)].concat(),
        ),
        case(
            "StentIdleInTransactionHeld",
            each(&[5.0, 50.0, 110.0, 170.0]),
            each(&[29.0, 40.0, 50.0, 12.0, 29.0, 29.0, 29.0]),
        ),
        case(
            "StentMemoryLimitNear",
            [nothing(20), flat(90_000.0, 3), each(&[7_100.0, 7_000.0, 6_900.0])].concat(),
            [flat(7_300.0, 20), each(&[5_000.0]), nothing(20)].concat(),
        ),
        case(
            "StentOomKill",
            [healthy(0.0), flat(1.0, 1)].concat(),
            [healthy(0.0), nothing(10)].concat(),
        ),
        case(
            "StentRejuvenated",
            [healthy(0.0), flat(1.0, 1)].concat(),
            [healthy(0.0), nothing(10)].concat(),
        ),
        case("StentPostgresConnectionsNearMax", flat(85.0, 5), flat(84.0, 30)),
        case(
            "StentPostgresUnreachable",
            [healthy(1.0), flat(0.0, 3)].concat(),
            [healthy(1.0), flat(0.0, 2), healthy(1.0), nothing(30)].concat(),
        ),
        case("StentProxyDown", [healthy(12.0), nothing(5)].concat(), flat(0.0, 30)),
        case(
            "StentAgentSilent",
            [healthy(1.0), nothing(5)].concat(),
            [healthy(1.0), nothing(3), healthy(1.0)].concat(),
        ),
    ]
}

/// The state after every minute, as CloudWatch evaluates on a sliding window.
fn replay(rule: &MetricAlarm, minutes: &Minutes) -> Vec<State> {
    let width = usize::try_from(rule.period_seconds() / 60).unwrap();
    let mut state = State::InsufficientData;
    let ends = 1..=minutes.len();
    ends.map(|end| {
        let periods = minutes[..end].rchunks(width).take(rule.range());
        let mut range: Vec<Datapoint> =
            periods.map(|period| rule.judge(rule.statistic(&period.concat()))).collect();
        range.resize(rule.range(), Datapoint::Missing);
        range.reverse();
        state = rule.next(&range, state);
        state
    })
    .collect()
}

#[test]
fn every_alarm_goes_off_on_its_trouble_and_only_then() {
    let cases = cases();
    assert_eq!(cases.len(), ALARMS.len());
    for alarm in ALARMS {
        let case = cases.iter().find(|case| case.alarm == alarm.name);
        let case = case.unwrap_or_else(|| panic!("{} has no case", alarm.name));
        let document: Value = put_metric_alarm(alarm, &Settings::reference());
        let rule = MetricAlarm::parse(&document).unwrap();
        let (last, before) = {
            let mut states = replay(&rule, &case.fires);
            (states.pop().unwrap(), states)
        };
        assert_eq!(last, State::Alarm, "{} cannot fire", alarm.name);
        assert_ne!(before.first(), Some(&State::Alarm), "{} fires at once", alarm.name);
        let silent = replay(&rule, &case.silent);
        assert!(!silent.contains(&State::Alarm), "{} always fires: {silent:?}", alarm.name);
    }
}

/// What a lost agent does to alarms that were quiet: exactly the two watchers of silence go off.
#[test]
fn the_loss_of_all_data_sets_off_the_two_alarms_on_silence_and_no_other() {
    let mut went_off = Vec::new();
    for alarm in ALARMS {
        let rule = MetricAlarm::parse(&put_metric_alarm(alarm, &Settings::reference())).unwrap();
        let all_missing = vec![Datapoint::Missing; rule.range()];
        if rule.next(&all_missing, State::Ok) == State::Alarm {
            went_off.push(alarm.name);
        }
    }
    assert_eq!(went_off, ["StentProxyDown", "StentAgentSilent"]);
}

/// What it does to alarms in alarm: it does not call off a page, but for events that are over and
/// for the forecast, whose absence is the all-clear.
#[test]
fn the_loss_of_all_data_calls_off_only_alarms_whose_silence_is_good_news() {
    let mut called_off = Vec::new();
    for alarm in ALARMS {
        let rule = MetricAlarm::parse(&put_metric_alarm(alarm, &Settings::reference())).unwrap();
        let all_missing = vec![Datapoint::Missing; rule.range()];
        if rule.next(&all_missing, State::Alarm) != State::Alarm {
            called_off.push(alarm.name);
        }
    }
    let expected = [
        "StentClientWaitTimeouts",
        "StentServerConnectFailing",
        "StentMemoryLimitNear",
        "StentOomKill",
        "StentRejuvenated",
    ];
    assert_eq!(called_off, expected);
}
