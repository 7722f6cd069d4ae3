//! The embedded metric format: lines of JSON on standard output, which CloudWatch Logs turns into
//! metrics.
//!
//! Owns: the form of a line, and the thread that writes. Refuses: anything else on that stream; the
//! log goes to standard error.
//! Invariant: each line is one valid event (at most [`METRICS_MAX`] metrics of [`VALUES_MAX`]
//! values, under [`LINE_BYTES_MAX`] where one metric allows it); a reader that stopped reading blocks
//! the thread, never the loop.
//!
//! Source: Amazon CloudWatch user guide, "Specification: Embedded metric format".

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use serde_json::{Map, Value, json};
use stent_contract::METRICS;
use tokio::sync::oneshot;

use crate::config::Emf;
use crate::error::Error;
use crate::event;
use crate::publish::counts::{Counts, Outcome};
use crate::publish::gather::Datum;
use crate::publish::series::unit;

/// The publisher's name in the label `publisher` and in the log.
pub(crate) const NAME: &str = "emf";

/// The most metric definitions of one directive.
const METRICS_MAX: usize = 100;
/// The most values of one metric in one event.
const VALUES_MAX: usize = 100;
/// The most dimensions of one set.
const DIMENSIONS_MAX: usize = 30;
/// The most bytes of a line: container log drivers cut longer ones in two, and half a line is
/// no event. (CloudWatch Logs itself takes 256 KB.)
const LINE_BYTES_MAX: usize = 16_000;
/// Intervals that may wait for the writer.
const BATCHES_MAX: usize = 8;

/// Where lines go.
pub(crate) type Sink = Box<dyn Write + Send>;

/// The loop's side.
#[derive(Debug)]
pub(crate) struct Writer {
    namespace: String,
    dimensions: Vec<(String, String)>,
    batches: SyncSender<Batch>,
    ended: oneshot::Receiver<()>,
    counts: Counts,
}

#[derive(Debug)]
struct Batch {
    lines: Vec<String>,
    points: usize,
}

impl Writer {
    /// Starts the thread that writes to `sink`.
    pub(crate) fn start(config: &Emf, sink: Sink) -> Result<Self, Error> {
        let (sender, batches) = sync_channel(BATCHES_MAX);
        let (done, ended) = oneshot::channel();
        let counts = Counts::new(NAME);
        let thread_counts = counts.clone();
        let thread = std::thread::Builder::new().name("stent-emf".to_owned());
        let write = move || {
            write_all(&batches, sink, &thread_counts);
            // Nobody waits for the end if the agent has not come to its own.
            let _ = done.send(());
        };
        thread.spawn(write).map_err(Error::Thread)?;
        Ok(Self {
            namespace: config.namespace.clone(),
            dimensions: usable(&config.dimensions),
            batches: sender,
            ended,
            counts,
        })
    }

    /// What became of the points so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Hands over an interval's data. Never waits.
    pub(crate) fn publish(&self, data: &[Datum]) {
        let batch =
            Batch { lines: lines(data, &self.namespace, &self.dimensions), points: data.len() };
        if self.batches.try_send(batch).is_err() {
            event::PointsDropped { publisher: NAME, points: data.len() }.emit(&self.counts);
        }
    }

    /// Waits until everything is written, for at most `limit`.
    pub(crate) async fn finish(self, limit: Duration) {
        drop(self.batches);
        // A writer that is still blocked keeps what it has; the process ends without it.
        let _ = tokio::time::timeout(limit, self.ended).await;
    }
}

fn write_all(batches: &Receiver<Batch>, mut sink: Sink, counts: &Counts) {
    while let Ok(Batch { lines, points }) = batches.recv() {
        match write_lines(&mut sink, &lines) {
            Ok(()) => counts.add(Outcome::Sent, points),
            Err(error) => {
                event::WriteFailed { publisher: NAME, points, error: &error }.emit(counts)
            }
        }
    }
}

fn write_lines(sink: &mut Sink, lines: &[String]) -> io::Result<()> {
    for line in lines {
        // One call a line: whoever shares the stream cannot get in between.
        sink.write_all(line.as_bytes())?;
    }
    sink.flush()
}

