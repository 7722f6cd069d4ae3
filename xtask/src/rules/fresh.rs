//! Freshness: what is generated from the tables is committed as it would be generated now.
//!
//! Invariant: a folder of generated files holds nothing else, so a renamed dashboard leaves no
//! old one behind.

use crate::finding::Finding;
use crate::generated;
use crate::tree::Tree;

const MEND: &str = "run `cargo xtask gen` and commit what it writes";

/// Finds generated files that are missing, stale or left over.
pub fn check(tree: &Tree) -> Vec<Finding> {
    check_against(tree, &generated::files(), generated::FOLDERS)
}

/// The same for any list of files and folders.
pub fn check_against(tree: &Tree, expected: &[(String, String)], folders: &[&str]) -> Vec<Finding> {
    let finding = |path: &str, line: usize, what: &str| Finding {
        path: path.to_owned(),
        line,
        rule: "fresh",
        what: what.to_owned(),
        mend: MEND,
    };
    let mut findings = Vec::new();
    for (path, text) in expected {
        match tree.get(path) {
            None => findings.push(finding(path, 1, "generated, and not there")),
            Some(committed) if committed != text => {
                findings.push(finding(path, first_difference(committed, text), "stale"));
            }
            Some(_) => {}
        }
    }
    for (path, _) in folders.iter().flat_map(|folder| tree.under(folder)) {
        if !expected.iter().any(|(known, _)| known == path) {
            findings.push(finding(path, 1, "no longer generated"));
        }
    }
    findings
}

fn first_difference(a: &str, b: &str) -> usize {
    a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count() + 1
}
