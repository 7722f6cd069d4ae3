//! Each rule finds the breach it is there for, and leaves its honest neighbour alone.

use xtask::finding::Finding;
use xtask::rules;
use xtask::tree::Tree;

/// Where the findings are: `path:line`.
fn places(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
}

/// The findings of a rule in one file.
fn found(check: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
    places(&check(&Tree::of(&[(path, text)])))
}

fn lines(count: usize) -> String {
    "//! A long file for the rule of size.\n".to_owned() + &"const A: u8 = 1;\n".repeat(count - 1)
}

#[test]
fn size_finds_a_file_of_501_lines_and_leaves_one_of_500() {
    assert_eq!(found(rules::size::check, "a/src/lib.rs", &lines(501)), ["a/src/lib.rs:501"]);
    assert!(found(rules::size::check, "a/src/lib.rs", &lines(500)).is_empty());
}

#[test]
fn size_does_not_count_an_inline_test_module_but_does_count_a_test_file() {
    let module = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const A: u8 = 1;\n".repeat(300));
    let inline = lines(300) + &module;
    assert!(found(rules::size::check, "a/src/lib.rs", &inline).is_empty());
    let tree = Tree::of(&[("a/Cargo.toml", ""), ("a/tests/t.rs", &lines(501))]);
    assert_eq!(places(&rules::size::check(&tree)), ["a/tests/t.rs:501"]);
}

#[test]
fn size_finds_a_function_of_71_lines_also_inside_a_macro() {
    let body = |count| format!("fn long() {{\n{}}}\n", "    step();\n".repeat(count));
    assert_eq!(found(rules::size::check, "a.rs", &body(71)), ["a.rs:1"]);
    assert!(found(rules::size::check, "a.rs", &body(70)).is_empty());
    let in_macro = format!("proptest! {{\n{}}}\n", body(71));
    assert_eq!(found(rules::size::check, "a.rs", &in_macro), ["a.rs:2"]);
}

#[test]
fn header_finds_a_file_that_opens_with_code_and_a_file_that_is_no_rust() {
    assert_eq!(found(rules::header::check, "a.rs", "use std::fmt;\n"), ["a.rs:1"]);
    assert_eq!(found(rules::header::check, "a.rs", "//! Todo\n"), ["a.rs:1"]);
    let broken = "//! A header that says enough.\nfn a() {\n";
    assert_eq!(found(rules::header::check, "a.rs", broken).len(), 1);
    assert!(found(rules::header::check, "a.rs", "//! What this file owns.\n").is_empty());
}

#[test]
fn purity_finds_clocks_files_and_prints_in_every_spelling() {
    for line in [
        "use std::{collections::BTreeMap, fs::File};",
        "use std::net::{SocketAddr, TcpStream};",
        "fn f() { let now = std::time::Instant::now(); }",
        "fn f() { let now = Instant::now(); }",
        "fn f() { log!(\"{}\", std::env::var(\"A\")); }",
        "fn f() { ::std::thread::yield_now(); }",
        "async fn f() { tokio::task::yield_now().await; }",
        "fn f() { println!(\"hello\"); }",
    ] {
        let found = found(rules::purity::check, "core/pool/src/a.rs", line);
        assert_eq!(found, ["core/pool/src/a.rs:1"], "{line}");
    }
}

#[test]
fn purity_leaves_data_tests_strings_and_other_crates_alone() {
    let pure = "use std::net::{IpAddr, SocketAddr};\n/// Not `std::fs::read`.\nconst A: &str = \"std::fs\";\n\
                #[cfg(test)]\nmod tests {\n    fn now() { std::time::Instant::now(); }\n}\n";
    assert!(found(rules::purity::check, "core/pool/src/a.rs", pure).is_empty());
    assert!(found(rules::purity::check, "proxy/src/a.rs", "use std::fs;").is_empty());
}

