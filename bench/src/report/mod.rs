//! What is kept of a run: the raw figures, the tables made of them, and the README's part.
//!
//! Invariant: the tables follow from the raw figures alone, so that a test can make them again.

mod curves;
mod faults;
mod limits;
mod readme;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::faults::Done;
use crate::figure::Figure;
use crate::meter::machine;
use crate::session::Session;

pub use faults::{Bar, bars};
pub use limits::{Kept, Limit, limits};
pub use readme::{BEGIN, END, spliced};

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Raw {
    /// The command that makes such a run again.
    pub command: String,
    /// The machine.
    pub machine: Value,
    /// Versions of the endpoints.
    pub versions: BTreeMap<String, String>,
    /// Their settings.
    pub settings: BTreeMap<String, Vec<String>>,
    /// What is worth knowing beside the figures.
    pub notes: BTreeMap<String, String>,
    /// All measurements.
    pub figures: Vec<Figure>,
}

/// The command that makes a run again.
fn command(program: &str, arguments: &[String]) -> String {
    let words: Vec<&str> =
        [program].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    words.join(" ")
}

impl Raw {
    /// What a session has come to.
    pub fn of(session: &Session, arguments: &[String]) -> Self {
        Self {
            command: command("./x bench", arguments),
            machine: machine::facts(),
            versions: session.versions.clone(),
            settings: session.settings.clone(),
            notes: session.notes.clone(),
            figures: session.figures.clone(),
        }
    }

    /// What a run of the fault matrix has come to.
    pub fn of_faults(
        done: &Done,
        versions: &BTreeMap<String, String>,
        arguments: &[String],
    ) -> Self {
        Self {
            command: command("./x faults", arguments),
            machine: machine::facts(),
            versions: versions.clone(),
            settings: done.settings.clone(),
            notes: BTreeMap::new(),
            figures: done.figures.clone(),
        }
    }

    /// From a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
    }

    /// As a file: a line a measurement, so that a change of one is a change of one line.
    pub fn text(&self) -> Result<String> {
        let mut head = self.clone();
        let figures: Result<Vec<String>, _> =
            head.figures.drain(..).map(|figure| serde_json::to_string(&figure)).collect();
        let head = serde_json::to_string_pretty(&head)?;
        let figures = figures?.join(",\n    ");
        Ok(head.replace("\"figures\": []", &format!("\"figures\": [\n    {figures}\n  ]")) + "\n")
    }

    /// The tables (Markdown).
    pub fn tables(&self) -> String {
        table::page(self)
    }

    /// The curves (Markdown).
    pub fn curves(&self) -> String {
        curves::page(self)
    }

    /// The fault matrix (Markdown).
    pub fn faults(&self) -> String {
        faults::page(self)
    }

    /// The README's part.
    pub fn summary(&self) -> String {
        readme::summary(self)
    }
}
