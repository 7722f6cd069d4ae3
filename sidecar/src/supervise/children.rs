//! The supervisor's child processes: starting, signalling and reaping them.
//!
//! Owns: the one place of this process that waits for children. As PID 1 or as a child subreaper the
//! supervisor inherits orphans, which nobody else will reap; so it waits for any child. That is
//! safe because nothing else here waits (`tokio::process` does, and is not used): no status can be
//! stolen, and a process id stays ours until [`Children::reap`] has returned it.
//! Invariant: a part has at most one process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions};
use secrecy::{ExposeSecret as _, SecretString};

use super::event::{Ended, Part};
use crate::cli::{EXEC_COMMAND, SUPERVISOR_OPTION, TAKEOVER_OPTION};

/// The running parts.
#[derive(Debug)]
pub(crate) struct Children {
    /// The program, by the path at which it was when we were started: what is there now may be a newer one.
    program: PathBuf,
    running: BTreeMap<Part, Pid>,
}

/// What a part is started with, beyond the environment that it inherits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    pub(crate) set: Vec<(String, SecretString)>,
    pub(crate) remove: Vec<String>,
    /// The command of `stent run`, for that part.
    pub(crate) command: Vec<OsString>,
}

/// What the death of a process means to us.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaped {
    Ours(Part, Ended),
    Orphan,
}

impl Children {
    /// None yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, running: BTreeMap::new() })
    }

    /// The successor is the proxy from here on, and that is the predecessor.
    pub(crate) fn promote(&mut self) {
        for (from, to) in [(Part::Proxy, Part::Predecessor), (Part::Successor, Part::Proxy)] {
            assert!(!self.running.contains_key(&to), "{to:?} is there already");
            if let Some(pid) = self.running.remove(&from) {
                self.running.insert(to, pid);
            }
        }
    }

    /// Starts a part. Standard output and error are inherited, and the command's input.
    ///
    /// Of the proxy and the agent, standard input is the other end of the line that comes back.
    pub(crate) fn start(
        &mut self,
        part: Part,
        start: &Start,
    ) -> io::Result<(Pid, Option<UnixStream>)> {
        assert!(!self.running.contains_key(&part), "{part:?} is there already");
        let own_pid = rustix::process::getpid();
        let mut command = Command::new(&self.program);
        // As it would have been typed: titles are read by people.
        command.arg0("stent");
        let mut line = None;
        match part {
            Part::Predecessor => unreachable!("no part is started as one"),
            Part::Proxy | Part::Successor | Part::Agent => {
                let (name, takeover) = match part {
                    Part::Successor => (Part::Proxy, Some(TAKEOVER_OPTION)),
                    Part::Proxy | Part::Predecessor | Part::Agent | Part::Command => (part, None),
                };
                command.arg(name.as_str()).args(takeover);
                // Out of the terminal's foreground group: Ctrl-C is for the command, and these end
                // when it has ended.
                command.process_group(0);
                command.stdin(Stdio::null());
                if [Part::Proxy, Part::Agent].contains(&name) {
                    let (ours, its) = UnixStream::pair()?;
                    command.stdin(Stdio::from(OwnedFd::from(its)));
                    line = Some(ours);
                }
            }
            Part::Command => {
                command.arg(EXEC_COMMAND);
            }
        }
        command.arg(SUPERVISOR_OPTION).arg(own_pid.as_raw_nonzero().to_string());
        if part == Part::Command {
            command.arg("--").args(&start.command);
        }
        for name in &start.remove {
            command.env_remove(name);
        }
        for (name, value) in &start.set {
            command.env(name, value.expose_secret());
        }
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("the system gives positive process ids");
        // Dropping the handle neither kills nor waits; `reap` does the waiting.
        drop(child);
        self.running.insert(part, pid);
        Ok((pid, line))
    }

    /// The process of a part.
    pub(crate) fn pid(&self, part: Part) -> Option<Pid> {
        self.running.get(&part).copied()
    }

    /// Sends a signal to a part, if it runs.
    pub(crate) fn send(&self, part: Part, signal: Signal) {
        let Some(pid) = self.pid(part) else { return };
        if let Err(error) = rustix::process::kill_process(pid, signal) {
            tracing::warn!(part = part.as_str(), signal = signal.as_raw(), %error, "cannot send a signal");
        }
    }

    /// Takes the status of every child that has ended.
    pub(crate) fn reap(&mut self) -> Vec<Reaped> {
        let mut reaped = Vec::new();
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let part = self.running.iter().find(|(_, own)| **own == pid);
                    reaped.push(match part.map(|(part, _)| *part) {
                        Some(part) => {
                            self.running.remove(&part);
                            Reaped::Ours(part, ended(status))
                        }
                        None => Reaped::Orphan,
                    });
                }
                Err(rustix::io::Errno::INTR) => {}
                // None has ended, or none is there.
                Ok(None) | Err(_) => return reaped,
            }
        }
    }
}

fn ended(status: rustix::process::WaitStatus) -> Ended {
    let small = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Code(small(code)),
        (None, Some(signal)) => Ended::Signal(small(signal)),
        (None, None) => Ended::Code(u8::MAX),
    }
}

/// Makes orphans of our descendants ours, so that a container whose PID 1 is a shell collects no
/// zombies either. As PID 1 they come anyway. Source: PR_SET_CHILD_SUBREAPER(2const).
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!(%error, "cannot adopt orphans; they go to PID 1");
    }
}
