//! A name that moves: a hosts file that one endpoint sees in place of the machine's.
//!
//! Owns: the file, and the mount namespace in which the endpoint is started. Refuses: touching the
//! machine's own names. Invariant: the file is never empty nor half written: both addresses are of
//! the same length.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use stent_testkit::TempDir;

/// The name; of a domain that is kept for tests (RFC 6761).
pub(super) const NAME: &str = "primary.stent.test";

/// The old primary's address until it moves.
const OLD_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Gives the arguments after the first another `/etc/hosts`.
const SCRIPT: &str = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;

/// See the module.
#[derive(Debug)]
pub struct Names {
    folder: TempDir,
}

impl Names {
    /// A name for 127.0.0.1; `None` where the rights for it are not here.
    pub(super) fn make() -> Result<Option<Self>> {
        let names = Self { folder: TempDir::new("bench-names")? };
        fs::write(names.file(), line(OLD_ADDRESS))?;
        let mut command = names.within(Command::new("true"));
        let can = command.output().is_ok_and(|output| output.status.success());
        Ok(can.then_some(names))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }

    /// The name is now that of another address.
    pub(super) fn point_to(&self, address: Ipv4Addr) -> Result<()> {
        let (old, new) = (line(OLD_ADDRESS), line(address));
        ensure!(old.len() == new.len(), "an address of another length");
        // In place: a mount shows the file that it was made of, and no other of its name.
        let file = File::options().write(true).open(self.file())?;
        file.write_all_at(new.as_bytes(), 0).context("move the name")
    }

    /// A command that sees the name, made of one that does not.
    pub(super) fn within(&self, command: Command) -> Command {
        let mut wrapped = Command::new("unshare");
        wrapped.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(self.file());
        wrapped.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }
}

fn line(address: Ipv4Addr) -> String {
    format!("{address} {NAME}\n127.0.0.1 localhost\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_moves_for_who_was_started_with_it_and_for_nobody_else() {
        let Some(names) = Names::make().unwrap() else {
            eprintln!("not tested: this user may not make a mount namespace");
            return;
        };
        let looked_up = || {
            let mut getent = Command::new("getent");
            getent.args(["ahostsv4", NAME]);
            let output = names.within(getent).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert!(looked_up().starts_with("127.0.0.1 "), "{}", looked_up());
        names.point_to(Ipv4Addr::new(127, 0, 0, 2)).unwrap();
        assert!(looked_up().starts_with("127.0.0.2 "), "{}", looked_up());
        assert!(!fs::read_to_string("/etc/hosts").unwrap().contains(NAME));
    }
}
