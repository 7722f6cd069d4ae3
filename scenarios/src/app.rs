//! The applications of the scenarios: their packages and their programs.
//!
//! Owns: `node_modules` of a folder under `scenarios/apps`. Refuses: any version but the one of the
//! committed lock file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// An application with its packages installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its folder.
    pub folder: PathBuf,
}

impl Installed {
    /// Sees to it that the packages of the lock file are installed in `folder`.
    pub fn ensure(folder: &Path) -> Result<Self> {
        let lock_file = folder.join("package-lock.json");
        // Several tests may come here at once; the lock is on a file that is there anyway.
        let lock =
            File::open(&lock_file).with_context(|| format!("open {}", lock_file.display()))?;
        lock.lock().with_context(|| format!("lock {}", lock_file.display()))?;
        if !is_installed(folder) {
            npm_ci(folder)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The program of this name: among the application's packages, else as it is, for `PATH`.
    pub fn program(&self, name: &str) -> PathBuf {
        let modules = self.folder.join("node_modules");
        let mut candidates = vec![modules.join(".bin").join(name)];
        if name == "bun" {
            candidates.extend(bun_programs(&modules));
        }
        candidates.into_iter().find(|program| runs(program)).unwrap_or_else(|| name.into())
    }
}

/// npm writes its own copy of the lock file last; it is newer than the lock file it was made from.
fn is_installed(folder: &Path) -> bool {
    let modified = |name: &str| folder.join(name).metadata().and_then(|data| data.modified()).ok();
    modified("node_modules/.package-lock.json") >= modified("package-lock.json")
}

fn npm_ci(folder: &Path) -> Result<()> {
    let output = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("run npm (install Node.js, which brings it)")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("npm ci in {} failed ({}):\n{said}", folder.display(), output.status);
    }
    Ok(())
}

/// The programs that npm's `bun` chooses from in its install script, which npm may not have run.
/// The plain one of x86-64 needs AVX2; `baseline` and `musl` ones are for what is left.
fn bun_programs(modules: &Path) -> Vec<PathBuf> {
    let Ok(entries) = modules.join("@oven").read_dir() else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path().join("bin").join("bun")).collect();
    found.sort();
    found
}

fn runs(program: &Path) -> bool {
    program.is_file()
        && Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
}
