//! The rows of a trace: comma-separated, the first line names the columns.
//!
//! Owns: lines, fields, and what is wrong with them. Refuses: meaning (lives, verdicts).
//! Invariant: rows come out in order of time; a line is [`LINE_MAX`] bytes at most; each line that
//! is no row is counted once, and the first of them is named.

use std::io::{BufRead, Read as _};

use super::ReplayError;
use super::clock::Clock;
use super::options::{BrokenRows, Options};

/// The longest line, bytes.
const LINE_MAX: usize = 64 * 1024;
/// Times are seconds; beyond this they are not (ten thousand years).
const TIME_MAX_S: f64 = 3.2e11;
/// Bytes and requests beyond this are none (a double holds whole numbers up to here).
const NUMBER_MAX: f64 = 9.0e15;
/// The longest part of a field that is shown.
const SHOWN_MAX: usize = 32;

/// A reading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// As written, seconds.
    pub(super) t_s: f64,
    /// The same, milliseconds.
    pub(super) at_ms: u64,
    pub(super) rss: u64,
    pub(super) heap: Option<u64>,
    pub(super) requests: Option<u64>,
    pub(super) limit: Option<u64>,
    pub(super) life: Option<String>,
    /// Descriptors and threads.
    pub(super) counts: [Option<u64>; 2],
}

/// The names that columns go by: time, resident, heap, requests, limit, life.
struct Columns {
    names: [String; 6],
    counts: [Option<String>; 2],
}

impl Columns {
    fn named(options: &Options) -> Self {
        Self { names: options.columns.clone(), counts: options.counts.clone() }
    }

    /// Where each is. The first two must be there, and those of counts that were named.
    fn places(&self, header: &str) -> Result<Places, ReplayError> {
        let names: Vec<&str> = header.split(',').map(field).collect();
        let place = |name: &String| names.iter().position(|other| *other == name.as_str());
        let places = std::array::from_fn(|column| place(&self.names[column]));
        for (column, place) in places.iter().enumerate().take(2) {
            if place.is_none() {
                return Err(ReplayError::NoColumn(self.names[column].clone()));
            }
        }
        let mut counts = [None; 2];
        for (slot, name) in counts.iter_mut().zip(&self.counts) {
            let Some(name) = name else { continue };
            *slot = Some(place(name).ok_or_else(|| ReplayError::NoColumn(name.clone()))?);
        }
        Ok(Places { named: places, counts })
    }
}

/// Where columns are in a line.
#[derive(Default)]
struct Places {
    named: [Option<usize>; 6],
    counts: [Option<usize>; 2],
}

/// The rows of an input.
pub(super) struct Rows<'a> {
    input: &'a mut dyn BufRead,
    columns: Columns,
    /// Bytes in one unit of memory.
    scale: f64,
    places: Places,
    broken: BrokenRows,
    line: u64,
    newest_ms: Option<u64>,
    clock: Clock,
    read: u64,
    skipped: u64,
    first_problem: Option<(u64, String)>,
}

impl<'a> Rows<'a> {
    /// Reads the line of names.
    pub(super) fn open(input: &'a mut dyn BufRead, options: &Options) -> Result<Self, ReplayError> {
        let mut rows = Self {
            input,
            columns: Columns::named(options),
            scale: options.scale,
            places: Places::default(),
            broken: options.rows,
            line: 0,
            newest_ms: None,
            clock: Clock::default(),
            read: 0,
            skipped: 0,
            first_problem: None,
        };
        loop {
            let line = rows.next_line()?.ok_or(ReplayError::Empty)?;
            let Ok(text) = line else { return Err(ReplayError::Empty) };
            let text = text.trim_start_matches('\u{feff}');
            if !text.is_empty() && !text.starts_with('#') {
                rows.places = rows.columns.places(text)?;
                return Ok(rows);
            }
        }
    }

    /// The first rows; one at least.
    pub(super) fn first(&mut self, count: usize) -> Result<Vec<Row>, ReplayError> {
        let mut first = Vec::with_capacity(count);
        while first.len() < count {
            let Some(row) = self.next()? else { break };
            first.push(row);
        }
        match (first.is_empty(), self.first_problem.take()) {
            (true, Some((line, problem))) => Err(ReplayError::NoRow { line, problem }),
            (true, None) => {
                let problem = "there is no row after the names".to_owned();
                Err(ReplayError::NoRow { line: self.line, problem })
            }
            (false, problem) => {
                self.first_problem = problem;
                Ok(first)
            }
        }
    }

