//! Findings put into words: the verdict and the evidence that a person reads.
//!
//! Owns: the figures and sentences of a memory verdict. Refuses: changing what was found.
//! Invariant: above `healthy` there is growth, a window and a reason among the evidence.

use stent_contract::{Evidence, LeakClass, Resource, Verdict, VerdictLevel};

use super::weigh::{Finding, Reason};
use super::{MemorySample, MemorySettings};
use crate::shape::{Rise, Traffic};
use crate::text;

/// Nothing was read yet.
pub(super) fn unread(target: &str, now_ms: u64) -> Verdict {
    healthy(target, now_ms, LeakClass::None, 0.0, Vec::new())
}

/// Readings have stopped.
pub(super) fn silent(target: &str, now_ms: u64, silent_ms: u64) -> Verdict {
    let seconds = silent_ms as f64 / 1_000.0;
    let text = format!("no reading for {}", text::duration(seconds));
    let evidence = evidence("silent_seconds", seconds, text);
    healthy(target, now_ms, LeakClass::None, 0.0, vec![evidence])
}

/// No window shows a rise.
pub(super) fn quiet(target: &str, now_ms: u64, watched_ms: u64, set: &MemorySettings) -> Verdict {
    let watched = watched_ms as f64 / 1_000.0;
    let text = format!("watched for {}: no window shows steady growth", text::duration(watched));
    let evidence = evidence("watched_seconds", watched, text);
    let confidence = sureness_of_health(watched, set);
    healthy(target, now_ms, LeakClass::None, confidence, vec![evidence])
}

/// The verdict that rests on `finding`.
pub(super) fn found(target: &str, now_ms: u64, finding: &Finding, now: &MemorySample) -> Verdict {
    let mut evidence = growth_evidence(&finding.rise);
    evidence.push(reason_evidence(finding));
    evidence.extend(traffic_evidence(&finding.rise));
    evidence.extend(heap_evidence(&finding.rise));
    if finding.level == VerdictLevel::Healthy {
        return healthy(target, now_ms, finding.class, 0.5, evidence);
    }
    let left = now.limit.map(|limit| limit.saturating_sub(now.charged.max(now.anon)) as f64);
    let (seconds_to_limit, range) = forecast(&finding.rise, left);
    if let (Some(seconds), Some(limit)) = (seconds_to_limit, now.limit) {
        evidence.push(limit_evidence(seconds, limit));
    }
    let verdict = Verdict {
        at_unix_ms: now_ms,
        target: target.to_owned(),
        resource: Resource::Memory,
        level: finding.level,
        class: finding.class,
        confidence: confidence(finding),
        growth_per_hour: finding.rise.slope.median * 3_600.0,
        seconds_to_limit,
        seconds_to_limit_range: range,
        evidence,
    };
    assert!((0.0..=1.0).contains(&verdict.confidence), "confidence is a share");
    assert!(!verdict.evidence.is_empty(), "above healthy there is evidence");
    verdict
}

fn healthy(
    target: &str,
    now_ms: u64,
    class: LeakClass,
    confidence: f64,
    evidence: Vec<Evidence>,
) -> Verdict {
    Verdict {
        at_unix_ms: now_ms,
        target: target.to_owned(),
        resource: Resource::Memory,
        level: VerdictLevel::Healthy,
        class,
        confidence,
        growth_per_hour: 0.0,
        seconds_to_limit: None,
        seconds_to_limit_range: None,
        evidence,
    }
}

/// Health is believed more the longer nothing was seen, never wholly: a leak may be too slow yet.
fn sureness_of_health(watched_s: f64, settings: &MemorySettings) -> f64 {
    0.95 * watched_s / (watched_s + 10.0 * settings.warm_up.as_secs_f64().max(1.0))
}

/// A score, not a probability: how even, undisturbed and long the rise is, and whether traffic
/// could be ruled out. It is to be calibrated on labelled traces.
fn confidence(finding: &Finding) -> f64 {
    let rise = &finding.rise;
    let even = rise.evenness.clamp(0.0, 1.0);
    let steady = rise.pace.clamp(0.0, 1.0);
    let calm = (1.0 - 3.0 * rise.drawdown / rise.growth).clamp(0.0, 1.0);
    let long = (finding.weight / 2.0).clamp(0.0, 1.0);
    let ruled_out = if matches!(rise.traffic, Traffic::Apart { .. }) { 1.0 } else { 0.0 };
    let score = 0.25 * even + 0.2 * steady + 0.2 * calm + 0.25 * long + 0.1 * ruled_out;
    match finding.level {
        VerdictLevel::Healthy => 0.5,
        VerdictLevel::Suspect => 0.2 + 0.4 * score,
        VerdictLevel::Leak => 0.6 + 0.39 * score,
    }
}

