//! What somebody who does not exist looks like: like somebody who does.
//!
//! Owns: the choice of the exchange that a stranger is led through, where users are not all asked
//! for the same. Under `md5` users with a SCRAM secret are asked for SCRAM, the others for MD5; stored
//! SCRAM secrets may differ in their iterations. If all strangers got one of these, the others would
//! give away who exists.
//! Refuses: hiding it for ever: the salts of strangers change when the program starts anew, those of
//! stored SCRAM secrets do not. (PostgreSQL keeps its own on disk.)
//! Invariant: strangers' exchanges are drawn in the shares that the users' have, by name, so that what
//! is seen of a name is as likely of a stranger as of a user.

use std::collections::BTreeMap;

use super::scram::MockSecret;
use super::secret::Secret;

/// The form of the secret that a login seems to be checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// A password.
    Plain,
    /// An MD5 hash.
    Md5,
    /// A SCRAM secret.
    Scram {
        /// With so many hash rounds.
        iterations: u32,
    },
}

/// The forms of the users' secrets, counted.
#[derive(Clone, Debug, Default)]
pub struct Strangers {
    counts: BTreeMap<Likeness, u64>,
}

impl Likeness {
    /// The form of a user's secret.
    pub const fn of(secret: &Secret) -> Self {
        match secret {
            Secret::Plain(_) => Self::Plain,
            Secret::Md5(_) => Self::Md5,
            Secret::Scram(verifier) => Self::Scram { iterations: verifier.iterations() },
        }
    }
}

impl Strangers {
    /// Strangers among users with these secrets.
    pub fn among<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut counts = BTreeMap::new();
        for secret in secrets {
            *counts.entry(Likeness::of(secret)).or_insert(0) += 1;
        }
        assert!(counts.values().all(|count| *count > 0), "what is counted is there");
        Self { counts }
    }

    /// Strangers where users are looked up elsewhere, whose secrets mostly have this form.
    pub fn all_like(likeness: Likeness) -> Self {
        Self { counts: BTreeMap::from([(likeness, 1)]) }
    }

    /// What a stranger of this name looks like; among no users, like one with a password.
    pub fn likeness(&self, mock: &MockSecret, name: &str) -> Likeness {
        let total = self.counts.values().sum();
        if total == 0 {
            return Likeness::Plain;
        }
        let mut left = mock.draw(name, total);
        assert!(left < total, "a draw is one of the users");
        for (likeness, count) in &self.counts {
            match left.checked_sub(*count) {
                Some(less) => left = less,
                None => return *likeness,
            }
        }
        unreachable!("a draw is below the total")
    }
}
