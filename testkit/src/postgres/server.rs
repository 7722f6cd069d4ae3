//! The server's process: start, readiness, stop.
//!
//! Invariant: while a postmaster runs the watchdog knows it, and before its number can become
//! another process's the watchdog has forgotten it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::find::Installation;
use super::owner::Owner;
use super::sql;
use super::template::{SUPERUSER, clean_environment};
use crate::process::send_signal;
use crate::wait::wait_for;
use crate::watchdog::Watchdog;

const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(20);
const LOG_TAIL: usize = 30;

/// PostgreSQL's three ways to stop. Source: documentation, "Shutting Down the Server".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// When the last client has left (SIGTERM).
    Smart,
    /// Clients are disconnected first (SIGINT).
    Fast,
    /// As in a crash (SIGQUIT).
    Immediate,
}

#[derive(Debug)]
pub(super) struct Server {
    /// Everything that the server has: its data, its log, its unix socket.
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    owner: Owner,
    postmaster: Option<Child>,
    watchdog: Watchdog,
}

impl Server {
    pub(super) fn new(folder: PathBuf, owner: Owner, watchdog: Watchdog) -> Self {
        Self { folder, port: 0, owner, postmaster: None, watchdog }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.port))
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Child::id)
    }

    pub(super) fn log(&self) -> String {
        fs::read(self.folder.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Starts the postmaster and waits until it answers a query.
    pub(super) fn start(&mut self, installation: &Installation) -> Result<()> {
        if self.postmaster.is_some() {
            bail!("PostgreSQL is running already");
        }
        let log = File::options().append(true).create(true).open(self.folder.join("log"))?;
        let mut command = Command::new(installation.bin_dir().join("postgres"));
        command.arg("-D").arg(self.data()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).current_dir(&self.folder).process_group(0);
        clean_environment(&mut command);
        self.owner.apply(&mut command);
        let child = command.spawn().context("start postgres")?;
        self.watchdog.watch(child.id())?;
        self.postmaster = Some(child);
        self.wait_until_ready().with_context(|| {
            let log = self.log();
            let skip = log.lines().count().saturating_sub(LOG_TAIL);
            let tail: Vec<_> = log.lines().skip(skip).collect();
            format!("PostgreSQL did not start; end of its log:\n  {}", tail.join("\n  "))
        })
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START_DEADLINE;
        loop {
            if self.reap()? {
                bail!("the postmaster ended");
            }
            match sql::run(&self.socket(), SUPERUSER, "postgres", "select 1") {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= end => {
                    self.stop(Stop::Immediate)?;
                    return Err(error.context(format!("no answer in {START_DEADLINE:?}")));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Stops the postmaster, by force if it takes too long; a stopped one is not an error.
    pub(super) fn stop(&mut self, how: Stop) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        send_signal(
            pid,
            match how {
                Stop::Smart => Signal::TERM,
                Stop::Fast => Signal::INT,
                Stop::Immediate => Signal::QUIT,
            },
        )?;
        // A paused one would never see it.
        send_signal(pid, Signal::CONT)?;
        if self.wait_for_end().is_err() {
            send_signal(pid, Signal::KILL)?;
            self.wait_for_end()?;
        }
        Ok(())
    }

    fn wait_for_end(&mut self) -> Result<()> {
        wait_for("the end of PostgreSQL", STOP_DEADLINE, || match self.reap() {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        })?
    }

    /// Whether the postmaster has ended; it has then been reaped.
    fn reap(&mut self) -> Result<bool> {
        let Some(child) = self.postmaster.as_mut() else { return Ok(true) };
        let ended = child.try_wait().context("wait for the postmaster")?.is_some();
        if ended {
            self.postmaster = None;
            self.watchdog.forget()?;
        }
        Ok(ended)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Best effort in a destructor; the watchdog, dropped next, tries again and removes the folder.
        let _ = self.stop(Stop::Immediate);
    }
}
