//! The audit trail: what was done to which target, before and after.
//!
//! Owns: one struct for each event, which logs and counts. Invariant: nothing is done to a target
//! before [`Begun`] has been logged, and each is followed by [`Ended`].

use std::collections::BTreeMap;
use std::time::Duration;

use stent_contract::{Attribution, AttributionMeans};
use tracing::{info, warn};

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Something is named.
    Named,
    /// It ran to its end or to a limit, and nothing is named.
    Nothing,
    /// The guard refused; the target was not touched.
    Refused,
    /// It broke off.
    Failed,
}

impl Outcome {
    /// The value of the label `outcome`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Nothing => "nothing",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Counts since the agent's start. Means and outcomes are few, so the map is small.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    /// Looks by means and outcome.
    pub(crate) looks: BTreeMap<(AttributionMeans, Outcome), u64>,
    /// Time attached.
    pub(crate) attached: Duration,
    /// The longest answer of any target.
    pub(crate) largest_pause: Duration,
}

/// A target is about to be looked into.
pub(crate) struct Begun<'a> {
    pub(crate) target: &'a str,
    pub(crate) pid: u32,
    pub(crate) means: AttributionMeans,
    pub(crate) planned: Duration,
}

impl Begun<'_> {
    /// Logs it.
    pub(crate) fn emit(&self) {
        info!(
            target_name = self.target,
            pid = self.pid,
            means = self.means.as_str(),
            planned_seconds = self.planned.as_secs(),
            "attribution: looking into the target"
        );
    }
}

/// A look has ended, or was refused before it began.
pub(crate) struct Ended<'a> {
    pub(crate) target: &'a str,
    pub(crate) pid: u32,
    pub(crate) outcome: Outcome,
    pub(crate) attribution: &'a Attribution,
    /// The port of an inspector that is still open.
    pub(crate) left_open: Option<u16>,
}

impl Ended<'_> {
    /// Logs and counts it.
    pub(crate) fn emit(&self, totals: &mut Totals) {
        let Attribution {
            means,
            frames,
            windows,
            lasted_ms,
            largest_pause_ms,
            cpu_seconds,
            note,
            ..
        } = self.attribution;
        *totals.looks.entry((*means, self.outcome)).or_default() += 1;
        totals.attached += Duration::from_millis(*lasted_ms);
        totals.largest_pause = totals.largest_pause.max(Duration::from_millis(*largest_pause_ms));
        let first = frames.first().map(super::shown);
        info!(
            target_name = self.target,
            pid = self.pid,
            means = means.as_str(),
            outcome = self.outcome.as_str(),
            windows,
            lasted_ms,
            largest_pause_ms,
            cpu_seconds,
            first,
            note = note.as_str(),
            "attribution: done"
        );
        if let Some(port) = self.left_open {
            warn!(
                target_name = self.target,
                port, "the target's inspector did not close yet; a timer inside it will"
            );
        }
    }
}
