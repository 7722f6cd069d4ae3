//! pgbench: how it is called, and what it says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stent_testkit::{Postgres, Process, TempDir};

use crate::endpoint::{Running, Tls};

/// Of a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a transaction is: one statement, of pgbench's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// pgbench's own `-S`: one row of one table by its key. Planning it costs little.
    Row,
    /// A row of each of three tables by their keys, as an ORM reads an object with what belongs to
    /// it: planning it costs more than running it.
    Join,
}

const JOIN: &str = "\\set aid random(1, 100000 * :scale)
SELECT a.abalance, b.bbalance, t.tbalance FROM pgbench_accounts a \
JOIN pgbench_branches b ON b.bid = a.bid JOIN pgbench_tellers t ON t.tid = a.bid \
WHERE a.aid = :aid;
";

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The transaction.
    pub script: Script,
    /// pgbench's `-M`.
    pub protocol: &'static str,
    /// pgbench's `-c`.
    pub clients: u32,
    /// How long.
    pub length: Length,
    /// Transactions a second in all; as fast as it goes without.
    pub rate: Option<u32>,
}

/// The end of a run.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// Seconds.
    Seconds(f64),
    /// Transactions of each client.
    Each(u32),
}

impl Length {
    /// A run that takes longer will not end.
    fn deadline(self) -> Duration {
        match self {
            Self::Seconds(seconds) => Duration::from_secs_f64(seconds) + PATIENCE,
            Self::Each(_) => PATIENCE,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Transactions finished.
    pub transactions: f64,
    /// Transactions a second, pgbench's own figure without connecting.
    pub tps: f64,
    /// Of each transaction, where a rate was asked for: latency from when it was due, and how late
    /// it was begun, microseconds.
    pub log: Vec<(f64, f64)>,
}

/// Runs it at an endpoint.
pub fn run(postgres: &Postgres, endpoint: &Running, call: Call) -> Result<Report> {
    run_under(&[], postgres, endpoint, call)
}

/// The same as an argument of another program; of none if `wrapper` is empty.
pub fn run_under(
    wrapper: &[String],
    postgres: &Postgres,
    endpoint: &Running,
    call: Call,
) -> Result<Report> {
    let files = TempDir::new("pgbench")?;
    let (clients, port) = (call.clients.to_string(), endpoint.port().to_string());
    let mut command = wrapped(wrapper, postgres.client("pgbench")?);
    command.args(["-n", "-p", &port, "-M", call.protocol, "-c", &clients]);
    match call.script {
        Script::Row => command.arg("-S"),
        Script::Join => {
            std::fs::write(files.path().join("join.sql"), JOIN)?;
            // A script of one's own has no scale that pgbench looks up.
            command.args(["-s", "1", "-f", "join.sql"])
        }
    };
    command.args(["-j", &clients]).current_dir(files.path());
    match call.length {
        Length::Seconds(seconds) => {
            command.args(["-T", &format!("{:.0}", seconds.max(1.0))]);
        }
        Length::Each(each) => {
            command.args(["-t", &each.to_string()]);
        }
    }
    if let Some(rate) = call.rate {
        command.args(["-R", &rate.to_string(), "-l", "--log-prefix=log"]);
    }
    let tls = match endpoint.setup().tls {
        Tls::Off => "disable",
        Tls::Require => "require",
    };
    command.env("PGSSLMODE", tls).env("PGGSSENCMODE", "disable");
    command.env("PGPASSWORD", crate::lab::PASSWORD);
    let mut process = Process::spawn(&mut command)?;
    let status = process.wait(call.length.deadline()).context("run pgbench")?;
    ensure!(status.success(), "pgbench against {}: {}", endpoint.name(), process.stderr());
    // The last line of its report.
    process.wait_for_line("tps = ", PATIENCE)?;
    let text = process.stdout();
    let (transactions, tps) = parse(&text).with_context(|| format!("read pgbench: {text}"))?;
    let log = if call.rate.is_some() { read_logs(files.path())? } else { Vec::new() };
    Ok(Report { transactions, tps, log })
}

fn wrapped(wrapper: &[String], inner: Command) -> Command {
    let [program, arguments @ ..] = wrapper else { return inner };
    let mut outer = Command::new(program);
    outer.args(arguments).arg(inner.get_program()).args(inner.get_args());
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(key, value),
            None => outer.env_remove(key),
        };
    }
    outer
}

/// Transactions and tps in pgbench's report.
fn parse(text: &str) -> Option<(f64, f64)> {
    let after = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let count = after("number of transactions actually processed: ")?;
    let tps = after("tps = ")?;
    let done = count.split('/').next()?.trim().parse().ok()?;
    Some((done, tps.split(' ').next()?.parse().ok()?))
}

/// Every thread writes a log of its own.
fn read_logs(folder: &Path) -> Result<Vec<(f64, f64)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let text = std::fs::read_to_string(entry.path())?;
        all.extend(text.lines().filter_map(log_line));
    }
    ensure!(!all.is_empty(), "pgbench logged no transaction");
    Ok(all)
}

/// `client transaction latency script epoch microseconds lag`. Source: pgbench's documentation,
/// "Per-Transaction Logging".
fn log_line(line: &str) -> Option<(f64, f64)> {
    let mut fields = line.split(' ');
    let latency = fields.nth(2)?.parse().ok()?;
    Some((latency, fields.nth(3)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbenchs_report_is_read() {
        let text = "number of transactions actually processed: 83716\n\
                    tps = 27905.564868 (without initial connection time)\n";
        assert_eq!(parse(text), Some((83_716.0, 27_905.564_868)));
        let text = text.replace("83716", "1600/1600");
        assert_eq!(parse(&text), Some((1_600.0, 27_905.564_868)));
    }

    #[test]
    fn the_lag_of_a_logged_transaction_is_told_from_its_latency() {
        assert_eq!(log_line("0 199 2241 0 1175850568 995598 1020"), Some((2_241.0, 1_020.0)));
        assert_eq!(log_line("0 199 skipped 0 1175850568 995598 1020"), None);
    }
}
