//! One measurement: pgbench for some seconds, and what it cost the processes involved.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use stent_testkit::{Postgres, proc};

use crate::endpoint::Endpoint;

/// What is run: select-only transactions in one protocol with so many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Load {
    /// pgbench's `-M`.
    pub protocol: &'static str,
    /// pgbench's `-c` and `-j`.
    pub clients: u32,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// The endpoint's name.
    pub endpoint: &'static str,
    /// The load.
    pub load: Load,
    /// Transactions finished.
    pub transactions: u64,
    /// Transactions a second, pgbench's own figure without connecting.
    pub tps: f64,
    /// CPU of the proxy, microseconds a transaction; 0 for a direct connection.
    pub proxy_us: f64,
    /// CPU of PostgreSQL's processes, microseconds a transaction.
    pub server_us: f64,
}

/// Runs one load against one endpoint.
pub fn measure(
    postgres: &Postgres,
    endpoint: &Endpoint,
    load: Load,
    seconds: u32,
) -> Result<Sample> {
    let before = (cpu_us(endpoint.pid())?, server_cpu_us(postgres)?);
    let (clients, seconds) = (load.clients.to_string(), seconds.to_string());
    let port = endpoint.port().to_string();
    let mut command = postgres.client("pgbench")?;
    command.args(["-n", "-S", "-p", &port, "-M", load.protocol, "-T", &seconds]);
    command.args(["-c", &clients, "-j", &clients]).stdin(Stdio::null());
    let output = command.output().context("run pgbench")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "pgbench against {}: {errors}", endpoint.name());
    let (transactions, tps) = parse(&text).with_context(|| format!("read pgbench: {text}"))?;
    let after = (cpu_us(endpoint.pid())?, server_cpu_us(postgres)?);
    let each = |before: f64, after: f64| (after - before) / transactions as f64;
    Ok(Sample {
        endpoint: endpoint.name(),
        load,
        transactions,
        tps,
        proxy_us: each(before.0, after.0),
        server_us: each(before.1, after.1),
    })
}

/// Transactions and tps in pgbench's report.
fn parse(text: &str) -> Option<(u64, f64)> {
    let after = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let count = after("number of transactions actually processed: ")?;
    let tps = after("tps = ")?;
    Some((count.trim().parse().ok()?, tps.split(' ').next()?.parse().ok()?))
}

/// CPU of a process so far, microseconds; 0 for none.
fn cpu_us(pid: Option<u32>) -> Result<f64> {
    let Some(pid) = pid else { return Ok(0.0) };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read a process's stat")?;
    ticks_us(&stat, 0..2).context("a process's CPU time")
}

/// CPU of PostgreSQL so far: living backends and those that the postmaster has waited for.
fn server_cpu_us(postgres: &Postgres) -> Result<f64> {
    let postmaster = postgres.pid().context("PostgreSQL runs")?;
    let stat = fs::read_to_string(format!("/proc/{postmaster}/stat"))?;
    let waited = ticks_us(&stat, 2..4).context("the postmaster's children's CPU time")?;
    let living = proc::children(postmaster).into_iter().filter_map(|pid| cpu_us(Some(pid)).ok());
    Ok(waited + living.sum::<f64>())
}

/// Sums fields of `/proc/PID/stat`, counted from utime (14th). Source: proc(5).
fn ticks_us(stat: &str, fields: std::ops::Range<usize>) -> Option<f64> {
    let after_name = stat.rsplit_once(") ")?.1;
    let values: Vec<&str> = after_name.split(' ').skip(11).collect();
    let ticks: f64 = values.get(fields)?.iter().filter_map(|value| value.parse::<f64>().ok()).sum();
    Some(ticks * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbenchs_report_is_read() {
        let text = "number of transactions actually processed: 1600/1600\n\
                    tps = 27905.564868 (without initial connection time)\n";
        assert_eq!(parse(text), None, "a count of a fixed number is not a time's");
        let text = text.replace("1600/1600", "83716");
        assert_eq!(parse(&text), Some((83_716, 27_905.564_868)));
    }

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 30 20 5 1 0";
        let tick = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(ticks_us(stat, 0..2), Some(50.0 * tick));
        assert_eq!(ticks_us(stat, 2..4), Some(6.0 * tick));
    }
}