#[test]
fn purity_follows_a_test_module_into_its_own_file() {
    let clock = "fn now() { std::time::Instant::now(); }\n";
    let declared = Tree::of(&[
        ("core/pool/src/a.rs", "#[cfg(test)]\nmod tests;\n"),
        ("core/pool/src/a/tests.rs", clock),
    ]);
    assert!(rules::purity::check(&declared).is_empty());
    let plain =
        Tree::of(&[("core/pool/src/a.rs", "mod tests;\n"), ("core/pool/src/a/tests.rs", clock)]);
    assert_eq!(places(&rules::purity::check(&plain)), ["core/pool/src/a/tests.rs:1"]);
}

#[test]
fn purity_finds_a_package_that_could_reach_out() {
    let tree = workspace("core/pool", "stent-pool", "[dependencies]\ntokio.workspace = true\n");
    assert_eq!(places(&rules::purity::check(&tree)), ["core/pool/Cargo.toml:6"]);
    let pure = workspace("core/pool", "stent-pool", "[dependencies]\nslab.workspace = true\n");
    assert!(rules::purity::check(&pure).is_empty());
}

#[test]
fn safety_finds_unsafe_unwrap_and_expect_without_a_reason() {
    for (line, count) in [
        ("fn f() { unsafe { g() } }", 1),
        ("fn f() { g().unwrap(); }", 1),
        ("fn f() { g().expect(\"ok\"); }", 1),
        ("fn f() { g().unwrap_or_default(); }", 0),
        ("fn f() { g().unwrap() }", 1),
        ("fn f() { input.expect(\"r=\")?; }", 0),
        ("fn f() { input.expect('r', \"Expected the nonce.\"); }", 0),
        ("fn f() { g().expect(\"the slab holds it: checked above\"); }", 0),
        ("#[cfg(test)]\nmod tests { fn f() { g().unwrap(); } }", 0),
        ("#[test]\nfn f() { g().unwrap(); }", 0),
        ("/// Never `.unwrap()` it, that would be unsafe.\nfn f() {}", 0),
    ] {
        assert_eq!(found(rules::safety::check, "a/src/a.rs", line).len(), count, "{line}");
    }
}

#[test]
fn names_finds_a_metric_spelled_outside_the_table() {
    let name = stent_contract::METRICS[0].name;
    let spelled = format!("//! x\nconst A: &str = \"sum({name})\";\n");
    assert_eq!(found(rules::names::check, "agent/src/a.rs", &spelled), ["agent/src/a.rs:2"]);
    assert!(found(rules::names::check, "core/contract/src/metric.rs", &spelled).is_empty());
    let longer = format!("const A: &str = \"{name}_of_something_else\";\n");
    assert!(found(rules::names::check, "agent/src/a.rs", &longer).is_empty());
    let literal = "fn f() { metrics::gauge!(\"my_own\").set(1.0); }\n";
    assert_eq!(found(rules::names::check, "agent/src/a.rs", literal), ["agent/src/a.rs:1"]);
}

#[test]
fn asserts_finds_a_core_with_too_few() {
    let path = "core/wire/src/lib.rs";
    assert_eq!(found(rules::asserts::check, path, &lines(200)), ["core/wire/:1"]);
    let asserting = lines(198) + "fn f(a: u8) { assert!(a > 0);\n debug_assert_ne!(a, 9); }\n";
    assert!(found(rules::asserts::check, path, &asserting).is_empty());
}

#[test]
fn hygiene_finds_a_machine_path_and_a_registry_host() {
    let home = concat!("see /ro", "ot/notes\n");
    assert_eq!(found(rules::hygiene::check, "docs/a.md", home), ["docs/a.md:1"]);
    let host = concat!("\"resolved\": \"https://registry.npm", "js.org/a\"\n");
    assert_eq!(found(rules::hygiene::check, "package-lock.json", host), ["package-lock.json:1"]);
    let inside = concat!("scenarios/wo", "rk/a\n");
    assert!(found(rules::hygiene::check, "docs/a.md", inside).is_empty());
}

#[test]
fn links_finds_a_link_that_leads_nowhere() {
    let tree = Tree::of(&[
        ("README.md", "[a](docs/a.md)\n[b](docs/b.md) [c](https://example.org/c)\n"),
        ("docs/a.md", "[up](../README.md#top) [here](.)\n```\n[x](none.md)\n```\n"),
    ]);
    assert_eq!(places(&rules::links::check(&tree)), ["README.md:2"]);
}

