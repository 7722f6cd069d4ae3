//! What a run came to, in words: the live line of a second, and the report at the end.
//!
//! Pure: outcomes in, text out. Everything in it is from `/snapshot`; nothing is known from inside.

use std::fmt::Write as _;

use stent_alarms::observe::Firing;
use stent_contract::snapshot::PoolSnapshot;
use stent_contract::{Diagnosis, Holder, Snapshot, Verdict};

use crate::judge::{Check, CheckState, Words, level, name};
use crate::run::{LeakOutcome, Tick, TwinOutcome};
use crate::scenario::Expect;

const MIB: f64 = 1_048_576.0;

/// The most holders that the report names.
const HOLDERS_SHOWN: usize = 10;

/// One second in one line.
pub fn line(tick: &Tick<'_>) -> String {
    let words = Words::of(tick.snapshot, &tick.scenario.expect);
    let anon = anon_bytes(tick.snapshot, &tick.scenario.expect.target);
    let memory = anon.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes / MIB));
    let pool = pool(tick.snapshot, &tick.scenario.expect.pool);
    let (held, of, waiting) = pool.map_or((0, 0, 0), |pool| {
        let held = pool.servers_active + pool.servers_idle_in_transaction;
        (held, pool.size_max, pool.clients_waiting)
    });
    format!(
        "{:>4} s  requests {:>3} ok {:>3} failed  memory {memory:>6} MiB  pool {held}/{of}, {waiting} \
         waiting  verdicts: memory {}, connections {}",
        tick.at.as_secs(),
        tick.requests.ok,
        tick.requests.failed,
        name(level(words.memory)),
        name(level(words.connections)),
    )
}

/// The healthy run in a paragraph.
pub fn twin(outcome: &TwinOutcome) -> String {
    let mut text = format!(
        "Healthy run: {:.0} s, {} requests answered, {} failed; worst verdict: {}.\n",
        outcome.watched.as_secs_f64(),
        outcome.requests.ok,
        outcome.requests.failed,
        name(outcome.worst),
    );
    if outcome.faults.is_empty() {
        text.push_str("  No leak was reported, and there was none.\n");
    }
    for fault in &outcome.faults {
        let _ = writeln!(text, "  WRONG: {fault}");
    }
    text
}

/// The leaking run: what leaked, who holds it, when it ends, which alarms.
pub fn leaking(outcome: &LeakOutcome, expect: &Expect, firing: &[Firing]) -> String {
    let words = Words::of(&outcome.snapshot, expect);
    let mut text = String::new();
    match outcome.found_after {
        Some(after) => {
            let _ = writeln!(
                text,
                "Leaking run: both leaks named {:.0} s after the switch.",
                after.as_secs_f64()
            );
        }
        None => text.push_str("Leaking run: NOT everything was found.\n"),
    }
    text.push_str("\nWhat leaks\n");
    memory(&mut text, words.memory, words.memory_diagnosis);
    connections(&mut text, words.connections, words.connection_diagnosis);
    text.push_str("\nWho holds the connections\n");
    let held = words.connection_diagnosis.map_or(&[][..], |diagnosis| &diagnosis.holders);
    for one in held.iter().take(HOLDERS_SHOWN) {
        holder(&mut text, one);
    }
    if held.is_empty() {
        text.push_str("  nobody is named\n");
    }
    let _ = writeln!(
        text,
        "  (the application itself says: {} transactions forgotten)",
        outcome.forgotten_transactions
    );
    text.push_str("\nWhich alarms would be firing (their minutes shortened to 5 s for the demo)\n");
    for one in firing {
        let _ = writeln!(text, "  {one}");
    }
    if firing.is_empty() {
        text.push_str("  none\n");
    }
    text.push_str("\nWhat was expected\n");
    for check in &outcome.checks {
        expectation(&mut text, check);
    }
    text
}

fn memory(text: &mut String, verdict: Option<&Verdict>, diagnosis: Option<&Diagnosis>) {
    let Some(verdict) = verdict else { return text.push_str("  memory: no verdict\n") };
    let _ = writeln!(
        text,
        "  memory of {}: {} (confidence {:.0} %), growing {:.1} MiB a minute; the limit is met {}",
        verdict.target,
        name(verdict.level),
        verdict.confidence * 100.0,
        verdict.growth_per_hour / 60.0 / MIB,
        verdict.seconds_to_limit.map_or_else(|| "not foreseeably".to_owned(), in_time),
    );
    causes(text, diagnosis);
}

fn connections(text: &mut String, verdict: Option<&Verdict>, diagnosis: Option<&Diagnosis>) {
    let Some(verdict) = verdict else { return text.push_str("  connections: no verdict\n") };
    let _ = writeln!(
        text,
        "  connections of {}: {} (confidence {:.0} %)",
        verdict.target,
        name(verdict.level),
        verdict.confidence * 100.0,
    );
    causes(text, diagnosis);
}

fn causes(text: &mut String, diagnosis: Option<&Diagnosis>) {
    let Some(diagnosis) = diagnosis else { return };
    let _ = writeln!(text, "    {}", diagnosis.summary);
    if let Some(cause) = diagnosis.causes.first() {
        let _ = writeln!(text, "    likely: {}", cause.text);
        let _ = writeln!(text, "    next:   {}", cause.next_step);
    }
}

fn holder(text: &mut String, holder: &Holder) {
    let pid = holder.client_pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let _ = writeln!(
        text,
        "  {} pid {pid}, {}, for {:.0} s (backend {}), last statement: {}",
        holder.client_addr,
        holder.application_name,
        holder.held_ms as f64 / 1e3,
        holder.backend_pid,
        holder.last_statement,
    );
}

fn expectation(text: &mut String, check: &Check) {
    match &check.state {
        CheckState::Met => {
            let _ = writeln!(text, "  ok     {}", check.expected);
        }
        CheckState::Unmet(found) => {
            let _ = writeln!(text, "  UNMET  {}: {found}", check.expected);
        }
    }
}

/// A forecast as people say it.
fn in_time(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("in {seconds:.0} s")
    } else if seconds < 7_200.0 {
        format!("in {:.0} minutes", seconds / 60.0)
    } else {
        format!("in {:.1} hours", seconds / 3_600.0)
    }
}

fn anon_bytes(snapshot: &Snapshot, target: &str) -> Option<f64> {
    let agent = snapshot.agent.as_ref()?;
    let target = agent.targets.iter().find(|watched| watched.name == target)?;
    target.reading.as_ref().map(|reading| reading.memory.rss_anon as f64)
}

fn pool<'a>(snapshot: &'a Snapshot, of: &str) -> Option<&'a PoolSnapshot> {
    let pools = &snapshot.proxy.as_ref()?.pools;
    pools.iter().find(|pool| format!("{}/{}", pool.database, pool.user) == of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecasts_are_in_the_unit_that_fits() {
        assert_eq!(in_time(45.0), "in 45 s");
        assert_eq!(in_time(600.0), "in 10 minutes");
        assert_eq!(in_time(9_000.0), "in 2.5 hours");
    }
}
