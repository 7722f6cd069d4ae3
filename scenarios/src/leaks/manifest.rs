//! `scenarios/leaks/RUNTIME.toml`: an application, its load, and for each of its kinds what the agent
//! has to say.
//!
//! Invariant: a manifest that was read is complete; an unknown key or a bad value is refused with
//! file, line and reason.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::scenario::Positive;

/// In a variable's value: a port that is free.
pub const PORT: &str = "{port}";

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The file's name without its end.
    #[serde(skip)]
    pub runtime: String,
    /// What runs.
    pub app: App,
    /// What the agent is told.
    pub limits: Limits,
    /// The requests.
    pub load: Load,
    /// The kinds.
    #[serde(rename = "case")]
    pub cases: Vec<Case>,
}

/// `[app]`: told its kind by a variable and its port by `PORT`; may wait for `GET /start` before it
/// leaks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Below `scenarios/leaks`; with a `package.json` its packages are installed first.
    pub folder: String,
    /// The command; its program is looked for among the application's own packages first, or, with a
    /// `Cargo.toml`, beside this program.
    pub command: Vec<String>,
    /// The line of its output that ends with its `address:port` begins with this.
    pub ready_line: String,
    /// The variable that says which kind it is.
    #[serde(default = "kind_variable")]
    pub kind_variable: String,
    /// Further variables; [`PORT`] in a value is replaced by a free port.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

fn kind_variable() -> String {
    "KIND".to_owned()
}

/// `[limits]`: the agent's keys of these names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The memory at which the application would end.
    pub memory_limit_bytes: u64,
    /// Time between readings.
    pub sample_interval_seconds: Positive,
}

/// `[load]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// How many requests a second.
    pub requests_per_second: Positive,
    /// Load before `GET /start`.
    pub warm_up_seconds: Positive,
    /// After it, at most.
    pub run_seconds: Positive,
}

/// What is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The verdict `leak`.
    Leak,
    /// Never the verdict `leak`.
    Healthy,
}

/// `[[case]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The value of `kind_variable`.
    pub kind: String,
    /// What is right.
    pub expect: Expect,
    /// The function (or class) that is named first; nothing: attribution is not asked for.
    pub names: Option<String>,
    /// The end of its file's path.
    pub file: Option<String>,
    /// The load swings between nothing and twice the rate with this period; nothing: it is steady.
    pub period_seconds: Option<Positive>,
}

impl Manifest {
    /// Every manifest of a folder, by name.
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let entries = folder.read_dir().with_context(|| format!("read {}", folder.display()))?;
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
        files.sort();
        ensure!(!files.is_empty(), "no manifest in {}", folder.display());
        files.iter().map(|path| Self::read(path)).collect()
    }

    /// One manifest.
    pub fn read(path: &Path) -> Result<Self> {
        let what = || format!("read {}", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        let mut manifest: Self = toml::from_str(&text).with_context(what)?;
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        manifest.runtime = name.to_owned();
        ensure!(!manifest.app.command.is_empty(), "{}: an empty command", path.display());
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_of_the_repository_has_four_leaks_and_four_twins() {
        for manifest in Manifest::all(&crate::leaks::folder()).unwrap() {
            let of = |expect| manifest.cases.iter().filter(|case| case.expect == expect).count();
            let counts = (of(Expect::Leak), of(Expect::Healthy));
            assert_eq!(counts, (4, 4), "{}", manifest.runtime);
        }
    }
}
