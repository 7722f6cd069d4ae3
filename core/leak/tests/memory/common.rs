//! Synthetic memory series: families with a known answer, from a seed.
//!
//! Owns: the shapes. Refuses: the detector. Invariant: the same seed gives the same series.

use std::time::Duration;
use stent_contract::Verdict;
use stent_leak::{MemoryDetector, MemorySample, MemorySettings};

pub(crate) const MB: f64 = 1_000_000.0;
pub(crate) const START_MS: u64 = 1_700_000_000_000;
pub(crate) const HOUR: f64 = 3_600.0;

/// Bytes at a second, with noise from the generator.
type Shape = dyn Fn(f64, &mut fastrand::Rng) -> f64;

/// A series as functions of the seconds since the start of the process.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// Seconds between readings.
    pub(crate) step_s: u64,
    /// Seconds.
    pub(crate) length_s: u64,
    pub(crate) limit: f64,
    /// Memory at a second, bytes.
    pub(crate) memory: Box<Shape>,
    /// Transactions a second; `None`: no proxy in front.
    pub(crate) rate: Option<Box<dyn Fn(f64) -> f64>>,
}

impl Family {
    /// Feeds the whole series and shows the verdict after each fifth reading, with the second.
    pub(crate) fn run(&self, seed: u64, mut after: impl FnMut(f64, &Verdict)) -> MemoryDetector {
        let mut random = fastrand::Rng::with_seed(seed);
        let settings = MemorySettings::every(Duration::from_secs(self.step_s));
        let mut detector = MemoryDetector::new("api", settings);
        let mut transactions = 0.0;
        for second in (0..self.length_s).step_by(self.step_s as usize) {
            let t = second as f64;
            if let Some(rate) = &self.rate {
                transactions += rate(t) * self.step_s as f64;
            }
            let anon = (self.memory)(t, &mut random).max(0.0) as u64;
            detector.observe(&MemorySample {
                at_unix_ms: START_MS + second * 1_000,
                pid: 7,
                started_unix_ms: START_MS,
                anon,
                charged: anon,
                limit: Some(self.limit as u64),
                heap: None,
                transactions: self.rate.as_ref().map(|_| transactions as u64),
            });
            if (second / self.step_s).is_multiple_of(5) {
                after(t, &detector.verdict(START_MS + second * 1_000));
            }
        }
        detector
    }
}

/// Noise of at most `amplitude` to either side.
pub(crate) fn noise(random: &mut fastrand::Rng, amplitude: f64) -> f64 {
    (random.f64() * 2.0 - 1.0) * amplitude
}

/// A saw: rises from 0 to `height` in `period` seconds and falls back.
pub(crate) fn saw(t: f64, period: f64, height: f64) -> f64 {
    t.rem_euclid(period) / period * height
}

/// Approaches `height` with the time constant `tau`.
pub(crate) fn saturating(t: f64, tau: f64, height: f64) -> f64 {
    height * (1.0 - (-t / tau).exp())
}

/// A family without traffic.
pub(crate) fn family(
    name: &'static str,
    step_s: u64,
    hours: f64,
    memory: impl Fn(f64, &mut fastrand::Rng) -> f64 + 'static,
) -> Family {
    Family {
        name,
        step_s,
        length_s: (hours * HOUR) as u64,
        limit: 1_000.0 * MB,
        memory: Box::new(memory),
        rate: None,
    }
}
