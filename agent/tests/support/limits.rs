//! CloudWatch's limits on PutMetricData, checked on a decoded request.
//!
//! Owns: every documented limit of the request, the data and the dimensions. Refuses: sockets.
//! Invariant: a request that passes is one that Amazon documents as acceptable.
//!
//! Source: Amazon CloudWatch API reference, PutMetricData, MetricDatum, Dimension, StatisticSet,
//! EntityMetricData; "CloudWatch service quotas".

use std::collections::BTreeSet;
use std::fmt;

use ciborium::Value;

/// Bytes of a request as sent.
pub(crate) const BODY_MAX: usize = 1_000_000;
const DATA_MAX: usize = 1_000;
const ENTITIES_MAX: usize = 2;
const VALUES_MAX: usize = 150;
const DIMENSIONS_MAX: usize = 30;
const BACK_MS: i64 = 14 * 24 * 3_600_000;
const FORWARD_MS: i64 = 2 * 3_600_000;

const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// A datum that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received {
    /// The request's namespace.
    pub(crate) namespace: String,
    /// `MetricName`.
    pub(crate) name: String,
    /// In the order sent.
    pub(crate) dimensions: Vec<(String, String)>,
    /// Milliseconds since the Unix epoch.
    pub(crate) at_unix_ms: i64,
    /// Values and how often each counts.
    pub(crate) values: Vec<(f64, f64)>,
    /// `Unit`.
    pub(crate) unit: String,
}

/// What is wrong with a request: the error's code, and the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// As CloudWatch names it.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

type Checked<T> = Result<T, Violation>;

fn invalid<T>(message: impl Into<String>) -> Checked<T> {
    Err(Violation { code: "InvalidParameterValueException", message: message.into() })
}

fn missing<T>(field: &str) -> Checked<T> {
    let message = format!("{field} is missing");
    Err(Violation { code: "MissingRequiredParameterException", message })
}

fn clash<T>(message: &str) -> Checked<T> {
    let code = "InvalidParameterCombinationException";
    Err(Violation { code, message: message.to_owned() })
}

/// Checks a request against every limit, at this moment.
pub(crate) fn check(request: &Value, now_unix_ms: i64) -> Checked<Vec<Received>> {
    let Some(namespace) = field(request, "Namespace").and_then(Value::as_text) else {
        return missing("Namespace");
    };
    check_namespace(namespace)?;
    let mut data: Vec<&Value> = list(request, "MetricData").iter().collect();
    let entities = list(request, "EntityMetricData");
    if entities.len() > ENTITIES_MAX {
        return invalid(format!("{} EntityMetricData, {ENTITIES_MAX} at most", entities.len()));
    }
    data.extend(entities.iter().flat_map(|entity| list(entity, "MetricData")));
    if data.is_empty() {
        return missing("MetricData");
    }
    if data.len() > DATA_MAX {
        return invalid(format!("{} metrics, {DATA_MAX} at most", data.len()));
    }
    data.into_iter().map(|datum| check_datum(datum, namespace, now_unix_ms)).collect()
}

fn check_namespace(namespace: &str) -> Checked<()> {
    if !(1..=255).contains(&namespace.chars().count()) {
        return invalid("the namespace has 1 to 255 characters");
    }
    if namespace.starts_with(':') || namespace.starts_with("AWS/") {
        return invalid("the namespace begins with a colon or AWS/");
    }
    Ok(())
}

fn check_datum(datum: &Value, namespace: &str, now_unix_ms: i64) -> Checked<Received> {
    let Some(name) = field(datum, "MetricName").and_then(Value::as_text) else {
        return missing("MetricName");
    };
    if !(1..=255).contains(&name.chars().count()) {
        return invalid("MetricName has 1 to 255 characters");
    }
    let unit = field(datum, "Unit").and_then(Value::as_text).unwrap_or("None");
    if !UNITS.contains(&unit) {
        return invalid(format!("the unit {unit}"));
    }
    if let Some(resolution) = field(datum, "StorageResolution").and_then(Value::as_integer)
        && ![1.into(), 60.into()].contains(&resolution)
    {
        return invalid("StorageResolution is 1 or 60");
    }
    Ok(Received {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions: check_dimensions(list(datum, "Dimensions"))?,
        at_unix_ms: check_timestamp(datum, now_unix_ms)?,
        values: check_values(datum)?,
        unit: unit.to_owned(),
    })
}