#[test]
fn runbooks_finds_an_alarm_without_a_page_and_a_page_without_an_alarm() {
    let tree = Tree::of(&[
        ("alarms/runbooks/StentA.md", "# A\n"),
        ("alarms/runbooks/StentEmpty.md", "\n"),
        ("alarms/runbooks/StentOld.md", "# Old\n"),
        ("alarms/runbooks/README.md", "# Index\n"),
    ]);
    let findings = rules::runbooks::check_names(&tree, &["StentA", "StentEmpty", "StentNew"]);
    let expected = ["StentEmpty", "StentNew", "StentOld"];
    assert_eq!(places(&findings), expected.map(|name| format!("alarms/runbooks/{name}.md:1")));
}

#[test]
fn fresh_finds_missing_stale_and_left_over_files() {
    let tree =
        Tree::of(&[("r/same.json", "a\n"), ("r/stale.json", "a\nb\n"), ("r/old.json", "a\n")]);
    let expected = [("r/same.json", "a\n"), ("r/stale.json", "a\nc\n"), ("r/new.json", "a\n")]
        .map(|(path, text)| (path.to_owned(), text.to_owned()));
    let findings = rules::fresh::check_against(&tree, &expected, &["r/"]);
    assert_eq!(places(&findings), ["r/stale.json:2", "r/new.json:1", "r/old.json:1"]);
}

#[test]
fn image_finds_root_shells_and_a_final_stage_that_runs_something() {
    let good = "FROM a AS builder\nRUN make\nUSER root\nFROM b\nUSER 65532:65532\n\
                HEALTHCHECK --interval=5s \\\n  CMD [\"/stent\", \"healthcheck\"]\nENTRYPOINT [\"/stent\"]\n";
    assert!(found(rules::image::check, "Dockerfile", good).is_empty());
    for (from, to, place) in [
        ("USER 65532:65532", "USER 0", "Dockerfile:5"),
        ("USER 65532:65532", "USER app", "Dockerfile:5"),
        ("USER 65532:65532\n", "", "Dockerfile:1"),
        ("ENTRYPOINT [\"/stent\"]", "ENTRYPOINT /stent", "Dockerfile:8"),
        ("HEALTHCHECK --interval=5s \\\n  CMD [\"/stent\", \"healthcheck\"]\n", "", "Dockerfile:1"),
        ("FROM b\n", "FROM b\nRUN id\n", "Dockerfile:5"),
    ] {
        let found = found(rules::image::check, "Dockerfile", &good.replace(from, to));
        assert_eq!(found, [place], "{to}");
    }
}

#[test]
fn floors_finds_dependencies_that_run_up_or_sideways() {
    for (folder, name, depends, allowed) in [
        ("core/contract", "stent-contract", "[dependencies]\nstent-wire", false),
        ("core/wire", "stent-wire", "[dependencies]\nstent-contract", true),
        ("core/wire", "stent-wire", "[dependencies]\nstent-pool", false),
        ("core/wire", "stent-wire", "[dev-dependencies]\nstent-testkit", false),
        ("proxy", "stent-proxy", "[dependencies]\nstent-agent", false),
        ("proxy", "stent-proxy", "[dev-dependencies]\nstent-agent", false),
        ("proxy", "stent-proxy", "[dev-dependencies]\nstent-testkit", true),
        ("proxy", "stent-proxy", "[dependencies]\nstent-testkit", false),
        ("sidecar", "stent", "[dependencies]\nstent-proxy", true),
        ("sidecar", "stent", "[dependencies]\nstent-testkit", false),
        ("sidecar", "stent", "[dev-dependencies]\nstent-testkit", true),
        ("scenarios", "stent-scenarios", "[dependencies]\nstent-testkit", true),
        ("scenarios", "stent-scenarios", "[build-dependencies]\nstent-bench", false),
        ("testkit", "stent-testkit", "[dependencies]\nstent-contract", false),
        ("heap", "stent-heap", "[dependencies]\nstent-contract", false),
        ("heap", "stent-heap", "[dev-dependencies]\nstent-testkit", false),
        ("agent", "stent-agent", "[dependencies]\nstent-heap", false),
        ("agent", "stent-agent", "[dev-dependencies]\nstent-heap", true),
        ("sidecar", "stent", "[dependencies]\nstent-heap", true),
        ("core/leak", "stent-leak", "[dev-dependencies]\nstent-heap", false),
        ("new", "stent-new", "[dependencies]\nslab", false),
    ] {
        let tree = workspace(folder, name, &format!("{depends}.workspace = true\n"));
        let findings = rules::floors::check(&tree);
        assert_eq!(findings.is_empty(), allowed, "{name} {depends}: {findings:?}");
    }
}