/// Configured dimensions without those that would collide: in an event, dimensions and metrics are
/// keys of one object.
fn usable(dimensions: &[(String, String)]) -> Vec<(String, String)> {
    let is_taken =
        |name: &str| name == "_aws" || METRICS.iter().any(|row| row.cloudwatch == Some(name));
    dimensions.iter().filter(|(name, _)| !is_taken(name)).cloned().collect()
}

/// The lines of an interval, each with its line feed: one for each set of dimensions, or several
/// where one would be too long.
fn lines(data: &[Datum], namespace: &str, configured: &[(String, String)]) -> Vec<String> {
    let mut sets: BTreeMap<Vec<(String, String)>, Vec<&Datum>> = BTreeMap::new();
    for datum in data {
        sets.entry(dimensions(datum, configured)).or_default().push(datum);
    }
    sets.iter().flat_map(|(set, data)| set_lines(data, namespace, set)).collect()
}

fn dimensions(datum: &Datum, configured: &[(String, String)]) -> Vec<(String, String)> {
    let own = &datum.series.dimensions;
    let is_own = |name: &String| own.iter().any(|(known, _)| known == name);
    let added = configured.iter().filter(|(name, _)| !is_own(name));
    let room = DIMENSIONS_MAX.saturating_sub(own.len());
    added.take(room).chain(own).cloned().collect()
}

fn set_lines(data: &[&Datum], namespace: &str, set: &[(String, String)]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut event = Event::new(namespace, set);
    for datum in data {
        for values in datum.values.chunks(VALUES_MAX) {
            if !event.has_room(datum, values) {
                lines.extend(std::mem::replace(&mut event, Event::new(namespace, set)).line());
            }
            event.add(datum, values);
        }
    }
    lines.extend(event.line());
    lines
}

/// One line in the making.
struct Event<'a> {
    namespace: &'a str,
    set: &'a [(String, String)],
    at_unix_ms: u64,
    definitions: Vec<Value>,
    values: Map<String, Value>,
    bytes: usize,
}

impl<'a> Event<'a> {
    fn new(namespace: &'a str, set: &'a [(String, String)]) -> Self {
        // A dimension stands twice: its name in the set, name and value among the keys.
        let of_set: usize = set.iter().map(|(name, value)| 2 * name.len() + value.len() + 12).sum();
        Self {
            namespace,
            set,
            at_unix_ms: 0,
            definitions: Vec::new(),
            values: Map::new(),
            bytes: 200 + namespace.len() + of_set,
        }
    }

    fn has_room(&self, datum: &Datum, values: &[f64]) -> bool {
        self.definitions.is_empty()
            || (self.definitions.len() < METRICS_MAX
                && !self.values.contains_key(name(datum))
                && self.bytes + size(datum, values) <= LINE_BYTES_MAX)
    }

    fn add(&mut self, datum: &Datum, values: &[f64]) {
        self.at_unix_ms = datum.at_unix_ms;
        self.bytes += size(datum, values);
        let unit = unit(datum.series.metric);
        self.definitions.push(json!({ "Name": name(datum), "Unit": unit }));
        let value = match values {
            [value] => json!(value),
            values => json!(values),
        };
        self.values.insert(name(datum).to_owned(), value);
    }

    fn line(self) -> Option<String> {
        if self.definitions.is_empty() {
            return None;
        }
        assert!(self.definitions.len() <= METRICS_MAX, "a directive is bounded");
        let names: Vec<&String> = self.set.iter().map(|(name, _)| name).collect();
        let mut root = Map::new();
        let directive = json!({
            "Namespace": self.namespace,
            "Dimensions": [names],
            "Metrics": self.definitions,
        });
        let metadata = json!({ "Timestamp": self.at_unix_ms, "CloudWatchMetrics": [directive] });
        root.insert("_aws".to_owned(), metadata);
        root.extend(self.set.iter().map(|(name, value)| (name.clone(), json!(value))));
        root.extend(self.values);
        Some(format!("{}\n", Value::Object(root)))
    }
}

fn name(datum: &Datum) -> &'static str {
    datum.series.metric.row().cloudwatch.unwrap_or_default()
}

/// An upper bound of what a metric adds to a line.
fn size(datum: &Datum, values: &[f64]) -> usize {
    // Its name twice, its unit, quotes and colons; a number has at most 24 characters and a comma.
    2 * name(datum).len() + 60 + 25 * values.len()
}

#[cfg(test)]
mod tests;
