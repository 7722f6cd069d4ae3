//! Floors: which crate may depend on which.
//!
//! Owns: the table of floors. A crate depends on floors below its own, never on its own or above:
//! so proxy and agent cannot know each other, and a core cannot reach a socket through a neighbour.
//! Invariant: every member of the workspace stands on a floor of the table.

use crate::finding::Finding;
use crate::manifest::{Dependency, Member, Purpose, Workspace};
use crate::tree::Tree;

/// Support for tests: depends on none of ours, so it may be used from any shell's tests.
const TESTKIT: &str = "stent-testkit";

/// For applications: depends on none of ours, so that nothing of Stent's comes along with it. Ours
/// use it like an application would: the product in its own process, scenarios, and tests.
const HEAP: &str = "stent-heap";

/// The crate that ships: test support is for its tests only, although it stands on the top floor.
const PRODUCT: &str = "stent";

/// The crates by floor, lowest first.
const FLOORS: &[&[&str]] = &[
    &["stent-contract"],
    &["stent-wire", "stent-pool", "stent-leak"],
    &["stent-proxy", "stent-agent", "stent-alarms", "stent-dashboards"],
    &[
        PRODUCT,
        "stent-scenarios",
        "stent-traces",
        "stent-leaks-rust",
        "stent-heap-preload",
        "stent-bench",
        "xtask",
    ],
];

const TOP: usize = FLOORS.len() - 1;

const MEND: &str = "move what both need down to a lower floor, or pass it in from above";

/// Finds dependencies that run up or sideways.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let workspace = Workspace::of(tree);
    let mut findings = Vec::new();
    for member in &workspace.members {
        let beside = [TESTKIT, HEAP].contains(&member.name.as_str()).then_some(0);
        let Some(floor) = floor(&member.name).or(beside) else {
            findings.push(finding(member, 1, format!("`{}` stands on no floor", member.name)));
            continue;
        };
        let ours = member.dependencies.iter().filter(|d| workspace.ours.contains(&d.name));
        for dependency in ours.filter(|dependency| !is_allowed(member, floor, dependency)) {
            let what = format!("`{}` may not depend on `{}`", member.name, dependency.name);
            findings.push(finding(member, dependency.line, what));
        }
    }
    findings
}

fn is_allowed(member: &Member, own: usize, dependency: &Dependency) -> bool {
    if member.name == TESTKIT || member.name == HEAP {
        return false;
    }
    if dependency.name == HEAP {
        return own == TOP || (dependency.purpose == Purpose::Tests && own > 1);
    }
    if dependency.name == TESTKIT {
        let for_tests = dependency.purpose == Purpose::Tests && own > 1;
        return for_tests || (own == TOP && member.name != PRODUCT);
    }
    floor(&dependency.name).is_some_and(|other| other < own)
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|crates| crates.contains(&name))
}

fn finding(member: &Member, line: usize, what: String) -> Finding {
    Finding { path: member.manifest.clone(), line, rule: "floors", what, mend: MEND }
}
