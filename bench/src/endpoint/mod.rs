//! What is measured: PostgreSQL itself, `stent proxy`, and its peers where they are installed.
//!
//! Owns: the same settings for all of them (pool, limits, no logging, servers that stay) and the
//! processes. Refuses: tuning one of them; `pgbouncer-64k` is there because its buffer decides what
//! streaming costs, and bears the difference in its name.

mod doorman;
mod pgbouncer;
mod stent;

pub(crate) use pgbouncer::has_statements;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use stent_testkit::{Postgres, Process, TempDir, free_port, wait_until};

use crate::lab::Lab;

/// Servers a pool may have.
pub const POOL: u32 = 20;
/// Clients that a pooler lets in.
pub const CLIENTS_MAX: u32 = 12_000;
/// Named statements kept on a server, where a pooler counts by server.
pub const STATEMENTS_MAX: u32 = 200;
/// Seconds for which servers stay: longer than any measurement.
pub const SERVERS_STAY: u32 = 36_000;
const PATIENCE: Duration = Duration::from_secs(20);
/// What PgBouncer, which refuses to run as root, runs as then.
const NOBODY: &str = "nobody";

/// The endpoints by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// PostgreSQL itself.
    Direct,
    /// `stent proxy` as it comes.
    Stent,
    /// The same with `statement_cache = named`, where that is not how it comes.
    StentNamed,
    /// The same with `statement_cache = all`.
    StentAll,
    /// `$PGBOUNCER`, or the one that is installed.
    PgBouncer,
    /// The same with `pkt_buf = 65536`.
    PgBouncer64k,
    /// The installed one, where `$PGBOUNCER` names another.
    PgBouncerDebian,
    /// `$PG_DOORMAN`.
    PgDoorman,
}

impl Kind {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::Direct,
        Self::Stent,
        Self::StentNamed,
        Self::StentAll,
        Self::PgBouncer,
        Self::PgBouncer64k,
        Self::PgBouncerDebian,
        Self::PgDoorman,
    ];

    /// Its name in options and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Stent => "stent",
            Self::StentNamed => "stent-named",
            Self::StentAll => "stent-all",
            Self::PgBouncer => "pgbouncer",
            Self::PgBouncer64k => "pgbouncer-64k",
            Self::PgBouncerDebian => "pgbouncer-debian",
            Self::PgDoorman => "pg_doorman",
        }
    }

    /// Who may give orders on its console, and the password.
    pub fn admin(self, postgres: &Postgres) -> (&'static str, &'static str) {
        match self {
            Self::PgDoorman => ("admin", "admin"),
            Self::Direct
            | Self::Stent
            | Self::StentNamed
            | Self::StentAll
            | Self::PgBouncer
            | Self::PgBouncer64k
            | Self::PgBouncerDebian => (postgres.superuser(), ""),
        }
    }

    /// The endpoint of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its version, and `None` where it is not here.
    pub fn version(self, lab: &Lab) -> Result<Option<String>> {
        match self {
            Self::Direct => Ok(Some(lab.postgres.version().to_string())),
            Self::Stent | Self::StentNamed | Self::StentAll => stent::version(self),
            Self::PgBouncer | Self::PgBouncer64k | Self::PgBouncerDebian => {
                pgbouncer::version(self)
            }
            Self::PgDoorman => doorman::version(),
        }
    }
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Auth {
    /// Not at all.
    Trust,
    /// With SCRAM-SHA-256, against the verifier that PostgreSQL stores.
    Scram,
}

/// TLS towards clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Tls {
    /// None.
    Off,
    /// For all.
    Require,
}

/// Where a pooler finds its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// An address, or a name that the endpoint can look up.
    pub host: &'static str,
    /// The port.
    pub port: u16,
}

impl Server {
    /// A port of 127.0.0.1.
    pub const fn local(port: u16) -> Self {
        Self { host: "127.0.0.1", port }
    }
}

/// What a measurement needs of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setup {
    /// Authentication of clients.
    pub auth: Auth,
    /// TLS towards clients.
    pub tls: Tls,
    /// The server behind it; PostgreSQL itself without.
    pub server: Option<Server>,
    /// Databases besides `postgres`, `d1` and so on, for poolers that must be told.
    pub databases: u32,
    /// Threads of ours that serve clients.
    pub workers: u16,
}

