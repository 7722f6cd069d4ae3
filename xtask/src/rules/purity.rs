//! Purity: under `core/` there is no clock, socket, file, thread, environment, runtime or
//! randomness, and no package that could bring one in.
//!
//! `core/clippy.toml` bans single functions with the compiler's knowledge of types; this rule bans
//! whole modules by name and closes the manifests.
//! Invariant: tests of a core may draw a first instant and a seed, the core itself may not.

use crate::finding::Finding;
use crate::manifest::{Purpose, Workspace};
use crate::source::{Kind, Source, Token};
use crate::sources::readable_under;
use crate::tree::Tree;

/// Packages that compute and nothing else.
const PURE: &[&str] = &[
    "base64",
    "bytes",
    "hmac",
    "md-5",
    "memchr",
    "rustc-hash",
    "serde",
    "sha2",
    "slab",
    "stringprep",
    "subtle",
    "thiserror",
    "zeroize",
];

/// What tests of a core may use besides.
const PURE_TESTS: &[&str] =
    &["expect-test", "fastrand", "proptest", "proptest-state-machine", "serde_json"];

/// Modules that reach out of the process, or into its surroundings.
const BANNED: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "fastrand",
    "getrandom",
    "hyper",
    "rand",
    "rustix",
    "socket2",
    "tokio",
    "tracing",
];

/// Addresses are data: naming one opens nothing.
const DATA: &[&str] = &[
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::net::SocketAddrV4",
    "std::net::SocketAddrV6",
];

/// Calls that read a clock, whatever the type was imported as.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now"];

/// Macros that write to the process's streams.
const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

const MEND: &str = "take it as an argument, or return a decision that the shell carries out";

/// Finds packages and paths that a core may not use.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = manifests(tree);
    for source in readable_under(tree, "core/") {
        let imports = source.uses.iter().filter(|(_, line)| !source.is_test(*line));
        let mut found: Vec<(String, usize)> =
            imports.filter(|(path, _)| is_banned(path)).cloned().collect();
        found.extend(paths(&source).into_iter().filter(|(path, _)| is_banned(path)));
        found.extend(prints(&source));
        findings.extend(found.into_iter().map(|(path, line)| Finding {
            path: source.path.clone(),
            line,
            rule: "purity",
            what: format!("`{path}` in a core"),
            mend: MEND,
        }));
    }
    findings.sort();
    findings.dedup();
    findings
}

fn manifests(tree: &Tree) -> Vec<Finding> {
    let workspace = Workspace::of(tree);
    let cores = workspace.members.iter().filter(|member| member.folder.starts_with("core/"));
    let mut findings = Vec::new();
    for core in cores {
        let foreign = core.dependencies.iter().filter(|d| !workspace.ours.contains(&d.name));
        for dependency in foreign {
            let name = dependency.name.as_str();
            let for_tests = dependency.purpose == Purpose::Tests;
            if PURE.contains(&name) || (for_tests && PURE_TESTS.contains(&name)) {
                continue;
            }
            findings.push(Finding {
                path: core.manifest.clone(),
                line: dependency.line,
                rule: "purity",
                what: format!("`{name}` is not on the list of packages that only compute"),
                mend: "do without it, or show that it is pure and add it to that list",
            });
        }
    }
    findings
}

fn is_banned(path: &str) -> bool {
    let path = path.trim_start_matches("::");
    let begins = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let data = DATA.iter().any(|data| begins(data));
    let clock = CLOCKS.iter().any(|clock| path == *clock || path.ends_with(&format!("::{clock}")));
    clock || (!data && BANNED.iter().any(|banned| begins(banned)))
}

/// The paths of two segments or more in code: `std::fs::read`.
fn paths(source: &Source) -> Vec<(String, usize)> {
    let code = source.code();
    let mut paths = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let mut path = code[at].text.clone();
        let (kind, line) = (code[at].kind, code[at].line);
        at += 1;
        if kind != Kind::Word {
            continue;
        }
        while let [a, b, segment, ..] = &code[at..]
            && is_separator(a, b)
            && segment.kind == Kind::Word
        {
            path.push_str("::");
            path.push_str(&segment.text);
            at += 3;
        }
        // What ends in `::{` is an import, which `Source::uses` has taken apart.
        let opens_group =
            matches!(&code[at..], [a, b, open, ..] if is_separator(a, b) && open.text == "{");
        if path.contains("::") && !opens_group {
            paths.push((path, line));
        }
    }
    paths
}

fn is_separator(a: &Token, b: &Token) -> bool {
    a.text == ":" && b.text == ":"
}

fn prints(source: &Source) -> Vec<(String, usize)> {
    let code = source.code();
    let calls = code.windows(2).filter(|pair| pair[1].text == "!");
    let calls = calls.filter(|pair| PRINTS.contains(&pair[0].text.as_str()));
    calls.map(|pair| (format!("{}!", pair[0].text), pair[0].line)).collect()
}
