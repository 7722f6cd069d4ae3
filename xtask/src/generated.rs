//! The generated files: what they should hold, and the writing of them.
//!
//! Owns: the list of who renders what. `docs/reference/configuration.md` is not on it: the `stent`
//! crate renders it from its table of keys, and its own test keeps it fresh.
//! Invariant: rendering depends on the tables only, so two runs give the same bytes.

use std::path::Path;

use anyhow::{Context, Result};

use crate::reference;

/// Folders that hold generated files and nothing else.
pub const FOLDERS: &[&str] = &["alarms/rendered/", "dashboards/rendered/"];

/// Every generated file: path relative to the root, and content.
pub fn files() -> Vec<(String, String)> {
    let mut files = stent_alarms::render_all();
    files.extend(stent_dashboards::render_all());
    files.extend(reference::render_all());
    files
}

/// Writes the generated files that differ, removes left-over ones, and tells which.
pub fn write(root: &Path) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    let files = files();
    for (path, text) in &files {
        let target = root.join(path);
        if std::fs::read_to_string(&target).is_ok_and(|old| old == *text) {
            continue;
        }
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("create {}", folder.display()))?;
        }
        std::fs::write(&target, text).with_context(|| format!("write {path}"))?;
        changed.push(format!("wrote   {path}"));
    }
    let tree = crate::tree::Tree::read(root)?;
    for (path, _) in FOLDERS.iter().flat_map(|folder| tree.under(folder)) {
        if !files.iter().any(|(known, _)| known == path) {
            std::fs::remove_file(root.join(path)).with_context(|| format!("remove {path}"))?;
            changed.push(format!("removed {path}"));
        }
    }
    Ok(changed)
}
