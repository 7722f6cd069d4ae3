//! The repository keeps its own rules: one test per rule, over the files as they are.
//!
//! Invariant: a failure prints file, line, rule and mend; nothing else needs to be run to know them.

use xtask::finding::{Finding, report};
use xtask::rules;
use xtask::tree::{Tree, root};

fn keeps(check: fn(&Tree) -> Vec<Finding>) {
    let tree = Tree::read(&root()).expect("the repository can be read");
    let findings = check(&tree);
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), report(&findings));
}

#[test]
fn the_cores_assert_what_they_rely_on() {
    keeps(rules::asserts::check);
}

#[test]
fn every_point_of_the_protocol_has_a_test_that_is_there() {
    keeps(rules::checklist::check);
}

#[test]
fn no_crate_depends_on_its_own_floor_or_one_above() {
    keeps(rules::floors::check);
}

#[test]
fn generated_files_are_fresh() {
    keeps(rules::fresh::check);
}

#[test]
fn every_rust_file_opens_with_a_header() {
    keeps(rules::header::check);
}

#[test]
fn no_committed_line_names_a_machine_or_a_registry() {
    keeps(rules::hygiene::check);
}

#[test]
fn the_image_runs_without_root_and_without_a_shell() {
    keeps(rules::image::check);
}

#[test]
fn every_relative_link_leads_to_a_file() {
    keeps(rules::links::check);
}

#[test]
fn every_crate_takes_versions_and_lints_from_the_root() {
    keeps(rules::manifests::check);
}

#[test]
fn metric_names_are_spelled_in_the_metric_table_only() {
    keeps(rules::names::check);
}

#[test]
fn the_cores_are_pure() {
    keeps(rules::purity::check);
}

#[test]
fn every_dependency_has_its_reason() {
    keeps(rules::manifests::check_reasons);
}

#[test]
fn every_alarm_has_a_runbook_and_every_runbook_an_alarm() {
    keeps(rules::runbooks::check);
}

#[test]
fn nothing_is_unsafe_and_nothing_unwraps_outside_tests() {
    keeps(rules::safety::check);
}

#[test]
fn files_and_functions_stay_small() {
    keeps(rules::size::check);
}
