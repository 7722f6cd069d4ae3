//! Hygiene: nothing committed names a folder of somebody's machine or the host of a package
//! registry.
//!
//! Such a line works on one machine only: it breaks a clone elsewhere, and a mirror cannot replace
//! a host that is written into a file.
//! Invariant: the patterns are put together from pieces, so that this file passes its own rule.

use crate::finding::Finding;
use crate::tree::Tree;

/// Beginnings of absolute paths that exist on somebody's machine only.
const FOLDERS: &[&str] =
    &[concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Use", "rs/"), concat!("/ho", "me/")];

/// A folder that is the same on every machine that has it.
const SHARED: &str = "linuxbrew/";

/// Hosts of package registries.
const HOSTS: &[&str] = &[
    concat!("deb.deb", "ian.org"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npm", "js.org"),
    concat!("registry.yarn", "pkg.com"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
];

/// Finds machine paths and registry hosts.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files() {
        for (index, line) in text.lines().enumerate() {
            let found = FOLDERS.iter().find(|folder| names_folder(line, folder));
            let found = found.or_else(|| HOSTS.iter().find(|host| line.contains(**host)));
            findings.extend(found.map(|what| Finding {
                path: path.to_owned(),
                line: index + 1,
                rule: "hygiene",
                what: format!("`{what}` in a committed line"),
                mend: "use a path relative to the repository, or the client's own configuration",
            }));
        }
    }
    findings
}

/// Whether `folder` begins a path in `line`: a name before it would make it a part of another path.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let shared = line[at + folder.len()..].starts_with(SHARED);
        !shared
            && !before.is_some_and(|c| {
                c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | ')' | '/')
            })
    })
}
