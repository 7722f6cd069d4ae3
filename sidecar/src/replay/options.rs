//! The options of `stent replay`.
//!
//! Owns: their names and meaning. Refuses: opening anything.
//! Invariant: no value that was typed enters a message.

use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// A path, or `-` for standard input.
    pub(crate) path: String,
    /// The path of a history of the revision before, in the same form.
    pub(crate) baseline: Option<String>,
    pub(crate) source: Source,
    /// Bytes in one unit of the columns of memory.
    pub(crate) scale: f64,
    pub(crate) format: Format,
    pub(crate) rows: BrokenRows,
    /// Time between readings, where it is not taken from the rows.
    pub(crate) interval: Option<Duration>,
    /// The limit of rows that name none.
    pub(crate) limit_bytes: Option<u64>,
    /// Names of the columns: time, resident, heap, requests, limit, life.
    pub(crate) columns: [String; 6],
    /// Names of the columns of descriptors and threads, where they are to be judged too.
    pub(crate) counts: [Option<String>; 2],
}

/// What wrote the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A table with a line of names.
    Csv,
    /// A monitoring system: JSON.
    Of(Monitor),
}

/// A monitoring system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Monitor {
    /// `aws cloudwatch get-metric-data`.
    CloudWatch,
    /// Prometheus' `query_range`.
    Prometheus,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// What becomes of a row that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokenRows {
    /// It is counted and left out.
    Skip,
    /// It ends the replay.
    Refuse,
}

/// Why options are refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum OptionsError {
    #[error("replay: no trace to judge")]
    NoPath,
    #[error("replay: more than one trace")]
    TwoPaths,
    #[error("replay: an option that it does not have")]
    Unknown,
    #[error("replay: an option without its value")]
    NoValue,
    #[error("replay: --interval is not a number of seconds above 0 and up to a day")]
    Interval,
    #[error("replay: --limit-bytes is not a number of bytes")]
    LimitBytes,
    #[error("replay: --from is csv, cloudwatch or prometheus")]
    From,
    #[error("replay: --scale is not a number of bytes above 0 and up to 1e12")]
    Scale,
}

/// The options that name columns, and the names without them.
const COLUMNS: [(&str, &str); 6] = [
    ("--time", "t_seconds"),
    ("--rss", "rss_bytes"),
    ("--heap", "heap_bytes"),
    ("--requests", "requests_total"),
    ("--limit", "limit_bytes"),
    ("--life", "life"),
];

/// The options that name columns which are looked at only where they are named.
const COUNTS: [&str; 2] = ["--fds", "--threads"];

/// The other options that have a value.
const VALUED: [&str; 5] = ["--interval", "--limit-bytes", "--from", "--scale", "--baseline"];

/// Takes the words after `replay` apart.
pub(crate) fn parse(words: Vec<String>) -> Result<Options, OptionsError> {
    let mut options = Options {
        path: String::new(),
        baseline: None,
        source: Source::Csv,
        scale: 1.0,
        format: Format::Text,
        rows: BrokenRows::Skip,
        interval: None,
        limit_bytes: None,
        columns: COLUMNS.map(|(_, name)| name.to_owned()),
        counts: [None, None],
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            Some(_) | None => (word.as_str(), None),
        };
        match name {
            "--json" => options.format = Format::Json,
            "--strict" => options.rows = BrokenRows::Refuse,
            _ if !name.starts_with("--") => {
                if !options.path.is_empty() {
                    return Err(OptionsError::TwoPaths);
                }
                options.path.clone_from(&word);
            }
            _ => {
                let mut columns = COLUMNS.iter().map(|(option, _)| option).chain(&COUNTS);
                let known = VALUED.contains(&name) || columns.any(|option| *option == name);
                if !known {
                    return Err(OptionsError::Unknown);
                }
                let value = value.or_else(|| words.next()).ok_or(OptionsError::NoValue)?;
                set(&mut options, name, value)?;
            }
        }
    }
    if options.path.is_empty() { Err(OptionsError::NoPath) } else { Ok(options) }
}

/// Whether a column has the name that it has without an option.
pub(super) fn is_default(column: usize, name: &str) -> bool {
    COLUMNS[column].1 == name
}

fn set(options: &mut Options, name: &str, value: String) -> Result<(), OptionsError> {
    if let Some(at) = COLUMNS.iter().position(|(option, _)| *option == name) {
        options.columns[at] = value;
        return Ok(());
    }
    if let Some(at) = COUNTS.iter().position(|option| *option == name) {
        options.counts[at] = Some(value);
        return Ok(());
    }
    match name {
        "--limit-bytes" => {
            options.limit_bytes = Some(value.parse().map_err(|_| OptionsError::LimitBytes)?);
        }
        "--from" => {
            options.source = match value.as_str() {
                "csv" => Source::Csv,
                "cloudwatch" => Source::Of(Monitor::CloudWatch),
                "prometheus" => Source::Of(Monitor::Prometheus),
                _ => return Err(OptionsError::From),
            };
        }
        "--baseline" => options.baseline = Some(value),
        "--scale" => options.scale = within(&value, 1e-6..=1e12).ok_or(OptionsError::Scale)?,
        _ => {
            let seconds = within(&value, 0.001..=86_400.0).ok_or(OptionsError::Interval)?;
            options.interval = Some(Duration::from_secs_f64(seconds));
        }
    }
    Ok(())
}

fn within(value: &str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
    value.parse().ok().filter(|value| range.contains(value))
}

impl OptionsError {
    pub(crate) const fn mend(self) -> &'static str {
        "write stent replay FILE [--from csv|cloudwatch|prometheus] [--json] [--strict] \
         [--interval SECONDS] [--limit-bytes N] [--scale BYTES] [--baseline FILE] and, for columns or series of \
         other names, --time --rss --heap --requests --limit --life NAME; --fds --threads NAME are judged too where they are \
         given"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Options, OptionsError> {
        parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_stand_before_and_after_the_path_and_take_their_value_in_both_ways() {
        let options = words("--json --rss=anon t.csv --interval 0.5 --life pod").unwrap();
        assert_eq!((options.path.as_str(), options.format), ("t.csv", Format::Json));
        assert_eq!(options.interval, Some(Duration::from_millis(500)));
        assert_eq!(options.columns[1], "anon");
        assert_eq!(options.columns[5], "pod");
        assert_eq!(words("-").unwrap().path, "-");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(words(""), Err(OptionsError::NoPath));
        assert_eq!(words("a b"), Err(OptionsError::TwoPaths));
        assert_eq!(words("a --frob"), Err(OptionsError::Unknown));
        assert_eq!(words("a --rss"), Err(OptionsError::NoValue));
        assert_eq!(words("a --interval 0"), Err(OptionsError::Interval));
        assert_eq!(words("a --interval NaN"), Err(OptionsError::Interval));
        assert_eq!(words("a --limit-bytes much"), Err(OptionsError::LimitBytes));
        assert_eq!(words("a --from graphite"), Err(OptionsError::From));
        assert_eq!(words("a --scale 0"), Err(OptionsError::Scale));
    }
}
