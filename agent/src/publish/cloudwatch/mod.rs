//! CloudWatch: points out by PutMetricData, in a task of its own.
//!
//! Owns: what waits while CloudWatch does not answer, the pace of retries, and the counts.
//! Refuses: holding up anybody. The loop hands over and goes on; a call that hangs delays only
//! later calls.
//! Invariant: every point handed over ends in exactly one of sent, dropped and failed, once; one
//! call at a time, so points arrive in order.
//!
//! **At least once.** PutMetricData has no token that would make a repetition harmless. Where an
//! answer is missing (a time-out, a connection lost after the request) the points may have
//! arrived; they are sent again all the same. A point that is missing can hide an outage or set
//! off the alarm on silence; one that arrives twice leaves a gauge's minimum, maximum and average
//! as they were, and at worst counts the events of one interval twice. What certainly did not
//! arrive (no connection, throttled) is never doubled.

mod backlog;
mod client;
mod entry;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::backlog::{Backlog, Limits};
use self::client::{Answer, Link};
use self::entry::{DATA_MAX, Entry, Room, entries};
use crate::config::CloudWatch;
use crate::event;
use crate::publish::counts::{Counts, Outcome};
use crate::publish::gather::Datum;

/// The publisher's name in the label `publisher` and in the log.
pub(crate) const NAME: &str = "cloudwatch";

/// Intervals that may wait for the task to look at them. It always does at once; this is the room
/// for a moment in which the machine is busy.
const BATCHES_MAX: usize = 8;

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// The most time of one call, credentials included.
    call: Duration,
    /// The pause after the first failure.
    retry_min: Duration,
    /// The longest pause between retries.
    retry_max: Duration,
}

impl Timing {
    const DEFAULT: Self = Self {
        call: Duration::from_secs(5),
        retry_min: Duration::from_secs(1),
        retry_max: Duration::from_secs(60),
    };
}

/// The loop's side.
#[derive(Debug)]
pub(crate) struct Publisher {
    batches: mpsc::Sender<Vec<Entry>>,
    task: JoinHandle<()>,
    counts: Counts,
}

impl Publisher {
    /// Starts the task. Nothing is sent or looked up before the first points come.
    pub(crate) fn start(config: &CloudWatch) -> Self {
        Self::start_with(config, Link::new(config), Timing::DEFAULT, Limits::DEFAULT)
    }

    fn start_with(config: &CloudWatch, link: Link, timing: Timing, limits: Limits) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let counts = Counts::new(NAME);
        let task = Task {
            link: Arc::new(link),
            dimensions: config.dimensions.clone(),
            timing,
            batches,
            intake: Intake::Open,
            backlog: Backlog::new(limits),
            call: None,
            in_flight: 0,
            pause: None,
            failures: 0,
            request_max: DATA_MAX,
            counts: counts.clone(),
        };
        Self { batches: sender, task: tokio::spawn(task.run()), counts }
    }

    /// What became of the points so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Hands over an interval's data. Never waits.
    pub(crate) fn publish(&self, data: Vec<Datum>) {
        let batch: Vec<Entry> = data.into_iter().flat_map(entries).collect();
        if let Err(refused) = self.batches.try_send(batch) {
            let points = refused.into_inner().len();
            event::PointsDropped { publisher: NAME, points }.emit(&self.counts);
        }
    }

    /// Sends what waits, for at most `limit`; what is left then is dropped.
    pub(crate) async fn finish(self, limit: Duration) {
        let Self { batches, mut task, counts } = self;
        drop(batches);
        if tokio::time::timeout(limit, &mut task).await.is_err() {
            task.abort();
            let points = usize::try_from(counts.backlog()).unwrap_or(usize::MAX);
            event::PointsDropped { publisher: NAME, points }.emit(&counts);
        }
        counts.set_backlog(0);
    }
}

type Call = Pin<Box<dyn Future<Output = (Vec<Entry>, Answer)> + Send>>;

/// Whether more points can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    Open,
    Closed,
}

enum Event {
    Batch(Option<Vec<Entry>>),
    Answered(Vec<Entry>, Answer),
    PauseOver,
}

struct Task {
    link: Arc<Link>,
    dimensions: Vec<(String, String)>,
    timing: Timing,
    batches: mpsc::Receiver<Vec<Entry>>,
    intake: Intake,
    backlog: Backlog,
    call: Option<Call>,
    /// How many points the call carries.
    in_flight: usize,
    /// No call before this moment.
    pause: Option<Instant>,
    /// In a row.
    failures: u32,
    /// How many data the next request takes: fewer while one that CloudWatch refuses is looked for.
    request_max: usize,
    counts: Counts,
}

