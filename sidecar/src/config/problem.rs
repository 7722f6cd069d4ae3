//! What is wrong with a configuration, where it stands, and how to mend it.
//!
//! Owns: the one form in which configuration errors are printed. Refuses: values of secret keys
//! and values that look like a URL; neither ever enters a message.
//! Invariant: a problem always names a place, a reason and a mend.

use std::fmt;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it: the table's default.
    Default,
    /// A line of a file.
    File {
        /// The file, as it was named.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A command-line flag, with its dashes.
    Flag(String),
    /// A part of the database URL: the URL's own origin, and the part's name.
    UrlPart(Box<Self>, &'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::UrlPart(url, part) => write!(f, "{url} ({part})"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What, in one sentence without a full stop.
    pub reason: String,
    /// What to do, in one sentence without a full stop.
    pub mend: String,
}

impl Problem {
    /// A problem with its three parts.
    pub fn new(origin: &Origin, reason: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { origin: origin.clone(), reason: reason.into(), mend: mend.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.origin == Origin::Default {
            "configuration".to_owned()
        } else {
            self.origin.to_string()
        };
        write!(f, "{place}: {}\n  mend: {}", self.reason, self.mend)
    }
}

/// Everything that is wrong, in the order in which it was found. Never empty inside an `Err`.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(f, "{} {noun} in the configuration:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl Problems {
    /// Adds one.
    pub(crate) fn add(
        &mut self,
        origin: &Origin,
        reason: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.0.push(Problem::new(origin, reason, mend));
    }
}

/// The longest part of a refused value that a message repeats.
const SHOWN_MAX: usize = 60;

/// A refused value of a public key, fit for a message: shortened, on one line, and left out where
/// it might be a URL with a password that was put into the wrong place.
pub(crate) fn shown(value: &str) -> String {
    if value.contains("://") || value.contains('@') {
        return "a value that looks like a URL (and is not repeated here)".to_owned();
    }
    let mut short: String = value.chars().take(SHOWN_MAX).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_url_is_not_repeated() {
        assert!(!shown("postgres://u:canary@h/db").contains("canary"));
        assert!(!shown("u:canary@h").contains("canary"));
    }

    #[test]
    fn a_long_value_is_shortened() {
        assert_eq!(shown(&"x".repeat(100)).chars().filter(|c| *c == 'x').count(), SHOWN_MAX);
    }
}
