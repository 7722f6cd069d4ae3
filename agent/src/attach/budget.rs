//! How much of a target's time may be taken: pure, `now` is an argument.
//!
//! Owns: the limits, the plan of an attach, and the account of the last hour.
//! Refuses: clocks and processes.
//! Invariant: one target at a time; at most [`ATTACHED_MAX`] attached in any hour, planned time
//! included; an attach is ended by the first answer that took longer than [`PAUSE_MAX`] and by CPU
//! above [`CPU_SHARE_MAX`] of a core.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The longest that a target may stand still at a time.
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(250);
/// The CPU that a target may take more than before, in cores.
pub(crate) const CPU_SHARE_MAX: f64 = 0.20;
/// The longest time attached within an hour, all targets together.
pub(crate) const ATTACHED_MAX: Duration = Duration::from_secs(120);
/// How many windows growth has to persist in.
pub(crate) const WINDOWS: u32 = 3;

const HOUR: Duration = Duration::from_secs(3_600);
/// What opening and closing may take beside the windows.
const OVERHEAD: Duration = Duration::from_secs(5);
/// V8 takes one sample in so many bytes on average: fast growth needs few samples, slow growth many.
const SAMPLING_MAX: f64 = 32.0 * 1024.0;
const SAMPLING_MIN: f64 = 4.0 * 1024.0;
/// Samples of the growth in a window: an error of a quarter.
const SAMPLES: f64 = 16.0;
const WINDOW_MIN: Duration = Duration::from_secs(4);
const WINDOW_MAX: Duration = Duration::from_secs(32);
/// Before the windows: caches that the profiler's own start filled, requests under way.
const LEAD_MIN: Duration = Duration::from_secs(2);
const LEAD_MAX: Duration = Duration::from_secs(8);

/// What an attach will do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Bytes between samples, on average.
    pub(crate) sampling: u32,
    /// Before the first window.
    pub(crate) lead: Duration,
    /// Each window.
    pub(crate) window: Duration,
    /// How many.
    pub(crate) windows: u32,
    /// What ends it early.
    pub(crate) limits: Limits,
}

/// What a target may be asked to bear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// [`PAUSE_MAX`].
    pub(crate) pause: Duration,
    /// [`CPU_SHARE_MAX`].
    pub(crate) cpu_share: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pause: PAUSE_MAX, cpu_share: CPU_SHARE_MAX }
    }
}

impl Plan {
    /// Windows long enough for growth at this rate to be seen, as far as the budget goes.
    pub(crate) fn for_growth(bytes_per_hour: f64) -> Self {
        let bytes_per_second = bytes_per_hour.max(1.0) / HOUR.as_secs_f64();
        let seconds = SAMPLES * SAMPLING_MAX / bytes_per_second;
        let window = Duration::from_secs_f64(
            seconds.clamp(WINDOW_MIN.as_secs_f64(), WINDOW_MAX.as_secs_f64()),
        );
        let lead = (window / 2).clamp(LEAD_MIN, LEAD_MAX);
        let sampling = bytes_per_second * window.as_secs_f64() / SAMPLES;
        let sampling = sampling.clamp(SAMPLING_MIN, SAMPLING_MAX) as u32;
        let limits = Limits::default();
        let plan = Self { sampling, lead, window, windows: WINDOWS, limits };
        debug_assert!(plan.length() <= ATTACHED_MAX);
        plan
    }

    /// How long it takes at most.
    pub(crate) fn length(&self) -> Duration {
        self.lead + self.window * self.windows + OVERHEAD
    }
}

/// Why no attach may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// One is under way.
    Busy,
    /// The hour's time is used up.
    Spent,
}

/// The account of one agent.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    running: Option<Duration>,
    /// When each ended and how long it took; at most an hour old.
    ended: VecDeque<(Instant, Duration)>,
}

impl Budget {
    /// Takes the time of an attach out of the account.
    pub(crate) fn start(&mut self, now: Instant, planned: Duration) -> Result<(), Denied> {
        self.allows(now, planned)?;
        self.running = Some(planned);
        Ok(())
    }

    /// Whether one may start.
    pub(crate) fn allows(&mut self, now: Instant, planned: Duration) -> Result<(), Denied> {
        if self.running.is_some() {
            return Err(Denied::Busy);
        }
        while self.ended.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= HOUR) {
            self.ended.pop_front();
        }
        let spent: Duration = self.ended.iter().map(|(_, lasted)| *lasted).sum();
        if spent + planned > ATTACHED_MAX {
            return Err(Denied::Spent);
        }
        Ok(())
    }

    /// It is over. What was not used is given back; what took no time leaves no trace.
    pub(crate) fn end(&mut self, now: Instant, lasted: Duration) {
        assert!(self.running.take().is_some(), "what ends has started");
        if lasted > Duration::ZERO {
            self.ended.push_back((now, lasted));
        }
    }
}

