//! One component in this process: `stent proxy`, `stent agent`, and the hidden command that becomes
//! the command of `stent run`.
//!
//! Owns: their signals, their end with their supervisor, and their exit codes.
//! Invariant: a supervised process does not outlive its supervisor, however that one ends.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;

use rustix::process::{Pid, Signal};
use stent_proxy::config::Takeover;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::complain;
use crate::config::flags::Flags;
use crate::config::{Loaded, Role};
use crate::exit::Exit;
use crate::freed;
use crate::reload;

/// The runtime of every `stent` process: one thread, on which everything happens but what further
/// workers of the proxy do.
pub(crate) fn runtime() -> io::Result<LocalRuntime> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    drop(runtime.spawn_local(freed::give_back()));
    Ok(runtime)
}

/// `stent proxy`.
pub(crate) fn proxy(flags: &Flags, parent: Option<Pid>, takeover: Takeover) -> Exit {
    let (loaded, runtime) = match prepared(Role::Proxy, flags, parent) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    let mut config = loaded.proxy.clone().expect("the proxy's role has a proxy");
    config.takeover = takeover;
    let ended = runtime.block_on(async {
        let shutdown = shutdown()?;
        let (orders, ordered) = mpsc::channel(stent_proxy::ON_THE_WAY_MAX);
        let (wishes, wished) = mpsc::channel(stent_proxy::ON_THE_WAY_MAX);
        match parent {
            None => {
                drop(tokio::task::spawn_local(reload::keep(flags.clone(), loaded, orders, wished)))
            }
            Some(_) => drop(tokio::task::spawn_local(reload::follow(orders, wished))),
        }
        let steering = stent_proxy::Steering { orders: ordered, wishes };
        Ok(stent_proxy::run_steered(config, Some(steering), shutdown).await)
    });
    finished(ended, |error| match error {
        stent_proxy::Error::Listen { .. } => Exit::Listen,
        stent_proxy::Error::User { .. } | stent_proxy::Error::Tls { .. } => Exit::Usage,
        stent_proxy::Error::Entropy(_)
        | stent_proxy::Error::Takeover(_)
        | stent_proxy::Error::Worker(_)
        | stent_proxy::Error::WorkerEnded { .. } => Exit::Failure,
    })
}

/// `stent agent`.
pub(crate) fn agent(flags: &Flags, parent: Option<Pid>) -> Exit {
    let (loaded, runtime) = match prepared(Role::Agent, flags, parent) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    let ended = runtime.block_on(async {
        let told = parent.map(|_| crate::told::hear());
        Ok(stent_agent::run_told(loaded.agent, told, shutdown()?).await)
    });
    finished(ended, |error| match error {
        stent_agent::Error::Listen { .. } => Exit::Listen,
        stent_agent::Error::Thread(_) => Exit::Failure,
    })
}

fn prepared(
    role: Role,
    flags: &Flags,
    parent: Option<Pid>,
) -> Result<(Loaded, LocalRuntime), Exit> {
    if let Some(parent) = parent {
        end_with(parent, Signal::KILL)?;
    }
    let loaded = crate::load(role, flags)?;
    crate::logging::start(loaded.logging, loaded.secrets());
    // The supervisor has said them once.
    if parent.is_none() {
        warn(&loaded);
    }
    match runtime() {
        Ok(runtime) => Ok((loaded, runtime)),
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            Err(Exit::Failure)
        }
    }
}

/// Logs what the configuration holds but nobody acts on.
pub(crate) fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

/// Resolves at SIGTERM or SIGINT. The handlers are in place when this returns.
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

fn finished<E: std::error::Error>(
    ended: io::Result<Result<(), E>>,
    exit: impl FnOnce(&E) -> Exit,
) -> Exit {
    match ended {
        Ok(Ok(())) => Exit::Clean,
        Ok(Err(error)) => {
            tracing::error!(error = %chain(&error), "cannot go on");
            exit(&error)
        }
        Err(error) => {
            tracing::error!(%error, "cannot handle signals");
            Exit::Failure
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Becomes the command of `stent run`, which ends with its supervisor.
pub(crate) fn exec(parent: Pid, command: &[OsString]) -> Exit {
    if let Err(exit) = end_with(parent, Signal::TERM) {
        return exit;
    }
    let (program, arguments) = command.split_first().expect("the command line has a command");
    let error = std::process::Command::new(program).args(arguments).exec();
    complain(&format!("run: cannot execute {}: {error}", program.display()));
    if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::NotExecutable }
}

/// Asks the kernel to end this process when its supervisor ends, and ends it at once where that has
/// happened already. The request outlives `execve`. Source: prctl(2), PR_SET_PDEATHSIG.
#[cfg(target_os = "linux")]
fn end_with(parent: Pid, signal: Signal) -> Result<(), Exit> {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(signal)) {
        complain(&format!("cannot tie this process to its supervisor: {error}"));
    }
    still_there(parent)
}

/// Where the kernel has no such request, only the check at the start is left.
#[cfg(not(target_os = "linux"))]
fn end_with(parent: Pid, _signal: Signal) -> Result<(), Exit> {
    still_there(parent)
}

fn still_there(parent: Pid) -> Result<(), Exit> {
    if rustix::process::getppid() == Some(parent) {
        return Ok(());
    }
    complain("the supervisor has ended");
    Err(Exit::Failure)
}
