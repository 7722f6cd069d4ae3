//! Transactions that read, as fast as they go, by protocol and clients; the same over TLS.

use anyhow::Result;

use super::{Turns, is_plain, protocol_and_clients, speaks};
use crate::endpoint::{Running, Setup};
use crate::figure::values;
use crate::lab::Lab;
use crate::load::pgbench::{self, Call, Length, Script};
use crate::session::{Session, Work};

const CASES: [&str; 9] = [
    "simple/1",
    "simple/16",
    "simple/64",
    "extended/1",
    "extended/16",
    "extended/64",
    "prepared/1",
    "prepared/16",
    "prepared/64",
];
const JOIN_CASES: [&str; 3] = ["extended/1", "extended/16", "extended/64"];
const TLS_CASES: [&str; 2] = ["simple/16", "prepared/16"];

pub(super) fn run(session: &mut Session) -> Result<()> {
    let (rounds, seconds) = (session.plan.rounds, session.plan.seconds);
    let turns = Turns { cell: "tps", cases: &CASES, setup: Setup::PLAIN, rounds };
    turns.run(
        session,
        |kind, case| protocol_and_clients(case).is_ok_and(|(protocol, _)| speaks(kind, protocol)),
        move |lab, endpoint, case| pgbench_run(lab, endpoint, (case, Script::Row), seconds),
    )
}

/// A statement that costs more to plan than to run, sent unnamed each time.
pub(super) fn run_join(session: &mut Session) -> Result<()> {
    let (rounds, seconds) = (session.plan.rounds, session.plan.seconds);
    let turns = Turns { cell: "join", cases: &JOIN_CASES, setup: Setup::PLAIN, rounds };
    turns.run(
        session,
        |kind, case| protocol_and_clients(case).is_ok_and(|(protocol, _)| speaks(kind, protocol)),
        move |lab, endpoint, case| pgbench_run(lab, endpoint, (case, Script::Join), seconds),
    )
}

pub(super) fn run_tls(session: &mut Session) -> Result<()> {
    let (rounds, seconds) = (session.plan.rounds, session.plan.seconds.min(2.0));
    let turns = Turns { cell: "tls", cases: &TLS_CASES, setup: Setup::TLS, rounds };
    turns.run(
        session,
        |kind, case| {
            let (protocol, _) = protocol_and_clients(case).unwrap_or(("simple", 1));
            is_plain(kind) && speaks(kind, protocol)
        },
        move |lab, endpoint, case| pgbench_run(lab, endpoint, (case, Script::Row), seconds),
    )
}

fn pgbench_run(
    lab: &Lab,
    endpoint: &Running,
    (case, script): (&str, Script),
    seconds: f64,
) -> Result<Work> {
    let (protocol, clients) = protocol_and_clients(case)?;
    let call = Call { script, protocol, clients, length: Length::Seconds(seconds), rate: None };
    let report = pgbench::run(&lab.postgres, endpoint, call)?;
    Ok(Work { units: report.transactions, values: values([("tps", report.tps)]) })
}
