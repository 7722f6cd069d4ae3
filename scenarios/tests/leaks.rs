//! Leaks of real runtimes against the real agent: one that is found and named, one twin, and the
//! runtimes that must never be signalled. The whole table is `./x leaks`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use stent_contract::AttributionMeans;
use stent_scenarios::leaks::folder;
use stent_scenarios::leaks::manifest::{Case, Manifest};
use stent_scenarios::leaks::run::{run, start_app};

fn manifest(runtime: &str) -> Manifest {
    Manifest::read(&folder().join(format!("{runtime}.toml"))).unwrap()
}

/// The same with time enough for a busy machine. A leak that was found ends its run.
fn patient(runtime: &str) -> Manifest {
    let mut manifest = manifest(runtime);
    manifest.load.run_seconds = 200.0.try_into().unwrap();
    manifest
}

fn case(manifest: &Manifest, kind: &str) -> Case {
    manifest.cases.iter().find(|case| case.kind == kind).unwrap().clone()
}

#[tokio::test]
async fn a_leak_of_node_is_found_and_looked_into_while_it_serves() {
    let mut manifest = patient("node");
    manifest.load.requests_per_second = 100.0.try_into().unwrap();
    let seen = run(&manifest, &case(&manifest, "per_request")).await.unwrap();
    assert!(seen.leak.is_some(), "{seen:?}");
    assert_eq!(seen.ended, None);
    let attribution = seen.attribution.unwrap();
    assert_eq!(attribution.means, AttributionMeans::V8Sampling);
    // A machine too busy for the budget of pauses ends the look early, and it says so.
    match attribution.frames.first() {
        Some(first) => assert_eq!(first.function, "rememberSession", "{attribution:?}"),
        None => assert!(attribution.note.starts_with("stopped early"), "{attribution:?}"),
    }
}

#[tokio::test]
async fn a_leak_of_python_is_found_and_its_line_named_by_its_own_module() {
    let manifest = patient("python");
    let seen = run(&manifest, &case(&manifest, "per_request")).await.unwrap();
    assert!(seen.leak.is_some(), "{seen:?}");
    assert_eq!(seen.ended, None);
    let attribution = seen.attribution.unwrap();
    assert_eq!(attribution.means, AttributionMeans::Tracemalloc, "{attribution:?}");
    match attribution.frames.first() {
        Some(first) => assert_eq!(first.function, "remember_session", "{attribution:?}"),
        None => assert!(attribution.note.contains("is not asked again"), "{attribution:?}"),
    }
}

#[tokio::test]
async fn a_sawtooth_of_node_is_not_accused() {
    let mut manifest = manifest("node");
    manifest.load.run_seconds = 40.0.try_into().unwrap();
    let seen = run(&manifest, &case(&manifest, "sawtooth")).await.unwrap();
    assert_eq!(seen.leak, None, "{seen:?}");
    assert_eq!(seen.ended, None);
}

#[tokio::test]
async fn a_leaking_bun_without_an_inspector_is_never_signalled() {
    let mut manifest = manifest("bun");
    manifest.app.environment.remove("BUN_INSPECT");
    manifest.load.requests_per_second = 100.0.try_into().unwrap();
    let seen = run(&manifest, &case(&manifest, "per_request")).await.unwrap();
    assert_eq!(seen.ended, None, "SIGUSR1 would have ended it");
    let attribution = seen.attribution.unwrap();
    assert!(
        attribution.frames.is_empty() && attribution.note.contains("BUN_INSPECT="),
        "{attribution:?}"
    );
}

#[test]
fn every_application_of_the_manifests_starts() {
    for manifest in Manifest::all(&folder()).unwrap() {
        let (mut app, _) = start_app(&manifest, &manifest.cases[0]).unwrap();
        app.terminate(Duration::from_secs(20)).unwrap();
    }
}
