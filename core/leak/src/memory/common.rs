//! What all lives of a target show together that none shows alone.
//!
//! Owns: the look at their common course. Refuses: a proof from two lives: growth that repeats
//! itself is found in the third. Invariant: a life that goes unlike those before adds nothing.

use super::siblings::Beside;
use super::weigh::{self, Context, Finding, Row};
use super::{CurrentLife, FINDINGS, MemoryDetector, millis};
use crate::course::Whole;
use crate::lives::{LIVES_MAX, ODDS_MAX};
use crate::rise::{self, Frame, Rise};
use crate::series::Point;

/// Where the finding of all lives together is kept.
const TOGETHER: usize = FINDINGS - 1;
/// A settled life explains growth up to its level where it was watched for this many times the
/// common course: what settled late is not seen in short lives, and short ones seem to settle.
const SETTLED_TIMES: u64 = 2;
/// What each earlier life adds to the odds beside the shape of their course. Natural logarithm.
const LIFE_ODDS: f64 = 1.0;
/// The whole course and what is left without its beginning, in quarters: a half of what slows down
/// looks straight.
const TOGETHER_QUARTERS: [usize; 2] = [4, 3];
/// Lives beside the present one that growth must repeat itself in.
const LIVES_MIN: u32 = 2;
/// How much more growth is asked for than of one life: what small thing drifts alike in each life
/// stands out of their mean too.
const GROWTH_TIMES: f64 = 1.5;
/// The share of the common growth that the present life has at least.
const KEPT_SHARE: f64 = 0.25;

impl MemoryDetector {
    /// Takes a reading into the common course, and looks at it where that closed a bucket.
    pub(super) fn look_across_lives(&mut self, point: Point, life: &CurrentLife) {
        if self.course.push(point) {
            self.findings[TOGETHER] = self.look_together(life);
        }
    }

    fn look_together(&mut self, life: &CurrentLife) -> Option<Finding> {
        let before = self.findings[TOGETHER].map_or_else(Row::default, |finding| finding.row);
        let (length, lives) = self.course.window(&mut self.buckets, &mut self.scratch)?;
        if lives < LIVES_MIN {
            return None;
        }
        let mut best: Option<Finding> = None;
        for quarters in TOGETHER_QUARTERS {
            let Some(rise) = self.measure_together(length, quarters, life) else { continue };
            let finding = weigh::weigh(rise, &self.context_together(&rise, lives, life), before);
            if best.as_ref().is_none_or(|best| finding.outweighs(best)) {
                best = Some(finding);
            }
        }
        // One life alone is noisier than what they have in common.
        best.map(|found| Finding {
            lowest: found.rise.base + KEPT_SHARE * found.rise.growth,
            ..found
        })
    }

    /// Measures the newest quarters of the course in the first `length` buckets.
    fn measure_together(
        &mut self,
        length: usize,
        quarters: usize,
        life: &CurrentLife,
    ) -> Option<Rise> {
        let window = &self.buckets[length - (length * quarters).div_ceil(4)..length];
        let floor = window.first()?.floor;
        let frame = Frame {
            expected: window.len(),
            width_ms: self.course.width_ms(),
            grain: self.quantity.grain(),
            growth_min: self
                .settings
                .growth_min
                .max(GROWTH_TIMES * self.settings.growth_share_min * floor),
            limit: life.roof(),
        };
        let rise = rise::measure(window, &frame, &mut self.scratch)?;
        (rise.window_ms >= millis(self.settings.window_min)).then_some(rise)
    }

    fn context_together(&self, rise: &Rise, lives: u32, life: &CurrentLife) -> Context {
        let each = (rise.shape_odds + LIFE_ODDS).clamp(0.0, ODDS_MAX);
        let lives = (lives as usize).min(LIVES_MAX);
        Context {
            watched_before_ms: rise.start_ms.saturating_sub(life.watched_since_ms),
            pace_before: None,
            stood_at: None,
            known_plateau: self.lives.known_plateau(SETTLED_TIMES * self.course.common_ms()),
            growing_lives: (lives, each * lives as f64),
            limit: life.roof(),
            of: self.quantity,
            beside: Beside::default(),
        }
    }
}

impl CurrentLife {
    /// Whether it was watched from its beginning, give or take a few readings.
    pub(super) fn seen(&self, interval_ms: u64) -> Whole {
        let missed_ms = self.watched_since_ms.saturating_sub(self.newest.started_unix_ms);
        let watched_ms = self.newest.at_unix_ms - self.watched_since_ms;
        let little_ms = (watched_ms / 32).max(3 * interval_ms);
        if missed_ms <= little_ms { Whole::Yes } else { Whole::No }
    }
}
