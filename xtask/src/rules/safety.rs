//! Safety: no `unsafe` outside a named module, no `unwrap` outside tests, no `expect` without its
//! reason.
//!
//! Invariant: the list of modules that may use `unsafe` is here and nowhere else.

use crate::finding::Finding;
use crate::source::{Kind, Source, Token};
use crate::sources::readable;
use crate::tree::Tree;

/// Files that may use `unsafe`, each with a header that says why nothing else does it.
const UNSAFE_FILES: &[&str] = &[
    "heap/preload/src/allocator.rs",
    "heap/preload/src/process.rs",
    "proxy/src/low_water.rs",
    "proxy/tests/alloc/main.rs",
    "sidecar/src/freed.rs",
];

/// The fewest characters that can say why something cannot fail.
const REASON_MIN: usize = 10;

/// Finds `unsafe`, `unwrap()` and reasonless `expect`.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in readable(tree) {
        let code = source.code();
        if !UNSAFE_FILES.contains(&source.path.as_str()) {
            let found = source.tokens.iter().filter(|t| t.kind == Kind::Word && t.text == "unsafe");
            findings.extend(found.map(|token| unsafe_finding(&source, token)));
        }
        for at in 0..code.len() {
            let [dot, name, open, argument, rest @ ..] = &code[at..] else { break };
            if dot.text != "." || open.text != "(" {
                continue;
            }
            match name.text.as_str() {
                "unwrap" | "unwrap_err" if argument.text == ")" => {
                    findings.push(unwrap_finding(&source, name));
                }
                "expect" if is_short(argument) && ends_call(rest) => {
                    findings.push(expect_finding(&source, name));
                }
                _ => {}
            }
        }
    }
    findings
}

/// A literal too short to be a reason.
fn is_short(argument: &Token) -> bool {
    argument.kind == Kind::Literal && argument.text.trim_matches('"').chars().count() < REASON_MIN
}

/// Whether the argument before is the only one, and its result no `Result`: with a second argument
/// or with `?` behind it, `expect` is another type's method, a parser's, say.
fn ends_call(rest: &[&Token]) -> bool {
    let text = |at: usize| rest.get(at).map(|token| token.text.as_str());
    text(0) == Some(")") && text(1) != Some("?")
}

fn unsafe_finding(source: &Source, token: &Token) -> Finding {
    Finding {
        path: source.path.clone(),
        line: token.line,
        rule: "safety",
        what: "`unsafe`".to_owned(),
        mend: "use the safe call (rustix, socket2), or name this file in the rule and say why",
    }
}

fn unwrap_finding(source: &Source, token: &Token) -> Finding {
    Finding {
        path: source.path.clone(),
        line: token.line,
        rule: "safety",
        what: format!("`{}()` outside tests", token.text),
        mend: "return the error, or `expect` with the reason why it cannot fail",
    }
}

fn expect_finding(source: &Source, token: &Token) -> Finding {
    Finding {
        path: source.path.clone(),
        line: token.line,
        rule: "safety",
        what: "`expect` without a reason".to_owned(),
        mend: "say why it cannot fail",
    }
}
