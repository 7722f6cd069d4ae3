//! The rows of the fault matrix: what each does to the database and the way there.
//!
//! Owns: the fault from its first moment to its last. Invariant: after [`Row::strike`] the fault is
//! over and the database can be reached by its name; how long it lasted is the same for all endpoints.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use stent_testkit::{Fault, FaultProxy, Postgres, Signal, Stop, send_signal, wait_for, wait_until};

use super::client::{Client, Off};
use super::names::Names;
use super::network::Network;
use crate::endpoint::{Kind, Running};
use crate::lab::Lab;

/// How long the postmaster is away.
const RESTART: Duration = Duration::from_secs(1);
const STOPPED: Duration = Duration::from_secs(5);
const PARTITION: Duration = Duration::from_secs(10);
const STORM: Duration = Duration::from_secs(3);
const STORM_STEP: Duration = Duration::from_millis(100);
/// For so long clients work on after the pooler has been told to end.
const DRAINED: Duration = Duration::from_secs(3);
/// How long PostgreSQL is stopped for.
const NIGHT: Duration = Duration::from_secs(60);
const TAKEN: Duration = Duration::from_secs(5);
/// Where the new primary is reached; the old one is at 127.0.0.1, on the same port.
pub const NEW_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PATIENCE: Duration = Duration::from_secs(30);

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// SIGKILL to one backend: PostgreSQL ends all sessions and recovers.
    KillBackend,
    /// SIGKILL to the postmaster, which is started again after a second.
    KillPostmaster,
    /// SIGSTOP to the postmaster: it accepts and does not answer; its backends work.
    StopPostmaster,
    /// The same, and its backends are told to end.
    StopAndTerminate,
    /// Every session is ended.
    Terminate,
    /// Nothing passes between pooler and PostgreSQL, and nobody is told.
    Partition,
    /// All connections to PostgreSQL are ended by RST, again and again.
    ResetStorm,
    /// The primary becomes read-only, its standby is promoted, and the name moves there.
    Promotion,
    /// A restart while the pooler is paused; where it cannot be, a restart.
    Pause,
    /// SIGTERM to the pooler, with clients at work: it serves them until they have gone.
    Drain,
    /// Others take every connection that PostgreSQL has left, and half of the endpoint's.
    ConnectionsTaken,
    /// PostgreSQL is stopped for a minute, as it is at night where nobody works then.
    OffHours,
}

impl Row {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 12] = [
        Self::KillBackend,
        Self::KillPostmaster,
        Self::StopPostmaster,
        Self::StopAndTerminate,
        Self::Terminate,
        Self::Partition,
        Self::ResetStorm,
        Self::Promotion,
        Self::ConnectionsTaken,
        Self::Pause,
        Self::OffHours,
        Self::Drain,
    ];

    /// Its name in options and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillBackend => "kill -9 of a backend",
            Self::KillPostmaster => "kill -9 of the postmaster",
            Self::StopPostmaster => "SIGSTOP of the postmaster",
            Self::StopAndTerminate => "the same, backends ended",
            Self::Terminate => "terminate all backends",
            Self::Partition => "silent partition",
            Self::ResetStorm => "RST storm",
            Self::Promotion => "promotion",
            Self::ConnectionsTaken => "max_connections taken",
            Self::Pause => "restart under PAUSE",
            Self::OffHours => "off hours",
            Self::Drain => "SIGTERM to the pooler",
        }
    }

    /// In the option `--rows`.
    pub const fn option(self) -> &'static str {
        match self {
            Self::KillBackend => "kill-backend",
            Self::KillPostmaster => "kill-postmaster",
            Self::StopPostmaster => "stop",
            Self::StopAndTerminate => "stop-terminate",
            Self::Terminate => "terminate",
            Self::Partition => "partition",
            Self::ResetStorm => "rst",
            Self::Promotion => "promotion",
            Self::ConnectionsTaken => "taken",
            Self::Pause => "pause",
            Self::OffHours => "off-hours",
            Self::Drain => "drain",
        }
    }

    /// The row of an option.
    pub fn named(option: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.option() == option)
    }

    /// Whether it can be played at an endpoint.
    pub fn suits(self, kind: Kind) -> bool {
        self != Self::Drain || kind != Kind::Direct
    }

    /// For how long the database cannot be had by anybody, whatever is in front of it.
    pub const fn lasts(self) -> Duration {
        match self {
            Self::KillBackend | Self::Terminate | Self::ConnectionsTaken | Self::Promotion => {
                Duration::ZERO
            }
            Self::StopPostmaster | Self::Drain => Duration::ZERO,
            Self::KillPostmaster | Self::Pause => RESTART,
            Self::StopAndTerminate => STOPPED,
            Self::Partition => PARTITION,
            Self::ResetStorm => STORM,
            Self::OffHours => NIGHT,
        }
    }
}

