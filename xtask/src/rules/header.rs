//! Header: each Rust file opens with `//!`, and is Rust.
//!
//! Invariant: the header is the first thing in the file, so it is read before the code is.

use crate::finding::Finding;
use crate::sources::sources;
use crate::tree::Tree;

/// The fewest words that can say what a file owns.
const WORDS_MIN: usize = 4;

/// Finds files without a header, and files that cannot be read as Rust.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = sources(tree, "").1;
    for (path, text) in tree.ending(".rs") {
        let header: Vec<&str> =
            text.lines().map_while(|line| line.trim_end().strip_prefix("//!")).collect();
        if header.join(" ").split_whitespace().count() < WORDS_MIN {
            findings.push(Finding {
                path: path.to_owned(),
                line: 1,
                rule: "header",
                what: "no `//!` header that says what the file is for".to_owned(),
                mend: "open it with `//!`: what it owns, what it refuses, which invariant it keeps",
            });
        }
    }
    findings
}
