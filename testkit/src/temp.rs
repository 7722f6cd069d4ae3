//! Folders that are gone with their guard.
//!
//! Invariant: a folder is private (0700), its path is short enough for a unix socket in it, and
//! every user of the machine can reach it (a dropped-privileges PostgreSQL must).

use std::fs::{DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::watchdog::{End, Watchdog};

/// A socket's path has 104 bytes (macOS) or 108 (Linux), the closing NUL included; this leaves 50
/// for a name within the folder.
const BASE_BYTES_MAX: usize = 50;

/// A private folder, removed with all its contents when the guard is dropped or its process is gone.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    _watchdog: Watchdog,
}

impl TempDir {
    /// Makes an empty folder whose name begins with `stent-LABEL-`.
    pub fn new(label: &str) -> Result<Self> {
        let path = create(label)?;
        let watchdog = Watchdog::start(End::KillGroup, Some(&path))?;
        Ok(Self { path, _watchdog: watchdog })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a folder that nobody removes yet.
pub(crate) fn create(label: &str) -> Result<PathBuf> {
    let name: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
    let path = base().join(format!("stent-{label}-{name}"));
    DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .with_context(|| format!("create the folder {}", path.display()))?;
    Ok(path)
}

fn base() -> PathBuf {
    let preferred = std::env::temp_dir();
    let fits = preferred.as_os_str().len() <= BASE_BYTES_MAX;
    if fits && (!rustix::process::geteuid().is_root() || open_to_all(&preferred)) {
        return preferred;
    }
    PathBuf::from("/tmp")
}

/// Whether every user may pass through `path` and all the folders above it.
pub(crate) fn open_to_all(path: &Path) -> bool {
    let passable = |metadata: Metadata| metadata.permissions().mode() & 0o001 != 0;
    path.ancestors().all(|folder| folder.metadata().is_ok_and(passable))
}
