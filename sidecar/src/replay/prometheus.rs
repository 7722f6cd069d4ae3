//! What Prometheus answers to `query_range`.
//!
//! Owns: its JSON. Refuses: asking for it. Invariant: a point that is no number (NaN before a
//! first sample) is no point; it is not taken for zero.

use serde_json::Value;

use super::document::{DocumentError, number};
use super::series::Series;

/// The longest description of a series.
const WHOSE_MAX: usize = 120;

/// The series of an answer; what it says beside them goes to `notes`.
pub(super) fn series(
    document: &Value,
    into: &mut Vec<Series>,
    notes: &mut Vec<String>,
) -> Result<(), DocumentError> {
    if document["status"] == "error" {
        let said = document["error"].as_str().unwrap_or("an error without a text");
        return Err(DocumentError::Answer(said.chars().take(200).collect()));
    }
    let data = &document["data"];
    let results = data["result"].as_array().ok_or(DocumentError::NoResults {
        key: "data.result",
        command: "curl .../api/v1/query_range",
    })?;
    let form = data["resultType"].as_str().unwrap_or("matrix");
    if form != "matrix" {
        return Err(DocumentError::NoRange(form.chars().take(32).collect()));
    }
    let warnings = document["warnings"].as_array().into_iter().flatten();
    notes.extend(warnings.filter_map(Value::as_str).map(str::to_owned));
    for result in results {
        into.push(one(result)?);
    }
    Ok(())
}

fn one(result: &Value) -> Result<Series, DocumentError> {
    let empty = serde_json::Map::new();
    let labels = result["metric"].as_object().unwrap_or(&empty);
    let name = labels.get("__name__").and_then(Value::as_str).map(str::to_owned);
    let named = |(label, value): (&String, &Value)| format!("{label}={value}");
    let labels: Vec<String> =
        labels.iter().filter(|(label, _)| *label != "__name__").map(named).collect();
    let whose: String = format!("{{{}}}", labels.join(",")).chars().take(WHOSE_MAX).collect();
    let id = name.clone().unwrap_or_else(|| whose.clone());
    let mut series = Series { names: vec![id.clone()], whose, ..Series::default() };
    let points = result["values"].as_array().ok_or_else(|| DocumentError::NoPoints(id.clone()))?;
    for point in points {
        let at = number(&point[0]).ok_or_else(|| DocumentError::Time(id.clone()))?;
        let text = point[1].as_str().ok_or_else(|| DocumentError::Value(id.clone()))?;
        let value: f64 = text.parse().map_err(|_| DocumentError::Value(id.clone()))?;
        if value.is_finite() && value >= 0.0 {
            series.points.insert((at * 1_000.0).round() as u64, value);
        }
    }
    Ok(series)
}
