//! The leaking function of a real program is named, and the healthy twins are not accused.
//!
//! Invariant: the program is a process of its own, under load while it is looked into; it answers
//! all the time.

use std::process::Command;
use std::time::Duration;

use crate::running::{Running, quick, runtime};
use stent_agent::{HeapSocket, Pace, attribute};
use stent_contract::AttributionMeans;

const PROFILING: &str = "prof:true,lg_prof_sample:16";

fn start(leak: &str, conf: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stent-leaks-rust"));
    Running::start(command.env("_RJEM_MALLOC_CONF", conf), leak)
}

fn named(leak: &str, function: &str) {
    let running = start(leak, PROFILING);
    let found = running.look(&quick());
    assert_eq!(found.means, AttributionMeans::JemallocProfile, "{found:#?}");
    assert_eq!(found.windows, 3, "{found:#?}");
    let first = found.frames.first().unwrap_or_else(|| panic!("nothing named: {found:#?}"));
    // A function that was inlined has its bare name.
    assert_eq!(first.function.rsplit("::").next(), Some(function), "{found:#?}");
    assert!(first.file.ends_with("src/ways.rs") && first.line.is_some(), "{found:#?}");
    assert!(first.share > 0.5, "{found:#?}");
    println!(
        "{leak}: {first:?}, pause {} ms, cpu {:?} s",
        found.largest_pause_ms, found.cpu_seconds
    );
}

#[test]
fn a_leak_for_each_request_is_named() {
    named("request", "remember_session");
}

#[test]
fn a_leak_of_a_timer_is_named() {
    named("timer", "record_tick");
}

#[test]
fn a_leak_of_buffers_is_named() {
    named("buffer", "keep_buffer");
}

#[test]
fn a_leak_of_what_closures_hold_is_named() {
    named("listener", "subscribe");
}

#[test]
fn a_cache_that_has_filled_and_a_sawtooth_are_not_named() {
    for (twin, function) in [("warm-up", "warm_up"), ("sawtooth", "collect_and_clear")] {
        let running = start(twin, PROFILING);
        running.wait_for(4_000);
        let found = running.look(&Pace { windows: 6, ..quick() });
        let accused = found.frames.iter().find(|frame| frame.function.ends_with(function));
        assert_eq!(accused, None, "{twin}: {found:#?}");
    }
}

#[test]
fn a_program_without_a_profile_is_told_what_would_make_it_attributable() {
    let found = start("request", "prof:false").look(&quick());
    assert_eq!((found.frames.len(), found.windows), (0, 0));
    assert!(found.note.contains("prof:true"), "{}", found.note);
    // This very process serves nothing.
    let found = runtime().block_on(attribute(std::process::id(), &HeapSocket::OfPid, &quick()));
    assert_eq!(found.means, AttributionMeans::None);
    assert!(found.note.contains("stent_heap::serve_default()"), "{}", found.note);
}

#[test]
fn a_program_killed_while_it_is_looked_into_ends_the_look_with_a_note() {
    let mut running = start("request", PROFILING);
    let pid = running.pid();
    let looking = std::thread::spawn(move || {
        let pace = Pace { windows: 1_000, window: Duration::from_millis(200), ..quick() };
        runtime().block_on(attribute(pid, &HeapSocket::OfPid, &pace))
    });
    running.wait_for(1_500);
    running.kill();
    let found = looking.join().unwrap();
    assert!(found.note.contains("heap socket"), "{found:#?}");
    assert!(found.windows < 1_000);
}