impl Task {
    async fn run(mut self) {
        loop {
            self.start_call();
            if self.intake == Intake::Closed && self.call.is_none() && !self.is_searching() {
                break;
            }
            let event = tokio::select! {
                biased;
                (tried, answer) = answered(&mut self.call) => Event::Answered(tried, answer),
                batch = self.batches.recv(), if self.intake == Intake::Open => Event::Batch(batch),
                () = until(self.pause) => Event::PauseOver,
            };
            self.apply(event);
        }
        let points = self.backlog.len();
        self.dropped(points);
        self.counts.set_backlog(0);
    }

    fn start_call(&mut self) {
        if self.call.is_some() || self.pause.is_some() {
            return;
        }
        let aged = self.backlog.drop_aged();
        self.dropped(aged);
        let tried = self.backlog.take(Room::of(self.request_max), &self.dimensions);
        if tried.is_empty() {
            return;
        }
        let (link, limit) = (Arc::clone(&self.link), self.timing.call);
        self.in_flight = tried.len();
        self.show_backlog();
        self.call = Some(Box::pin(async move {
            let answer = link.put(&tried, limit).await;
            (tried, answer)
        }));
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Batch(Some(batch)) => {
                let dropped = self.backlog.push(batch);
                self.dropped(dropped);
            }
            // The end has come: one more try, whatever the pause was for.
            Event::Batch(None) => {
                self.intake = Intake::Closed;
                self.pause = None;
            }
            Event::PauseOver => self.pause = None,
            Event::Answered(tried, answer) => {
                self.call = None;
                self.in_flight = 0;
                self.settle(tried, answer);
            }
        }
        self.show_backlog();
    }

    fn show_backlog(&self) {
        self.counts.set_backlog(self.backlog.len() + self.in_flight);
    }

    fn settle(&mut self, tried: Vec<Entry>, answer: Answer) {
        match answer {
            Answer::Accepted => {
                self.counts.add(Outcome::Sent, tried.len());
                if self.failures > 0 {
                    let (failures, waiting) = (self.failures, self.backlog.len());
                    event::PublishResumed { publisher: NAME, failures, waiting }.emit();
                }
                self.failures = 0;
                self.request_max = DATA_MAX;
            }
            Answer::Refused(why) => self.refused(tried, &why),
            Answer::Throttled(why) | Answer::Failed(why) => {
                let waiting = self.backlog.len() + tried.len();
                let dropped = self.backlog.put_back(tried);
                self.dropped(dropped);
                self.failures = self.failures.saturating_add(1);
                let failures = self.failures;
                event::PublishFailed { publisher: NAME, failures, waiting, why: &why }.emit();
                self.pause = Some(Instant::now() + self.timing.pause(failures));
            }
        }
    }

    /// One datum is at fault, and all are refused for it: by halves it is found and given up.
    fn refused(&mut self, tried: Vec<Entry>, why: &str) {
        if let [entry] = tried.as_slice() {
            let metric = entry.series.metric.row().cloudwatch.unwrap_or_default();
            event::PointRefused { publisher: NAME, metric, why }.emit(&self.counts);
            self.request_max = DATA_MAX;
        } else {
            self.request_max = tried.len() / 2;
            let dropped = self.backlog.put_back(tried);
            self.dropped(dropped);
        }
        self.pause = Some(Instant::now() + self.timing.retry_min / 8);
    }

    /// Whether a refused datum is being looked for: that goes on even at the end.
    fn is_searching(&self) -> bool {
        self.failures == 0 && self.pause.is_some()
    }

    fn dropped(&self, points: usize) {
        if points > 0 {
            event::PointsDropped { publisher: NAME, points }.emit(&self.counts);
        }
    }
}

impl Timing {
    /// The pause after so many failures in a row: doubled each time, and somewhere in its upper
    /// half, so that the agents of many tasks do not come back together.
    fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let longest = self.retry_min.saturating_mul(1 << doublings).min(self.retry_max);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

async fn answered(call: &mut Option<Call>) -> (Vec<Entry>, Answer) {
    match call {
        Some(call) => call.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn until(pause: Option<Instant>) {
    match pause {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
