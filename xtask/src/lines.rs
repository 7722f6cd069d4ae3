//! `cargo xtask lines`: how large each crate is, and how much of it is tests.

use crate::manifest::Workspace;
use crate::rules::asserts;
use crate::source::Source;
use crate::sources::readable_under;
use crate::tree::Tree;

/// The figures of one crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrateLines {
    /// Its name.
    pub name: String,
    /// Rust files.
    pub files: usize,
    /// Lines that are no test's.
    pub code: usize,
    /// Lines of tests.
    pub tests: usize,
    /// Test functions (a property counts as one).
    pub test_count: usize,
    /// Assertions in the code.
    pub asserts: usize,
}

/// The figures of every crate, in the order of the root manifest.
pub fn count(tree: &Tree) -> Vec<CrateLines> {
    let members = Workspace::of(tree).members;
    let count = |member: &crate::manifest::Member| {
        let sources = readable_under(tree, &member.folder);
        let sum = |figure: fn(&Source) -> usize| sources.iter().map(figure).sum::<usize>();
        CrateLines {
            name: member.name.clone(),
            files: sources.len(),
            code: sum(Source::code_lines),
            tests: sum(|source| source.lines - source.code_lines()),
            test_count: sum(|source| source.test_count),
            asserts: sum(asserts::count),
        }
    };
    members.iter().map(count).collect()
}

/// The figures as a table with a line of sums.
pub fn table(crates: &[CrateLines]) -> String {
    let mut text = format!(
        "{:<18}{:>7}{:>9}{:>9}{:>8}{:>10}\n",
        "crate", "files", "code", "tests", "tests#", "asserts"
    );
    let sum = |figure: fn(&CrateLines) -> usize| crates.iter().map(figure).sum();
    let total = CrateLines {
        name: "total".to_owned(),
        files: sum(|c| c.files),
        code: sum(|c| c.code),
        tests: sum(|c| c.tests),
        test_count: sum(|c| c.test_count),
        asserts: sum(|c| c.asserts),
    };
    for c in crates.iter().chain([&total]) {
        text.push_str(&format!(
            "{:<18}{:>7}{:>9}{:>9}{:>8}{:>10}\n",
            c.name, c.files, c.code, c.tests, c.test_count, c.asserts
        ));
    }
    text
}
