//! The detector on recordings of real applications: small servers in Node, Bun and Python that leak in
//! four ways, and their healthy twins.

use std::path::Path;

use stent_traces::Truth;
use stent_traces::recordings::{Recording, scores, table};

fn all() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let files = std::fs::read_dir(folder).expect("the recordings are in the repository");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).expect("a text");
        let name = path.file_stem().expect("a name").to_string_lossy();
        Recording::parse(&name, &text).expect("a recording")
    };
    paths.iter().map(read).collect()
}

#[test]
fn leaks_of_real_applications_are_found_before_their_end_and_no_healthy_twin_is_called_one() {
    let recordings = all();
    println!("{}", table(&recordings));
    let leaks = recordings.iter().filter(|one| one.trace.truth != Truth::Healthy).count();
    assert!(leaks >= 8 && recordings.len() >= leaks + 8, "{leaks} of {}", recordings.len());
    for (score, counted) in scores(&recordings).iter().zip(["as recorded", "without requests"]) {
        assert_eq!(score.false_alarms(), 0, "{counted}");
        assert_eq!(score.found(), leaks, "{counted}");
        assert!(score.error(0.5).is_some_and(|error| error <= 0.2), "{counted}");
    }
}
