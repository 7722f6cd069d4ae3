//! Names: a metric is spelled once, in the metric table.
//!
//! Invariant: code outside `core/contract` says `MetricId`, never the name; tests and pages may
//! spell it, since they say what a reader sees.

use stent_contract::METRICS;

use crate::finding::Finding;
use crate::source::{Kind, Token};
use crate::sources::readable;
use crate::tree::Tree;

/// Where the names live.
const HOME: &str = "core/contract/";

/// Macros of the crate `metrics` whose first argument is a name.
const MACROS: &[&str] =
    &["counter", "gauge", "histogram", "describe_counter", "describe_gauge", "describe_histogram"];

/// Finds metric names spelled outside the table, and names given to a metric macro as a literal.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in readable(tree).iter().filter(|source| !source.path.starts_with(HOME)) {
        let code = source.code();
        let spelled =
            code.iter().filter_map(|token| spelled_metric(token).map(|m| (m, token.line)));
        findings.extend(spelled.map(|(name, line)| finding(&source.path, line, name)));
        for call in code.windows(4) {
            let [name, bang, _, argument] = call else { continue };
            let is_macro = bang.text == "!" && MACROS.contains(&name.text.as_str());
            if is_macro && argument.kind == Kind::Literal && spelled_metric(argument).is_none() {
                findings.push(finding(&source.path, argument.line, &argument.text));
            }
        }
    }
    findings
}

/// The metric whose whole name occurs in a literal.
fn spelled_metric(token: &Token) -> Option<&'static str> {
    if token.kind != Kind::Literal {
        return None;
    }
    let mut words = token.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.find_map(|word| METRICS.iter().map(|metric| metric.name).find(|name| *name == word))
}

fn finding(path: &str, line: usize, name: &str) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        rule: "names",
        what: format!("the metric {name} is spelled here"),
        mend: "take it from the table: `MetricId::….row().name`",
    }
}
