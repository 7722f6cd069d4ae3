//! Links: a relative link in a page leads to a file of the repository.
//!
//! Refuses: to follow links that leave the repository; a rule that needs the network fails for
//! reasons that are not the repository's.

use crate::finding::Finding;
use crate::tree::Tree;

/// Finds dead relative links in Markdown.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md") {
        for (line, target) in links(text) {
            if !tree.exists(&resolve(path, &target)) {
                findings.push(Finding {
                    path: path.to_owned(),
                    line,
                    rule: "links",
                    what: format!("`{target}` leads nowhere"),
                    mend: "correct the link, or commit the file it means",
                });
            }
        }
    }
    findings
}

/// Relative targets of `[text](target)` and `![text](target)` with their lines, fences left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for (_, rest) in line.match_indices("](").map(|(at, _)| line.split_at(at + 2)) {
            let Some(end) = rest.find([')', ' ']) else { continue };
            let target = rest[..end].split('#').next().unwrap_or_default();
            let leaves = target.contains("://") || target.starts_with("mailto:");
            if !target.is_empty() && !leaves {
                links.push((index + 1, target.to_owned()));
            }
        }
    }
    links
}

/// A link's target relative to the root: `docs/a.md` and `../b.md` give `b.md`.
fn resolve(page: &str, target: &str) -> String {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let start = if target.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}
