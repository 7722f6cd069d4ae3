//! The score of the detectors of descriptors and threads, by family and over all, as text.
//!
//! Owns: that table. Refuses: baselines: nobody publishes one for counts.
//! Invariant: the same seeds give the same text.

use std::fmt::Write as _;
use std::ops::Range;

use crate::counts::COUNT_FAMILIES;
use crate::families::Kind;
use crate::score::Score;
use crate::stent::Stent;

/// What became of the traces of every family of counts.
#[derive(Clone, Debug)]
pub struct CountScore {
    /// In the order of [`COUNT_FAMILIES`].
    pub families: Vec<Score>,
}

impl CountScore {
    /// Scores these seeds.
    pub fn of(seeds: Range<u64>) -> Self {
        let families = COUNT_FAMILIES.iter().map(|family| {
            let mut score = Score::default();
            for seed in seeds.clone() {
                let trace = family.family.trace(seed);
                score.add(Stent::counting(family.counted, trace.step_s).hears(&trace).leak);
            }
            score
        });
        Self { families: families.collect() }
    }

    /// Over all families.
    pub fn all(&self) -> Score {
        let mut all = Score::default();
        self.families.iter().for_each(|family| all.extend(family));
        all
    }

    /// Share of leaks found.
    pub fn recall(&self) -> f64 {
        let leaky = COUNT_FAMILIES.iter().zip(&self.families);
        let leaky = leaky.filter(|(family, _)| family.family.kind == Kind::Leaky);
        self.all().recall(leaky.map(|(_, score)| score.traces()).sum())
    }

    /// A line over all, and one for each family.
    pub fn text(&self) -> String {
        let all = self.all();
        let figure = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
        };
        let (earlier, inside, later) = all.calibration();
        // A String takes whatever is written to it.
        let mut text = format!(
            "found {}, missed {}, false {}: precision {:.3}, recall {:.3}, way {} (p90 {}), forecast \
             error {}, {inside} of {} intervals contain the truth\n\n\
             | family | right | way | error |\n|---|---|---|---|\n",
            all.found(),
            all.missed(),
            all.false_alarms(),
            all.precision(),
            self.recall(),
            figure(all.way(0.5)),
            figure(all.way(0.9)),
            figure(all.error(0.5)),
            earlier + inside + later,
        );
        for (family, score) in COUNT_FAMILIES.iter().zip(&self.families) {
            let family = &family.family;
            let leaks = if family.kind == Kind::Leaky { " (leaks)" } else { "" };
            let _ = writeln!(
                text,
                "| {}{leaks} | {}/{} | {} | {} |",
                family.name,
                score.right(),
                score.traces(),
                figure(score.way(0.5)),
                figure(score.error(0.5)),
            );
        }
        text
    }
}
