//! Size: how long a file and a function may be.
//!
//! Invariant: the limits hold for tests too; an inline `#[cfg(test)]` module does not count
//! towards its file.

use crate::finding::Finding;
use crate::sources::readable;
use crate::tree::Tree;

/// The most lines of a file. Aim at 150; from 350 on a file does two things.
const FILE_LINES: usize = 500;

/// The most lines of a function's body. Aim at 25.
const BODY_LINES: usize = 70;

/// Finds files and functions over the limits.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in readable(tree) {
        let is_test_file = source.code_lines() == 0;
        let lines = if is_test_file { source.lines } else { source.code_lines() };
        if lines > FILE_LINES {
            findings.push(Finding {
                path: source.path.clone(),
                line: FILE_LINES + 1,
                rule: "size",
                what: format!("{lines} lines, {FILE_LINES} at most"),
                mend: "split it by what it owns",
            });
        }
        for function in source.functions.iter().filter(|f| f.body_lines > BODY_LINES) {
            findings.push(Finding {
                path: source.path.clone(),
                line: function.line,
                rule: "size",
                what: format!(
                    "`{}` has {} lines, {BODY_LINES} at most",
                    function.name, function.body_lines
                ),
                mend: "name its steps as functions and call them in order",
            });
        }
    }
    findings
}
