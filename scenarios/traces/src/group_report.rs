//! What siblings are worth: groups judged one by one and beside each other, as text.
//!
//! Owns: the round of a group and its table. Refuses: reading arguments (`main`).
//! Invariant: the processes of a group are shown in order of time, as an agent beside them reads them;
//! the same seeds give the same text.

use std::fmt::Write as _;
use std::ops::Range;

use stent_contract::VerdictLevel;

use crate::families::Kind;
use crate::groups::{GROUPS, Group};
use crate::score::{Alarm, Score, judged};
use crate::stent::Stent;
use crate::trace::{Trace, Truth};

/// Scores by process, at `leak`.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Each judged alone.
    pub alone: Score,
    /// Each judged beside its siblings.
    pub beside: Score,
    /// The same at `suspect`.
    pub suspected: [Score; 2],
    /// Processes that leak.
    pub leaks: usize,
}

impl Control {
    /// Of one group over seeds.
    pub fn of(group: &Group, seeds: Range<u64>) -> Self {
        let mut control = Self::default();
        for seed in seeds {
            let traces = group.traces(seed);
            control.leaks += traces.iter().filter(|trace| trace.truth != Truth::Healthy).count();
            for trace in &traces {
                let said = Stent::hear(trace);
                control.alone.add(said.leak);
                control.suspected[0].add(said.suspect);
            }
            for (trace, first) in traces.iter().zip(together(&traces)) {
                let [leak, suspect] = first.map(|first| judged(trace, first));
                control.beside.add(leak);
                control.suspected[1].add(suspect);
            }
        }
        control
    }

    fn extend(&mut self, other: &Self) {
        self.alone.extend(&other.alone);
        self.beside.extend(&other.beside);
        for (all, one) in self.suspected.iter_mut().zip(&other.suspected) {
            all.extend(one);
        }
        self.leaks += other.leaks;
    }
}

/// The first `leak` and the first `suspect` of each process of a group, judged beside the others.
fn together(traces: &[Trace]) -> Vec<[Option<(u64, Alarm)>; 2]> {
    let mut watched: Vec<Stent> = traces.iter().map(|trace| Stent::new(trace.step_s)).collect();
    let mut first = vec![[None; 2]; traces.len()];
    let mut next = vec![0; traces.len()];
    let row_of = |index: usize, next: &[usize]| traces[index].rows.get(next[index]);
    while let Some(now) = (0..traces.len()).filter_map(|i| row_of(i, &next)).map(|r| r.t_s).min() {
        for index in 0..traces.len() {
            let Some(row) = row_of(index, &next).filter(|row| row.t_s == now) else { continue };
            next[index] += 1;
            let level = Stent::read_among(&mut watched, index, row);
            for (slot, least) in
                first[index].iter_mut().zip([VerdictLevel::Leak, VerdictLevel::Suspect])
            {
                if level >= least && slot.is_none() {
                    *slot = Some((row.t_s, watched[index].alarm(row)));
                }
            }
        }
    }
    first
}

/// A line for each group, and one for all.
pub fn table(seeds: &Range<u64>) -> String {
    let mut text = String::from(
        "| group | processes | right alone | right beside siblings | way alone | way beside | \
         suspected falsely alone | beside |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut all = Control::default();
    for group in GROUPS {
        let control = Control::of(group, seeds.clone());
        let leaks = if group.kind == Kind::Leaky { " (leaks)" } else { "" };
        line(&mut text, &format!("{}{leaks}", group.name), &control);
        all.extend(&control);
    }
    line(&mut text, "all", &all);
    for (name, score) in [("alone", &all.alone), ("beside siblings", &all.beside)] {
        let (precision, recall) = (score.precision(), score.recall(all.leaks));
        // A String takes whatever is written to it.
        let _ = writeln!(
            text,
            "\n{name}: {} found, {} missed, {} false; precision {precision:.3}, recall {recall:.3}",
            score.found(),
            score.missed(),
            score.false_alarms(),
        );
    }
    text
}

fn line(text: &mut String, name: &str, control: &Control) {
    let way =
        |score: &Score| score.way(0.5).map_or_else(|| "–".to_owned(), |way| format!("{way:.2}"));
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} | {} |",
        control.alone.traces(),
        control.alone.right(),
        control.beside.right(),
        way(&control.alone),
        way(&control.beside),
        control.suspected[0].false_alarms(),
        control.suspected[1].false_alarms(),
    );
}
