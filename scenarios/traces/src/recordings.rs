//! Recordings of real applications, labelled: what `stent-scenarios record` writes.
//!
//! Owns: reading them, and their score, each as it was recorded and as it would be without a count of
//! requests. Refuses: files (their text is handed in) and tuning. Invariant: what is no recording is an
//! error that names the line.

use std::fmt::Write as _;

use crate::score::{Outcome, Score};
use crate::stent::{Said, Stent};
use crate::trace::{Cut, Row, Trace, Truth};

/// The family of each recording.
const FAMILY: &str = "recording";
/// The line of names that a recording has.
const NAMES: &str = "t_seconds,rss_bytes,heap_bytes,requests_total,limit_bytes";

/// A recording.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Runtime and kind, as its file is called.
    pub name: String,
    /// Rows and truth.
    pub trace: Trace,
}

impl Recording {
    /// Reads one; the error says what is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut truth = None;
        let mut rows = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let wrong = |what: &str| format!("{name}, line {line}: {what}");
            if let Some(label) = text.strip_prefix("# truth: ") {
                truth = Some(parse_truth(label).ok_or_else(|| wrong("no truth"))?);
            } else if !text.starts_with('#') && text != NAMES {
                rows.push(parse_row(text).ok_or_else(|| wrong("no row"))?);
            }
        }
        let truth = truth.ok_or_else(|| format!("{name}: no line with the truth"))?;
        if rows.len() < 60 || rows.windows(2).any(|pair| pair[0].t_s >= pair[1].t_s) {
            return Err(format!("{name}: not a minute of rows in the order of time"));
        }
        let trace = Trace { family: FAMILY, seed: 0, step_s: 1, truth, rows };
        Ok(Self { name: name.to_owned(), trace })
    }

    /// What is said of it, and of it without a count of requests.
    pub fn hear(&self) -> [Said; 2] {
        let mut uncounted = self.trace.clone();
        uncounted.rows.iter_mut().for_each(|row| row.requests = None);
        [Stent::hear(&self.trace), Stent::hear(&uncounted)]
    }
}

/// `healthy`, or `leak from 20 to 231`.
fn parse_truth(label: &str) -> Option<Truth> {
    if label == "healthy" {
        return Some(Truth::Healthy);
    }
    let (onset, end) = label.strip_prefix("leak from ")?.split_once(" to ")?;
    let (onset_s, end_s): (f64, f64) = (onset.parse().ok()?, end.parse().ok()?);
    (onset_s < end_s).then_some(Truth::Leak { onset_s, end_s, cut: Cut::Never })
}

fn parse_row(text: &str) -> Option<Row> {
    let mut fields = text.split(',');
    let mut field = || fields.next();
    let row = Row {
        t_s: field()?.parse().ok()?,
        life: 0,
        rss: field()?.parse().ok()?,
        heap: field()?.parse().ok(),
        requests: field()?.parse().ok(),
        limit: field()?.parse().ok()?,
    };
    field().is_none().then_some(row)
}

/// The scores of recordings by the verdict `leak`: as they are, and without counts of requests.
pub fn scores(recordings: &[Recording]) -> [Score; 2] {
    let mut scores = [Score::default(), Score::default()];
    for recording in recordings {
        for (score, said) in scores.iter_mut().zip(recording.hear()) {
            score.add(said.leak);
        }
    }
    scores
}

/// A table with a row for each, and the sums below.
pub fn table(recordings: &[Recording]) -> String {
    let mut text = String::from(
        "| recording | truth | `leak` | way | forecast error | suspect at | without requests |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for recording in recordings {
        let Recording { name, trace } = recording;
        let [said, uncounted] = recording.hear();
        let truth = match trace.truth {
            Truth::Healthy => "healthy".to_owned(),
            Truth::Leak { onset_s, end_s, .. } => format!("leaks from {onset_s} s to {end_s} s"),
        };
        let [word, way, error] = told(said.leak);
        let [_, suspect, _] = told(said.suspect);
        let [other, other_way, _] = told(uncounted.leak);
        // A String takes whatever is written to it.
        let _ = writeln!(
            text,
            "| {name} | {truth} | {word} | {way} | {error} | {suspect} | {other} {other_way} |"
        );
    }
    let leaks = recordings.iter().filter(|one| one.trace.truth != Truth::Healthy).count();
    for (name, score) in ["as recorded", "without requests"].iter().zip(scores(recordings)) {
        let (precision, recall) = (score.precision(), score.recall(leaks));
        let (right, of) = (score.right(), score.traces());
        let way = score.way(0.5).unwrap_or(f64::NAN);
        let _ = writeln!(
            text,
            "\n{name}: {right} of {of} right, precision {precision:.3}, recall {recall:.3}, way {way:.2}"
        );
    }
    text
}

/// A word, the way and the error.
fn told(outcome: Outcome) -> [String; 3] {
    let nothing = |word: &str| [word.to_owned(), "–".to_owned(), "–".to_owned()];
    match outcome {
        Outcome::Quiet => nothing("quiet"),
        Outcome::False => nothing("false"),
        Outcome::Missed => nothing("missed"),
        Outcome::Found(found) => {
            let error = found.error.map_or_else(|| "–".to_owned(), |error| format!("{error:.2}"));
            ["found".to_owned(), format!("{:.2}", found.way), error]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(truth: &str, rows: u64) -> String {
        let rows: String = (0..rows).map(|t| format!("{t},{},,{},999\n", 100 + t, 5 * t)).collect();
        format!("# node timer, 20 kB a request\n# truth: {truth}\n{NAMES}\n{rows}")
    }

    #[test]
    fn a_recording_is_read_with_its_truth() {
        let read = Recording::parse("node-timer", &text("leak from 20 to 80", 90)).unwrap().trace;
        assert_eq!(read.truth, Truth::Leak { onset_s: 20.0, end_s: 80.0, cut: Cut::Never });
        let row = Row { t_s: 89, life: 0, rss: 189, heap: None, requests: Some(445), limit: 999 };
        assert_eq!((read.rows.len(), read.rows[89]), (90, row));
    }

    #[test]
    fn what_is_no_recording_is_refused_with_its_line() {
        let parse = |text: &str| Recording::parse("x", text).unwrap_err();
        assert_eq!(parse(&text("leak from 80 to 20", 90)), "x, line 2: no truth");
        assert_eq!(parse(&text("healthy", 9)), "x: not a minute of rows in the order of time");
        assert_eq!(parse(&(text("healthy", 90) + "91,much,,0,9\n")), "x, line 94: no row");
        let unlabelled = text("healthy", 90).replace("# truth: healthy\n", "");
        assert_eq!(parse(&unlabelled), "x: no line with the truth");
    }
}
