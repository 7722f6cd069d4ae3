//! Which verdict stands, between one look and the next.
//!
//! Owns: the findings that a verdict was raised for, and when it is taken back. Refuses: judging.
//! Invariant: a verdict is raised by evidence and taken back by its absence over a whole window, or
//! at once where the growth itself was given back: it does not follow each look up and down.
//!
//! ```text
//!            odds of 11 to 1                       a proof
//!  healthy ─────────────────────────▶ suspect ─────────────────▶ leak
//!     ▲  ◀── a window below even odds ──┘  ◀── a window without one ─┘
//!     └──────────── half of the growth was given back ───────────────┘
//! ```

use stent_contract::VerdictLevel;

use super::weigh::Finding;

/// Odds at which a suspicion that stands is renewed: even (natural logarithm).
const KEPT_ODDS: f64 = 0.0;

/// The findings that stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    suspected: Option<Raised>,
    proven: Option<Raised>,
}

/// A finding that a verdict was raised for, and when it was last renewed.
#[derive(Clone, Copy, Debug)]
struct Raised {
    finding: Finding,
    last_ms: u64,
}

impl Raised {
    /// For one window after it was last seen, and while its growth is there.
    fn still_stands(&self, now_ms: u64, anon: f64) -> bool {
        now_ms.saturating_sub(self.last_ms) <= self.finding.rise.window_ms
            && self.finding.still_holds(anon)
    }
}

impl Standing {
    /// Takes the newest findings, at `now_ms`, when the target has `anon` bytes.
    pub(super) fn renew<'a>(
        &mut self,
        findings: impl Iterator<Item = &'a Finding> + Clone,
        now_ms: u64,
        anon: f64,
    ) {
        let at_least = |level: VerdictLevel| {
            weightiest(findings.clone().filter(|found| found.level >= level))
                .map(|finding| Raised { finding: *finding, last_ms: now_ms })
        };
        let stands = |raised: &Raised| raised.still_stands(now_ms, anon);
        self.proven = at_least(VerdictLevel::Leak).or_else(|| self.proven.filter(stands));
        self.suspected = at_least(VerdictLevel::Suspect)
            .or_else(|| self.kept(findings.clone(), now_ms))
            .or_else(|| self.suspected.filter(stands));
        if self.proven.is_some() {
            // A leak is more than suspected, also when its last proof is a while ago.
            self.suspected = self.suspected.or(self.proven);
        }
        assert!(self.proven.is_none() || self.suspected.is_some(), "a proof is a suspicion");
    }

    /// The suspicion, renewed by what is not enough to raise one.
    fn kept<'a>(&self, findings: impl Iterator<Item = &'a Finding>, now_ms: u64) -> Option<Raised> {
        let mut raised = self.suspected?;
        let kept =
            weightiest(findings.filter(|found| found.odds >= KEPT_ODDS && !found.is_explained()))?;
        // It is still what it was suspected to be.
        let class = raised.finding.class;
        raised.finding = Finding { level: VerdictLevel::Suspect, class, ..*kept };
        raised.last_ms = now_ms;
        Some(raised)
    }

    /// The level that stands and the finding behind it.
    pub(super) fn finding(&self) -> Option<Finding> {
        if let Some(raised) = self.proven {
            return Some(raised.finding);
        }
        let raised = self.suspected?;
        Some(Finding { level: VerdictLevel::Suspect, ..raised.finding })
    }
}

/// The finding that says most.
pub(super) fn weightiest<'a>(findings: impl Iterator<Item = &'a Finding>) -> Option<&'a Finding> {
    findings.reduce(|best, next| if next.is_above(best) { next } else { best })
}
