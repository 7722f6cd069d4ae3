//! The loop: a round, its points, its publication; an interval later the next one.
//!
//! Owns: the order of things in a round, and the agent's end.
//! Refuses: waiting for anybody but the sampler, whose round always ends. Publishers and pages are
//! handed what there is and go their own ways.
//! Invariant: one `select!`, then one synchronous `apply`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stent_contract::{AgentSnapshot, CauseKind, Explanation};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::config::Config;
use crate::error::Error;
use crate::event;
use crate::http::Pages;
use crate::listen::Listener;
use crate::publish::cloudwatch;
use crate::publish::counts::Counts;
use crate::publish::emf::{self, Sink};
use crate::publish::gather::{Datum, Gathering};
use crate::publish::increases::Increases;
use crate::publish::points::{Point, points};
use crate::publish::series::samples;
use crate::sample::{Round, Sampler};

/// How long the publishers may take at the end, together.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// The shortest time between rounds, whatever is configured: a loop without a pause would starve
/// the pages.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What the pages show: the last round.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    /// When it ended.
    pub(crate) at: Instant,
    /// What it saw.
    pub(crate) snapshot: Arc<AgentSnapshot>,
    /// What is published of it.
    pub(crate) points: Arc<[Point]>,
}

/// Where rounds come from.
pub(crate) trait Rounds {
    /// Takes one.
    async fn round(&mut self) -> Round;
}

impl Rounds for Sampler {
    async fn round(&mut self) -> Round {
        Self::round(self).await
    }
}

/// The loop's state.
pub(crate) struct Watch {
    config: Config,
    latest: watch::Sender<Option<Latest>>,
    increases: Increases,
    /// The first cause of what was wrong in the last round: each change is logged once.
    cause: Option<CauseKind>,
    cloudwatch: Option<(Gathering, cloudwatch::Publisher)>,
    emf: Option<(Gathering, emf::Writer)>,
    pages: Option<JoinHandle<()>>,
    /// Where the pages are, for people.
    address: Option<String>,
}

#[expect(clippy::large_enum_variant, reason = "one a round, moved and taken apart at once")]
enum Event {
    Round(Round),
    Shutdown,
}

impl Watch {
    /// Binds and starts everything but the rounds. EMF lines go to `sink`.
    pub(crate) fn start(config: Config, sink: Sink) -> Result<Self, Error> {
        let listener = config.admin.as_ref().map(Listener::bind).transpose()?;
        let cloudwatch = config
            .cloudwatch
            .as_ref()
            .map(|to| (Gathering::new(to.interval), cloudwatch::Publisher::start(to)));
        let emf = config.emf.as_ref().map(|to| {
            emf::Writer::start(to, sink).map(|writer| (Gathering::new(to.interval), writer))
        });
        let emf = emf.transpose()?;
        let (latest, seen) = watch::channel(None);
        let counts: Vec<Counts> = cloudwatch
            .iter()
            .map(|(_, publisher)| publisher.counts().clone())
            .chain(emf.iter().map(|(_, writer)| writer.counts().clone()))
            .collect();
        let address = listener.as_ref().map(Listener::shown);
        let pages = listener.map(|listener| {
            let pages = Pages::new(seen, counts, config.sample_interval);
            tokio::spawn(pages.serve(listener))
        });
        Ok(Self {
            config,
            latest,
            increases: Increases::default(),
            cause: None,
            cloudwatch,
            emf,
            pages,
            address,
        })
    }

    /// Takes rounds until `shutdown` completes.
    pub(crate) async fn run(mut self, mut rounds: impl Rounds, shutdown: impl Future<Output = ()>) {
        let (admin, targets) = (self.address.as_deref(), self.config.targets.len());
        event::Started { admin, targets, host: &crate::sample::host() }.emit();
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ticks = tokio::time::interval(self.config.sample_interval.max(INTERVAL_MIN));
        // A round that took long is not made up for by a burst.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                () = &mut shutdown => Event::Shutdown,
                round = next(&mut ticks, &mut rounds) => Event::Round(round),
            };
            match event {
                Event::Round(round) => self.apply(round, Instant::now()),
                Event::Shutdown => break,
            }
        }
        self.finish().await;
    }

    fn apply(&mut self, round: Round, now: Instant) {
        let first = |of: &Option<Explanation>| Some(of.as_ref()?.causes.first()?.kind);
        let cause = first(&round.snapshot.explanation);
        if self.cause != cause {
            event::Explained { explanation: round.snapshot.explanation.as_ref() }.emit();
            self.cause = cause;
        }
        let points = points(&round, &self.config);
        let increases = self.increases.of(&points, &round);
        let samples = samples(&increases);
        let at_unix_ms = round.snapshot.at_unix_ms;
        if let Some((gathering, publisher)) = &mut self.cloudwatch
            && let Some(data) = gathering.add(&samples, at_unix_ms, now)
        {
            publisher.publish(data);
        }
        if let Some((gathering, writer)) = &mut self.emf
            && let Some(data) = gathering.add(&samples, at_unix_ms, now)
        {
            writer.publish(&data);
        }
        let latest = Latest { at: now, snapshot: Arc::new(round.snapshot), points: points.into() };
        self.latest.send_replace(Some(latest));
    }

    /// Publishes what was gathered of the interval that ends early, then ends.
    async fn finish(self) {
        if let Some(pages) = self.pages {
            pages.abort();
        }
        let cloudwatch = self.cloudwatch.map(|(mut gathering, publisher)| async move {
            hand_over(gathering.flush(), |data| publisher.publish(data));
            publisher.finish(FINISH_MAX).await;
        });
        let emf = self.emf.map(|(mut gathering, writer)| async move {
            hand_over(gathering.flush(), |data| writer.publish(&data));
            writer.finish(FINISH_MAX).await;
        });
        tokio::join!(maybe(cloudwatch), maybe(emf));
        event::Ended.emit();
    }
}

fn hand_over(data: Vec<Datum>, publish: impl FnOnce(Vec<Datum>)) {
    if !data.is_empty() {
        publish(data);
    }
}

async fn next(ticks: &mut Interval, rounds: &mut impl Rounds) -> Round {
    ticks.tick().await;
    rounds.round().await
}

async fn maybe(future: Option<impl Future<Output = ()>>) {
    if let Some(future) = future {
        future.await;
    }
}

#[cfg(test)]
mod tests;
