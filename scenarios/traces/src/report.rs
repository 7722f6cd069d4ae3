//! The score of every detector over every family, as text.
//!
//! Owns: the tables. Refuses: reading arguments and writing files (`main`).
//! Invariant: the same seeds give the same text.

use std::fmt::Write as _;
use std::ops::Range;

use stent_contract::VerdictLevel;

use crate::baselines::BASELINES;
use crate::families::{FAMILIES, Kind};
use crate::score::{Detector, Outcome, Score, outcome};
use crate::stent::Stent;

/// A detector's score, by family and over all.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The detector.
    pub name: &'static str,
    /// In the order of [`FAMILIES`].
    pub families: Vec<Score>,
}

impl Scored {
    /// Over all families.
    pub fn all(&self) -> Score {
        let mut all = Score::default();
        for family in &self.families {
            all.extend(family);
        }
        all
    }

    /// Share of leaks found.
    pub fn recall(&self) -> f64 {
        let leaks = FAMILIES
            .iter()
            .zip(&self.families)
            .filter(|(family, _)| family.kind == Kind::Leaky)
            .map(|(_, score)| score.traces())
            .sum();
        self.all().recall(leaks)
    }
}

/// Stent's scores, at both levels.
#[derive(Clone, Debug)]
pub struct StentScored {
    /// At `leak`.
    pub leak: Scored,
    /// At `suspect`.
    pub suspect: Scored,
    /// Traces, times that a verdict rose and times that one fell: leaky ones, then healthy ones.
    pub changes: [(usize, usize, usize); 2],
}

/// Scores Stent.
pub fn stent(seeds: Range<u64>) -> StentScored {
    let empty = |name| Scored { name, families: Vec::new() };
    let mut all = StentScored {
        leak: empty("Stent: leak"),
        suspect: empty("Stent: suspect"),
        changes: [(0, 0, 0); 2],
    };
    for family in FAMILIES {
        let (mut leak, mut suspect) = (Score::default(), Score::default());
        let changes = &mut all.changes[usize::from(family.kind == Kind::Healthy)];
        for seed in seeds.clone() {
            let said = Stent::hear(&family.trace(seed));
            leak.add(said.leak);
            suspect.add(said.suspect);
            *changes = (changes.0 + 1, changes.1 + said.rises, changes.2 + said.falls);
        }
        all.leak.families.push(leak);
        all.suspect.families.push(suspect);
    }
    all
}

/// Scores every baseline.
pub fn baselines(seeds: Range<u64>) -> Vec<Scored> {
    BASELINES.iter().map(|(name, make)| scored(name, seeds.clone(), *make)).collect()
}

fn scored(name: &'static str, seeds: Range<u64>, make: fn() -> Box<dyn Detector>) -> Scored {
    let families = FAMILIES.iter().map(|family| {
        let mut score = Score::default();
        for seed in seeds.clone() {
            let trace = family.trace(seed);
            score.add(outcome(&trace, &mut *make()));
        }
        score
    });
    Scored { name, families: families.collect() }
}

/// One line for each detector.
pub fn table(all: &[Scored]) -> String {
    let mut text = String::from(
        "| detector | found | missed | false | precision | recall | F1 | way median / p90 | \
         forecast error | lead h |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for scored in all {
        let score = scored.all();
        let (precision, recall) = (score.precision(), scored.recall());
        let f1 = 2.0 * precision * recall / (precision + recall).max(f64::MIN_POSITIVE);
        // A String takes whatever is written to it.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {precision:.3} | {recall:.3} | {f1:.3} | {} / {} | {} | {} |",
            scored.name,
            score.found(),
            score.missed(),
            score.false_alarms(),
            figure(score.way(0.5)),
            figure(score.way(0.9)),
            figure(score.error(0.5)),
            score.lead_hours().map_or_else(|| "–".to_owned(), |hours| format!("{hours:.1}")),
        );
    }
    text
}

/// One line for each family: Stent in full, the others by the number of traces judged rightly.
pub fn by_family(leak: &Scored, suspect: &Scored, others: &[Scored]) -> String {
    let mut text = String::from("| family | right | way | error | suspect at |");
    for other in others {
        let _ = write!(text, " {} |", other.name);
    }
    let _ = writeln!(text, "\n|---|---|---|---|---|{}", "---|".repeat(others.len()));
    for (index, family) in FAMILIES.iter().enumerate() {
        let score = &leak.families[index];
        let _ = write!(
            text,
            "| {}{} | {}/{} | {} | {} | {} |",
            family.name,
            if family.kind == Kind::Leaky { " (leaks)" } else { "" },
            score.right(),
            score.traces(),
            figure(score.way(0.5)),
            figure(score.error(0.5)),
            match family.kind {
                Kind::Leaky => figure(suspect.families[index].way(0.5)),
                Kind::Healthy => format!("{} false", suspect.families[index].false_alarms()),
            },
        );
        for other in others {
            let _ = write!(text, " {} |", other.families[index].right());
        }
        text.push('\n');
    }
    text
}

/// How often the truth was in Stent's 80 % interval.
pub fn calibration(leak: &Scored) -> String {
    let (earlier, inside, later) = leak.all().calibration();
    let all = (earlier + inside + later).max(1);
    format!(
        "80 % intervals at the alarm: {inside} of {all} contain the truth ({:.1} %); it was earlier \
         in {earlier} and later in {later}.\n",
        100.0 * inside as f64 / all as f64
    )
}

/// How often verdicts change.
pub fn changes(scored: &StentScored) -> String {
    let [leaky, healthy] = scored.changes.map(|(traces, rises, falls)| {
        let traces = traces.max(1) as f64;
        (rises as f64 / traces, falls as f64 / traces)
    });
    format!(
        "Changes of the verdict a trace: leaky ones {:.2} up and {:.2} down, healthy ones {:.2} up \
         and {:.2} down.\n",
        leaky.0, leaky.1, healthy.0, healthy.1
    )
}

/// The traces that Stent judges wrongly, with what it says when it does.
pub fn wrong(seeds: Range<u64>) -> String {
    let mut text = String::new();
    for family in FAMILIES {
        for seed in seeds.clone() {
            let trace = family.trace(seed);
            let outcome = Stent::hear(&trace).leak;
            if matches!(outcome, Outcome::Quiet | Outcome::Found(_)) {
                continue;
            }
            let _ = writeln!(text, "{} seed {seed}: {outcome:?}, {:?}", family.name, trace.truth);
            let mut stent = Stent::new(trace.step_s);
            let said = trace.rows.iter().map(|row| (row.t_s, stent.judge(row)));
            let mut heard = said.skip_while(|(_, verdict)| verdict.level < VerdictLevel::Leak);
            if let Some((t_s, verdict)) = heard.next() {
                let _ = writeln!(text, "  {:?} after {} s", verdict.class, t_s);
                for evidence in verdict.evidence {
                    let _ = writeln!(text, "    {}: {}", evidence.key, evidence.text);
                }
            }
        }
    }
    text
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}
