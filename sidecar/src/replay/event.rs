//! How a change of the verdict is written.
//!
//! Owns: the JSON line and the lines of text. Refuses: deciding what a change is.
//! Invariant: an event is one line of JSON; keys are never left out, unknown values are null.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};
use stent_contract::{Resource, Verdict, VerdictLevel};

use super::date;

/// One JSON object and the end of its line.
pub(super) fn json(t_s: f64, verdict: &Verdict) -> String {
    let (low, high) = verdict.seconds_to_limit_range.unzip();
    let evidence = verdict.evidence.iter().map(|evidence| {
        let mut entry = Map::new();
        entry.insert("key".to_owned(), Value::from(evidence.key.as_str()));
        entry.insert("value".to_owned(), number(Some(evidence.value)));
        entry.insert("text".to_owned(), Value::from(evidence.text.as_str()));
        Value::Object(entry)
    });
    let rate = number(Some(verdict.growth_per_hour.round()));
    let is_memory = verdict.resource == Resource::Memory;
    let event = [
        ("t", number(Some(t_s))),
        ("verdict", Value::from(word(verdict.level))),
        ("class", Value::from(verdict.class.as_str())),
        ("confidence", number(Some((verdict.confidence * 1e4).round() / 1e4))),
        ("bytes_per_hour", if is_memory { rate.clone() } else { Value::Null }),
        ("seconds_to_limit", number(verdict.seconds_to_limit.map(f64::round))),
        ("low", number(low.map(f64::round))),
        ("high", number(high.map(f64::round))),
        ("evidence", Value::Array(evidence.collect())),
    ];
    // An event of memory is what it always was; others say what they are of.
    let counted = [("resource", Value::from(verdict.resource.as_str())), ("count_per_hour", rate)];
    let counted = counted.into_iter().filter(|_| !is_memory);
    let event: Map<String, Value> =
        event.into_iter().chain(counted).map(|(key, value)| (key.to_owned(), value)).collect();
    format!("{}\n", Value::Object(event))
}

/// The event as a person reads it.
pub(super) fn text(t_s: f64, verdict: &Verdict) -> String {
    let mut text = format!(
        "{}: {}{}, {}, confidence {:.2}\n",
        moment(t_s),
        match verdict.resource {
            Resource::Memory => String::new(),
            other @ (Resource::Connections | Resource::Descriptors | Resource::Threads) => {
                format!("{}: ", other.as_str())
            }
        },
        word(verdict.level),
        verdict.class.as_str(),
        verdict.confidence
    );
    if let (Some(seconds), Some((low, high))) =
        (verdict.seconds_to_limit, verdict.seconds_to_limit_range)
    {
        // A String takes whatever is written to it.
        let _ = writeln!(
            text,
            "  limit in {}, with 80 % between {} and {}",
            time(seconds),
            time(low),
            time(high)
        );
    }
    for evidence in &verdict.evidence {
        let _ = writeln!(text, "  {}", evidence.text);
    }
    text
}

const fn word(level: VerdictLevel) -> &'static str {
    match level {
        VerdictLevel::Healthy => "recovered",
        VerdictLevel::Suspect => "suspect",
        VerdictLevel::Leak => "leak",
    }
}

/// A whole number where it is one; null where there is none or it is not finite.
fn number(value: Option<f64>) -> Value {
    let Some(value) = value else { return Value::Null };
    if value.fract() == 0.0 && value.abs() < 9.0e15 {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// Seconds that are a date are written as one: histories of this century and the next.
fn moment(t_s: f64) -> String {
    if (9.4e8..7.3e9).contains(&t_s) {
        date::text(t_s as u64)
    } else {
        format!("{} ({t_s} s)", time(t_s))
    }
}

/// Days, hours and minutes.
fn time(seconds: f64) -> String {
    let minutes = (seconds / 60.0) as u64;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    if days > 0 {
        format!("{days}d {hours:02}:{minutes:02}")
    } else {
        format!("{hours:02}:{minutes:02}")
    }
}
