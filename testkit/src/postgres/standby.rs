//! A streaming standby of a PostgreSQL of ours, and its promotion.
//!
//! Invariant: the standby is a server of its own: folder, port, watchdog; it outlives its primary.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Postgres;
use super::owner::Owner;
use super::server::Server;
use super::template::{SUPERUSER, clean_environment};
use crate::port::free_port;
use crate::temp;
use crate::wait::wait_for;
use crate::watchdog::{End, Watchdog};

const CAUGHT_UP: Duration = Duration::from_secs(30);

impl Postgres {
    /// Makes a standby by `pg_basebackup`, with the settings of this server, and starts it: it streams
    /// and answers what only reads.
    pub fn standby(&self) -> Result<Self> {
        let owner = Owner::choose();
        let folder = temp::create("standby")?;
        let watchdog = Watchdog::start(End::Quit, Some(&folder))?;
        let mut server = Server::new(folder, owner, watchdog);
        owner.own(&server.folder)?;
        self.base_backup(&server.data(), owner)?;
        server.port = free_port()?;
        let settings = server.data().join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).context("read the primary's settings")?;
        // The last line of a name counts.
        text.push_str(&format!(
            "port = '{}'\nunix_socket_directories = '{}'\n\
             primary_conninfo = 'host={} port={} user={SUPERUSER}'\n",
            server.port,
            server.folder.display(),
            self.socket_dir().display(),
            self.port(),
        ));
        fs::write(&settings, text).context("write the standby's settings")?;
        fs::write(server.data().join("standby.signal"), "").context("make it a standby")?;
        owner.own(&server.folder)?;
        server.start(&self.installation)?;
        Ok(Self {
            installation: self.installation.clone(),
            server,
            password: self.password.clone(),
        })
    }

    fn base_backup(&self, data: &Path, owner: Owner) -> Result<()> {
        let program = self.tool("pg_basebackup").context("there is no pg_basebackup here")?;
        let mut command = std::process::Command::new(program);
        clean_environment(&mut command);
        command.arg("--pgdata").arg(data).arg("--host").arg(self.socket_dir());
        command.args(["--port", &self.port().to_string(), "--username", SUPERUSER]);
        command.args(["--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        owner.apply(&mut command);
        let output = command.stdin(Stdio::null()).current_dir("/").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Waits until a standby has replayed all that this server has committed so far.
    pub fn wait_for_standby(&self, standby: &Self) -> Result<()> {
        // Not what is written: with synchronous_commit off that comes later than the commit.
        let inserted = self.value("select pg_current_wal_insert_lsn()")?;
        let replayed = format!("select (pg_last_wal_replay_lsn() >= '{inserted}')::text");
        wait_for("the standby to catch up", CAUGHT_UP, || {
            (standby.value(&replayed).ok()? == "true").then_some(())
        })
    }

    /// Makes a standby a primary; returns when it takes writes.
    pub fn promote(&self) -> Result<()> {
        self.sql("select pg_promote(true)")?;
        wait_for("the promoted standby to take writes", CAUGHT_UP, || {
            (self.value("select pg_is_in_recovery()::text").ok()? == "false").then_some(())
        })
    }
}
