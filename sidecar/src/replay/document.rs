//! A history that is JSON: one document, or several after each other.
//!
//! Owns: reading it, and what can be wrong with it. Refuses: what the documents mean.
//! Invariant: [`DOCUMENT_MAX`] bytes at most; nothing of a document enters a message but names of
//! series, and those short.

use std::io::{BufRead, Read as _};

use serde_json::Value;

use super::ReplayError;
use super::options::{Monitor, Options};
use super::rows::Row;
use super::series::{self, Counts, POINTS_MAX, SERIES_MAX, Series, SeriesError};
use super::{cloudwatch, prometheus};

/// The largest history, bytes.
const DOCUMENT_MAX: u64 = 256 * 1024 * 1024;
/// Numbers beyond this are none (a double holds whole numbers up to here).
const NUMBER_MAX: f64 = 9.0e15;
/// What documents say beside their series is repeated up to this many times.
const NOTES_MAX: usize = 5;

/// Why a document is no history.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum DocumentError {
    #[error("it is larger than {DOCUMENT_MAX} bytes")]
    TooLarge,
    #[error("it is no JSON: line {line}, column {column}")]
    NoJson { line: usize, column: usize },
    #[error("it has no {key}: is it what `{command}` prints?")]
    NoResults { key: &'static str, command: &'static str },
    #[error("a result has no Id")]
    NoName,
    #[error("CloudWatch refused `{0}`")]
    Refused(String),
    #[error("`{0}` has no list of points")]
    NoPoints(String),
    #[error("`{id}` has {times} timestamps and {values} values")]
    Uneven { id: String, times: usize, values: usize },
    #[error("a timestamp of `{0}` cannot be read")]
    Time(String),
    #[error("a value of `{0}` is no number from 0 to 9e15")]
    Value(String),
    #[error("Prometheus answered: {0}")]
    Answer(String),
    #[error("it is a {0}, the answer to one moment: ask query_range")]
    NoRange(String),
    #[error("it has more than {SERIES_MAX} series or {POINTS_MAX} points")]
    TooMany,
    #[error(transparent)]
    Series(#[from] SeriesError),
}

/// The rows of a history, and what its documents say beside them.
pub(super) fn rows(
    input: &mut dyn BufRead,
    monitor: Monitor,
    options: &Options,
) -> Result<(Vec<Row>, Vec<String>), ReplayError> {
    let mut bytes = Vec::new();
    input.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes).map_err(ReplayError::Read)?;
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(DocumentError::TooLarge.into());
    }
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for document in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
        let document = document.map_err(|error| DocumentError::NoJson {
            line: error.line(),
            column: error.column(),
        })?;
        match monitor {
            Monitor::CloudWatch => cloudwatch::series(&document, &mut found, &mut notes)?,
            Monitor::Prometheus => prometheus::series(&document, &mut found, &mut notes)?,
        }
        let points: usize = found.iter().map(|series: &Series| series.points.len()).sum();
        if found.len() > SERIES_MAX || points > POINTS_MAX {
            return Err(DocumentError::TooMany.into());
        }
    }
    let counts = match monitor {
        Monitor::CloudWatch => Counts::PerPeriod,
        Monitor::Prometheus => Counts::SinceStart,
    };
    notes.truncate(NOTES_MAX);
    let rows = series::rows(&found, options, counts).map_err(DocumentError::Series)?;
    Ok((rows, notes))
}

/// A number that a column can hold.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|value| (0.0..=NUMBER_MAX).contains(value))
}
