//! The function that keeps memory is named, and its healthy neighbours are not.
//!
//! Invariant: nothing is judged by the time it took.

use stent_contract::{Attribution, AttributionMeans};

use crate::rig::{Program, Running, preloaded};

fn names(found: &Attribution) -> Vec<&str> {
    found.frames.iter().map(|frame| frame.function.as_str()).collect()
}

fn leaks(way: &str, flags: &[&str]) -> (Program, Attribution) {
    let program = Program::compile("leaky.c", flags);
    let mut running = Running::start(preloaded(program.path()).arg(way));
    let found = running.look();
    assert!(running.is_alive(), "{found:#?}");
    assert_eq!((found.means, found.windows), (AttributionMeans::NativeProfile, 3), "{found:#?}");
    (program, found)
}

#[test]
fn a_c_function_that_keeps_memory_is_named_with_its_line() {
    let (program, found) = leaks("leak", &["-g", "-O1"]);
    assert_eq!(names(&found)[..1], ["keep_frame"], "{found:#?}");
    let first = &found.frames[0];
    assert!(first.file.ends_with("leaky.c") && first.share > 0.9, "{found:#?}");
    let source = std::fs::read_to_string(&program.source).expect("the source is there");
    let line = first.line.and_then(|line| source.lines().nth(line as usize - 1));
    assert!(line.is_some_and(|line| line.contains("malloc(KEPT_BYTES)")), "{line:?} {found:#?}");
    assert!(!names(&found).contains(&"use_and_free"), "{found:#?}");
}

#[test]
fn without_debug_information_the_symbol_table_names_the_function_and_the_module_is_its_file() {
    for flags in [&["-O1"][..], &["-O1", "-s", "-rdynamic"]] {
        let (program, found) = leaks("leak", flags);
        assert_eq!(names(&found)[..1], ["keep_frame"], "{flags:?} {found:#?}");
        let file = program.path().display().to_string();
        assert_eq!((&found.frames[0].file, found.frames[0].line), (&file, None), "{found:#?}");
    }
}

#[test]
fn a_stripped_program_is_named_by_a_place_in_its_file() {
    let (_program, found) = leaks("leak", &["-O1", "-s"]);
    assert!(names(&found)[0].starts_with("program+0x"), "{found:#?}");
}

#[test]
fn a_healthy_twin_with_a_full_cache_is_not_accused() {
    let program = Program::compile("leaky.c", &["-g", "-O1"]);
    let mut command = preloaded(program.path());
    // A full cache of 10 MB is twenty samples of 512 KiB, whose number wavers by four: in three short windows
    // that may look like growth. Here nearly every allocation is a sample, and what is full is flat.
    let mut running =
        Running::start(command.arg("healthy").env("_RJEM_MALLOC_CONF", "lg_prof_sample:12"));
    let found = running.look();
    assert!(running.is_alive(), "{found:#?}");
    assert_eq!((found.means, found.windows), (AttributionMeans::NativeProfile, 3), "{found:#?}");
    for innocent in ["keep_newest", "use_and_free", "keep_frame"] {
        assert!(!names(&found).contains(&innocent), "{found:#?}");
    }
}

#[test]
fn a_child_that_was_forked_without_exec_serves_under_its_own_number() {
    let (_program, found) = leaks("fork", &["-g", "-O1"]);
    assert_eq!(names(&found)[..1], ["keep_frame"], "{found:#?}");
}

#[test]
fn buffers_of_node_are_seen_although_they_are_outside_its_heap() {
    let script = "const kept = []; setInterval(() => kept.push(Buffer.alloc(400000, 1)), 10);\
                  console.log('listening ' + process.pid)";
    let mut running = Running::start(preloaded("node").args(["-e", script]));
    let found = running.look();
    assert!(running.is_alive());
    assert_eq!(found.means, AttributionMeans::NativeProfile, "{found:#?}");
    assert!(found.frames[0].bytes > 10 << 20, "{found:#?}");
}
