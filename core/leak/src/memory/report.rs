//! Findings put into words: the verdict and the evidence that a person reads.
//!
//! Owns: the figures and sentences of a memory verdict. Refuses: changing what was found.
//! Invariant: above `healthy` there is growth, a window and a reason among the evidence.

use stent_contract::{Evidence, LeakClass, Verdict, VerdictLevel};

use super::weigh::{Finding, Reason};
use crate::fits::Shape;
use crate::forecast::{self, Profile};
use crate::lives::{Past, Plateau};
use crate::quantity::Quantity;
use crate::rise::{Rise, Traffic};
use crate::text;

/// Whose verdict it is, and on what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) target: &'a str,
    pub(super) quantity: Quantity,
}

/// Nothing was read yet.
pub(super) fn unread(whose: Whose<'_>, now_ms: u64) -> Verdict {
    healthy(whose, now_ms, LeakClass::None, 0.0, Vec::new())
}

/// Readings have stopped.
pub(super) fn silent(whose: Whose<'_>, now_ms: u64, silent_ms: u64) -> Verdict {
    let seconds = silent_ms as f64 / 1_000.0;
    let text = format!("no reading for {}", text::duration(seconds));
    let evidence = evidence("silent_seconds", seconds, text);
    healthy(whose, now_ms, LeakClass::None, 0.0, vec![evidence])
}

/// No window shows a rise.
pub(super) fn quiet(whose: Whose<'_>, now_ms: u64, watched_ms: u64) -> Verdict {
    let watched = watched_ms as f64 / 1_000.0;
    let text = format!("watched for {}: no window shows steady growth", text::duration(watched));
    let evidence = evidence("watched_seconds", watched, text);
    let confidence = sureness_of_health(watched);
    healthy(whose, now_ms, LeakClass::None, confidence, vec![evidence])
}

/// The verdict that rests on `finding`. `roof` is the level at which the limit is reached, bytes.
pub(super) fn found(
    whose: Whose<'_>,
    now_ms: u64,
    finding: &Finding,
    roof: Option<f64>,
    profile: &Profile,
) -> Verdict {
    let rise = &finding.rise;
    let mut evidence = growth_evidence(rise, whose.quantity);
    evidence.push(reason_evidence(finding, whose.quantity));
    evidence.extend(traffic_evidence(rise, whose.quantity));
    evidence.extend(heap_evidence(rise));
    evidence.extend(siblings_evidence(finding));
    if finding.level == VerdictLevel::Healthy {
        let confidence = 1.0 - finding.probability();
        return healthy(whose, now_ms, finding.class, confidence.max(0.5), evidence);
    }
    // What is at its limit is the highest reading, not the floor.
    let end = roof.and_then(|roof| forecast::forecast(rise, roof - rise.teeth, profile, now_ms));
    if let (Some(end), Some(roof)) = (end, roof) {
        evidence.push(limit_evidence(end.seconds, roof, whose.quantity));
    }
    let class = whose.quantity.class(finding.class);
    let verdict = Verdict {
        at_unix_ms: now_ms,
        target: whose.target.to_owned(),
        resource: whose.quantity.resource(),
        level: finding.level,
        class,
        confidence: finding.probability(),
        growth_per_hour: rise.pace() * 3_600.0,
        seconds_to_limit: end.map(|end| end.seconds),
        seconds_to_limit_range: end.map(|end| (end.early, end.late)),
        evidence,
    };
    assert!((0.0..=1.0).contains(&verdict.confidence), "confidence is a share");
    assert!(!verdict.evidence.is_empty(), "above healthy there is evidence");
    verdict
}