    /// The next row that can be read.
    pub(super) fn next(&mut self) -> Result<Option<Row>, ReplayError> {
        while let Some(line) = self.next_line()? {
            let parsed = match line {
                Ok(text) if text.is_empty() || text.starts_with('#') => continue,
                Ok(text) => self.row(&text),
                Err(problem) => Err(problem),
            };
            match parsed {
                Ok(row) => {
                    self.newest_ms = Some(row.at_ms);
                    self.read += 1;
                    return Ok(Some(row));
                }
                Err(problem) if self.broken == BrokenRows::Refuse => {
                    return Err(ReplayError::Broken { line: self.line, problem });
                }
                Err(problem) => {
                    self.skipped += 1;
                    self.first_problem.get_or_insert((self.line, problem));
                }
            }
        }
        Ok(None)
    }

    /// Rows read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Half sentences about what was left out, and a clock that was set back; nothing where nothing was.
    pub(super) fn skipped(&self) -> String {
        let mut told = match &self.first_problem {
            Some((line, problem)) => {
                format!(", {} lines skipped, the first is line {line}: {problem}", self.skipped)
            }
            None => String::new(),
        };
        if self.clock.set_back > 0 {
            told += &format!(", a clock set back {} times", self.clock.set_back);
        }
        told
    }

    /// The next line without its end; an inner error is a line that is no text.
    fn next_line(&mut self) -> Result<Option<Result<String, String>>, ReplayError> {
        let mut bytes = Vec::new();
        let mut limited = self.input.take(LINE_MAX as u64);
        limited.read_until(b'\n', &mut bytes).map_err(ReplayError::Read)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if bytes.len() == LINE_MAX && bytes.last() != Some(&b'\n') {
            self.finish_line()?;
            return Ok(Some(Err(format!("it is longer than {LINE_MAX} bytes"))));
        }
        let text = String::from_utf8(bytes).map(|text| text.trim().to_owned());
        Ok(Some(text.map_err(|_| "it is not UTF-8".to_owned())))
    }

    /// Reads on to the end of a line that is too long, and keeps nothing of it.
    fn finish_line(&mut self) -> Result<(), ReplayError> {
        loop {
            let buffer = self.input.fill_buf().map_err(ReplayError::Read)?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let (used, done) = match end {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.input.consume(used);
            if done {
                return Ok(());
            }
        }
    }

    fn row(&mut self, text: &str) -> Result<Row, String> {
        let mut row = self.fields(text)?;
        row.at_ms = self.clock.steady(row.at_ms, self.newest_ms).ok_or_else(|| {
            let name = self.columns.names[0].as_str();
            format!("{name} goes back")
        })?;
        Ok(row)
    }

    fn fields(&self, text: &str) -> Result<Row, String> {
        let fields: Vec<&str> = text.split(',').map(field).collect();
        let at = |column: usize| {
            let place = self.places.named[column]?;
            fields.get(place).copied().filter(|field| !field.is_empty())
        };
        let name = |column: usize| self.columns.names[column].as_str();
        let needed = |column: usize| at(column).ok_or_else(|| format!("no {}", name(column)));
        let number = |column: usize| at(column).map(|text| whole(text, name(column))).transpose();
        let bytes = |text: &str, column: usize| {
            real(text, name(column), NUMBER_MAX / self.scale)
                .map(|value| (value * self.scale).round() as u64)
        };
        let t_s = real(needed(0)?, name(0), TIME_MAX_S)?;
        let at_ms = (t_s * 1_000.0).round() as u64;
        let rss = bytes(needed(1)?, 1)?;
        let limit = at(4).filter(|text| *text != "max").map(|text| bytes(text, 4));
        Ok(Row {
            t_s,
            at_ms,
            rss,
            heap: at(2).map(|text| bytes(text, 2)).transpose()?,
            requests: number(3)?,
            limit: limit.transpose()?.filter(|limit| *limit > 0),
            life: at(5).map(str::to_owned),
            counts: self.counts(&fields)?,
        })
    }

    fn counts(&self, fields: &[&str]) -> Result<[Option<u64>; 2], String> {
        let mut counts = [None; 2];
        let named = self.places.counts.iter().zip(&self.columns.counts);
        for (slot, (place, name)) in counts.iter_mut().zip(named) {
            let text = place.and_then(|place| fields.get(place)).filter(|text| !text.is_empty());
            let name = name.as_deref().unwrap_or_default();
            *slot = text.map(|text| whole(text, name)).transpose()?;
        }
        Ok(counts)
    }
}

fn field(text: &str) -> &str {
    text.trim().trim_matches('"').trim()
}

fn whole(text: &str, name: &str) -> Result<u64, String> {
    real(text, name, NUMBER_MAX).map(|value| value.round() as u64)
}

fn real(text: &str, name: &str, max: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| {
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        format!("{name} is not a number: {shown:?}")
    })?;
    if (0.0..=max).contains(&value) { Ok(value) } else { Err(format!("{name} is out of range")) }
}
