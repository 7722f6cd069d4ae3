//! The repository's files as text, read once.
//!
//! Owns: which files count (everything but build output, dependencies and git's own folder).
//! Refuses: to read through a rule; every rule is a function of a [`Tree`], so that its self-test
//! can hand it one that breaks the rule.
//! Invariant: paths are relative to the root and use `/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &[".git", "target", "node_modules", "__pycache__", ".venv"];

/// Text files by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the files under `root`; bytes that are no UTF-8 become replacement characters.
    pub fn read(root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in WalkDir::new(root).into_iter().filter_entry(is_ours) {
            let entry = entry.with_context(|| format!("walk {}", root.display()))?;
            if !entry.file_type().is_file() {
                continue;
            }
            let relative = entry.path().strip_prefix(root).unwrap_or_else(|_| entry.path());
            let Some(bytes) = read_unless_gone(entry.path())? else { continue };
            files.insert(slashed(relative), String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(Self { files })
    }

    /// A tree of these files: what the self-tests of the rules use.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self { files: files.collect() }
    }

    /// Every file with its text, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The files whose name ends in `suffix`.
    pub fn ending<'a>(&'a self, suffix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files().filter(move |(path, _)| path.ends_with(suffix))
    }

    /// The files in the folder `prefix` (given with its closing `/`).
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files().filter(move |(path, _)| path.starts_with(prefix))
    }

    /// One file's text.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether `path` is a file, or a folder that holds one.
    pub fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        path.is_empty() || self.files.contains_key(path) || self.under(&folder).next().is_some()
    }
}

/// A file can vanish between listing and reading: an editor's, or a test's that runs beside us.
fn read_unless_gone(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    !(entry.file_type().is_dir() && SKIPPED.contains(&name.as_ref()))
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// The root of the repository that this crate was built from.
pub fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder).to_path_buf()
}
