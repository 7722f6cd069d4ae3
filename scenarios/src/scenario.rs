//! `scenario.toml`: an application, how it is made to fail, and what Stent has to say about it.
//!
//! Invariant: a scenario that was read is complete and its figures are usable; an unknown key or a
//! bad value is refused with file, line and reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use stent_contract::VerdictLevel;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One line for the report.
    pub title: String,
    /// What runs.
    pub app: App,
    /// What Stent is told.
    pub limits: Limits,
    /// The requests.
    pub load: Load,
    /// What goes wrong.
    pub leak: Leak,
    /// What Stent has to say then.
    pub expect: Expect,
    /// The same application when nothing goes wrong.
    pub twin: Twin,
}

/// `[app]`: a folder under `scenarios/apps` with a `package.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// The folder's name.
    pub folder: String,
    /// The command; its program is looked for among the application's own packages first.
    pub command: Vec<String>,
    /// The line of its output that ends with its `address:port` begins with this.
    pub ready_line: String,
    /// Variables beside DATABASE_URL and PORT.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// `[limits]`: Stent's own keys of these names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Servers of the pool.
    pub default_pool_size: u32,
    /// How long a client may queue.
    pub query_wait_timeout_seconds: u32,
    /// The memory at which the application would end.
    pub memory_limit_bytes: u64,
}

/// `[load]`: a steady stream of requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// How many a second.
    pub requests_per_second: Positive,
    /// After which a request counts as failed.
    pub request_timeout_seconds: Positive,
    /// Members that are created before the stream begins.
    pub members: u32,
}

/// `[leak]`: the switches of the application, and when they are thrown.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leak {
    /// Healthy load before that.
    pub after_seconds: Positive,
    /// Transactions that are begun and never ended.
    pub transactions_per_second: Positive,
    /// What the application keeps of each request.
    pub retained_bytes_per_request: u64,
}

/// `[expect]`: what Stent has to say about the leak.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// All of it, so soon after the switch.
    pub within_seconds: Positive,
    /// The target's name.
    pub target: String,
    /// The pool: `database/user`.
    pub pool: String,
    /// The verdict on the target's memory.
    pub memory: VerdictLevel,
    /// The verdict on the pool's connections.
    pub connections: VerdictLevel,
    /// How many holders the diagnosis names.
    pub holders_at_least: usize,
    /// What each of them calls itself.
    pub application_name: String,
    /// What the last statement of each contains.
    pub last_statement: String,
}

/// `[twin]`: what Stent has to say when nothing leaks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twin {
    /// How long it is watched.
    pub run_seconds: Positive,
    /// The worst verdict that is not yet a false alarm.
    pub level_at_most: VerdictLevel,
    /// The share of requests that succeed, 0.0 to 1.0.
    pub requests_ok_at_least: f64,
}

/// A number above 0 that is fit to be a rate or a time.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Positive(f64);

/// Larger ones are slips of the pen, and would overflow a `Duration`.
const POSITIVE_MAX: f64 = 1e6;

impl TryFrom<f64> for Positive {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        if value > 0.0 && value <= POSITIVE_MAX {
            Ok(Self(value))
        } else {
            Err(format!("must be above 0 and at most {POSITIVE_MAX}, not {value}"))
        }
    }
}

impl Positive {
    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// As seconds.
    pub fn seconds(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }
}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text, path)
    }

    /// Reads the scenario of this name that comes with this crate.
    pub fn named(name: &str) -> Result<Self> {
        Self::read(&home().join(name).join("scenario.toml"))
    }

    /// Reads a text; `path` is for the message.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let scenario: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            anyhow!("{}:{line}: {}", path.display(), error.message())
        })?;
        if scenario.app.command.is_empty() {
            return Err(anyhow!("{}: app.command is empty", path.display()));
        }
        Ok(scenario)
    }
}

/// The folder of this crate: scenarios and applications lie in it.
pub fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[cfg(test)]
mod tests {
    use super::{Scenario, home};
    use std::path::Path;

    fn text() -> String {
        let path = home().join("vitality-two-leaks/scenario.toml");
        std::fs::read_to_string(path).expect("the scenario is there")
    }

    fn refusal(text: &str) -> String {
        Scenario::parse(text, Path::new("scenario.toml")).expect_err("it is refused").to_string()
    }

    #[test]
    fn the_scenario_that_comes_with_the_crate_is_read() {
        let scenario = Scenario::named("vitality-two-leaks").unwrap();
        assert!(scenario.expect.within_seconds.seconds() > scenario.leak.after_seconds.seconds());
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_and_line() {
        let text = text().replace("[leak]\n", "[leak]\nspeed = 3\n");
        let line = 1 + text[..text.find("speed").unwrap()].matches('\n').count();
        let refusal = refusal(&text);
        assert!(refusal.starts_with(&format!("scenario.toml:{line}: ")), "{refusal}");
        assert!(refusal.contains("speed"), "{refusal}");
    }

    #[test]
    fn a_missing_key_is_refused_by_name() {
        let refusal = refusal(&text().replace("pool = \"vitality/vitality\"\n", ""));
        assert!(refusal.contains("`pool`"), "{refusal}");
    }

    #[test]
    fn a_rate_of_zero_is_refused_with_its_line() {
        let text = text().replace("requests_per_second = 40", "requests_per_second = 0.0");
        let line = 1 + text[..text.find("requests_per_second").unwrap()].matches('\n').count();
        let refusal = refusal(&text);
        assert!(refusal.starts_with(&format!("scenario.toml:{line}: ")), "{refusal}");
        assert!(refusal.contains("above 0"), "{refusal}");
    }

    #[test]
    fn a_verdict_that_does_not_exist_is_refused() {
        let refusal = refusal(&text().replace("memory = \"leak\"", "memory = \"bad\""));
        assert!(refusal.contains("healthy"), "{refusal}");
    }
}
