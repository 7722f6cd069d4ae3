//! As whom PostgreSQL runs: it refuses root, so root hands its folder to somebody else.

use std::fs;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// `nobody` of nearly every system; needs no entry in `/etc/passwd`.
const NOBODY: u32 = 65_534;

/// The user who owns the server's process and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
    means: Means,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// This process's own user.
    Stay,
    /// Root gives its rights away.
    Drop,
}

impl Owner {
    /// This user; or, for root, the user `postgres` where there is one, else `nobody`.
    pub(super) fn choose() -> Self {
        let user = rustix::process::geteuid();
        if !user.is_root() {
            let group = rustix::process::getegid();
            return Self { user: user.as_raw(), group: group.as_raw(), means: Means::Stay };
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (user, group) = postgres_in(&accounts).unwrap_or((NOBODY, NOBODY));
        Self { user, group, means: Means::Drop }
    }

    /// Makes `command` run as this user.
    pub(super) fn apply(self, command: &mut Command) {
        match self.means {
            Means::Stay => {}
            Means::Drop => {
                command.uid(self.user).gid(self.group);
            }
        }
    }

    /// Hands `path` and everything in it to this user.
    pub(super) fn own(self, path: &Path) -> Result<()> {
        match self.means {
            Means::Stay => Ok(()),
            Means::Drop => self.chown(path),
        }
    }

    fn chown(self, path: &Path) -> Result<()> {
        lchown(path, Some(self.user), Some(self.group))
            .with_context(|| format!("give {} to user {}", path.display(), self.user))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in path.read_dir()? {
                self.chown(&entry?.path())?;
            }
        }
        Ok(())
    }
}

/// `postgres`'s user and group in the text of `/etc/passwd`; never root's.
fn postgres_in(accounts: &str) -> Option<(u32, u32)> {
    let line = accounts.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    let user: u32 = fields.next()?.parse().ok()?;
    let group: u32 = fields.next()?.parse().ok()?;
    (user != 0).then_some((user, group))
}

#[cfg(test)]
mod tests {
    use super::postgres_in;

    #[test]
    fn the_account_postgres_is_preferred_unless_it_is_root() {
        let accounts = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:PostgreSQL,,,:/var:/bin/sh\n";
        assert_eq!(postgres_in(accounts), Some((101, 104)));
        assert_eq!(postgres_in("postgres:x:0:0::/root:/bin/sh\n"), None);
        assert_eq!(postgres_in("root:x:0:0::/root:/bin/sh\n"), None);
    }
}
