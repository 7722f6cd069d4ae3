//! The kinds of cells: what is asked of the endpoints, and what is looked at.
//!
//! Owns: the turns (round, case, endpoint) that all of them share. Invariant: every endpoint of a
//! case is up, and has opened its servers, before the first is measured.

mod connect;
mod latency;
mod memory;
mod storm;
mod streaming;
mod syscalls;
mod throughput;
pub mod workers;

use anyhow::Result;

use crate::endpoint::{Kind, Running, Setup};
use crate::lab::Lab;
use crate::load::pgbench::{self, Call, Length, Script};
use crate::session::{Case, Session, Work};

/// Measures all that the plan asks for.
pub fn run(session: &mut Session) -> Result<()> {
    for cell in session.plan.cells.clone() {
        eprintln!("bench: {cell}");
        match cell.as_str() {
            "tps" => throughput::run(session)?,
            "join" => throughput::run_join(session)?,
            "tls" => throughput::run_tls(session)?,
            "latency" => latency::run(session)?,
            "streaming" => streaming::run(session)?,
            "connect" => connect::run(session)?,
            "syscalls" => syscalls::run(session)?,
            "memory" => memory::run(session)?,
            "storm" => storm::run(session)?,
            "workers" => workers::run(session)?,
            other => anyhow::bail!("no cell {other}"),
        }
    }
    Ok(())
}

/// What is measured in turns.
struct Turns<'a> {
    cell: &'a str,
    cases: &'a [&'a str],
    setup: Setup,
    rounds: u32,
}

impl Turns<'_> {
    /// Starts the endpoints, and measures each case at each that it suits, round by round.
    fn run(
        &self,
        session: &mut Session,
        suits: impl Fn(Kind, &str) -> bool,
        work: impl Fn(&Lab, &Running, &str) -> Result<Work>,
    ) -> Result<()> {
        let cases: Vec<&str> =
            self.cases.iter().copied().filter(|case| session.plan.wants(case)).collect();
        let kinds = session.kinds(|kind| cases.iter().any(|case| suits(kind, case)));
        let started: Result<Vec<Running>> =
            kinds.into_iter().map(|kind| session.start(kind, self.setup)).collect();
        let started = started?;
        for endpoint in &started {
            warm(&session.lab, endpoint)?;
        }
        for round in 1..=self.rounds {
            for case in &cases {
                for endpoint in started.iter().filter(|endpoint| suits(endpoint.kind(), case)) {
                    let place = Case { cell: self.cell, case, round };
                    session.measure(place, endpoint, |lab, endpoint| work(lab, endpoint, case))?;
                }
            }
        }
        Ok(())
    }
}

/// Opens a pooler's servers, and brings what is asked first into the caches.
fn warm(lab: &Lab, endpoint: &Running) -> Result<()> {
    let call = Call {
        script: Script::Row,
        protocol: "simple",
        clients: 32,
        length: Length::Each(100),
        rate: None,
    };
    pgbench::run(&lab.postgres, endpoint, call).map(drop)
}

/// `PROTOCOL/CLIENTS` taken apart.
fn protocol_and_clients(case: &str) -> Result<(&'static str, u32)> {
    let (protocol, clients) = case.split_once('/').unwrap_or((case, "1"));
    let protocol = crate::plan::PROTOCOLS.into_iter().find(|known| *known == protocol);
    let protocol = protocol.ok_or_else(|| anyhow::anyhow!("no protocol in {case}"))?;
    Ok((protocol, clients.parse()?))
}

/// Poolers of which there is one variant too many for most cells are left out of them.
const fn is_plain(kind: Kind) -> bool {
    match kind {
        Kind::Stent | Kind::PgBouncer | Kind::PgBouncerDebian | Kind::PgDoorman => true,
        Kind::Direct | Kind::StentNamed | Kind::StentAll | Kind::PgBouncer64k => false,
    }
}

/// Whether an endpoint can be asked in a protocol, and differs from its plain variant there.
fn speaks(kind: Kind, protocol: &str) -> bool {
    match kind {
        Kind::Direct | Kind::Stent | Kind::PgDoorman => true,
        Kind::StentNamed | Kind::StentAll => protocol != "simple",
        Kind::PgBouncer | Kind::PgBouncerDebian => {
            protocol != "prepared" || crate::endpoint::has_statements(kind)
        }
        Kind::PgBouncer64k => false,
    }
}
