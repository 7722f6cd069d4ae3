//! `stent-scenarios record`: what the kernel says of a real application, once a second, with the right
//! answer beside it.
//!
//! Owns: the application, its load, its readings and their label. Refuses: Stent; nothing of it runs.
//! Invariant: a leak is recorded until its memory is at the limit, or the label has no such end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::load::Pace;
use super::manifest::{Case, Expect, Manifest};
use super::run::start_app;
use crate::http::Client;

const HTTP_LIMIT: Duration = Duration::from_secs(3);
/// Between two readings.
const STEP: Duration = Duration::from_secs(1);

/// What is to be recorded.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The manifest of this name.
    pub runtime: String,
    /// One of its kinds.
    pub kind: String,
    /// What a request keeps, kB, in place of the manifest's.
    pub kilobytes: u64,
    /// How long at most.
    pub length: Duration,
}

/// Records it, and returns the file: comments with the label, then rows as `stent replay` reads them.
pub async fn record(plan: &Plan) -> Result<String> {
    let mut manifest = Manifest::read(&super::folder().join(format!("{}.toml", plan.runtime)))?;
    let kilobytes = plan.kilobytes.to_string();
    manifest.app.environment.insert("KILOBYTES".to_owned(), kilobytes);
    let case = manifest.cases.iter().find(|case| case.kind == plan.kind);
    let case = case.with_context(|| format!("{} has no kind {}", plan.runtime, plan.kind))?;
    let (mut app, address) = start_app(&manifest, case)?;
    let rate = manifest.load.requests_per_second.get();
    let pace = Pace::start(address, rate, case.period_seconds.map(|period| period.seconds()));
    let warm_up_s = manifest.load.warm_up_seconds.seconds().as_secs();
    let limit = manifest.limits.memory_limit_bytes;
    let mut rows = Vec::new();
    let began = Instant::now();
    for t_s in 0..plan.length.as_secs() {
        let due = began + STEP * u32::try_from(t_s)?;
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
        if t_s == warm_up_s {
            Client::new(address, HTTP_LIMIT).get("/start").await.context("start what it does")?;
        }
        ensure!(app.status().is_none(), "the application ended by itself:\n{}", app.output());
        // Nothing is swapped out on a machine with room: resident is all.
        let anon = stent_testkit::proc::memory(app.pid())?.anon;
        rows.push((t_s, anon, pace.served()));
        if anon >= limit {
            break;
        }
    }
    ensure!(pace.failed() == 0, "{} requests failed", pace.failed());
    Ok(text(plan, case, limit, warm_up_s, &rows))
}

/// Rows are second, bytes, requests.
fn text(plan: &Plan, case: &Case, limit: u64, onset_s: u64, rows: &[(u64, u64, u64)]) -> String {
    // A leak that did not get to the limit in time is given the one that it got to.
    let highest = rows.iter().map(|(_, anon, _)| *anon).max().unwrap_or_default();
    let (truth, limit) = match case.expect {
        Expect::Healthy => ("healthy".to_owned(), limit),
        Expect::Leak => {
            let limit = limit.min(highest);
            let end = rows.iter().find(|(_, anon, _)| *anon >= limit);
            let end_s = end.map(|(t_s, _, _)| *t_s).unwrap_or_default();
            (format!("leak from {onset_s} to {end_s}"), limit)
        }
    };
    let mut text = format!(
        "# {} {}, {} kB a request\n# truth: {truth}\n\
         t_seconds,rss_bytes,heap_bytes,requests_total,limit_bytes\n",
        plan.runtime, plan.kind, plan.kilobytes
    );
    for (t_s, anon, requests) in rows {
        // A String takes whatever is written to it.
        let _ = writeln!(text, "{t_s},{anon},,{requests},{limit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let length = Duration::from_secs(9);
        Plan { runtime: "node".to_owned(), kind: "timer".to_owned(), kilobytes: 20, length }
    }

    fn case(expect: Expect) -> Case {
        Case { kind: "timer".to_owned(), expect, names: None, file: None, period_seconds: None }
    }

    const ROWS: [(u64, u64, u64); 3] = [(0, 100, 0), (1, 150, 50), (2, 210, 100)];

    #[test]
    fn a_leak_ends_where_it_is_at_the_limit() {
        let text = text(&plan(), &case(Expect::Leak), 200, 1, &ROWS);
        assert!(text.starts_with("# node timer, 20 kB a request\n# truth: leak from 1 to 2\nt_s"));
        assert!(text.ends_with("\n0,100,,0,200\n1,150,,50,200\n2,210,,100,200\n"), "{text}");
    }

    #[test]
    fn a_leak_that_did_not_get_there_has_the_limit_that_it_got_to_and_a_twin_the_real_one() {
        let leak = text(&plan(), &case(Expect::Leak), 900, 1, &ROWS);
        assert!(leak.contains("leak from 1 to 2\n") && leak.contains("\n0,100,,0,210\n"), "{leak}");
        let twin = text(&plan(), &case(Expect::Healthy), 900, 1, &ROWS);
        assert!(twin.contains("truth: healthy\n") && twin.contains("\n0,100,,0,900\n"), "{twin}");
    }
}
