//! Under which settings a text is read: two clients share a statement only where these are equal.
//!
//! PostgreSQL reads constants when it parses: `'01/02/2026'::date` is a day of January or of
//! February as `DateStyle` says, and stays it for as long as the statement lives. Names are looked
//! up along `search_path`; a statement that is looked up anew keeps its parameters' types.
//! Owns: the numbers of sets of settings. Refuses: judging what a setting does: all count but those
//! that are known to say nothing about the meaning of a text.
//! Invariant: equal numbers mean equal settings, for ever.
//! Source: PostgreSQL, `parse_analyze_varparams`, `RevalidateCachedQuery`.

use std::num::NonZeroU32;

use rustc_hash::FxHashMap;

use crate::limits::READINGS_MAX;
use crate::params::{Params, ParamsKey};

/// Settings that change nothing about what a text means or how its constants are read.
const MEANINGLESS: [&[u8]; 12] = [
    b"application_name",
    b"default_transaction_deferrable",
    b"default_transaction_isolation",
    b"default_transaction_read_only",
    b"idle_in_transaction_session_timeout",
    b"idle_session_timeout",
    b"lock_timeout",
    b"statement_timeout",
    b"synchronous_commit",
    b"tcp_keepalives_idle",
    b"tcp_user_timeout",
    b"transaction_timeout",
];

/// A set of settings, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reading(NonZeroU32);

impl Reading {
    /// The server's own settings.
    pub const PLAIN: Self = Self(NonZeroU32::MIN);
    /// Some that nobody shares, for there are too many.
    pub const OTHER: Self = Self(NonZeroU32::MAX);

    pub(super) const fn number(self) -> u32 {
        self.0.get()
    }
}

/// The numbers given so far.
#[derive(Debug, Default)]
pub(super) struct Readings(FxHashMap<ParamsKey, Reading>);

impl Readings {
    pub(super) fn of(&mut self, params: &Params) -> Reading {
        let is_meaningless =
            |name: &[u8]| MEANINGLESS.iter().any(|of| of.eq_ignore_ascii_case(name));
        if params.iter().all(|(name, _)| is_meaningless(name)) {
            return Reading::PLAIN;
        }
        let mut meaningful = Params::default();
        for (name, value) in params.iter().filter(|(name, _)| !is_meaningless(name)) {
            if meaningful.set(name, value).is_err() {
                return Reading::OTHER;
            }
        }
        let key = meaningful.key();
        if let Some(known) = self.0.get(&key) {
            return *known;
        }
        if self.0.len() >= READINGS_MAX {
            return Reading::OTHER;
        }
        const { assert!(READINGS_MAX < u32::MAX as usize - 1, "the numbers are enough") };
        let next = Reading(NonZeroU32::MIN.saturating_add(self.0.len() as u32 + 1));
        self.0.insert(key, next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(of: &[(&str, &str)]) -> Params {
        let mut params = Params::default();
        for (name, value) in of {
            params.set(name.as_bytes(), value.as_bytes()).unwrap();
        }
        params
    }

    #[test]
    fn what_says_nothing_about_a_text_makes_no_difference() {
        let mut readings = Readings::default();
        assert_eq!(readings.of(&params(&[])), Reading::PLAIN);
        assert_eq!(readings.of(&params(&[("Application_Name", "a")])), Reading::PLAIN);
        let german = readings.of(&params(&[("DateStyle", "German"), ("application_name", "a")]));
        assert_ne!(german, Reading::PLAIN);
        assert_eq!(readings.of(&params(&[("datestyle", "German")])), german);
        assert_ne!(readings.of(&params(&[("datestyle", "ISO")])), german);
    }

    #[test]
    fn beyond_the_limit_nobody_shares() {
        let mut readings = Readings::default();
        for n in 0..READINGS_MAX {
            let reading = readings.of(&params(&[("app.tenant", &n.to_string())]));
            assert_ne!(reading, Reading::OTHER);
        }
        assert_eq!(readings.of(&params(&[("app.tenant", "one more")])), Reading::OTHER);
        assert_ne!(readings.of(&params(&[("app.tenant", "7")])), Reading::OTHER);
    }
}
