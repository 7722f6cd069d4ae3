//! How a detector is scored on labelled traces.
//!
//! Owns: what counts as found, missed and false; the point of detection; the error and the
//! calibration of forecasts. Refuses: tuning. Invariant: a detector is scored by its first alarm
//! in a trace, and sees rows in order of time only.
//!
//! An alarm in `[onset, end)` of a leak is true. One before the onset, or on a healthy trace, is
//! false; a leak without an alarm, or with one after its end, is missed.

use crate::trace::{Cut, Row, Trace, Truth};

/// An alarm, with the forecast that came with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// Seconds until the limit, where a detector says so.
    pub seconds_to_limit: Option<f64>,
    /// The 80 % interval around it.
    pub interval: Option<(f64, f64)>,
}

/// Something that reads rows and may raise an alarm.
pub trait Detector {
    /// Reads a row; `Some` while the alarm is on.
    fn read(&mut self, row: &Row) -> Option<Alarm>;
}

/// What became of one trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// No alarm on a healthy trace.
    Quiet,
    /// An alarm where there was nothing, or nothing yet.
    False,
    /// No alarm in time.
    Missed,
    /// Found.
    Found(Found),
}

/// A leak that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Share of the way from the onset to the end.
    pub way: f64,
    /// Seconds left.
    pub lead_s: f64,
    /// |forecast - truth| / truth, where both exist.
    pub error: Option<f64>,
    /// Where the truth was with respect to the interval, where there was one.
    pub interval: Option<Side>,
}

/// Where the truth lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the interval.
    Earlier,
    /// In it.
    Inside,
    /// After it.
    Later,
}

/// Shows a trace to a detector until its first alarm.
pub fn outcome(trace: &Trace, detector: &mut dyn Detector) -> Outcome {
    let first = trace.rows.iter().find_map(|row| detector.read(row).map(|alarm| (row.t_s, alarm)));
    judged(trace, first)
}

/// What a first alarm at this second makes of a trace.
pub(crate) fn judged(trace: &Trace, first: Option<(u64, Alarm)>) -> Outcome {
    match (trace.truth, first) {
        (Truth::Healthy, None) => Outcome::Quiet,
        (Truth::Healthy, Some(_)) => Outcome::False,
        (Truth::Leak { .. }, None) => Outcome::Missed,
        (Truth::Leak { onset_s, end_s, cut }, Some((t, alarm))) => {
            let t = t as f64;
            if t < onset_s {
                return Outcome::False;
            }
            if t >= end_s {
                return Outcome::Missed;
            }
            Outcome::Found(found(t, onset_s, end_s, cut, &alarm))
        }
    }
}

fn found(t: f64, onset_s: f64, end_s: f64, cut: Cut, alarm: &Alarm) -> Found {
    let left = end_s - t;
    let comparable = cut == Cut::Never;
    let error = alarm.seconds_to_limit.filter(|_| comparable).map(|s| (s - left).abs() / left);
    let interval = alarm.interval.filter(|_| comparable).map(|(low, high)| {
        if left < low {
            Side::Earlier
        } else if left > high {
            Side::Later
        } else {
            Side::Inside
        }
    });
    Found { way: (t - onset_s) / (end_s - onset_s), lead_s: left, error, interval }
}

/// The score over many traces.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Outcomes, in the order in which they were added.
    outcomes: Vec<Outcome>,
}

impl Score {
    /// Adds a trace.
    pub fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: &Self) {
        self.outcomes.extend_from_slice(&other.outcomes);
    }

    /// Traces.
    pub fn traces(&self) -> usize {
        self.outcomes.len()
    }

    /// Traces judged rightly.
    pub fn right(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Quiet | Outcome::Found(_)))
    }

    /// Leaks found.
    pub fn found(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Found(_)))
    }

    /// False alarms, also those before the onset of a leak.
    pub fn false_alarms(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::False)
    }

    /// Leaks not found in time.
    pub fn missed(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::Missed)
    }

    /// Share of alarms that are true.
    pub fn precision(&self) -> f64 {
        ratio(self.found(), self.found() + self.false_alarms())
    }

    /// Share of leaks that are found; `leaks` is their number.
    pub fn recall(&self, leaks: usize) -> f64 {
        ratio(self.found(), leaks)
    }

    /// The quantile of the point of detection, as a share of the way to the end.
    pub fn way(&self, quantile: f64) -> Option<f64> {
        at(self.all_found().map(|found| found.way).collect(), quantile)
    }

    /// The quantile of the error of forecasts.
    pub fn error(&self, quantile: f64) -> Option<f64> {
        at(self.all_found().filter_map(|found| found.error).collect(), quantile)
    }

    /// The median time left at the alarm, hours.
    pub fn lead_hours(&self) -> Option<f64> {
        at(self.all_found().map(|found| found.lead_s / 3_600.0).collect(), 0.5)
    }

    /// How often the truth was before, in and after the interval.
    pub fn calibration(&self) -> (usize, usize, usize) {
        let count = |side| self.all_found().filter(|found| found.interval == Some(side)).count();
        (count(Side::Earlier), count(Side::Inside), count(Side::Later))
    }

    fn all_found(&self) -> impl Iterator<Item = Found> {
        self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Found(found) => Some(*found),
            Outcome::Quiet | Outcome::False | Outcome::Missed => None,
        })
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|outcome| is(outcome)).count()
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn at(mut values: Vec<f64>, quantile: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    values.get((quantile * last as f64).round() as usize).copied()
}
