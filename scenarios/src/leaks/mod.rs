//! Applications that leak in one of several known ways, each with healthy twins, and what the agent
//! says of them: the verdict, when, and whose growth it is.
//!
//! Owns: `scenarios/leaks/*.toml` and how their cases are run. Refuses: any look inside Stent; the
//! agent is the real program, and what it says is its `/snapshot`.
//! Invariant: a case of any runtime is run and judged in the same way; what differs is in its file.

pub mod load;
pub mod manifest;
pub mod record;
pub mod run;
pub mod table;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::scenario::home;
use manifest::Manifest;
use table::Row;

/// Where the manifests and their applications are.
pub fn folder() -> PathBuf {
    home().join("leaks")
}

/// Runs the cases of the runtimes named (all: none named) whose kind is among `kinds` (all: empty),
/// one after the other, and prints a line for each.
pub async fn leaks(
    runtimes: &[String],
    kinds: &[String],
    say: &mut impl FnMut(&str),
) -> Result<Vec<Row>> {
    let manifests = Manifest::all(&folder())?;
    let known: Vec<&str> = manifests.iter().map(|manifest| manifest.runtime.as_str()).collect();
    for runtime in runtimes {
        ensure!(known.contains(&runtime.as_str()), "no runtime {runtime}; there are {known:?}");
    }
    say(table::HEAD);
    let mut rows = Vec::new();
    for manifest in &manifests {
        let wanted = runtimes.is_empty() || runtimes.contains(&manifest.runtime);
        for case in manifest.cases.iter().filter(|_| wanted) {
            if kinds.is_empty() || kinds.contains(&case.kind) {
                let seen = run::run(manifest, case).await?;
                let row = table::judge(manifest, case, seen);
                say(&row.line());
                rows.push(row);
            }
        }
    }
    ensure!(!rows.is_empty(), "no case is left to run");
    Ok(rows)
}
