//! The series of a monitoring system, joined into rows.
//!
//! Owns: which series is which column, what a row is where they have different times, and which
//! series are lives of one target. Refuses: the form that they came in ([`super::cloudwatch`],
//! [`super::prometheus`]). Invariant: rows are in order of time; a row exists where memory was read
//! and nowhere else; of a counter and a limit the newest value not after the row is taken.

use std::collections::BTreeMap;

use super::options::{Options, is_default};
use super::rows::Row;

/// The most points of one history.
pub(super) const POINTS_MAX: usize = 4_000_000;
/// The most series of one history.
pub(super) const SERIES_MAX: usize = 10_000;
/// Names of series that a message lists.
const LISTED_MAX: usize = 8;

/// Points of one metric: milliseconds since the Unix epoch, and the value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    /// What it can be called by.
    pub(super) names: Vec<String>,
    /// What tells it from others of the same name.
    pub(super) whose: String,
    pub(super) points: BTreeMap<u64, f64>,
}

/// What counters of a source count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// All since the process began.
    SinceStart,
    /// Those of each period.
    PerPeriod,
}

/// Why series are no history.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SeriesError {
    #[error("there is no series in it")]
    None,
    #[error("no series is called `{name}`; there are {there}")]
    NotThere { name: String, there: String },
    #[error("two series are called `{name}` at the same time: {first} and {second}")]
    Twice { name: String, first: String, second: String },
    #[error("the series `{0}` has no point")]
    Empty(String),
}

/// The rows of a history.
pub(super) fn rows(
    series: &[Series],
    options: &Options,
    counts: Counts,
) -> Result<Vec<Row>, SeriesError> {
    let memory = memory(series, options)?;
    let [heap, requests, limit, life] =
        [2, 3, 4, 5].map(|column| joined(series, &options.columns[column]));
    let [heap, requests, limit, life] = [heap?, requests?, limit?, life?];
    let requests = match counts {
        Counts::SinceStart => requests,
        Counts::PerPeriod => summed(requests),
    };
    let [fds, threads] = options.counts.clone().map(|name| match name {
        Some(name) => joined(series, &name),
        None => Ok(Joined::new()),
    });
    let (fds, threads) = (fds?, threads?);
    let scaled = |value: f64| (value * options.scale).round() as u64;
    let rows = memory.into_iter().map(|(at_ms, (rss, part))| Row {
        t_s: at_ms as f64 / 1_000.0,
        at_ms,
        rss: scaled(rss),
        heap: heap.get(&at_ms).map(|(heap, _)| scaled(*heap)),
        requests: newest(&requests, at_ms).map(|value| value.round() as u64),
        limit: newest(&limit, at_ms).filter(|limit| *limit >= 1.0).map(scaled),
        life: match newest(&life, at_ms) {
            Some(life) => Some(format!("{part}/{life}")),
            None => (part > 0 || is_shared(series, options)).then(|| part.to_string()),
        },
        counts: [&fds, &threads].map(|of| newest(of, at_ms).map(|count| count.round() as u64)),
    });
    Ok(rows.collect())
}

/// Points of a column: the value, and which of several series in turn it is from.
type Joined = BTreeMap<u64, (f64, usize)>;

/// The series of memory: of that name, or the only one there is where no name was chosen.
fn memory(series: &[Series], options: &Options) -> Result<Joined, SeriesError> {
    let name = &options.columns[1];
    let mut memory = joined(series, name)?;
    if let ([only], true, true) = (series, memory.is_empty(), is_default(1, name)) {
        memory = only.points.iter().map(|(at, value)| (*at, (*value, 0))).collect();
    }
    if !memory.is_empty() {
        return Ok(memory);
    }
    if series.is_empty() {
        return Err(SeriesError::None);
    }
    if series.iter().any(|series| series.names.contains(name)) {
        return Err(SeriesError::Empty(name.clone()));
    }
    let mut there: Vec<&str> =
        series.iter().filter_map(|series| series.names.first()).map(String::as_str).collect();
    there.sort_unstable();
    there.dedup();
    let more = if there.len() > LISTED_MAX { ", ..." } else { "" };
    there.truncate(LISTED_MAX);
    Err(SeriesError::NotThere { name: name.clone(), there: format!("{}{more}", there.join(", ")) })
}

/// Whether memory comes from several series, one after the other.
fn is_shared(series: &[Series], options: &Options) -> bool {
    series.iter().filter(|series| series.names.contains(&options.columns[1])).count() > 1
}

/// The series of a name, one after the other; those that overlap are of several targets.
fn joined(series: &[Series], name: &String) -> Result<Joined, SeriesError> {
    let mut parts: Vec<&Series> = series
        .iter()
        .filter(|series| series.names.contains(name) && !series.points.is_empty())
        .collect();
    parts.sort_by_key(|part| part.points.first_key_value().map(|(at, _)| *at));
    for pair in parts.windows(2) {
        let ends = pair[0].points.last_key_value().map(|(at, _)| *at);
        let begins = pair[1].points.first_key_value().map(|(at, _)| *at);
        if begins <= ends {
            let (first, second) = (pair[0].whose.clone(), pair[1].whose.clone());
            return Err(SeriesError::Twice { name: name.clone(), first, second });
        }
    }
    let points = parts.iter().enumerate().flat_map(|(index, part)| {
        part.points.iter().map(move |(at, value)| (*at, (*value, index)))
    });
    Ok(points.collect())
}

/// Counts of periods as one counter.
fn summed(counts: Joined) -> Joined {
    let mut total = 0.0;
    let sum = |(at, (count, part)): (u64, (f64, usize))| {
        total += count;
        (at, (total, part))
    };
    counts.into_iter().map(sum).collect()
}

/// The newest value not after `at_ms`.
fn newest(points: &Joined, at_ms: u64) -> Option<f64> {
    points.range(..=at_ms).next_back().map(|(_, (value, _))| *value)
}
