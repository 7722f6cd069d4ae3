//! One breach of a rule, in the form in which a person reads it.
//!
//! Invariant: a finding names the place, the rule and the mend; a rule without a mend is a riddle.

use std::fmt;

/// A place in the repository that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the root of the repository.
    pub path: String,
    /// The line, counted from 1; 1 where the whole file is meant.
    pub line: usize,
    /// The rule's name.
    pub rule: &'static str,
    /// What is wrong there.
    pub what: String,
    /// What to do about it.
    pub mend: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, what, mend } = self;
        write!(f, "{path}:{line}: {rule}: {what} (mend: {mend})")
    }
}

/// All findings as lines, ordered by place.
pub fn report(findings: &[Finding]) -> String {
    let mut lines: Vec<&Finding> = findings.iter().collect();
    lines.sort();
    lines.iter().map(|finding| format!("{finding}\n")).collect()
}
