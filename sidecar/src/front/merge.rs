//! Several pages of Prometheus metrics made one.
//!
//! Owns: keeping a family together: one `# HELP`, one `# TYPE`, then the samples of all pages.
//! Refuses: to judge values; what a component says is passed on.
//! Invariant: no series stands twice; Prometheus would refuse the whole page.
//! Source: Prometheus documentation, "Exposition formats", "Text format details".

use std::collections::{BTreeMap, BTreeSet};

/// The lines of one family.
#[derive(Debug, Default)]
struct Family<'a> {
    help: Option<&'a str>,
    kind: Option<&'a str>,
    samples: Vec<&'a str>,
}

/// Merges pages. Families come in the order of their first appearance; of a comment or a series that
/// stands in several pages the first counts.
pub(crate) fn pages(pages: &[&str]) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    let mut series = BTreeSet::new();
    for page in pages {
        let mut current = "";
        for line in page.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some((name, part)) = classify(line, current) else { continue };
            if !families.contains_key(name) {
                order.push(name);
            }
            let family = families.entry(name).or_default();
            match part {
                Part::Help => family.help = family.help.or(Some(line)),
                Part::Kind => family.kind = family.kind.or(Some(line)),
                Part::Sample(key) if series.insert(key) => family.samples.push(line),
                Part::Sample(_) => {}
            }
            current = name;
        }
    }
    let mut out = String::with_capacity(pages.iter().map(|page| page.len()).sum());
    for name in order {
        let family = &families[name];
        // Comments without samples say nothing.
        let comments = family.help.iter().chain(family.kind.iter());
        if !family.samples.is_empty() {
            for line in comments.chain(&family.samples) {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

enum Part<'a> {
    Help,
    Kind,
    /// With its name and labels.
    Sample(&'a str),
}

/// The family of a line and what the line is to it; `None` for a remark.
fn classify<'a>(line: &'a str, current: &'a str) -> Option<(&'a str, Part<'a>)> {
    if let Some(comment) = line.strip_prefix('#') {
        let mut words = comment.split_ascii_whitespace();
        let part = match words.next()? {
            "HELP" => Part::Help,
            "TYPE" => Part::Kind,
            _ => return None,
        };
        return Some((words.next()?, part));
    }
    let key = series(line)?;
    let name = key.split('{').next().unwrap_or(key);
    let family = match name.strip_prefix(current) {
        Some("" | "_bucket" | "_sum" | "_count") if !current.is_empty() => current,
        Some(_) | None => name,
    };
    Some((family, Part::Sample(key)))
}

/// Name and labels of a sample: all before its value. Label values may hold spaces and braces.
fn series(line: &str) -> Option<&str> {
    let mut quoted = Quoted::No;
    for (at, byte) in line.bytes().enumerate() {
        quoted = match (quoted, byte) {
            (Quoted::No, b'"') | (Quoted::Escape, _) => Quoted::Yes,
            (Quoted::No, b' ' | b'\t') => return Some(&line[..at]),
            (Quoted::Yes, b'\\') => Quoted::Escape,
            (Quoted::Yes, b'"') => Quoted::No,
            (same, _) => same,
        };
    }
    None
}

#[derive(Clone, Copy)]
enum Quoted {
    No,
    Yes,
    Escape,
}

#[cfg(test)]
mod tests {
    use super::pages;
    use expect_test::expect;

    #[test]
    fn samples_of_one_family_stand_together_under_one_comment() {
        let proxy = "# HELP up Is up.\n# TYPE up gauge\nup{c=\"proxy\"} 1\n\
                     # TYPE t histogram\nt_bucket{le=\"+Inf\"} 2\nt_sum 3\nt_count 2\n";
        let agent = "# HELP own Its own.\n# TYPE own counter\nown 7\n\
                     # HELP up Is up.\n# TYPE up gauge\nup{c=\"agent\"} 1\n";
        expect![[r#"
            # HELP up Is up.
            # TYPE up gauge
            up{c="proxy"} 1
            up{c="agent"} 1
            # TYPE t histogram
            t_bucket{le="+Inf"} 2
            t_sum 3
            t_count 2
            # HELP own Its own.
            # TYPE own counter
            own 7
        "#]]
        .assert_eq(&pages(&[proxy, agent]));
    }

    #[test]
    fn a_series_that_stands_twice_stays_once() {
        let page = "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 1\n";
        let twin = "# TYPE a gauge\na{x=\"1\"} 9\n";
        let merged = pages(&[page, twin]);
        assert_eq!(merged, page);
    }

    #[test]
    fn label_values_may_hold_spaces_braces_and_quotes() {
        let page = "# TYPE a gauge\na{q=\"select {1} \\\" # x\"} 1\na{q=\"other\"} 2\n";
        assert_eq!(pages(&[page]), page);
    }

    #[test]
    fn a_missing_page_and_rubbish_cost_nothing() {
        let page = "# TYPE a gauge\na 1\n";
        assert_eq!(pages(&["", page, "rubbish\n\n# a remark\n# TYPE b gauge\n"]), page);
    }
}
