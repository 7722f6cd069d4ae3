//! Latency at a rate that none of the endpoints is strained by.
//!
//! pgbench's latency counts from when a transaction was due; what it was begun too late for is its
//! own fault and the machine's. Both are kept: with that, and without.

use anyhow::{Context, Result};

use super::{Turns, is_plain, protocol_and_clients};
use crate::endpoint::{Kind, Setup};
use crate::figure::{percentile, values};
use crate::load::pgbench::{self, Call, Length, Script};
use crate::session::{Session, Work};

/// Transactions a second.
const RATE: u32 = 2_000;

pub(super) fn run(session: &mut Session) -> Result<()> {
    // The hundredth of a short run is a handful of transactions.
    let (rounds, seconds) = (session.plan.rounds + 2, session.plan.seconds * 2.0);
    let turns = Turns { cell: "latency", cases: &["simple/16"], setup: Setup::PLAIN, rounds };
    turns.run(
        session,
        |kind, _| kind == Kind::Direct || is_plain(kind),
        move |lab, endpoint, case| {
            let (protocol, clients) = protocol_and_clients(case)?;
            let length = Length::Seconds(seconds);
            let call = Call { script: Script::Row, protocol, clients, length, rate: Some(RATE) };
            let report = pgbench::run(&lab.postgres, endpoint, call)?;
            let mut due: Vec<f64> = report.log.iter().map(|(latency, _)| *latency).collect();
            let mut own: Vec<f64> = report.log.iter().map(|(latency, lag)| latency - lag).collect();
            due.sort_by(f64::total_cmp);
            own.sort_by(f64::total_cmp);
            let at = |sorted: &[f64], share| percentile(sorted, share).context("no latency");
            Ok(Work {
                units: report.transactions,
                values: values([
                    ("p50_us", at(&own, 0.50)?),
                    ("p99_us", at(&own, 0.99)?),
                    ("due_p50_us", at(&due, 0.50)?),
                    ("due_p99_us", at(&due, 0.99)?),
                ]),
            })
        },
    )
}
