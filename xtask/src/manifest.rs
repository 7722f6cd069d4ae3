//! The workspace's manifests: its crates, where they are, and what they depend on.
//!
//! Refuses: to resolve anything; versions and features are cargo's business.
//! Invariant: a dependency is one of ours exactly where the root manifest gives it a `path`.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::tree::Tree;

/// What a dependency is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `[dependencies]` and `[build-dependencies]`: part of what ships.
    Product,
    /// `[dev-dependencies]`.
    Tests,
}

/// One line of a manifest's dependency tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package.
    pub name: String,
    /// What for.
    pub purpose: Purpose,
    /// Whether it is `workspace = true`: version and features at the root.
    pub from_workspace: bool,
    /// Where its line is.
    pub line: usize,
}

/// A member of the workspace.
#[derive(Clone, Debug)]
pub struct Member {
    /// `[package] name`.
    pub name: String,
    /// Its folder with closing `/`.
    pub folder: String,
    /// Its manifest's path.
    pub manifest: String,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// Whether it takes the workspace's lints.
    pub has_workspace_lints: bool,
}

/// The workspace.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// Its crates, in the order of the root manifest.
    pub members: Vec<Member>,
    /// `[workspace.dependencies]` with a path.
    pub ours: BTreeSet<String>,
    /// `[workspace.dependencies]` without one, with their line in the root manifest.
    pub external: Vec<(String, usize)>,
}

impl Workspace {
    /// Reads the manifests of `tree`; what is missing or no TOML is left out, cargo refuses it.
    pub fn of(tree: &Tree) -> Self {
        let root_text = tree.get("Cargo.toml").unwrap_or_default();
        let root = root_text.parse::<Table>().unwrap_or_default();
        let workspace = root.get("workspace").and_then(Value::as_table);
        let members = workspace.and_then(|table| table.get("members")).and_then(Value::as_array);
        let members = members.into_iter().flatten().filter_map(Value::as_str);
        let dependencies = workspace.and_then(|table| table.get("dependencies"));
        let dependencies = dependencies.and_then(Value::as_table).cloned().unwrap_or_default();
        let (ours, external): (Vec<_>, Vec<_>) =
            dependencies.into_iter().partition(|(_, value)| value.get("path").is_some());
        Self {
            members: members.filter_map(|folder| member(tree, folder)).collect(),
            ours: ours.into_iter().map(|(name, _)| name).collect(),
            external: external
                .into_iter()
                .map(|(n, _)| (n.clone(), line_of(root_text, &n)))
                .collect(),
        }
    }
}

fn member(tree: &Tree, folder: &str) -> Option<Member> {
    let manifest = format!("{folder}/Cargo.toml");
    let text = tree.get(&manifest)?;
    let table = text.parse::<Table>().ok()?;
    let name = table.get("package")?.get("name")?.as_str()?.to_owned();
    let mut dependencies = Vec::new();
    for (key, purpose) in [
        ("dependencies", Purpose::Product),
        ("build-dependencies", Purpose::Product),
        ("dev-dependencies", Purpose::Tests),
    ] {
        let entries = table.get(key).and_then(Value::as_table).into_iter().flatten();
        dependencies.extend(entries.map(|(name, value)| Dependency {
            name: value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned(),
            purpose,
            from_workspace: value.get("workspace").and_then(Value::as_bool) == Some(true),
            line: line_of(text, name),
        }));
    }
    let lints = table.get("lints").and_then(|lints| lints.get("workspace"));
    let has_workspace_lints = lints.and_then(Value::as_bool) == Some(true);
    Some(Member { name, folder: format!("{folder}/"), manifest, dependencies, has_workspace_lints })
}

/// The line on which a key stands.
fn line_of(text: &str, key: &str) -> usize {
    let is_key = |line: &str| {
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['.', '=']))
    };
    text.lines().position(|line| is_key(line.trim_start())).map_or(1, |index| index + 1)
}
