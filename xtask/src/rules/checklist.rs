//! The protocol's checklist: each of its points has a row, and each row a test that is there.

use crate::finding::Finding;
use crate::tree::Tree;

const PAGE: &str = "docs/protocol-checklist.md";
const POINTS: usize = 70;

/// Finds points without a row, and rows whose tests are not there.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.get(PAGE) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut points = Vec::new();
    for (index, row) in page.lines().enumerate() {
        let cells: Vec<&str> = row.split(" | ").collect();
        let number = cells.first().and_then(|cell| cell.strip_prefix("| ")?.parse::<usize>().ok());
        let (Some(number), Some(tests)) = (number, cells.get(4)) else { continue };
        points.push(number);
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        let lost = names.iter().filter(|name| !is_there(tree, name));
        let mut whats: Vec<String> = lost.map(|name| format!("`{name}` is no test")).collect();
        if names.is_empty() {
            whats.push(format!("point {number} names no test"));
        }
        findings.extend(whats.into_iter().map(|what| finding(index + 1, what)));
    }
    let missing = (1..=POINTS).filter(|point| !points.contains(point));
    findings.extend(missing.map(|point| finding(1, format!("point {point} has no row"))));
    findings
}

fn finding(line: usize, what: String) -> Finding {
    Finding {
        path: PAGE.to_owned(),
        line,
        rule: "checklist",
        what,
        mend: "name a test of proxy/tests/it as `module::test`, or of core/wire as `wire::test`",
    }
}

/// Whether `module::test` is a function of that module.
fn is_there(tree: &Tree, name: &str) -> bool {
    let Some((module, test)) = name.rsplit_once("::") else { return false };
    let declared = format!("fn {test}(");
    if module == "wire" {
        return tree.under("core/wire/").any(|(_, text)| text.contains(&declared));
    }
    let path = format!("proxy/tests/it/{}.rs", module.replace("::", "/"));
    tree.get(&path).is_some_and(|text| text.contains(&declared))
}
