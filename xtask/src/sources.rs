//! All Rust files of a tree, with test files known as such.
//!
//! Owns: what makes a file a test: its folder (`tests/`, `benches/`, `fuzz/` beside a manifest), or
//! a `#[cfg(test)] mod name;` that brings it in.
//! Invariant: a file that cannot be read as Rust is a finding, never silently left out.

use crate::finding::Finding;
use crate::source::Source;
use crate::tree::Tree;

/// Folders of a crate that hold no code of the product.
const TEST_FOLDERS: &[&str] = &["tests", "benches", "fuzz", "examples"];

/// Takes the `.rs` files in the folder `prefix` apart; `""` means all of them. A prefix is a whole
/// crate or more: what makes a file a test can stand in another file of its crate.
pub fn sources(tree: &Tree, prefix: &str) -> (Vec<Source>, Vec<Finding>) {
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    for (path, text) in tree.under(prefix).filter(|(path, _)| path.ends_with(".rs")) {
        match Source::parse(path, text) {
            Ok(source) => sources.push(source),
            Err(finding) => findings.push(finding),
        }
    }
    mark_tests(tree, &mut sources);
    (sources, findings)
}

/// The files that can be read: for the rules which leave the others to the rule `rust`.
pub(crate) fn readable(tree: &Tree) -> Vec<Source> {
    readable_under(tree, "")
}

/// Those of `prefix`, a folder given with its closing `/`.
pub(crate) fn readable_under(tree: &Tree, prefix: &str) -> Vec<Source> {
    sources(tree, prefix).0
}

fn mark_tests(tree: &Tree, sources: &mut [Source]) {
    let modules: Vec<String> = sources.iter().flat_map(test_module_stems).collect();
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        let declared = modules.iter().any(|module| is_at_or_below(stem, module));
        if declared || in_test_folder(tree, &source.path) {
            source.mark_as_test();
        }
    }
}

/// Where the modules of `#[cfg(test)] mod name;` are, without `.rs`.
fn test_module_stems(source: &Source) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let (folder, file) = stem.rsplit_once('/').unwrap_or(("", stem));
    let folder = if matches!(file, "lib" | "main" | "mod") { folder } else { stem };
    source.test_modules.iter().map(|name| format!("{folder}/{name}")).collect()
}

fn is_at_or_below(stem: &str, module: &str) -> bool {
    stem.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn in_test_folder(tree: &Tree, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    (1..parts.len()).any(|depth| {
        let manifest = format!("{}/Cargo.toml", parts[..depth].join("/"));
        TEST_FOLDERS.contains(&parts[depth]) && tree.get(&manifest).is_some()
    })
}
