//! The rules of the repository, one per file.
//!
//! Invariant: a rule is a function of a [`Tree`]; its test over the repository and its self-test
//! over a tree that breaks it call the same function.

use crate::finding::Finding;
use crate::tree::Tree;

pub mod asserts;
pub mod checklist;
pub mod floors;
pub mod fresh;
pub mod header;
pub mod hygiene;
pub mod image;
pub mod links;
pub mod manifests;
pub mod names;
pub mod purity;
pub mod runbooks;
pub mod safety;
pub mod size;

/// A rule by name, for `cargo xtask rules`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, as findings give it.
    pub name: &'static str,
    /// What breaks it.
    pub check: fn(&Tree) -> Vec<Finding>,
}

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule { name: "asserts", check: asserts::check },
    Rule { name: "checklist", check: checklist::check },
    Rule { name: "floors", check: floors::check },
    Rule { name: "fresh", check: fresh::check },
    Rule { name: "header", check: header::check },
    Rule { name: "hygiene", check: hygiene::check },
    Rule { name: "image", check: image::check },
    Rule { name: "links", check: links::check },
    Rule { name: "manifests", check: manifests::check },
    Rule { name: "names", check: names::check },
    Rule { name: "purity", check: purity::check },
    Rule { name: "reasons", check: manifests::check_reasons },
    Rule { name: "runbooks", check: runbooks::check },
    Rule { name: "safety", check: safety::check },
    Rule { name: "size", check: size::check },
];
