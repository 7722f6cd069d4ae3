//! Stuck holders put into a verdict: how bad, how fast, until when, and why.
//!
//! Owns: the level and the forecast of a pool. Refuses: deciding who is stuck.
//! Invariant: `leak` needs two holders that stayed stuck, one that stayed very long, or a pool
//! that has nothing else left while clients wait.

use stent_contract::{Evidence, LeakClass, Resource, Verdict, VerdictLevel};

use super::{HeldSettings, Pool, Stuck};
use crate::text;

/// A stuck holder persists once its silence is this many times the threshold.
const PERSISTS: u64 = 2;
/// Holders that persist and make a leak.
const PERSISTING_MIN: usize = 2;

/// The proxy was not heard for a while.
pub(super) fn silent(target: String, now_ms: u64, silent_ms: u64) -> Verdict {
    let seconds = silent_ms as f64 / 1_000.0;
    let text = format!("the proxy has not answered for {}", text::duration(seconds));
    let evidence = vec![Evidence { key: "silent_seconds".to_owned(), value: seconds, text }];
    Verdict { evidence, ..healthy(target, now_ms, 0.0) }
}

/// The verdict on a pool.
pub(super) fn verdict(
    target: String,
    now_ms: u64,
    pool: &Pool,
    settings: &HeldSettings,
) -> Verdict {
    let Some(oldest) = pool.stuck.first() else {
        return healthy(target, now_ms, 0.9);
    };
    let (level, confidence) = level(pool, oldest, settings);
    let arrival = arrival(pool, now_ms);
    let (seconds_to_limit, seconds_to_limit_range) = forecast(pool, arrival);
    let verdict = Verdict {
        at_unix_ms: now_ms,
        target,
        resource: Resource::Connections,
        level,
        class: LeakClass::HeldTransaction,
        confidence,
        growth_per_hour: arrival.map_or(0.0, |arrival| arrival.per_second * 3_600.0),
        seconds_to_limit,
        seconds_to_limit_range,
        evidence: evidence(pool, oldest, seconds_to_limit),
    };
    assert!(!verdict.evidence.is_empty(), "above healthy there is evidence");
    assert!((0.0..=1.0).contains(&verdict.confidence), "confidence is a share");
    verdict
}

fn healthy(target: String, now_ms: u64, confidence: f64) -> Verdict {
    Verdict {
        at_unix_ms: now_ms,
        target,
        resource: Resource::Connections,
        level: VerdictLevel::Healthy,
        class: LeakClass::None,
        confidence,
        growth_per_hour: 0.0,
        seconds_to_limit: None,
        seconds_to_limit_range: None,
        evidence: Vec::new(),
    }
}

fn level(pool: &Pool, oldest: &Stuck, settings: &HeldSettings) -> (VerdictLevel, f64) {
    let persists_ms = pool.stuck_after_ms.saturating_mul(PERSISTS);
    let persisting = pool.stuck.iter().filter(|stuck| stuck.silent_ms >= persists_ms).count();
    let alone_ms = u64::try_from(settings.alone.as_millis()).unwrap_or(u64::MAX).max(persists_ms);
    let exhausted = pool.stuck.len() >= pool.census.size_max as usize;
    assert!(oldest.silent_ms > pool.stuck_after_ms, "the oldest is stuck");
    if exhausted && pool.census.clients_waiting > 0 {
        (VerdictLevel::Leak, 0.98)
    } else if persisting >= PERSISTING_MIN {
        (VerdictLevel::Leak, (0.8 + 0.05 * persisting as f64).min(0.97))
    } else if oldest.silent_ms >= alone_ms {
        (VerdictLevel::Leak, 0.75)
    } else {
        (VerdictLevel::Suspect, if pool.stuck.len() > 1 { 0.6 } else { 0.4 })
    }
}

/// How fast holders get stuck.
#[derive(Clone, Copy)]
struct Arrival {
    per_second: f64,
    /// Arrivals that the rate was counted from: the first only starts the clock.
    counted: f64,
    /// Those who fell silent this recently are not counted as stuck yet.
    lag_s: f64,
}

fn arrival(pool: &Pool, now_ms: u64) -> Option<Arrival> {
    let first = pool.stuck.first()?;
    if pool.stuck.len() < 2 {
        return None;
    }
    let lag_ms = pool.stuck_after_ms;
    let counted = (pool.stuck.len() - 1) as f64;
    let last_ms = pool.stuck.last().map_or(first.silent_since_ms, |last| last.silent_since_ms);
    let end_ms = now_ms.saturating_sub(lag_ms).max(last_ms);
    let seconds = (end_ms.saturating_sub(first.silent_since_ms) as f64 / 1_000.0).max(1.0);
    Some(Arrival { per_second: counted / seconds, counted, lag_s: lag_ms as f64 / 1_000.0 })
}

/// Seconds until every server is stuck, with the interval of a count's square-root error.
fn forecast(pool: &Pool, arrival: Option<Arrival>) -> (Option<f64>, Option<(f64, f64)>) {
    let free = f64::from(pool.census.size_max) - pool.stuck.len() as f64;
    if free <= 0.0 {
        return (Some(0.0), Some((0.0, 0.0)));
    }
    let Some(Arrival { per_second, counted, lag_s }) = arrival else { return (None, None) };
    assert!(per_second > 0.0 && counted >= 1.0, "a rate was counted from arrivals");
    let until = |rate: f64| (free / rate - lag_s).max(0.0);
    let error = 1.0 / counted.sqrt();
    let range = (until(per_second * (1.0 + error)), until(per_second * (1.0 - error).max(0.25)));
    (Some(until(per_second)), Some(range))
}

fn evidence(pool: &Pool, oldest: &Stuck, seconds_to_limit: Option<f64>) -> Vec<Evidence> {
    let entry = |key: &str, value: f64, text: String| Evidence { key: key.to_owned(), value, text };
    let stuck = pool.stuck.len();
    let size = pool.census.size_max;
    let threshold = pool.stuck_after_ms as f64 / 1_000.0;
    let silence = oldest.silent_ms as f64 / 1_000.0;
    let held = format!(
        "{} of {size} held in open transactions whose clients have not spoken for more than {}",
        text::count(stuck, "server connection"),
        text::duration(threshold)
    );
    let longest = format!("the longest silence is {}", text::duration(silence));
    let usual = match pool.think.typical_ms() {
        Some(ms) => format!("pauses that clients ended themselves here stay within {ms} ms"),
        None => "no client of this pool was seen to pause and go on".to_owned(),
    };
    let mut evidence = vec![
        entry("held_transactions", stuck as f64, held),
        entry("silence_max_seconds", silence, longest),
        entry("usual_pause_ms", pool.think.typical_ms().unwrap_or(0) as f64, usual),
    ];
    let waiting = pool.census.clients_waiting;
    if waiting > 0 {
        let text = format!(
            "{} queued for a connection, the first for {}",
            text::count(waiting as usize, "client"),
            text::duration(pool.census.maxwait_ms as f64 / 1_000.0)
        );
        evidence.push(entry("clients_waiting", f64::from(waiting), text));
    }
    if let Some(seconds) = seconds_to_limit {
        let text = if seconds == 0.0 {
            "the pool has nothing left to lend".to_owned()
        } else {
            format!("at this rate the pool is exhausted in {}", text::duration(seconds))
        };
        evidence.push(entry("seconds_to_limit", seconds, text));
    }
    evidence
}
