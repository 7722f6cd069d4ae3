//! What people use today, to compare with: thresholds, extrapolations, trend tests, bands.
//!
//! Owns: the detectors and their published or customary settings. Refuses: improving them.
//! Invariant: each sees one row at a time and keeps no more than its window.
//!
//! Sources: Prometheus' `predict_linear` (least squares over a range); linear backward regression
//! as in Precog (arXiv 2106.08938); Mann (1945) and Kendall (1975); a band by hour of the day, as
//! a stand-in for services whose model is not published; growth an hour as Coroot's default.

use std::collections::VecDeque;

use crate::score::{Alarm, Detector};
use crate::trace::Row;

const HOUR_S: u64 = 3_600;

/// A baseline: its name, and how to make one.
pub type Baseline = (&'static str, fn() -> Box<dyn Detector>);

/// The table of baselines.
pub const BASELINES: &[Baseline] = &[
    ("static 80 %, 5 min", || Box::new(Static::new(0.8))),
    ("static 90 %, 5 min", || Box::new(Static::new(0.9))),
    ("10 MB/h over an hour", || Box::new(Fit::new(HOUR_S, Rule::Rate(10e6 / 3_600.0)))),
    ("predict_linear[1h], 4h", || Box::new(Fit::new(HOUR_S, Rule::Within(4 * HOUR_S, 0.0)))),
    ("predict_linear[6h], 24h", || Box::new(Fit::new(6 * HOUR_S, Rule::Within(24 * HOUR_S, 0.0)))),
    ("least squares 6h, R2 >= 0.8, 72h", || {
        Box::new(Fit::new(6 * HOUR_S, Rule::Within(72 * HOUR_S, 0.8)))
    }),
    ("backward regression, R2 >= 0.85, 7d", || Box::new(Backward::default())),
    ("Mann-Kendall, 24 hourly medians", || Box::new(MannKendall::new(Hourly::Median))),
    ("Mann-Kendall, 24 hourly minima", || Box::new(MannKendall::new(Hourly::Minimum))),
    ("hour-of-day band, 2 sigma", || Box::new(Band::new(2.0))),
    ("hour-of-day band, 3 sigma", || Box::new(Band::new(3.0))),
];

fn bare() -> Alarm {
    Alarm { seconds_to_limit: None, interval: None }
}

/// Above a share of the limit for five minutes.
struct Static {
    share: f64,
    since_s: Option<u64>,
}

impl Static {
    fn new(share: f64) -> Self {
        Self { share, since_s: None }
    }
}

impl Detector for Static {
    fn read(&mut self, row: &Row) -> Option<Alarm> {
        if (row.rss as f64) < self.share * row.limit as f64 {
            self.since_s = None;
            return None;
        }
        let since = *self.since_s.get_or_insert(row.t_s);
        (row.t_s - since >= 300).then(bare)
    }
}

/// Sums for a least-squares line, kept up over a sliding window.
#[derive(Default)]
struct Line {
    points: VecDeque<(f64, f64)>,
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Line {
    fn push(&mut self, x: f64, y: f64, sign: f64) {
        self.n += sign;
        self.x += sign * x;
        self.y += sign * y;
        self.xx += sign * x * x;
        self.xy += sign * x * y;
        self.yy += sign * y * y;
    }

    /// Slope and R2.
    fn fit(&self) -> Option<(f64, f64)> {
        let sxx = self.xx - self.x * self.x / self.n;
        let sxy = self.xy - self.x * self.y / self.n;
        let syy = self.yy - self.y * self.y / self.n;
        (self.n >= 8.0 && sxx > 0.0 && syy > 0.0).then(|| (sxy / sxx, sxy * sxy / (sxx * syy)))
    }

    /// Takes a point and forgets those older than the window; true where the window is full.
    fn slide(&mut self, t_s: u64, y: f64, window_s: u64) -> bool {
        // Hours and megabytes keep the sums well inside a double.
        let (x, y) = (t_s as f64 / 3_600.0, y / 1e6);
        self.points.push_back((x, y));
        self.push(x, y, 1.0);
        let window = window_s as f64 / 3_600.0;
        while let Some((old_x, old_y)) = self.points.front().copied().filter(|p| x - p.0 > window) {
            self.points.pop_front();
            self.push(old_x, old_y, -1.0);
        }
        self.points.front().is_some_and(|first| x - first.0 >= 0.95 * window)
    }
}

/// When a line is an alarm.
enum Rule {
    /// It reaches the limit within these seconds, with this R2.
    Within(u64, f64),
    /// It rises by this many bytes a second.
    Rate(f64),
}

/// Least squares over a window.
struct Fit {
    window_s: u64,
    rule: Rule,
    line: Line,
}

impl Fit {
    fn new(window_s: u64, rule: Rule) -> Self {
        Self { window_s, rule, line: Line::default() }
    }
}

impl Detector for Fit {
    fn read(&mut self, row: &Row) -> Option<Alarm> {
        if !self.line.slide(row.t_s, row.rss as f64, self.window_s) {
            return None;
        }
        let (slope, r2) = self.line.fit()?;
        let a_second = slope * 1e6 / 3_600.0;
        match self.rule {
            Rule::Within(horizon_s, r2_min) => {
                let left = row.limit as f64 - row.rss as f64;
                let seconds = left / a_second;
                let near = a_second > 0.0 && seconds <= horizon_s as f64 && r2 >= r2_min;
                near.then_some(Alarm { seconds_to_limit: Some(seconds.max(0.0)), interval: None })
            }
            Rule::Rate(rate) => (a_second >= rate).then(bare),
        }
    }
}

/// Least squares over several windows that end now.
struct Backward {
    lines: [(u64, Line); 4],
}

impl Default for Backward {
    fn default() -> Self {
        Self { lines: [3, 6, 12, 24].map(|hours| (hours * HOUR_S, Line::default())) }
    }
}

impl Detector for Backward {
    fn read(&mut self, row: &Row) -> Option<Alarm> {
        let left = row.limit as f64 - row.rss as f64;
        let mut alarm = None;
        for (window_s, line) in &mut self.lines {
            if !line.slide(row.t_s, row.rss as f64, *window_s) {
                continue;
            }
            let Some((slope, r2)) = line.fit() else { continue };
            let seconds = left / (slope * 1e6 / 3_600.0);
            if slope > 0.0 && r2 >= 0.85 && seconds <= 7.0 * 86_400.0 {
                alarm = Some(Alarm { seconds_to_limit: Some(seconds.max(0.0)), interval: None });
            }
        }
        alarm
    }
}

/// What is kept of an hour.
#[derive(Clone, Copy)]
enum Hourly {
    Median,
    Minimum,
}

/// A rising trend over the newest 24 hours, at 1 %.
struct MannKendall {
    keep: Hourly,
    hour: Option<u64>,
    values: Vec<f64>,
    hours: VecDeque<f64>,
}

impl MannKendall {
    fn new(keep: Hourly) -> Self {
        Self { keep, hour: None, values: Vec::new(), hours: VecDeque::new() }
    }

    fn close_hour(&mut self) {
        self.values.sort_by(f64::total_cmp);
        let at = match self.keep {
            Hourly::Median => self.values.len() / 2,
            Hourly::Minimum => 0,
        };
        self.hours.extend(self.values.get(at));
        self.values.clear();
        if self.hours.len() > 24 {
            self.hours.pop_front();
        }
    }

    fn z(&self) -> f64 {
        let n = self.hours.len() as f64;
        let pairs = (0..self.hours.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let s: f64 = pairs.map(|(i, j)| (self.hours[i] - self.hours[j]).signum()).sum();
        (s - s.signum()) / (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt()
    }
}

impl Detector for MannKendall {
    fn read(&mut self, row: &Row) -> Option<Alarm> {
        let hour = row.t_s / HOUR_S;
        let closed = self.hour.is_some_and(|old| old != hour);
        self.hour = Some(hour);
        if closed {
            self.close_hour();
        }
        self.values.push(row.rss as f64);
        if !closed || self.hours.len() < 24 || self.z() < 2.326 {
            return None;
        }
        let slope = (self.hours[23] - self.hours[0]) / (23.0 * 3_600.0);
        let left = row.limit as f64 - row.rss as f64;
        Some(Alarm { seconds_to_limit: (slope > 0.0).then(|| left / slope), interval: None })
    }
}

/// Above the mean of the hour of the day by some standard deviations, for five rows.
struct Band {
    sigmas: f64,
    /// Count, sum and sum of squares (in megabytes) of each hour of earlier days.
    hours: [(f64, f64, f64); 24],
    today: VecDeque<(u64, f64)>,
    above: u32,
}

impl Band {
    fn new(sigmas: f64) -> Self {
        Self { sigmas, hours: [(0.0, 0.0, 0.0); 24], today: VecDeque::new(), above: 0 }
    }
}

impl Detector for Band {
    fn read(&mut self, row: &Row) -> Option<Alarm> {
        let value = row.rss as f64 / 1e6;
        let hour = (row.t_s / HOUR_S) as usize;
        self.today.push_back((row.t_s, value));
        while let Some((t, v)) = self.today.front().copied().filter(|p| row.t_s - p.0 >= 86_400) {
            let (n, sum, squares) = &mut self.hours[(t / HOUR_S) as usize % 24];
            *n += 1.0;
            *sum += v;
            *squares += v * v;
            self.today.pop_front();
        }
        let (n, sum, squares) = self.hours[hour % 24];
        if n < 2.0 {
            return None;
        }
        let mean = sum / n;
        let deviation = (squares / n - mean * mean).max(0.0).sqrt();
        self.above = if value > mean + self.sigmas * deviation { self.above + 1 } else { 0 };
        (self.above >= 5).then(bare)
    }
}
