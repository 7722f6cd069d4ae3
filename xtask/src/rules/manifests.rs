//! Manifests: versions, features and lints come from the root, and each external package has its
//! reason written down.
//!
//! Invariant: `docs/decisions/dependencies.md` and `[workspace.dependencies]` name the same
//! packages.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::manifest::Workspace;
use crate::tree::Tree;

const REASONS: &str = "docs/decisions/dependencies.md";

/// Finds versions outside the root manifest and crates without the workspace's lints.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in Workspace::of(tree).members {
        if !member.has_workspace_lints {
            findings.push(Finding {
                path: member.manifest.clone(),
                line: 1,
                rule: "manifests",
                what: "the workspace's lints are not taken over".to_owned(),
                mend: "add `[lints]` with `workspace = true`",
            });
        }
        for dependency in member.dependencies.iter().filter(|d| !d.from_workspace) {
            findings.push(Finding {
                path: member.manifest.clone(),
                line: dependency.line,
                rule: "manifests",
                what: format!("`{}` has its version here", dependency.name),
                mend: "name it once in [workspace.dependencies] and say `.workspace = true` here",
            });
        }
    }
    findings
}

/// Finds packages without a reason, and reasons without a package.
pub fn check_reasons(tree: &Tree) -> Vec<Finding> {
    let text = tree.get(REASONS).unwrap_or_default();
    let rows: Vec<(String, usize)> = rows(text);
    let named: BTreeSet<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    let workspace = Workspace::of(tree);
    let external: BTreeSet<&str> = workspace.external.iter().map(|(n, _)| n.as_str()).collect();
    let missing = workspace.external.iter().filter(|(name, _)| !named.contains(name.as_str()));
    let missing = missing.map(|(name, line)| Finding {
        path: "Cargo.toml".to_owned(),
        line: *line,
        rule: "reasons",
        what: format!("`{name}` has no line in {REASONS}"),
        mend: "add one: why, what it costs, what else was looked at",
    });
    let stale = rows.iter().filter(|(name, _)| !external.contains(name.as_str()));
    let stale = stale.map(|(name, line)| Finding {
        path: REASONS.to_owned(),
        line: *line,
        rule: "reasons",
        what: format!("`{name}` is no dependency any more"),
        mend: "delete the line",
    });
    missing.chain(stale).collect()
}

/// The packages that table rows begin with: ``| `name` | … |``, several with commas between.
fn rows(text: &str) -> Vec<(String, usize)> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(first) = line.strip_prefix("| `").and_then(|rest| rest.split('|').next()) else {
            continue;
        };
        let names = first.split(',').map(|name| name.trim().trim_matches('`').to_owned());
        rows.extend(names.map(|name| (name, index + 1)));
    }
    rows
}
