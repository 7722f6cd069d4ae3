//! A real PostgreSQL of one's own: private folder, free port, unix socket, gone with its guard.
//!
//! Owns: the server's life. Refuses: durability (fsync is off; the data is thrown away).
//! Invariant: after the guard is dropped there is no process, folder or socket left; the watchdog
//! says the same for a process that was killed.

mod builder;
mod find;
mod owner;
mod packages;
mod server;
mod sql;
mod standby;
mod template;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

pub use builder::Builder;
pub use find::{Installation, Version};
pub use server::Stop;

use server::Server;

use crate::process::send_signal;

/// A running PostgreSQL. Its superuser is `postgres` (over the unix socket always without a
/// password), its database `postgres`.
#[derive(Debug)]
pub struct Postgres {
    installation: Installation,
    server: Server,
    password: Option<String>,
}

impl Postgres {
    /// Starts a PostgreSQL that trusts everybody.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Starts one with other settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens over TCP: always 127.0.0.1.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// Its TCP port, which its unix socket is named after.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The folder of its unix socket, usable as a host name.
    pub fn socket_dir(&self) -> &Path {
        &self.server.folder
    }

    /// The superuser.
    pub fn superuser(&self) -> &'static str {
        template::SUPERUSER
    }

    /// The superuser's password; `None` where everybody is trusted.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// `postgres://…` for the superuser over TCP, the password included where there is one.
    pub fn url(&self) -> String {
        let secret = self.password.as_ref().map(|word| format!(":{word}")).unwrap_or_default();
        format!("postgres://{}{secret}@{}", self.superuser(), self.address())
    }

    /// `postgres://USER@…/DATABASE` over TCP, without a password.
    pub fn url_for(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}:{}/{database}", self.host(), self.port())
    }

    fn address(&self) -> String {
        format!("{}:{}/postgres", self.host(), self.port())
    }

    /// The server's version.
    pub fn version(&self) -> Version {
        self.installation.version()
    }

    /// The folder of its programs.
    pub fn bin_dir(&self) -> &Path {
        self.installation.bin_dir()
    }

    /// A client program such as `pgbench` or `psql`, if there is one: not every package has them.
    pub fn tool(&self, name: &str) -> Option<PathBuf> {
        self.installation.tool(name)
    }

    /// A command for a client program, told where this server is (`PGHOST` and so on) and nothing of
    /// any other.
    pub fn client(&self, name: &str) -> Result<Command> {
        let program = self.tool(name).with_context(|| format!("there is no {name} here"))?;
        let mut command = Command::new(program);
        template::clean_environment(&mut command);
        command.env("PGHOST", self.host()).env("PGPORT", self.port().to_string());
        command.env("PGUSER", self.superuser()).env("PGDATABASE", "postgres");
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        Ok(command)
    }

    /// Runs SQL as superuser over the unix socket; returns all rows, `None` for NULL.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.query_in("postgres", sql)
    }

    /// [`Self::query`] in another database.
    pub fn query_in(&self, database: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        sql::run(&self.server.socket(), template::SUPERUSER, database, sql)
    }

    /// The first value of the first row of `sql`'s answer.
    pub fn value(&self, sql: &str) -> Result<String> {
        let rows = self.query(sql)?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        value.with_context(|| format!("no value from: {sql}"))
    }

    /// Runs SQL as superuser for its effect; any number of statements.
    pub fn sql(&self, sql: &str) -> Result<()> {
        self.query(sql).map(drop)
    }

    /// The process ids of the client backends, oldest first, without the one that answers and those
    /// that have answered before and may not have ended yet.
    pub fn backends(&self) -> Result<Vec<u32>> {
        let rows = self.query(
            "select pid from pg_stat_activity where backend_type = 'client backend' \
             and application_name <> current_setting('application_name') order by backend_start",
        )?;
        rows.into_iter().flatten().flatten().map(|pid| Ok(pid.parse()?)).collect()
    }

    /// Kills the oldest client backend by SIGKILL, on which PostgreSQL cuts all sessions and recovers.
    /// Returns its process id.
    pub fn crash_one_backend(&self) -> Result<u32> {
        let Some(pid) = self.backends()?.first().copied() else {
            bail!("there is no client backend to crash");
        };
        send_signal(pid, Signal::KILL)?;
        Ok(pid)
    }

    /// Ends one session politely (`pg_terminate_backend`): its client gets 57P01.
    pub fn terminate_backend(&self, pid: u32) -> Result<()> {
        self.sql(&format!("select pg_terminate_backend({pid})"))
    }

    /// The postmaster's process id; `None` while stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Sends a signal to the postmaster: STOP and CONT make a database that hangs at login, KILL one
    /// that is gone at once.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send_signal(self.pid().context("PostgreSQL is stopped")?, signal)
    }

    /// Stops the server; its port and data stay for [`Self::resume`].
    pub fn stop(&mut self, how: Stop) -> Result<()> {
        self.server.stop(how)
    }

    /// Starts a stopped server again, on the same port and data.
    pub fn resume(&mut self) -> Result<()> {
        self.server.start(&self.installation)
    }

    /// A fast shutdown and a start.
    pub fn restart(&mut self) -> Result<()> {
        self.stop(Stop::Fast)?;
        self.resume()
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        self.server.log()
    }
}
