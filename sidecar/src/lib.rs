//! The `stent` binary: `up`, `run`, `proxy`, `agent`, `reload`, `upgrade`, `check-config`,
//! `healthcheck`, `budget`, `replay`, `version`.
//!
//! Owns: configuration, logging, exit codes, and the supervision of the proxy, the agent and the
//! command of `stent run`. Refuses: to know how the proxy pools or the agent judges; it starts
//! them with a resolved configuration and asks them over HTTP like anyone else.
//! Invariant: no secret reaches a log line, a message, a page or the arguments of a process.

mod budget;
mod cli;
mod component;
pub mod config;
mod exit;
mod freed;
mod front;
mod healthcheck;
mod http;
pub mod logging;
mod reload;
mod replay;
mod supervise;
mod told;

use std::ffi::OsString;
use std::io::Write as _;

use cli::Command;
use config::flags::Flags;
use config::problem::Problems;
use config::raw::Variables;
use config::{Loaded, Role};
use exit::Exit;

/// Runs a command line (without the program's name) and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let command = match cli::parse(arguments.into_iter().collect()) {
        Ok(command) => command,
        Err(error) => {
            complain(&format!("{error}\n  mend: {}", error.mend()));
            return Exit::Usage.code();
        }
    };
    match command {
        Command::Help => say(&cli::help()),
        Command::Version => say(&format!("stent {}\n", env!("CARGO_PKG_VERSION"))),
        Command::CheckConfig(flags) => check_config(&flags),
        Command::Healthcheck(flags, probe) => healthcheck::run(&flags, probe).code(),
        Command::Reload(flags) => reload::ask(&flags, reload::Request::Reload).code(),
        Command::Upgrade(flags) => reload::ask(&flags, reload::Request::Upgrade).code(),
        Command::Budget(options) => budget::run(&options).code(),
        Command::Replay(options) => replay::run(&options).code(),
        Command::Proxy(flags, parent, takeover) => {
            component::proxy(&flags, parent, takeover).code()
        }
        Command::Agent(flags, parent) => component::agent(&flags, parent).code(),
        Command::Up(flags) => supervise::up(&flags),
        Command::Run(flags, command) => supervise::run(&flags, command),
        Command::Exec(parent, command) => component::exec(parent, &command).code(),
    }
}

fn check_config(flags: &Flags) -> u8 {
    match config::load(Role::Both, flags, &environment()) {
        Ok(loaded) => say(&loaded.report()),
        Err(problems) => {
            complain(&problems.to_string());
            Exit::Negative.code()
        }
    }
}

/// The configuration of a command that starts something; problems are printed.
pub(crate) fn load(role: Role, flags: &Flags) -> Result<Loaded, Exit> {
    config::load(role, flags, &environment()).map_err(|problems: Problems| {
        complain(&problems.to_string());
        Exit::Usage
    })
}

/// The process's environment. Names that are not UTF-8 are none of ours.
pub(crate) fn environment() -> Variables {
    let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
    std::env::vars_os().filter_map(named).collect()
}

/// Writes to standard output; a reader that has gone is not an error.
fn say(text: &str) -> u8 {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Clean.code(),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Clean.code(),
        Err(_) => Exit::Failure.code(),
    }
}

/// Writes one message to standard error, before there is a log or instead of one.
pub(crate) fn complain(text: &str) {
    // One write, so that what other processes write to the same file does not come in between.
    let line = format!("stent: {text}\n");
    // Nothing is left to report to where standard error cannot be written.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