/// Why an attach is ended before its last window.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Stop {
    /// An answer took too long.
    #[error("stopped early: it stood still for {} ms, more than the {} ms allowed", .0.as_millis(), PAUSE_MAX.as_millis())]
    Pause(Duration),
    /// It needed too much CPU.
    #[error("stopped early: it took {:.0} % of a core more than before, more than the {:.0} % allowed", .0 * 100.0, CPU_SHARE_MAX * 100.0)]
    Cpu(f64),
}

/// What one attach has cost its target so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// What it may cost.
    pub(crate) limits: Limits,
    /// The longest answer.
    pub(crate) largest_pause: Duration,
    /// CPU beyond what the target took before, seconds.
    pub(crate) cpu_seconds: Option<f64>,
}

impl Cost {
    /// Takes an answer into account.
    pub(crate) fn answered(&mut self, took: Duration) -> Result<(), Stop> {
        self.largest_pause = self.largest_pause.max(took);
        if took > self.limits.pause { Err(Stop::Pause(took)) } else { Ok(()) }
    }

    /// Takes the CPU of `elapsed` into account, of which a part `before` (in cores) is the target's
    /// own work as it was before.
    pub(crate) fn worked(&mut self, cpu: f64, elapsed: Duration, before: f64) -> Result<(), Stop> {
        let elapsed = elapsed.as_secs_f64().max(f64::EPSILON);
        let more = cpu - before * elapsed;
        self.cpu_seconds = Some(more.max(0.0));
        let share = more / elapsed;
        if share > self.limits.cpu_share { Err(Stop::Cpu(share)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn fast_growth_gets_short_windows_and_slow_growth_long_ones_within_two_minutes() {
        let rates = [0.0, 1.0, 1e6, 60e6, 1e9, 1e15, f64::INFINITY, f64::NAN];
        for rate in rates {
            let plan = Plan::for_growth(rate);
            assert!(plan.window >= WINDOW_MIN && plan.window <= WINDOW_MAX, "{rate}: {plan:?}");
            assert!(plan.length() <= ATTACHED_MAX && plan.windows >= 3, "{rate}: {plan:?}");
        }
        assert_eq!(Plan::for_growth(3.6e9).window, WINDOW_MIN);
        assert_eq!(Plan::for_growth(1e6).window, WINDOW_MAX);
        assert_eq!(Plan::for_growth(3.6e9).sampling, 32 << 10);
        assert_eq!(Plan::for_growth(1e6).sampling, 4 << 10, "slow growth is sampled finely");
    }

    #[test]
    fn a_second_target_waits_until_the_first_has_ended() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        assert_eq!(budget.start(now, SECOND), Ok(()));
        assert_eq!(budget.start(now, SECOND), Err(Denied::Busy));
        budget.end(now, SECOND);
        assert_eq!(budget.start(now, SECOND), Ok(()));
    }

    #[test]
    fn no_hour_has_more_than_two_minutes_of_it() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let mut attached: Vec<(Instant, Duration)> = Vec::new();
        for minute in 0..300 {
            let now = start + SECOND * 60 * minute;
            if budget.start(now, SECOND * 50).is_ok() {
                budget.end(now + SECOND * 50, SECOND * 50);
                attached.push((now + SECOND * 50, SECOND * 50));
            }
        }
        for (end, _) in &attached {
            let hour = attached.iter().filter(|(at, _)| *at <= *end && *end - *at < HOUR);
            assert!(hour.map(|(_, lasted)| *lasted).sum::<Duration>() <= ATTACHED_MAX);
        }
        assert!(attached.len() >= 10, "and the budget comes back: {}", attached.len());
    }

    #[test]
    fn what_was_refused_costs_nothing() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        for _ in 0..1_000 {
            budget.start(now, ATTACHED_MAX).unwrap();
            budget.end(now, Duration::ZERO);
        }
        assert!(budget.ended.is_empty());
    }

    #[test]
    fn a_long_answer_ends_the_attach_and_is_remembered() {
        let mut cost = Cost::default();
        assert_eq!(cost.answered(PAUSE_MAX), Ok(()));
        let long = PAUSE_MAX + SECOND;
        assert_eq!(cost.answered(long), Err(Stop::Pause(long)));
        assert_eq!(cost.answered(SECOND / 100), Ok(()));
        assert_eq!(cost.largest_pause, long);
    }

    #[test]
    fn cpu_beyond_a_fifth_of_a_core_ends_the_attach_and_the_targets_own_work_does_not() {
        let mut cost = Cost::default();
        assert_eq!(cost.worked(9.0, SECOND * 10, 0.9), Ok(()));
        assert_eq!(cost.cpu_seconds, Some(0.0));
        assert_eq!(cost.worked(1.9, SECOND * 10, 0.0), Ok(()));
        assert!(matches!(cost.worked(2.1, SECOND * 10, 0.0), Err(Stop::Cpu(_))));
        assert!(cost.cpu_seconds.is_some_and(|more| (more - 2.1).abs() < 1e-9));
    }
}
