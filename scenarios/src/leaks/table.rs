//! What was seen of a case against what is right, as a row of a table.

use stent_contract::Attribution;

use super::manifest::{Case, Expect, Manifest};
use super::run::Seen;

/// The head of the table.
pub const HEAD: &str = "\
| runtime | kind | right? | suspect after | leak after | class | named after | named first | share | longest pause | CPU taken | failed requests |\n\
|---|---|---|---|---|---|---|---|---|---|---|---|";

/// A judged case.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is wrong with what the agent said; empty: nothing.
    pub faults: Vec<String>,
    runtime: String,
    kind: String,
    seen: Seen,
}

/// Judges it.
pub fn judge(manifest: &Manifest, case: &Case, seen: Seen) -> Row {
    let mut faults = Vec::new();
    match case.expect {
        Expect::Leak if seen.leak.is_none() => faults.push("no verdict `leak`".to_owned()),
        Expect::Healthy if seen.leak.is_some() => faults.push("a false verdict `leak`".to_owned()),
        Expect::Leak | Expect::Healthy => {}
    }
    if let Some(wanted) = &case.names {
        faults.extend(misnamed(wanted, case.file.as_deref(), seen.attribution.as_ref()));
    }
    if let Some(status) = &seen.ended {
        faults.push(format!("the application ended ({status})"));
    }
    Row { faults, runtime: manifest.runtime.clone(), kind: case.kind.clone(), seen }
}

/// What is wrong with the names, if anything is. Of a class the holders count as well.
fn misnamed(wanted: &str, file: Option<&str>, attribution: Option<&Attribution>) -> Option<String> {
    let Some(attribution) = attribution else { return Some("no attribution".to_owned()) };
    let Some(first) = attribution.frames.first() else {
        return Some(format!("named nothing: {}", attribution.note));
    };
    // With or without the modules around it.
    if first.function.rsplit("::").next() != Some(wanted) {
        return Some(format!("named {} and not {wanted}", first.function));
    }
    let file = file.filter(|file| !first.file.ends_with(*file))?;
    Some(format!("named a function of {} and not of {file}", first.file))
}

impl Row {
    /// A line of the table.
    pub fn line(&self) -> String {
        let seconds = |time: Option<std::time::Duration>| {
            time.map_or_else(|| "–".to_owned(), |time| format!("{:.0} s", time.as_secs_f64()))
        };
        let seen = &self.seen;
        let right = if self.faults.is_empty() { "yes".to_owned() } else { self.faults.join("; ") };
        let attribution = seen.attribution.as_ref();
        let first = attribution.and_then(|found| found.frames.first());
        let named = match (first, attribution) {
            (Some(frame), _) => {
                let line = frame.line.map(|line| format!(":{line}")).unwrap_or_default();
                let file = frame.file.rsplit('/').next().unwrap_or_default();
                let via = frame.via.iter().take(3).map(|via| via.split(" /").next().unwrap_or(via));
                let via: Vec<&str> = via.collect();
                let via: String = via.iter().map(|via| format!(" < {via}")).collect();
                format!("`{} {file}{line}`{via}", frame.function)
            }
            (None, Some(found)) => found.note.clone(),
            (None, None) => "–".to_owned(),
        };
        let share = first.map_or_else(|| "–".to_owned(), |f| format!("{:.0} %", f.share * 100.0));
        let pause = attribution.map(|found| format!("{} ms", found.largest_pause_ms));
        let cpu = attribution.and_then(|found| {
            let seconds = found.lasted_ms as f64 / 1_000.0;
            found
                .cpu_seconds
                .map(|cpu| format!("{cpu:.2} s ({:.0} %)", 100.0 * cpu / seconds.max(0.001)))
        });
        let dash = || "–".to_owned();
        format!(
            "| {} | {} | {right} | {} | {} | {} | {} | {named} | {share} | {} | {} | {} |",
            self.runtime,
            self.kind,
            seconds(seen.suspect),
            seconds(seen.leak),
            if seen.class.is_empty() { "–" } else { &seen.class },
            seconds(seen.attributed),
            pause.unwrap_or_else(dash),
            cpu.unwrap_or_else(dash),
            seen.failed,
        )
    }
}
