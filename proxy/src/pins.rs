//! Pins of a pool: how often a server had to stay with its client, why, and for which statement.
//!
//! Invariant: at most [`KINDS_MAX`] pairs of cause and statement are told apart; the counts by
//! cause are exact.

use stent_contract::snapshot::PinSnapshot;
use stent_wire::inspect::{Cause, Causes};

/// The most pairs of cause and statement that are told apart; further ones count by cause only.
const KINDS_MAX: usize = 64;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    by_cause: [u64; Cause::ALL.len()],
    kinds: Vec<PinSnapshot>,
    inspections: u64,
}

impl Pins {
    /// PostgreSQL was asked what a session holds.
    pub(crate) const fn count_inspection(&mut self) {
        self.inspections += 1;
    }

    /// A server stays with its client for these causes.
    pub(crate) fn count(&mut self, causes: Causes, statement: &str) {
        for cause in causes.iter() {
            self.by_cause[cause as usize] += 1;
            let is_this =
                |kind: &PinSnapshot| kind.cause == cause.as_str() && kind.statement == statement;
            match self.kinds.iter().position(is_this) {
                Some(at) => self.kinds[at].count += 1,
                None if self.kinds.len() < KINDS_MAX => self.kinds.push(PinSnapshot {
                    cause: cause.as_str().to_owned(),
                    statement: statement.to_owned(),
                    count: 1,
                }),
                None => {}
            }
        }
    }

    /// Counts by cause.
    pub(crate) fn by_cause(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().zip(self.by_cause)
    }

    /// The pairs of cause and statement.
    pub(crate) fn kinds(&self) -> &[PinSnapshot] {
        &self.kinds
    }

    /// How often PostgreSQL was asked.
    pub(crate) const fn inspections(&self) -> u64 {
        self.inspections
    }
}
