//! Which alarms would be firing, judged from live snapshots with time sped up.
//!
//! Owns: the feeding of CloudWatch's rules ([`crate::evaluate`]) with what the agent would publish.
//! Refuses: a clock (the caller says when a snapshot was taken), and a claim of more than it is:
//! - The rules, thresholds and missing-data policies are the rendered CloudWatch alarms'. Windows
//!   alone are shortened, by `speed`: at 30 a "minute" is two seconds. Thresholds are not: an idle
//!   transaction must really be 30 s old. So a trouble that comes and goes within seconds, too
//!   short for the real alarm, may set off the sped-up one.
//! - A snapshot holds the newest failure to connect, not their number: each look that finds one
//!   standing counts as one failure.
//! - A component that has never been seen is not missed: its alarm starts with its first sign.
//!
//! Invariant: at most [`POINTS_MAX`] points a minute and one evaluation range of minutes are kept.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use stent_contract::Snapshot;
use stent_contract::alarm::{ALARMS, Alarm};

use crate::Settings;
use crate::cloudwatch::put_metric_alarm;
use crate::evaluate::{Datapoint, MetricAlarm, State};
use crate::figures::{Source, source};

/// The most points of one (shortened) minute; what exceeds them is not looked at.
pub const POINTS_MAX: usize = 600;

const MINUTE: Duration = Duration::from_secs(60);

/// An alarm that would be firing.
#[derive(Clone, Copy, Debug)]
pub struct Firing {
    /// Which.
    pub alarm: &'static Alarm,
    /// Since when, on the caller's time axis.
    pub since: Duration,
    /// The newest figure it was judged by, in the metric's unit; `None`: silence.
    pub figure: Option<f64>,
}

impl fmt::Display for Firing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alarm = self.alarm;
        write!(f, "{} ({}): {}", alarm.name, alarm.severity.as_str(), alarm.summary)?;
        match self.figure {
            Some(figure) => write!(f, " [{} = {figure:.2}]", alarm.metric.row().name),
            None => write!(f, " [no data]"),
        }
    }
}

/// Watches snapshots and keeps every alarm's state.
#[derive(Debug)]
pub struct Observer {
    settings: Settings,
    minute: Duration,
    started: Option<Duration>,
    tracks: Vec<Track>,
}

impl Observer {
    /// An observer for whom time runs `speed` times as fast. At least one snapshot should come in
    /// each shortened minute.
    pub fn new(speed: NonZeroU32) -> Self {
        let settings = Settings::reference();
        let tracks = ALARMS.iter().map(|alarm| Track::new(alarm, &settings)).collect();
        Self { settings, minute: MINUTE / speed.get(), started: None, tracks }
    }

    /// Takes in a snapshot that was taken at `at`, a time axis of the caller's that never runs
    /// backwards.
    pub fn observe(&mut self, at: Duration, now: &Snapshot) {
        let started = *self.started.get_or_insert(at);
        self.learn_max_connections(now);
        let minute = at.saturating_sub(started).as_nanos() / self.minute.as_nanos().max(1);
        for track in &mut self.tracks {
            track.close_minutes_before(minute, at);
            track.take(now);
        }
    }

    /// The alarms that would be firing now, in the table's order.
    pub fn firing(&self) -> Vec<Firing> {
        self.tracks.iter().filter_map(Track::firing).collect()
    }

    /// The alarms that have been firing at any time so far, whether or not they still are.
    pub fn fired(&self) -> Vec<&'static Alarm> {
        self.tracks.iter().filter(|track| track.ever).map(|track| track.alarm).collect()
    }

    /// CloudWatch's threshold for a full PostgreSQL is a deployment's; here the snapshot tells it.
    fn learn_max_connections(&mut self, now: &Snapshot) {
        let reading = now.agent.as_ref().and_then(|agent| agent.postgres.as_ref());
        let Some(reading) = reading else { return };
        if reading.max_connections == self.settings.postgres_max_connections {
            return;
        }
        self.settings.postgres_max_connections = reading.max_connections;
        for track in &mut self.tracks {
            track.rule = rule(track.alarm, &self.settings);
        }
    }
}

/// The rendered CloudWatch alarm, as the evaluator reads it.
fn rule(alarm: &Alarm, settings: &Settings) -> MetricAlarm {
    let parsed = MetricAlarm::parse(&put_metric_alarm(alarm, settings));
    parsed.expect("a test of the crate: every rendered alarm can be evaluated")
}

