//! What became of the points that were handed to a publisher.
//!
//! Invariant: once a publisher is idle, sent + dropped + failed + backlog is what it was handed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stent_contract::metric::MetricId;

use crate::publish::points::Point;

/// Shared by a publisher, which counts, and the pages, which show.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    publisher: &'static str,
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    backlog: AtomicU64,
}

/// How a point ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The far side has it.
    Sent,
    /// There was no room to keep it until the far side answers.
    Dropped,
    /// The far side refused it.
    Failed,
}

impl Counts {
    /// Of a publisher that was handed nothing yet. The name is the value of the label `publisher`.
    pub(crate) fn new(publisher: &'static str) -> Self {
        Self { publisher, inner: Arc::default() }
    }

    /// Adds points that have ended.
    pub(crate) fn add(&self, outcome: Outcome, points: usize) {
        self.of(outcome).fetch_add(points as u64, Ordering::Relaxed);
    }

    /// Says how many wait.
    pub(crate) fn set_backlog(&self, points: usize) {
        self.inner.backlog.store(points as u64, Ordering::Relaxed);
    }

    /// Points that ended so.
    pub(crate) fn get(&self, outcome: Outcome) -> u64 {
        self.of(outcome).load(Ordering::Relaxed)
    }

    /// Points that wait.
    pub(crate) fn backlog(&self) -> u64 {
        self.inner.backlog.load(Ordering::Relaxed)
    }

    fn of(&self, outcome: Outcome) -> &AtomicU64 {
        match outcome {
            Outcome::Sent => &self.inner.sent,
            Outcome::Dropped => &self.inner.dropped,
            Outcome::Failed => &self.inner.failed,
        }
    }

    /// As points of the metric table.
    pub(crate) fn points(&self) -> Vec<Point> {
        let point = |metric, outcome: Option<&str>, value: u64| {
            let labels = std::iter::once(self.publisher).chain(outcome).map(str::to_owned);
            Point { metric, labels: labels.collect(), value: value as f64 }
        };
        let outcome =
            |name, outcome| point(MetricId::PublishedPoints, Some(name), self.get(outcome));
        vec![
            outcome("sent", Outcome::Sent),
            outcome("dropped", Outcome::Dropped),
            outcome("failed", Outcome::Failed),
            point(MetricId::PublishBacklog, None, self.backlog()),
        ]
    }
}
