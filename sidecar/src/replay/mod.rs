//! `stent replay`: judges a recorded history as the agent would have judged it live.
//!
//! Owns: reading the rows in order, following lives, and saying what changed. Refuses: looking
//! ahead; the one thing taken from the rows beforehand is the time between the first of them.
//! Invariant: a row that cannot be read is counted and the first is named; nothing is guessed in
//! its place.

mod clock;
mod cloudwatch;
mod counts;
mod date;
mod document;
mod event;
mod options;
mod prometheus;
mod rows;
mod series;

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use stent_contract::{Verdict, VerdictLevel};
use stent_leak::{Baseline, MemoryDetector, MemorySample, MemorySettings};

use counts::Counts;
use options::Source;
pub(crate) use options::{Options, OptionsError, parse};
use rows::{Row, Rows};

use crate::exit::Exit;

/// Rows that the time between readings is taken from.
const FIRST_ROWS: usize = 17;
/// A counter that falls below this share of itself was started again; one that falls less has
/// stumbled.
const RESTART_SHARE: f64 = 0.9;
/// Readings are milliseconds apart at least, and a day at most.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);

/// Why a history cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("the trace cannot be read: {0}")]
    Read(#[source] std::io::Error),
    #[error("the trace is empty: it needs a line with the names of its columns")]
    Empty,
    #[error("the trace has no column `{0}`")]
    NoColumn(String),
    #[error("line {line}: {problem}")]
    Broken { line: u64, problem: String },
    #[error("no row of the trace can be read; line {line}: {problem}")]
    NoRow { line: u64, problem: String },
    #[error("the history cannot be read: {0}")]
    Document(#[from] document::DocumentError),
    #[error("the baseline: {0}")]
    Baseline(#[source] Box<Self>),
    #[error("the result cannot be written: {0}")]
    Write(#[source] std::io::Error),
}

impl ReplayError {
    const fn mend(&self) -> &'static str {
        match self {
            Self::Read(_) => "give the path of a CSV file, or - for standard input",
            Self::Empty => "begin with t_seconds,rss_bytes,heap_bytes,requests_total,limit_bytes",
            Self::NoColumn(_) => "name the column with --time or --rss",
            Self::Broken { .. } => "mend the row, or leave --strict away to skip such rows",
            Self::NoRow { .. } => "see `stent help` for the columns",
            Self::Document(_) => {
                "give what `aws cloudwatch get-metric-data` or Prometheus' query_range prints, and \
                 name the series with --rss, --heap, --requests, --limit, --life"
            }
            Self::Baseline(error) => error.mend(),
            Self::Write(_) => "see where standard output leads to",
        }
    }

    const fn exit(&self) -> Exit {
        match self {
            Self::Read(_) | Self::Write(_) => Exit::Failure,
            Self::Baseline(error) => error.exit(),
            Self::Empty
            | Self::NoColumn(_)
            | Self::Broken { .. }
            | Self::NoRow { .. }
            | Self::Document(_) => Exit::Negative,
        }
    }
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Exit {
    let result = match options.path.as_str() {
        "-" => replay(options, &mut std::io::stdin().lock()),
        path => std::fs::File::open(path)
            .map_err(ReplayError::Read)
            .and_then(|file| replay(options, &mut BufReader::new(file))),
    };
    match result {
        Ok(summary) => {
            crate::complain(&format!("replay: {summary}"));
            Exit::Clean
        }
        Err(ReplayError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Exit::Clean
        }
        Err(error) => {
            crate::complain(&format!("replay: {error}\n  mend: {}", error.mend()));
            error.exit()
        }
    }
}

/// Judges the rows and writes an event for each change of the verdict. Returns a summary.
fn replay(options: &Options, input: &mut dyn BufRead) -> Result<String, ReplayError> {
    let before = options.baseline.as_deref().map(|path| baseline(path, options)).transpose()?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let known = before.flatten();
    let (_, summary) = judged(options, known, input, &mut out)?;
    out.flush().map_err(ReplayError::Write)?;
    let never = "\n  the baseline had not settled when it ended: it says nothing";
    Ok(summary + if before.is_some_and(|before| before.is_none()) { never } else { "" })
}

/// What the history of the revision before leaves for this one.
fn baseline(path: &str, options: &Options) -> Result<Option<Baseline>, ReplayError> {
    let in_it = |error| ReplayError::Baseline(Box::new(error));
    let file = std::fs::File::open(path).map_err(|error| in_it(ReplayError::Read(error)))?;
    let judged = judged(options, None, &mut BufReader::new(file), &mut std::io::sink());
    let (detector, _) = judged.map_err(in_it)?;
    Ok(detector.into_baseline())
}

/// Judges a whole history. Returns its detector and a summary.
fn judged(
    options: &Options,
    known: Option<Baseline>,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<(MemoryDetector, String), ReplayError> {
    match options.source {
        Source::Csv => {
            let mut rows = Rows::open(input, options)?;
            let first = rows.first(FIRST_ROWS)?;
            let mut judge = Judge::new(&first, known, options);
            for row in first {
                judge.take(&row, out)?;
            }
            while let Some(row) = rows.next()? {
                judge.take(&row, out)?;
            }
            let (read, lives, skipped) = (rows.read(), judge.life, rows.skipped());
            Ok((judge.detector, format!("{read} rows judged, {lives} lives{skipped}")))
        }
        Source::Of(monitor) => {
            let (rows, notes) = document::rows(input, monitor, options)?;
            let mut judge = Judge::new(&rows[..rows.len().min(FIRST_ROWS)], known, options);
            for row in &rows {
                judge.take(row, out)?;
            }
            let notes: String = notes.iter().map(|note| format!("\n  it says: {note}")).collect();
            let (read, lives) = (rows.len(), judge.life);
            Ok((judge.detector, format!("{read} rows judged, {lives} lives{notes}")))
        }
    }
}

/// The median time between the first rows.
fn interval(rows: &[Row]) -> Duration {
    let gaps = rows.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms);
    let mut gaps: Vec<u64> = gaps.filter(|gap| *gap > 0).collect();
    gaps.sort_unstable();
    let middle = gaps.get(gaps.len() / 2).copied().unwrap_or(60_000);
    Duration::from_millis(middle).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// The detector, and what it last said.
struct Judge<'a> {
    options: &'a Options,
    detector: MemoryDetector,
    counts: Counts,
    level: VerdictLevel,
    /// Lives so far: the number of the present one, from 1.
    life: u32,
    began_ms: u64,
    newest: Option<Row>,
}

impl<'a> Judge<'a> {
    /// A judge of a history that begins with these rows.
    fn new(first: &[Row], known: Option<Baseline>, options: &'a Options) -> Self {
        let interval = options.interval.unwrap_or_else(|| interval(first));
        let detector = MemoryDetector::new("trace", MemorySettings::every(interval));
        let detector = match known {
            Some(baseline) => detector.after(&baseline),
            None => detector,
        };
        let level = VerdictLevel::Healthy;
        let counts = Counts::new(interval, options);
        Self { options, detector, counts, level, life: 0, began_ms: 0, newest: None }
    }

    fn take(&mut self, row: &Row, out: &mut dyn Write) -> Result<(), ReplayError> {
        if self.newest.as_ref().is_none_or(|newest| begins_a_life(newest, row)) {
            self.life = self.life.saturating_add(1);
            self.began_ms = row.at_ms;
        }
        self.detector.observe(&MemorySample {
            at_unix_ms: row.at_ms,
            pid: self.life,
            started_unix_ms: self.began_ms,
            anon: row.rss,
            charged: row.rss,
            limit: row.limit.or(self.options.limit_bytes),
            heap: row.heap,
            transactions: row.requests,
        });
        let level = self.detector.level(row.at_ms);
        if level != self.level {
            self.level = level;
            self.write(row, &self.detector.verdict(row.at_ms), out)?;
        }
        for verdict in self.counts.take(row, self.life, self.began_ms) {
            self.write(row, &verdict, out)?;
        }
        // A row without a value in a column says nothing about it: the last one said stands.
        let before = self.newest.take();
        let mut newest = row.clone();
        if let Some(before) = before {
            newest.requests = newest.requests.or(before.requests);
            newest.life = newest.life.or(before.life);
        }
        self.newest = Some(newest);
        Ok(())
    }
}

impl Judge<'_> {
    fn write(&self, row: &Row, verdict: &Verdict, out: &mut dyn Write) -> Result<(), ReplayError> {
        let line = match self.options.format {
            options::Format::Json => event::json(row.t_s, verdict),
            options::Format::Text => event::text(row.t_s, verdict),
        };
        out.write_all(line.as_bytes()).map_err(ReplayError::Write)
    }
}

/// Whether a row is of another process than the one before. A column that names lives is
/// believed; without it a counter that falls tells.
fn begins_a_life(before: &Row, row: &Row) -> bool {
    if let (Some(old), Some(new)) = (&before.life, &row.life) {
        return old != new;
    }
    match (before.requests, row.requests) {
        (Some(old), Some(new)) => (new as f64) < RESTART_SHARE * old as f64,
        (None, _) | (_, None) => false,
    }
}