#[test]
fn manifests_finds_a_version_outside_the_root_and_missing_lints() {
    let version = workspace("proxy", "stent-proxy", "[dependencies]\nslab = \"0.4\"\n");
    assert_eq!(places(&rules::manifests::check(&version)), ["proxy/Cargo.toml:6"]);
    let root = "[workspace]\nmembers = [\"proxy\"]\n";
    let bare = "[package]\nname = \"stent-proxy\"\n";
    let tree = Tree::of(&[("Cargo.toml", root), ("proxy/Cargo.toml", bare)]);
    assert_eq!(places(&rules::manifests::check(&tree)), ["proxy/Cargo.toml:1"]);
}

#[test]
fn reasons_finds_a_package_without_a_line_and_a_line_without_a_package() {
    let root = "[workspace]\nmembers = []\n[workspace.dependencies]\nours = { path = \"ours\" }\n\
                slab = \"0.4\"\ntoml = \"1\"\ntoml_edit = \"1\"\n";
    let reasons = "| Package | Why |\n| --- | --- |\n| `toml`, `toml_edit` | x |\n| `gone` | x |\n";
    let tree = Tree::of(&[("Cargo.toml", root), ("docs/decisions/dependencies.md", reasons)]);
    let findings = rules::manifests::check_reasons(&tree);
    assert_eq!(places(&findings), ["Cargo.toml:5", "docs/decisions/dependencies.md:4"]);
}

/// A workspace of one crate, with all of ours and a few packages known at the root.
fn workspace(folder: &str, name: &str, dependencies: &str) -> Tree {
    let ours = [
        "stent-contract",
        "stent-wire",
        "stent-pool",
        "stent-leak",
        "stent-proxy",
        "stent-agent",
        "stent-bench",
        "stent-testkit",
        "stent-heap",
    ];
    let ours: String = ours.iter().map(|name| format!("{name} = {{ path = \"x\" }}\n")).collect();
    let root = format!(
        "[workspace]\nmembers = [\"{folder}\"]\n[workspace.dependencies]\n{ours}slab = \"0.4\"\n"
    );
    let manifest =
        format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n{dependencies}");
    Tree::of(&[("Cargo.toml", &root), (&format!("{folder}/Cargo.toml"), &manifest)])
}

#[test]
fn checklist_finds_a_test_that_is_not_there_and_a_point_without_a_row() {
    let row = |number: usize, tests: &str| format!("| {number} | p | pg | stent | {tests} | |\n");
    let rows = (2..=70).map(|number| row(number, "`login::who`, `wire::what`"));
    let page = rows.collect::<String>() + &row(1, "`login::nobody`");
    let check = |page: &str| {
        rules::checklist::check(&Tree::of(&[
            ("docs/protocol-checklist.md", page),
            ("proxy/tests/it/login.rs", "async fn who() {}"),
            ("core/wire/tests/x.rs", "fn what() {}"),
        ]))
    };
    assert_eq!(places(&check(&page)), ["docs/protocol-checklist.md:70"]);
    let without = page.replace("| 1 |", "| 71 |").replace("nobody", "who");
    assert_eq!(places(&check(&without)), ["docs/protocol-checklist.md:1"]);
}