fn check_dimensions(dimensions: &[Value]) -> Checked<Vec<(String, String)>> {
    if dimensions.len() > DIMENSIONS_MAX {
        return invalid(format!("{} dimensions, {DIMENSIONS_MAX} at most", dimensions.len()));
    }
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for dimension in dimensions {
        let text = |key| field(dimension, key).and_then(Value::as_text).unwrap_or_default();
        let (name, value) = (text("Name"), text("Value"));
        check_text(name, 255)?;
        check_text(value, 1_024)?;
        if name.starts_with(':') {
            return invalid("a dimension's name begins with a colon");
        }
        if !names.insert(name) {
            return invalid(format!("the dimension {name} stands twice"));
        }
        checked.push((name.to_owned(), value.to_owned()));
    }
    Ok(checked)
}

fn check_text(text: &str, longest: usize) -> Checked<()> {
    if text.is_empty() || text.len() > longest {
        return invalid(format!("a dimension's text has 1 to {longest} characters"));
    }
    if !text.is_ascii() || text.bytes().any(|byte| byte.is_ascii_control()) {
        return invalid("a dimension's text is ASCII without control characters");
    }
    if text.trim().is_empty() {
        return invalid("a dimension's text is not blank");
    }
    Ok(())
}

/// Without a timestamp CloudWatch takes its own; here one is asked for, or an outage would move
/// points to where they do not belong.
fn check_timestamp(datum: &Value, now_unix_ms: i64) -> Checked<i64> {
    // Source: RFC 8949 section 3.4.2, tag 1: seconds since the epoch.
    let Some(Value::Tag(1, seconds)) = field(datum, "Timestamp") else {
        return missing("Timestamp");
    };
    let Some(seconds) = number(seconds) else {
        return invalid("the timestamp is no number");
    };
    let at = (seconds * 1_000.0).round() as i64;
    if at < now_unix_ms - BACK_MS || at > now_unix_ms + FORWARD_MS {
        return invalid("the timestamp is more than two weeks back or two hours ahead");
    }
    Ok(at)
}

fn check_values(datum: &Value) -> Checked<Vec<(f64, f64)>> {
    let value = field(datum, "Value");
    let statistics = field(datum, "StatisticValues");
    let values = list(datum, "Values");
    let counts = list(datum, "Counts");
    match (value, statistics, values) {
        (Some(value), None, []) => Ok(vec![(check_number(value)?, 1.0)]),
        (None, Some(statistics), []) => check_statistics(statistics),
        (None, None, [_, ..]) => check_pairs(values, counts),
        (None, None, []) => missing("Value, Values or StatisticValues"),
        _ => clash("more than one of Value, Values and StatisticValues"),
    }
}

fn check_statistics(statistics: &Value) -> Checked<Vec<(f64, f64)>> {
    let mut of = ["SampleCount", "Sum", "Minimum", "Maximum"].map(|key| field(statistics, key));
    for number in &mut of {
        match number {
            Some(number) => check_number(number).map(drop)?,
            None => return missing("a field of StatisticValues"),
        }
    }
    let [samples, sum, ..] = of.map(|value| value.and_then(number).unwrap_or_default());
    Ok(vec![(sum / samples, samples)])
}

fn check_pairs(values: &[Value], counts: &[Value]) -> Checked<Vec<(f64, f64)>> {
    if !counts.is_empty() && counts.len() != values.len() {
        return clash("Counts has as many entries as Values");
    }
    let values: Vec<f64> = values.iter().map(check_number).collect::<Checked<_>>()?;
    let distinct: BTreeSet<u64> = values.iter().map(|value| value.to_bits()).collect();
    if distinct.len() > VALUES_MAX || values.len() > VALUES_MAX {
        return invalid(format!("{} values, {VALUES_MAX} at most", values.len()));
    }
    let counts: Vec<f64> = counts.iter().map(check_number).collect::<Checked<_>>()?;
    if counts.iter().any(|count| *count < 0.0) {
        return invalid("a count is negative");
    }
    let counts = counts.into_iter().chain(std::iter::repeat(1.0));
    Ok(values.into_iter().zip(counts).collect())
}

fn check_number(value: &Value) -> Checked<f64> {
    match number(value) {
        Some(number) if number.is_finite() && number.abs() <= f64::powi(2.0, 360) => Ok(number),
        Some(number) => invalid(format!("the value {number}")),
        None => invalid("a value is no number"),
    }
}

fn number(value: &Value) -> Option<f64> {
    let integer = || value.as_integer().map(|integer| i128::from(integer) as f64);
    value.as_float().or_else(integer)
}

fn field<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    let entries = map.as_map()?;
    entries.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
}

fn list<'a>(map: &'a Value, key: &str) -> &'a [Value] {
    field(map, key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
