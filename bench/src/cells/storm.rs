//! Many more clients than servers: who waits how long, and whether all get their share.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Turns, is_plain};
use crate::endpoint::Setup;
use crate::figure::{jain, percentile, values};
use crate::load::message;
use crate::load::swarm::{Stop, Swarm};
use crate::session::{Session, Work};

const CLIENTS: u32 = 500;
/// Twenty servers finish a thousand of these a second: the ideal wait is half a second.
const QUERY: &str = "select pg_sleep(0.02)";

pub(super) fn run(session: &mut Session) -> Result<()> {
    let rounds = session.plan.rounds.min(2);
    let length = Duration::from_secs_f64(session.plan.seconds);
    let cases = ["20 ms queries", "connecting at once"];
    let turns = Turns { cell: "storm", cases: &cases, setup: Setup::PLAIN, rounds };
    turns.run(
        session,
        |kind, _| is_plain(kind),
        move |lab, endpoint, case| {
            let login = lab.login(endpoint)?;
            let (mut swarm, logins) = Swarm::connect(&login, CLIENTS)?;
            if case == "connecting at once" {
                let mut waits: Vec<f64> =
                    logins.iter().map(|wait| wait.as_secs_f64() * 1e3).collect();
                waits.sort_by(f64::total_cmp);
                let longest = percentile(&waits, 1.0).context("clients have logged in")?;
                let figures = values([("longest_ms", longest), ("errors", 0.0)]);
                return Ok(Work { units: f64::from(CLIENTS), values: figures });
            }
            let dones = swarm.run(Stop::After(length), |_, _, out| {
                out.extend_from_slice(&message::query(QUERY));
            })?;
            let shares: Vec<f64> = dones.iter().map(|done| done.transactions as f64).collect();
            let longest = dones.iter().map(|done| done.longest).max().unwrap_or_default();
            let figures = values([
                ("longest_ms", longest.as_secs_f64() * 1e3),
                ("jain", jain(&shares).context("clients have had answers")?),
                ("errors", dones.iter().map(|done| done.errors as f64).sum()),
            ]);
            Ok(Work { units: shares.iter().sum(), values: figures })
        },
    )
}