/// The least relative width of a forecast's interval, either side.
const FORECAST_ERROR_MIN: f64 = 0.1;

/// Seconds to the limit at the median slope, and at the ends of the slope's interval.
fn forecast(rise: &Rise, left: Option<f64>) -> (Option<f64>, Option<(f64, f64)>) {
    let Some(left) = left else { return (None, None) };
    let slope = rise.slope.median;
    assert!(slope > 0.0, "only what grows reaches a limit");
    let fast = rise.slope.high.max(slope * (1.0 + FORECAST_ERROR_MIN));
    let slow = rise.slope.low.min(slope * (1.0 - FORECAST_ERROR_MIN)).max(slope * 0.1);
    (Some(left / slope), Some((left / fast, left / slow)))
}

fn growth_evidence(rise: &Rise) -> Vec<Evidence> {
    let window = rise.window_ms as f64 / 1_000.0;
    let per_hour = rise.slope.median * 3_600.0;
    let grown = format!(
        "the floor of anonymous memory rose by {} in {} ({}/h), from {} to at least {}",
        text::bytes(rise.growth),
        text::duration(window),
        text::bytes(per_hour),
        text::bytes(rise.base),
        text::bytes(rise.late_low.max(rise.base)),
    );
    let even = format!(
        "it rose in each quarter of that time, the last {} as fast as the first",
        if rise.pace >= 0.995 { "at least".to_owned() } else { percent(rise.pace) },
    );
    let fell = format!("the deepest fall in between was {}", text::bytes(rise.drawdown));
    vec![
        evidence("floor_growth_bytes", rise.growth, grown),
        evidence("pace", rise.pace, even),
        evidence("drawdown_bytes", rise.drawdown, fell),
    ]
}

fn reason_evidence(finding: &Finding) -> Evidence {
    let weight = finding.weight;
    match finding.reason {
        Reason::Young => {
            evidence("warm_up", weight, "the process is young: this may be its warm-up".to_owned())
        }
        Reason::KnownPlateau(level) => evidence(
            "known_plateau_bytes",
            level,
            format!("an earlier life settled at {}: this is the way there", text::bytes(level)),
        ),
        Reason::StoodHigher(level) => evidence(
            "stood_higher_bytes",
            level,
            format!("it stood at {} before and came back", text::bytes(level)),
        ),
        Reason::Slowing { ceiling } => evidence(
            "ceiling_bytes",
            ceiling,
            format!("growth slows down towards about {}", text::bytes(ceiling)),
        ),
        Reason::FollowsTraffic => {
            evidence("follows_traffic", weight, "memory follows the load".to_owned())
        }
        Reason::Entangled => evidence(
            "traffic_entangled",
            weight,
            "load rises as evenly as memory: the two cannot be told apart yet".to_owned(),
        ),
        Reason::Early => evidence(
            "proof_share",
            weight,
            format!("watched for {} of what a proof needs", percent(weight.min(0.99))),
        ),
        Reason::Proven => evidence(
            "proof_share",
            weight,
            "neither warm-up, plateau nor load explains it, and it was watched long enough"
                .to_owned(),
        ),
        Reason::Repeated => evidence(
            "growing_lives",
            finding.growing_lives as f64,
            format!(
                "{} before this one grew too until they ended: restarts hide the leak",
                text::count(finding.growing_lives, "run"),
            ),
        ),
    }
}

fn traffic_evidence(rise: &Rise) -> Option<Evidence> {
    match rise.traffic {
        Traffic::Apart { transactions } if transactions > 0 => {
            let each = rise.growth / transactions as f64;
            let text = format!(
                "{transactions} transactions passed in that time: {} kept for each, if it is they",
                text::bytes(each)
            );
            Some(evidence("bytes_per_transaction", each, text))
        }
        Traffic::Apart { .. } => {
            let text = "no transaction finished in that time: traffic does not explain it";
            Some(evidence("transactions", 0.0, text.to_owned()))
        }
        Traffic::Unknown | Traffic::Explains | Traffic::Entangled => None,
    }
}

fn heap_evidence(rise: &Rise) -> Option<Evidence> {
    let heap = rise.heap_growth?;
    let text = format!("the runtime's own heap grew by {} meanwhile", text::bytes(heap));
    Some(evidence("heap_growth_bytes", heap, text))
}

fn limit_evidence(seconds: f64, limit: u64) -> Evidence {
    let text = format!(
        "at this rate the limit of {} is reached in {}",
        text::bytes(limit as f64),
        text::duration(seconds)
    );
    evidence("seconds_to_limit", seconds, text)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn evidence(key: &str, value: f64, text: String) -> Evidence {
    Evidence { key: key.to_owned(), value, text }
}