fn healthy(
    whose: Whose<'_>,
    now_ms: u64,
    class: LeakClass,
    confidence: f64,
    evidence: Vec<Evidence>,
) -> Verdict {
    Verdict {
        at_unix_ms: now_ms,
        target: whose.target.to_owned(),
        resource: whose.quantity.resource(),
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
fn sureness_of_health(watched_s: f64) -> f64 {
    0.95 * watched_s / (watched_s + 200.0)
}

fn growth_evidence(rise: &Rise, of: Quantity) -> Vec<Evidence> {
    let window = rise.seconds();
    let grown = format!(
        "{} rose by {} in {} ({}/h), from {} to {}",
        of.subject(),
        of.amount(rise.growth),
        text::duration(window),
        of.amount(rise.pace() * 3_600.0),
        of.amount(rise.base),
        of.amount(rise.last),
    );
    let shape = match rise.unbounded.shape {
        Shape::Convex(_) => "it grows faster and faster",
        Shape::Hinge(_) => "it was flat, and has grown in a straight line since",
        Shape::Line if rise.is_served() => "it grows in step with the requests served",
        Shape::Line
        | Shape::Exponential(_)
        | Shape::Logarithm(_)
        | Shape::Ramp(_)
        | Shape::Flat
        | Shape::Step(_) => "it grows in a straight line",
    };
    let odds = rise.shape_odds.clamp(-20.0, 20.0).exp();
    let compared = if odds >= 1.0 {
        format!("{shape}: {} times as likely as anything that will stop", rounded(odds))
    } else {
        format!("{} times as likely as a leak: something that will stop", rounded(1.0 / odds))
    };
    let fell = format!("the deepest fall in between was {}", of.amount(rise.drawdown));
    vec![
        measured("floor_growth", of, rise.growth, grown),
        evidence("shape_odds", odds, compared),
        measured("drawdown", of, rise.drawdown, fell),
    ]
}

/// Odds as a person says them.
fn rounded(odds: f64) -> String {
    if odds >= 1_000.0 { "over 1000".to_owned() } else { format!("{odds:.1}") }
}

fn reason_evidence(finding: &Finding, of: Quantity) -> Evidence {
    let probability = finding.probability();
    match finding.reason {
        Reason::KnownPlateau(Plateau { level, of: Past::Life }) => measured(
            "known_plateau",
            of,
            level,
            format!("an earlier life settled at {}: this is the way there", of.amount(level)),
        ),
        Reason::KnownPlateau(Plateau { level, of: Past::Revision }) => measured(
            "previous_revision",
            of,
            level,
            format!("the revision before settled at {}: this is the way there", of.amount(level)),
        ),
        Reason::KnownPlateau(Plateau { level, of: Past::Sibling }) => measured(
            "sibling_plateau",
            of,
            level,
            format!("an older sibling settled at {}: this is the way there", of.amount(level)),
        ),
        Reason::CameBackBeside => evidence(
            "siblings_came_back",
            f64::from(finding.beside.in_step),
            "all siblings grew at the same time, and have been as high before and came back: load, \
             or a job"
                .to_owned(),
        ),
        Reason::StoodHigher(level) => measured(
            "stood_higher",
            of,
            level,
            format!("it stood at {} before and came back", of.amount(level)),
        ),
        Reason::Slowing { ceiling } => measured(
            "ceiling",
            of,
            ceiling,
            format!("growth slows down towards about {}", of.amount(ceiling)),
        ),
        Reason::FollowsTraffic => {
            evidence("follows_traffic", probability, "it follows the load".to_owned())
        }
        Reason::Part => evidence(
            "leak_probability",
            probability,
            "it grew before too: its whole course must be seen".to_owned(),
        ),
        Reason::Early => evidence(
            "leak_probability",
            probability,
            "something that fills evenly and will stop may still look like this".to_owned(),
        ),
        Reason::Proven => evidence(
            "leak_probability",
            probability,
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

fn traffic_evidence(rise: &Rise, of: Quantity) -> Option<Evidence> {
    match rise.traffic {
        Traffic::Apart { transactions } if transactions > 0 => {
            let each = rise.growth / transactions as f64;
            let text = format!(
                "{transactions} transactions passed in that time: {} kept for each, if it is they",
                of.amount(each)
            );
            Some(evidence(&format!("{}_per_transaction", of.unit()), each, text))
        }
        Traffic::Apart { .. } => {
            let text = "no transaction finished in that time: traffic does not explain it";
            Some(evidence("transactions", 0.0, text.to_owned()))
        }
        Traffic::Unknown | Traffic::Explains => None,
    }
}

fn heap_evidence(rise: &Rise) -> Option<Evidence> {
    let heap = rise.heap_growth?;
    let text = format!("the runtime's own heap grew by {} meanwhile", text::bytes(heap));
    Some(evidence("heap_growth_bytes", heap, text))
}

fn siblings_evidence(finding: &Finding) -> Option<Evidence> {
    let said = |key, count: u32, text| {
        let who = text::count(count as usize, "sibling");
        Some(evidence(key, f64::from(count), format!("{who} {text}")))
    };
    match (finding.beside.flat, finding.beside.in_step) {
        (0, 0) => None,
        (0, step) => said("siblings_in_step", step, "grew in step at the same time"),
        (flat, _) => said("siblings_flat", flat, "at the same age stayed flat at the same time"),
    }
}

fn limit_evidence(seconds: f64, roof: f64, of: Quantity) -> Evidence {
    let text = format!(
        "at this rate the limit, {}{}, is reached in {}",
        of.amount(roof),
        of.of_what(),
        text::duration(seconds)
    );
    evidence("seconds_to_limit", seconds, text)
}

fn evidence(key: &str, value: f64, text: String) -> Evidence {
    Evidence { key: key.to_owned(), value, text }
}

/// Evidence whose key ends with the unit.
fn measured(key: &str, of: Quantity, value: f64, text: String) -> Evidence {
    evidence(&format!("{key}_{}", of.unit()), value, text)
}