impl Setup {
    fn server(&self, lab: &Lab) -> Server {
        self.server.unwrap_or_else(|| Server::local(lab.postgres.port()))
    }

    /// Trust, no TLS.
    pub const PLAIN: Self =
        Self { auth: Auth::Trust, tls: Tls::Off, server: None, databases: 0, workers: 1 };
    /// SCRAM, no TLS.
    pub const SCRAM: Self = Self { auth: Auth::Scram, ..Self::PLAIN };
    /// Trust over TLS.
    pub const TLS: Self = Self { tls: Tls::Require, ..Self::PLAIN };
}

/// An endpoint that listens.
pub struct Running {
    kind: Kind,
    setup: Setup,
    port: u16,
    admin: Option<u16>,
    process: Option<Process>,
    settings: Vec<String>,
    _files: Option<TempDir>,
}

impl Running {
    /// Starts one.
    pub fn start(kind: Kind, setup: Setup, lab: &Lab) -> Result<Self> {
        Self::start_within(kind, setup, lab, |command| command)
    }

    /// Starts one by a command that is made of its own: in another namespace, say.
    pub fn start_within(
        kind: Kind,
        setup: Setup,
        lab: &Lab,
        within: impl FnOnce(Command) -> Command,
    ) -> Result<Self> {
        let port = free_port()?;
        let started = match kind {
            Kind::Direct => return Self::direct(setup, lab),
            Kind::Stent | Kind::StentNamed | Kind::StentAll => {
                stent::command(kind, setup, port, lab)
            }
            Kind::PgBouncer | Kind::PgBouncer64k | Kind::PgBouncerDebian => {
                pgbouncer::command(kind, setup, port, lab)
            }
            Kind::PgDoorman => doorman::command(setup, port, lab),
        };
        let Started { command, settings, files, admin } =
            started.with_context(|| format!("prepare {}", kind.name()))?;
        let mut command = within(command);
        let mut process = Process::spawn(&mut command)?;
        let what = format!("{} to listen", kind.name());
        let listening = wait_until(&what, PATIENCE, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok() || process.status().is_some()
        });
        if process.status().is_some() {
            bail!("{} has ended: {}", kind.name(), process.output());
        }
        listening.with_context(|| process.output())?;
        Ok(Self { kind, setup, port, admin, process: Some(process), settings, _files: files })
    }

    fn direct(setup: Setup, lab: &Lab) -> Result<Self> {
        if setup.tls == Tls::Require || setup.auth == Auth::Scram {
            bail!("the direct connection is measured with trust and without TLS");
        }
        Ok(Self {
            kind: Kind::Direct,
            setup,
            port: setup.server(lab).port,
            admin: None,
            process: None,
            settings: Vec::new(),
            _files: None,
        })
    }

    /// Which one.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// How it was set up.
    pub const fn setup(&self) -> Setup {
        self.setup
    }

    /// Where clients reach it.
    pub fn at(&self) -> SocketAddr {
        // PostgreSQL itself may be elsewhere; where it has a name, a client of ours looks none up.
        let host = self.setup.server.filter(|_| self.kind == Kind::Direct);
        let ip = host.and_then(|server| server.host.parse().ok());
        (ip.unwrap_or(Ipv4Addr::LOCALHOST), self.port).into()
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The port on 127.0.0.1 of its pages, where it has any.
    pub const fn admin_port(&self) -> Option<u16> {
        self.admin
    }

    /// Its process, where it is a pooler.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Waits for it to end by itself: its exit code, -1 where a signal ended it or nothing did.
    pub fn exit_code(&mut self, deadline: Duration) -> i32 {
        let Some(process) = self.process.as_mut() else { return -1 };
        process.wait(deadline).ok().and_then(|status| status.code()).unwrap_or(-1)
    }

    /// What it has written so far, the newest lines of it.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Its settings, as they were given, without ports and folders.
    pub fn settings(&self) -> &[String] {
        &self.settings
    }
}

/// What the modules of the poolers make.
struct Started {
    command: Command,
    settings: Vec<String>,
    files: Option<TempDir>,
    /// The port of its pages.
    admin: Option<u16>,
}

/// The first line that a program says with `--version`; `None` where it cannot be run.
fn says_version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
