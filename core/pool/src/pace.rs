//! How fast a pool serves those who wait: the measured rate, and what it means for the next to come.
//!
//! Only time counts in which somebody waited: what a pool serves while nobody waits says how much is
//! asked of it, not how much it can do. Invariant: without evidence there is no forecast, and a
//! forecast is the shortest wait that the evidence allows, so that nobody is sent away by chance.

use std::time::{Duration, Instant};

/// How far back a rate looks, at least; at most it is twice that.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// The recent service of one pool, in two windows: the last that is over, and the one that runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When the running window began; `None`: nobody waits.
    began: Option<Instant>,
    served: u32,
    /// How many were served in the window before, if the queue was never empty in it.
    before: Option<u32>,
}

impl Pace {
    /// Somebody waits who did not before.
    pub(crate) const fn begin(&mut self, now: Instant) {
        if self.began.is_none() {
            self.began = Some(now);
        }
    }

    /// Nobody waits any more.
    pub(crate) const fn end(&mut self) {
        *self = Self { began: None, served: 0, before: None };
    }

    /// One that waited was served.
    pub(crate) fn serve(&mut self, timeout: Option<Duration>, now: Instant) {
        self.turn(timeout, now);
        self.served = self.served.saturating_add(1);
    }

    /// How long one that comes now would wait at the very least, with so many `ahead` of it.
    /// `turnover` is how many must have been served to know anything.
    pub(crate) fn forecast(
        &mut self,
        ahead: u32,
        turnover: u32,
        timeout: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        self.turn(timeout, now);
        let window = window(timeout)?;
        let span = now.saturating_duration_since(self.began?);
        let span = if self.before.is_some() { span + window } else { span };
        let served = self.served.saturating_add(self.before.unwrap_or(0));
        if served < turnover || span.is_zero() {
            return None;
        }
        // Counts of independent ends scatter by their root; two of them upwards is a pool that was
        // unlucky so far.
        let served = f64::from(served);
        let rate = (served + 2.0 * served.sqrt()) / span.as_secs_f64();
        Duration::try_from_secs_f64((f64::from(ahead) + 1.0) / rate).ok()
    }

    fn turn(&mut self, timeout: Option<Duration>, now: Instant) {
        let (Some(window), Some(began)) = (window(timeout), self.began) else { return };
        let span = now.saturating_duration_since(began);
        if span >= window * 2 {
            // Nothing was served for a whole window: what was before is no evidence of now.
            *self = Self { began: Some(now - window), served: 0, before: None };
        } else if span >= window {
            *self = Self { began: Some(began + window), served: 0, before: Some(self.served) };
        }
    }
}

/// A pool may be slow for a while; half of the time that a client may wait is what counts.
fn window(timeout: Option<Duration>) -> Option<Duration> {
    let window = (timeout? / 2).min(WINDOW_MAX);
    (!window.is_zero()).then_some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(2));
    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::disallowed_methods, reason = "times need a beginning")]
    fn start() -> Instant {
        Instant::now()
    }

    /// One is served each `every` ms, for so long.
    fn steady(every: u32, until: u32, start: Instant) -> Pace {
        let mut pace = Pace::default();
        pace.begin(start);
        for at in (every..=until).step_by(every as usize) {
            pace.serve(TIMEOUT, start + MS * at);
        }
        pace
    }

    #[test]
    fn a_steady_pace_is_found_and_the_forecast_is_its_shortest() {
        let start = start();
        let mut pace = steady(10, 5_000, start);
        let wait = pace.forecast(99, 8, TIMEOUT, start + MS * 5_000).unwrap();
        assert!(wait > MS * 800 && wait <= MS * 1_000, "100 at 10 ms each: {wait:?}");
    }

    #[test]
    fn few_ends_are_no_evidence() {
        let start = start();
        let mut pace = steady(100, 700, start);
        assert_eq!(pace.forecast(1_000, 8, TIMEOUT, start + MS * 700), None);
        pace.serve(TIMEOUT, start + MS * 800);
        assert!(pace.forecast(1_000, 8, TIMEOUT, start + MS * 800).is_some());
    }

    #[test]
    fn a_queue_that_was_empty_begins_anew() {
        let start = start();
        let mut pace = steady(10, 900, start);
        pace.end();
        assert_eq!(pace.forecast(9, 8, TIMEOUT, start + MS * 900), None, "nobody waits");
        pace.begin(start + MS * 901);
        assert_eq!(pace.forecast(9, 8, TIMEOUT, start + MS * 950), None);
    }

    #[test]
    fn a_pool_that_is_stuck_gives_no_forecast() {
        let start = start();
        let mut pace = steady(10, 500, start);
        assert_eq!(pace.forecast(9, 8, TIMEOUT, start + MS * 2_501), None);
    }

    #[test]
    fn without_a_limit_of_waiting_there_is_nothing_to_forecast() {
        let mut pace = Pace::default();
        pace.begin(start());
        pace.serve(None, start());
        assert_eq!(pace.forecast(1, 0, None, start() + MS), None);
    }
}
