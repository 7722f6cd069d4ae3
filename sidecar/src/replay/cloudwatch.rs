//! What `aws cloudwatch get-metric-data` prints.
//!
//! Owns: its JSON. Refuses: asking CloudWatch for it. Invariant: an answer that is not whole is
//! said to be so; the order of its points does not matter.

use serde_json::Value;

use super::date;
use super::document::{DocumentError, number};
use super::series::Series;

/// The series of an answer; what it says beside them goes to `notes`.
pub(super) fn series(
    document: &Value,
    into: &mut Vec<Series>,
    notes: &mut Vec<String>,
) -> Result<(), DocumentError> {
    let results = document["MetricDataResults"].as_array().ok_or(DocumentError::NoResults {
        key: "MetricDataResults",
        command: "aws cloudwatch get-metric-data",
    })?;
    if document["NextToken"].is_string() {
        notes.push("the answer is not whole: it has a NextToken".to_owned());
    }
    let messages = [document]
        .into_iter()
        .chain(results)
        .filter_map(|part| part["Messages"].as_array())
        .flatten();
    notes.extend(messages.filter_map(|message| message["Value"].as_str()).map(str::to_owned));
    for result in results {
        one(result, into, notes)?;
    }
    Ok(())
}

fn one(
    result: &Value,
    into: &mut Vec<Series>,
    notes: &mut Vec<String>,
) -> Result<(), DocumentError> {
    let names: Vec<String> = ["Id", "Label"]
        .into_iter()
        .filter_map(|key| result[key].as_str())
        .map(str::to_owned)
        .collect();
    let id = names.first().cloned().ok_or(DocumentError::NoName)?;
    match result["StatusCode"].as_str() {
        Some("InternalError" | "Forbidden") => return Err(DocumentError::Refused(id)),
        Some("PartialData") => notes.push(format!("`{id}` is not whole: PartialData")),
        Some(_) | None => {}
    }
    let (Some(times), Some(values)) =
        (result["Timestamps"].as_array(), result["Values"].as_array())
    else {
        return Err(DocumentError::NoPoints(id));
    };
    if times.len() != values.len() {
        return Err(DocumentError::Uneven { id, times: times.len(), values: values.len() });
    }
    // A long answer is printed with the same series several times.
    let at = match into.iter().position(|series| series.names == names) {
        Some(at) => at,
        None => {
            into.push(Series { names, whose: format!("`{id}`"), ..Series::default() });
            into.len() - 1
        }
    };
    for (time, value) in times.iter().zip(values) {
        let at_ms = moment(time).ok_or_else(|| DocumentError::Time(id.clone()))?;
        let value = number(value).ok_or_else(|| DocumentError::Value(id.clone()))?;
        into[at].points.insert(at_ms, value);
    }
    Ok(())
}

/// A timestamp: RFC 3339, or seconds since the Unix epoch as older clients print them.
fn moment(time: &Value) -> Option<u64> {
    match time {
        Value::String(text) => date::unix_ms(text),
        Value::Number(_) => number(time).map(|seconds| (seconds * 1_000.0).round() as u64),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
