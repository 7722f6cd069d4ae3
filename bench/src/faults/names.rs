//! A name that moves: of a DNS server that one endpoint asks in place of the machine's.
//!
//! Owns: the server, on port 53 of a loopback address, and the mount namespace in which the endpoint is
//! started, with a resolver's configuration of its own. Refuses: touching the machine's own names.
//! Invariant: what an endpoint learns of the name it has learnt by asking that server.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use stent_testkit::{NameServer, TempDir};

/// The name; of a domain that is kept for tests (RFC 6761).
pub(super) const NAME: &str = "primary.stent.test";

/// The old primary's address until it moves.
const OLD_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// For so long an answer may be kept. What Amazon's clusters say of their endpoints.
const TTL: Duration = Duration::from_secs(5);
/// Resolvers ask there, and nowhere else.
const PORT: u16 = 53;

/// Gives the arguments after the first another `/etc/resolv.conf`.
const SCRIPT: &str = r#"mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#;

/// See the module.
#[derive(Debug)]
pub struct Names {
    folder: TempDir,
    server: NameServer,
}

impl Names {
    /// A name for 127.0.0.1; `None` where the rights for it are not here.
    pub(super) fn make() -> Result<Option<Self>> {
        let [.., high, low] = std::process::id().to_be_bytes();
        // Not that of another run, nor one at which resolvers of the machine listen.
        let address = SocketAddr::from(([127, 153, high, low.max(1)], PORT));
        let Ok(server) = NameServer::start_at(address, TTL) else { return Ok(None) };
        server.point(NAME, OLD_ADDRESS);
        let names = Self { folder: TempDir::new("bench-names")?, server };
        let resolver = format!("nameserver {}\noptions timeout:1\n", address.ip());
        fs::write(names.folder.path().join("resolv.conf"), resolver)?;
        let looked_up = names.looked_up();
        Ok((looked_up == Some(OLD_ADDRESS)).then_some(names))
    }

    /// What the system's resolver says within.
    fn looked_up(&self) -> Option<Ipv4Addr> {
        let mut getent = Command::new("getent");
        getent.args(["ahostsv4", NAME]);
        let output = self.within(getent).output().ok()?;
        String::from_utf8_lossy(&output.stdout).split_ascii_whitespace().next()?.parse().ok()
    }

    /// The name is now that of another address.
    pub(super) fn point_to(&self, address: Ipv4Addr) {
        self.server.point(NAME, address);
    }

    /// A command that asks this server, made of one that asks the machine's.
    pub(super) fn within(&self, command: Command) -> Command {
        let mut wrapped = Command::new("unshare");
        wrapped.args(["--mount", "sh", "-c", SCRIPT, "sh"]);
        wrapped.arg(self.folder.path().join("resolv.conf"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_moves_for_who_was_started_with_it_and_for_nobody_else() {
        let Some(names) = Names::make().unwrap() else {
            eprintln!("not tested: this user may not listen on port 53 or make a mount namespace");
            return;
        };
        let asked = names.server.answered();
        assert!(asked > 0, "the name was asked for here");
        names.point_to(Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(names.looked_up(), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert!(names.server.answered() > asked);
        let outside = Command::new("getent").args(["ahostsv4", NAME]).output().unwrap();
        assert!(outside.stdout.is_empty(), "the machine does not know it");
    }
}
