//! Data folders, made once by initdb and then copied: initdb takes seconds, a copy a tenth of one.
//!
//! Owns: `target/stent-testkit/` of the build to which this program belongs. A program that lies in no
//! such folder gets a fresh initdb each time; nothing is ever cached elsewhere.
//! Invariant: a template appears whole, by rename, under a lock, and is never changed.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::find::Installation;
use super::owner::Owner;
use crate::temp;
use crate::watchdog::{End, Watchdog};

/// The user that initdb makes.
pub(super) const SUPERUSER: &str = "postgres";

/// Fills `data`, which must not exist, with a fresh database cluster that `owner` owns.
pub(super) fn fill(data: &Path, installation: &Installation, owner: Owner) -> Result<()> {
    match cache_folder() {
        Some(cache) => {
            let template = cached(&cache, installation, owner)?;
            copy(&template, data)?;
            owner.own(data)
        }
        None => initdb(data, installation, owner),
    }
}

/// What cargo leaves in a build folder: the first only in one that it has made itself.
const MARKS: [&str; 2] = ["CACHEDIR.TAG", ".rustc_info.json"];

/// Where cargo builds this program: the folder above it that carries one of cargo's marks.
fn cache_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let target =
        program.ancestors().find(|folder| MARKS.iter().any(|mark| folder.join(mark).is_file()))?;
    Some(target.join("stent-testkit"))
}

fn cached(cache: &Path, installation: &Installation, owner: Owner) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    installation.bin_dir().hash(&mut hasher);
    let version = installation.version();
    let name = format!("data-{version}-{:016x}-{}", hasher.finish(), owner.user);
    let template = cache.join(&name);
    if template.is_dir() {
        return Ok(template);
    }
    fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock().with_context(|| format!("lock {name}.lock"))?;
    if template.is_dir() {
        return Ok(template);
    }
    // Made outside of the build folder, which the server's user need not be able to enter.
    let fresh = temp::create("initdb")?;
    let _removed_at_the_end = Watchdog::start(End::KillGroup, Some(&fresh))?;
    owner.own(&fresh)?;
    initdb(&fresh.join("data"), installation, owner)?;
    let partial = cache.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    copy(&fresh.join("data"), &partial)?;
    fs::rename(&partial, &template)?;
    Ok(template)
}

fn initdb(data: &Path, installation: &Installation, owner: Owner) -> Result<()> {
    let mut command = Command::new(installation.bin_dir().join("initdb"));
    command.arg("--pgdata").arg(data).args(["--username", SUPERUSER, "--auth", "trust"]);
    command.args(["--encoding", "UTF8", "--no-sync", "--no-instructions"]);
    // macOS had no C.UTF-8 for long; the encoding makes C mean nearly the same there.
    command.args(["--locale", if cfg!(target_os = "linux") { "C.UTF-8" } else { "C" }]);
    command.args(["--lc-messages", "C"]);
    clean_environment(&mut command);
    owner.apply(&mut command);
    let output = command
        .stdin(Stdio::null())
        .current_dir("/")
        .output()
        .with_context(|| format!("run initdb of {}", installation.bin_dir().display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("initdb failed ({}):\n{}", output.status, String::from_utf8_lossy(&said));
    }
    Ok(())
}

/// Takes away what would make PostgreSQL's programs look at somebody else's server or speak in
/// another language.
pub(super) fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("PG") || name.starts_with("LC_") || name == "LANG" {
            command.env_remove(name.as_ref());
        }
    }
}

/// Copies a folder with its permissions; `to` must not exist. A cluster has no links but
/// tablespaces, and a fresh one has none of those.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("create {}", to.display()))?;
    for entry in from.read_dir().with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    fs::set_permissions(to, from.metadata()?.permissions())?;
    Ok(())
}
