//! `stent budget`: a plan out, and an exit code for continuous integration.

mod common;

use expect_test::expect;

fn budget(arguments: &str) -> (Option<i32>, String) {
    let mut command = common::stent();
    let output = command.arg("budget").args(arguments.split_whitespace()).output();
    let output = output.expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn a_plan_that_fits_is_printed() {
    let (code, text) =
        budget("--max-connections 81 --services 2 --tasks 2 --others 5 --pool-size 20");
    expect![[r#"
        max_connections                   81
        reserved for superusers           3
        of other programs                 5
        fleet_reserve                     3
        usable by the fleet               70
        tasks (one connection each)       4, up to 8 during a deploy
        share of a task, all busy         16, 7 during a deploy
        fleet_minimum                     2
        without a budget                  160 (20 for each task): would not fit
        it fits
    "#]]
    .assert_eq(&text);
    assert_eq!(code, Some(0));
}

#[test]
fn a_plan_that_does_not_fit_says_what_to_change_and_ends_with_1() {
    let (code, text) = budget("--instance-class=db.t4g.micro --tasks 20 --min 4");
    expect![[r#"
        max_connections                   80 (a careful guess for db.t4g.micro, 1 GiB; SHOW max_connections says what it is)
        reserved for superusers           3
        of other programs                 0
        fleet_reserve                     3
        it does not fit: 40 tasks at the peak need 200 connections, and 74 are usable
          mend: raise max_connections to 206, or run at most 14 tasks at a time in all services together, or deploy with less overlap (maximumPercent)
    "#]]
    .assert_eq(&text);
    assert_eq!(code, Some(1));
    let (code, text) = budget("--max-connections 30 --others 40 --tasks 1");
    assert!(
        text.ends_with("mend: raise max_connections above 46, or lower --others or --reserve\n")
    );
    assert_eq!(code, Some(1));
}

#[test]
fn the_plan_is_one_json_object_for_programs() {
    let (code, text) = budget("--max-connections 81 --tasks 4 --json");
    let plan: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((plan["fits"].as_bool(), plan["share_peak"].as_u64()), (Some(true), Some(8)));
    assert_eq!(code, Some(0));
    let (code, text) = budget("--max-connections 81 --tasks 40 --json");
    let plan: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(plan["fits"], false);
    assert!(plan["mend"].as_str().expect("a sentence").starts_with("raise max_connections to 246"));
    assert_eq!(code, Some(1));
}

#[test]
fn what_cannot_be_meant_is_refused_with_2() {
    let (code, text) = budget("--tasks 4");
    expect![[r#"
        stent: budget: neither --max-connections nor --instance-class, or both
          mend: write stent budget --max-connections N | --instance-class db.CLASS, --tasks N, and where they differ from their defaults --services 1 --overlap 200 --min 2 --others 0 --reserved 3 --reserve 3 --pool-size N --json
    "#]]
    .assert_eq(&text);
    assert_eq!(code, Some(2));
}
