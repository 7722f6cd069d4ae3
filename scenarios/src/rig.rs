//! One run's processes: PostgreSQL, and Stent around the application.
//!
//! Owns: their start, their ports and their end. Refuses: requests (`load`) and judgement (`judge`).
//! Invariant: dropping a rig, by whatever way, ends every process that it started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use stent_contract::Snapshot;
use stent_testkit::{Postgres, Process, free_port, proc, wait_until};

use crate::app::Installed;
use crate::http::Client;
use crate::scenario::{Scenario, home};

const START_DEADLINE: Duration = Duration::from_secs(60);
const END_DEADLINE: Duration = Duration::from_secs(40);
const HTTP_LIMIT: Duration = Duration::from_secs(3);
/// The database, its owner and the owner's password.
const NAME: &str = "vitality";
const PASSWORD: &str = "openSesame7";

/// See the module.
#[derive(Debug)]
pub struct Rig {
    /// Where the application serves.
    pub app: SocketAddr,
    /// The application's process.
    pub app_pid: u32,
    /// Where Stent's supervisor serves `/snapshot` and the rest.
    pub admin: SocketAddr,
    /// Where the pool is.
    pub proxy: SocketAddr,
    // Fields are dropped in this order: Stent before the database that it talks to.
    stent: Process,
    _postgres: Postgres,
}

impl Rig {
    /// Starts everything and waits until the application says that it listens.
    pub fn start(scenario: &Scenario) -> Result<Self> {
        let installed = Installed::ensure(&home().join("apps").join(&scenario.app.folder))?;
        let postgres = database()?;
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = stent_run(scenario, &installed, &postgres, proxy, admin)?;
        let mut stent = Process::spawn(&mut command)?;
        let prefix = &scenario.app.ready_line;
        let app = stent
            .wait_for_match(&format!("a line with {prefix:?}"), START_DEADLINE, |line| {
                line.split_once(prefix.as_str())?.1.split_whitespace().next()?.parse().ok()
            })
            .context("start the application under stent run")?;
        let app_pid = pid_of_the_app(stent.pid(), &installed.program(&scenario.app.command[0]))?;
        Ok(Self { app, app_pid, admin, proxy, stent, _postgres: postgres })
    }

    /// A client of Stent's supervisor.
    pub fn admin_client(&self) -> Client {
        Client::new(self.admin, HTTP_LIMIT)
    }

    /// A client of the application.
    pub fn app_client(&self) -> Client {
        Client::new(self.app, HTTP_LIMIT)
    }

    /// Fails with the end of its output if Stent has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.stent.status() {
            None => Ok(()),
            Some(status) => bail!("stent run ended by itself ({status}):\n{}", self.output_tail()),
        }
    }

    /// What Stent and the application wrote last.
    pub fn output_tail(&self) -> String {
        let output = self.stent.output();
        let skip = output.lines().count().saturating_sub(40);
        output.lines().skip(skip).map(|line| format!("  {line}\n")).collect()
    }

    /// Asks Stent to end, and sees to it that it ends well and nobody is left.
    pub fn stop(mut self) -> Result<()> {
        let below = proc::descendants(self.stent.pid());
        let status = self.stent.terminate(END_DEADLINE)?;
        ensure!(status.success(), "stent run ended with {status}:\n{}", self.output_tail());
        for pid in below {
            let what = format!("the end of process {pid}, which stent run had started");
            wait_until(&what, END_DEADLINE, || !proc::is_alive(pid))?;
        }
        Ok(())
    }
}

/// Reads `/snapshot`.
pub async fn snapshot(client: &mut Client) -> Result<Snapshot> {
    let answer = client.get("/snapshot").await?;
    ensure!(answer.status.is_success(), "/snapshot gave {}", answer.status);
    serde_json::from_slice(&answer.body).context("read /snapshot")
}

fn database() -> Result<Postgres> {
    let postgres = Postgres::builder().auth("scram-sha-256").start()?;
    postgres.sql(&format!("create role {NAME} login password '{PASSWORD}'"))?;
    postgres.sql(&format!("create database {NAME} owner {NAME}"))?;
    Ok(postgres)
}

/// `stent run -- COMMAND` with the scenario's limits and nothing of this process's own settings.
fn stent_run(
    scenario: &Scenario,
    installed: &Installed,
    postgres: &Postgres,
    proxy: SocketAddr,
    admin: SocketAddr,
) -> Result<Command> {
    let mut command = Command::new(stent_program()?);
    without_own_settings(&mut command);
    let (host, port) = (postgres.host(), postgres.port());
    command.env("DATABASE_URL", format!("postgres://{NAME}:{PASSWORD}@{host}:{port}/{NAME}"));
    let limits = &scenario.limits;
    let settings = [
        ("STENT_CONFIG", String::new()),
        ("STENT_LISTEN_ADDR", proxy.ip().to_string()),
        ("STENT_LISTEN_PORT", proxy.port().to_string()),
        ("STENT_ADMIN_LISTEN", admin.to_string()),
        ("STENT_DEFAULT_POOL_SIZE", limits.default_pool_size.to_string()),
        ("STENT_QUERY_WAIT_TIMEOUT", limits.query_wait_timeout_seconds.to_string()),
        ("STENT_MEMORY_LIMIT", limits.memory_limit_bytes.to_string()),
        ("STENT_EMF", "off".to_owned()),
        ("PORT", "0".to_owned()),
    ];
    command.envs(settings).envs(&scenario.app.environment);
    let (program, arguments) = scenario.app.command.split_first().context("an empty command")?;
    command.arg("run").arg("--").arg(installed.program(program)).args(arguments);
    command.current_dir(&installed.folder);
    Ok(command)
}

/// Takes away what this process's environment would tell it.
pub(crate) fn without_own_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["STENT_", "PG", "DATABASE_URL", "LEAK_"].iter().any(|own| name.starts_with(own)) {
            command.env_remove(name.as_ref());
        }
    }
}

/// `STENT_BIN`, else the `stent` that cargo has built beside this program.
pub(crate) fn stent_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("STENT_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "STENT_BIN names no file: {}", path.display());
        return Ok(path);
    }
    beside("stent").context("or name it in STENT_BIN")
}

/// A program that cargo has built beside this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    // A program lies in the profile's folder, a test in its subfolder `deps`.
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    beside.into_iter().find(|path| path.is_file()).with_context(|| {
        let folder = own.parent().unwrap_or_else(|| Path::new("")).display();
        format!("there is no {name} beside {folder}: run `cargo build --bins` (same profile)")
    })
}

/// The descendant of `stent` that runs the application's program.
fn pid_of_the_app(stent: u32, program: &Path) -> Result<u32> {
    let name = program.file_name().context("a program without a name")?.to_string_lossy();
    let of_that_name = |pid: &u32| proc::command(*pid).is_some_and(|command| *command == *name);
    let found = proc::descendants(stent).into_iter().find(of_that_name);
    found.with_context(|| format!("stent run has no descendant {name}"))
}
