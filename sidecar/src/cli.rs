//! The command line: commands, and the page of `stent help`.
//!
//! Owns: which commands exist. Refuses: what flags mean (`config::flags`).
//! Invariant: no argument but the name of a command or an option enters a message.

use std::ffi::OsString;

use rustix::process::Pid;
use stent_proxy::config::Takeover;

use crate::budget;
use crate::config::flags::Flags;
use crate::config::reference;
use crate::healthcheck::Probe;
use crate::replay;

/// A command line, taken apart.
#[derive(Debug)]
pub(crate) enum Command {
    Up(Flags),
    Run(Flags, Vec<OsString>),
    Proxy(Flags, Option<Pid>, Takeover),
    Agent(Flags, Option<Pid>),
    CheckConfig(Flags),
    Healthcheck(Flags, Probe),
    Budget(budget::Options),
    Replay(replay::Options),
    Reload(Flags),
    Upgrade(Flags),
    Version,
    Help,
    /// Hidden: becomes the command of `stent run`.
    Exec(Pid, Vec<OsString>),
}

/// Why a command line is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UsageError {
    #[error("no command given")]
    NoCommand,
    #[error("unknown command")]
    UnknownCommand,
    #[error("an argument is not UTF-8")]
    NotUtf8,
    #[error("run: no command to run")]
    NothingToRun,
    #[error("there is something after --, which only `stent run` takes")]
    StrayCommand,
    #[error(transparent)]
    Budget(#[from] budget::OptionsError),
    #[error(transparent)]
    Replay(#[from] replay::OptionsError),
    #[error("--supervisor is not followed by the process id of a supervisor")]
    Supervisor,
}

impl UsageError {
    pub(crate) const fn mend(&self) -> &'static str {
        match self {
            Self::NoCommand | Self::UnknownCommand => {
                "write stent up, run, proxy, agent, reload, upgrade, check-config, healthcheck, budget, replay, version or help"
            }
            Self::NotUtf8 => "write it in UTF-8",
            Self::NothingToRun => "write stent run [flags] -- CMD ARGS...",
            Self::StrayCommand => "leave it away, or write stent run",
            Self::Budget(error) => error.mend(),
            Self::Replay(error) => error.mend(),
            Self::Supervisor => "leave --supervisor away; stent writes it itself",
        }
    }
}

/// Tells a supervised process who its supervisor is.
pub(crate) const SUPERVISOR_OPTION: &str = "--supervisor";
/// Tells a proxy to take over from the one that runs.
pub(crate) const TAKEOVER_OPTION: &str = "--takeover";
/// The hidden command that becomes the command of `stent run`.
pub(crate) const EXEC_COMMAND: &str = "exec-command";

/// Takes a command line apart.
pub(crate) fn parse(mut arguments: Vec<OsString>) -> Result<Command, UsageError> {
    let after = arguments.iter().position(|argument| argument == "--");
    let after = after.map(|at| arguments.split_off(at).split_off(1));
    let texts = arguments.into_iter().map(OsString::into_string);
    let mut texts = texts.collect::<Result<Vec<_>, _>>().map_err(|_| UsageError::NotUtf8)?;
    if texts.is_empty() {
        return Err(UsageError::NoCommand);
    }
    let name = texts.remove(0);
    if texts.iter().any(|text| text == "--help" || text == "-h") {
        return Ok(Command::Help);
    }
    let parent = supervisor(&mut texts)?;
    let command = match (name.as_str(), parent, after) {
        ("run", None, Some(command)) if !command.is_empty() => {
            return Ok(Command::Run(Flags::parse(texts), command));
        }
        ("run", _, _) => return Err(UsageError::NothingToRun),
        (EXEC_COMMAND, Some(parent), Some(command)) if !command.is_empty() => {
            return Ok(Command::Exec(parent, command));
        }
        (_, _, Some(_)) => return Err(UsageError::StrayCommand),
        ("up", None, None) => Command::Up(Flags::parse(texts)),
        ("proxy", parent, None) => {
            let asked = texts.iter().any(|text| text == TAKEOVER_OPTION);
            let takeover = if asked { Takeover::Yes } else { Takeover::No };
            texts.retain(|text| text != TAKEOVER_OPTION);
            Command::Proxy(Flags::parse(texts), parent, takeover)
        }
        ("agent", parent, None) => Command::Agent(Flags::parse(texts), parent),
        ("check-config", None, None) => Command::CheckConfig(Flags::parse(texts)),
        ("upgrade", None, None) => Command::Upgrade(Flags::parse(texts)),
        ("reload", None, None) => Command::Reload(Flags::parse(texts)),
        ("healthcheck", None, None) => {
            let probe =
                if texts.iter().any(|text| text == "--live") { Probe::Live } else { Probe::Ready };
            texts.retain(|text| text != "--live");
            Command::Healthcheck(Flags::parse(texts), probe)
        }
        ("budget", None, None) => Command::Budget(budget::parse(texts)?),
        ("replay", None, None) => Command::Replay(replay::parse(texts)?),
        ("version" | "--version" | "-V", None, None) => Command::Version,
        ("help" | "--help" | "-h", None, None) => Command::Help,
        _ => return Err(UsageError::UnknownCommand),
    };
    Ok(command)
}

/// Takes `--supervisor PID` out of the arguments.
fn supervisor(texts: &mut Vec<String>) -> Result<Option<Pid>, UsageError> {
    let Some(at) = texts.iter().position(|text| text == SUPERVISOR_OPTION) else {
        return Ok(None);
    };
    let pid = texts.get(at + 1).and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    let pid = pid.ok_or(UsageError::Supervisor)?;
    texts.drain(at..=at + 1);
    Ok(Some(pid))
}

const HELP: &str = "\
stent: a pooling PostgreSQL proxy and an agent that detects leaks, beside your API.

Usage: stent <command> [flags]

Commands:
  up                     the proxy and the agent, supervised
  run [flags] -- CMD...  the same around an application: CMD gets DATABASE_URL and PG* variables that
                         lead to the proxy, signals are forwarded, its exit status is passed on
  proxy [--takeover]     the proxy alone; --takeover: in the place of one that runs with the same
                         configuration, which goes on serving the clients that it has
  agent                  the agent alone
  reload                 have the running stent (found by the same configuration) read its configuration anew
  upgrade                have the running stent up or run start its proxy anew, from the program as it is
                         on the disk now; no connection is refused or lost
  check-config           print the resolved configuration and where each value came from
  healthcheck [--live]   ask admin_listen for /readyz (/livez); exit code 0 or 1
  budget --tasks N ...   whether a fleet fits max_connections, for continuous integration: exit code 0 or 1
                         (--max-connections N or --instance-class db.CLASS; see the docs)
  replay FILE [--json]   judge a recorded history of memory as the agent would have judged it live: a CSV
                         with t_seconds,rss_bytes,heap_bytes,requests_total,limit_bytes, or with
                         --from cloudwatch|prometheus the JSON that these answer (see the docs)
  version                print the version
  help                   print this page

Flags: --config FILE (-c), and for each key below --key VALUE or --key=VALUE. A key can also be the
variable STENT_<KEY> or a line of stent.toml. DATABASE_URL alone is enough to start.

Keys:
";

/// The page of `stent help`.
pub(crate) fn help() -> String {
    format!("{HELP}{}", reference::help())
}