/// Where a row plays.
pub struct Scene<'a> {
    /// PostgreSQL.
    pub lab: &'a mut Lab,
    /// What every endpoint takes for PostgreSQL.
    pub way: &'a FaultProxy,
    /// The endpoint.
    pub endpoint: &'a Running,
    /// The name under which it knows PostgreSQL, where names can be moved here.
    pub names: Option<&'a Names>,
    /// What is between it and PostgreSQL, where a network can be made here.
    pub network: Option<&'a Network>,
    /// The standby, made before the load began, of the row that needs one.
    pub standby: Option<Postgres>,
}

impl Scene<'_> {
    /// Where the data is now.
    pub fn database(&self) -> &Postgres {
        self.standby.as_ref().unwrap_or(&self.lab.postgres)
    }

    /// The endpoint's backends, of all databases or one.
    fn backends(&self, database: &str) -> Result<Vec<u32>> {
        let rows = self.lab.postgres.query(&format!(
            "select pid from pg_stat_activity where backend_type = 'client backend' \
             and application_name <> 'stent-testkit' and datname like '{database}' \
             order by backend_start"
        ))?;
        rows.into_iter().flatten().flatten().map(|pid| Ok(pid.parse()?)).collect()
    }

    /// Strikes; returns when the fault is over.
    pub fn strike(&mut self, row: Row) -> Result<()> {
        match row {
            Row::KillBackend => {
                let pid = *self.backends("postgres")?.first().context("there is no backend")?;
                send_signal(pid, Signal::KILL)
            }
            Row::KillPostmaster => self.kill_postmaster(),
            Row::StopPostmaster => self.stop_postmaster(&[]),
            Row::StopAndTerminate => {
                let pids = self.backends("%")?;
                self.stop_postmaster(&pids)
            }
            Row::Terminate => self.lab.postgres.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where backend_type = 'client backend' and pid <> pg_backend_pid()",
            ),
            Row::Partition => self.partition(),
            Row::ResetStorm => {
                let began = Instant::now();
                while began.elapsed() < STORM {
                    self.way.reset_all();
                    sleep(STORM_STEP);
                }
                Ok(())
            }
            Row::Promotion => self.promote(),
            Row::ConnectionsTaken => self.take_connections(),
            Row::OffHours => {
                self.lab.postgres.stop(Stop::Fast)?;
                sleep(NIGHT);
                self.lab.postgres.resume()
            }
            Row::Pause => self.restart_paused(),
            Row::Drain => {
                send_signal(self.endpoint.pid().context("a pooler is a process")?, Signal::TERM)?;
                sleep(DRAINED);
                Ok(())
            }
        }
    }

    fn partition(&self) -> Result<()> {
        match self.network {
            Some(network) => network.cut()?,
            None => self.way.set(Fault::BlackHole),
        }
        sleep(PARTITION);
        match self.network {
            Some(network) => network.mend(),
            None => {
                self.way.set(Fault::None);
                Ok(())
            }
        }
    }

    fn kill_postmaster(&mut self) -> Result<()> {
        let postgres = &mut self.lab.postgres;
        postgres.signal(Signal::KILL)?;
        sleep(RESTART);
        postgres.stop(Stop::Immediate)?;
        // Its last backends may still be on the way out, with the shared memory.
        wait_for("PostgreSQL to start again", PATIENCE, || postgres.resume().ok())
    }

    fn stop_postmaster(&self, backends: &[u32]) -> Result<()> {
        let postgres = &self.lab.postgres;
        postgres.signal(Signal::STOP)?;
        for pid in backends {
            send_signal(*pid, Signal::TERM)?;
        }
        sleep(STOPPED);
        postgres.signal(Signal::CONT)
    }

    /// As a planned failover: what the old primary has acknowledged is with the new one.
    fn promote(&self) -> Result<()> {
        let old = &self.lab.postgres;
        let new = self.standby.as_ref().context("the row has a standby")?;
        old.sql("alter system set default_transaction_read_only = on")?;
        old.sql("select pg_reload_conf()")?;
        let writers = "select count(*) from pg_stat_activity where backend_xid is not null \
                       or (state <> 'idle' and datname = 'postgres' and xact_start < now() \
                           - interval '100 ms' and pid <> pg_backend_pid())";
        wait_until("the last transactions of the old primary", PATIENCE, || {
            old.value(writers).is_ok_and(|count| count == "0")
        })?;
        old.wait_for_standby(new)?;
        new.promote()?;
        let count = "select count(*) from transfers";
        ensure!(old.value(count)? == new.value(count)?, "the old primary has gone on writing");
        match self.names {
            Some(names) => names.point_to(NEW_ADDRESS),
            None => self.way.aim(SocketAddr::from(([127, 0, 0, 1], new.port()))),
        }
        Ok(())
    }

    /// As for maintenance: PAUSE, a restart, RESUME.
    fn restart_paused(&mut self) -> Result<()> {
        let paused = self.console("PAUSE postgres");
        if paused.is_ok() {
            // Not every pooler waits for the transactions that are under way.
            let busy = "select count(*) from pg_stat_activity where datname = 'postgres' \
                        and state <> 'idle' and pid <> pg_backend_pid()";
            wait_until("the last transactions", PATIENCE, || {
                self.lab.postgres.value(busy).is_ok_and(|count| count == "0")
            })?;
        }
        self.lab.postgres.stop(Stop::Fast)?;
        sleep(RESTART);
        self.lab.postgres.resume()?;
        if paused.is_ok() {
            self.console("RESUME postgres")?;
        }
        Ok(())
    }

    /// Whether the endpoint has PAUSE: the word is understood where there is nothing to pause.
    pub fn can_pause(&self) -> bool {
        self.console("PAUSE postgres").is_ok() && self.console("RESUME postgres").is_ok()
    }

    fn console(&self, command: &str) -> Result<()> {
        let (user, password) = self.endpoint.kind().admin(&self.lab.postgres);
        let mut psql = self.lab.postgres.client("psql")?;
        psql.env("PGPORT", self.endpoint.port().to_string()).env("PGDATABASE", "pgbouncer");
        psql.env("PGUSER", user).env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "5");
        let output = psql.args(["-X", "-q", "-c", command]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn take_connections(&self) -> Result<()> {
        let own = self.backends("postgres")?;
        let off = Off::default();
        let at = SocketAddr::from(([127, 0, 0, 1], self.lab.postgres.port()));
        let user = self.lab.postgres.superuser();
        let mut taken = Vec::new();
        let began = Instant::now();
        let mut ended = false;
        while began.elapsed() < TAKEN {
            match Client::login(at, user, "postgres", &off) {
                Ok(client) => taken.push(client),
                Err(failure) if failure.code() != "53300" => bail!("another client: {failure}"),
                Err(_) if ended => sleep(Duration::from_millis(5)),
                Err(_) => {
                    for pid in own.iter().step_by(2) {
                        send_signal(*pid, Signal::TERM)?;
                    }
                    ended = true;
                }
            }
        }
        Ok(())
    }

    /// Makes the old primary what it was before a promotion.
    pub fn restore(&self) -> Result<()> {
        self.lab.postgres.sql("alter system reset default_transaction_read_only")?;
        self.lab.postgres.sql("select pg_reload_conf()")
    }
}
