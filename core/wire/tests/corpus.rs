//! Replays the committed corpus of the fuzz targets on stable, and random schedules of whole sessions.
//!
//! Owns: nothing of its own; the properties are in `fuzz/src/lib.rs`.
//! Invariant: each target has inputs, so an emptied folder cannot pass.
#![expect(clippy::disallowed_methods, reason = "a test reads its inputs from the repository")]

use std::path::Path;

use proptest::prelude::*;

#[expect(unreachable_pub, reason = "the fuzz crate is another crate, where these are public")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is in the repository")
        .map(|entry| entry.expect("its folder can be read").path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        println!("{}", input.display());
        run(&std::fs::read(&input).expect("an input can be read"));
    }
}

#[test]
fn the_corpus_of_startup_raw_keeps_its_property() {
    replay("startup_raw", targets::startup_raw);
}

#[test]
fn the_corpus_of_frames_raw_keeps_its_property() {
    replay("frames_raw", targets::frames_raw);
}

#[test]
fn the_corpus_of_scram_raw_keeps_its_property() {
    replay("scram_raw", targets::scram_raw);
}

#[test]
fn the_corpus_of_error_raw_keeps_its_property() {
    replay("error_raw", targets::error_raw);
}

#[test]
fn the_corpus_of_text_raw_keeps_its_property() {
    replay("text_raw", targets::text_raw);
}

#[test]
fn the_corpus_of_sessions_keeps_its_property() {
    replay("sessions", targets::sessions);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn clients_that_share_servers_see_what_each_would_see_alone(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        targets::sessions(&bytes);
    }
}