/// One alarm over time.
struct Track {
    alarm: &'static Alarm,
    rule: MetricAlarm,
    source: Source,
    /// The number of the minute that is being filled.
    minute: u128,
    /// Its points.
    filling: Vec<f64>,
    /// The minutes before it, oldest first.
    minutes: VecDeque<Vec<f64>>,
    /// What a total, a beat or a presence was when it was last seen.
    last_seen: Option<f64>,
    state: State,
    since: Duration,
    figure: Option<f64>,
    ever: bool,
}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Track")
            .field("alarm", &self.alarm.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Track {
    fn new(alarm: &'static Alarm, settings: &Settings) -> Self {
        Self {
            alarm,
            rule: rule(alarm, settings),
            source: source(alarm).expect("a test of the figures: every alarm has a source"),
            minute: 0,
            filling: Vec::new(),
            minutes: VecDeque::new(),
            last_seen: None,
            state: State::InsufficientData,
            since: Duration::ZERO,
            figure: None,
            ever: false,
        }
    }

    /// Ends every minute before this one, and evaluates after each as CloudWatch does.
    fn close_minutes_before(&mut self, minute: u128, at: Duration) {
        let history = self.rule.range() * self.minutes_a_period();
        while self.minute < minute {
            self.minutes.push_back(std::mem::take(&mut self.filling));
            if self.minutes.len() > history {
                self.minutes.pop_front();
            }
            self.minute += 1;
            // After a gap longer than the history, all that is left to see is the gap.
            let gap = minute - self.minute;
            if gap > history as u128 {
                self.minute = minute - history as u128;
                self.minutes.clear();
            }
            self.evaluate(at);
        }
    }

    fn minutes_a_period(&self) -> usize {
        usize::try_from(self.rule.period_seconds() / MINUTE.as_secs()).unwrap_or(1).max(1)
    }

    fn evaluate(&mut self, at: Duration) {
        if matches!(self.source, Source::Beat(_)) && self.last_seen.is_none() {
            return;
        }
        let (range, newest) = self.range();
        let next = self.rule.next(&range, self.state);
        if next != self.state {
            self.since = at;
        }
        self.state = next;
        self.figure = newest;
        self.ever |= next == State::Alarm;
    }

    /// The evaluation range, oldest period first, ending now; and the newest datum in it.
    fn range(&self) -> (Vec<Datapoint>, Option<f64>) {
        let width = self.minutes_a_period();
        let minutes: Vec<&[f64]> = self.minutes.iter().map(Vec::as_slice).collect();
        let data: Vec<Option<f64>> =
            minutes.rchunks(width).map(|period| self.rule.statistic(&period.concat())).collect();
        let newest = data.iter().copied().flatten().next();
        let mut range: Vec<Datapoint> = data.into_iter().map(|d| self.rule.judge(d)).collect();
        range.resize(self.rule.range(), Datapoint::Missing);
        range.reverse();
        (range, newest)
    }

    /// Adds what the agent would publish of this snapshot.
    fn take(&mut self, now: &Snapshot) {
        let point = match self.source {
            Source::Gauge(read) => read(self.alarm, now),
            Source::Standing(read) => read(now),
            Source::Total(read) => read(now).and_then(|total| self.increase(total)),
            Source::Presence(read) => {
                read(now).and_then(|there| self.presence(f64::from(u8::from(there))))
            }
            Source::Beat(read) => read(now).and_then(|moment| self.beat(moment as f64)),
        };
        if let Some(point) = point.filter(|_| self.filling.len() < POINTS_MAX) {
            self.filling.push(point);
        }
    }

    /// The first total of a life is where counting starts; after a reset the total is the increase.
    fn increase(&mut self, total: f64) -> Option<f64> {
        let before = self.last_seen.replace(total)?;
        Some(if total < before { total } else { total - before })
    }

    fn presence(&mut self, there: f64) -> Option<f64> {
        if there > 0.0 {
            self.last_seen = Some(there);
        }
        self.last_seen.map(|_| there)
    }

    fn beat(&mut self, moment: f64) -> Option<f64> {
        let before = self.last_seen.replace(moment);
        (before != Some(moment)).then_some(1.0)
    }

    fn firing(&self) -> Option<Firing> {
        let Self { alarm, since, figure, .. } = self;
        (self.state == State::Alarm).then_some(Firing { alarm, since: *since, figure: *figure })
    }
}
