//! What a second worker adds: transactions in front of a server that answers at once.
//!
//! Refuses: judging a machine whose cores the load has taken: beside whole cores, each worker is given
//! a fifth of one, of which there are enough on any machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::endpoint::{Kind, Running, Server, Setup};
use crate::figure::values;
use crate::load::message;
use crate::load::swarm::{Stop, Swarm};
use crate::meter::slow::SlowCores;
use crate::session::{Case, Session, Work};
use crate::stub::Stub;

/// The cell's name.
pub const CELL: &str = "workers";
/// Cases with one and with two workers that share the machine's cores with the load.
pub const WHOLE: [&str; 2] = ["1 worker", "2 workers"];
/// The same with a core of a fifth of the machine's speed for each.
pub const SLOW: [&str; 2] = ["1 worker, a fifth of a core", "2 workers, a fifth of a core each"];
const SHARE: f64 = 0.2;
const CLIENTS: u32 = 64;
const QUERY: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345";

/// A proxy, its load, and its cores.
struct Side {
    endpoint: Running,
    swarm: Swarm,
    cores: Option<SlowCores>,
}

pub(super) fn run(session: &mut Session) -> Result<()> {
    if session.kinds(|kind| kind == Kind::Stent).is_empty() {
        return Ok(());
    }
    let stub = Stub::start()?;
    let mut sides = [side(session, &stub, 1)?, side(session, &stub, 2)?];
    for round in 1..=session.plan.rounds {
        for (share, cases) in [(None, WHOLE), (Some(SHARE), SLOW)] {
            for (side, case) in sides.iter_mut().zip(cases) {
                if session.plan.wants(case) {
                    measure(session, side, share, Case { cell: CELL, case, round })?;
                }
            }
        }
    }
    Ok(())
}

fn side(session: &mut Session, stub: &Stub, workers: u16) -> Result<Side> {
    let setup = Setup { server: Some(Server::local(stub.port())), workers, ..Setup::PLAIN };
    let endpoint = session.start(Kind::Stent, setup)?;
    let cores = match SlowCores::of(endpoint.pid().context("it is a process")?) {
        Ok(cores) => {
            ensure!(cores.len() == usize::from(workers), "{} workers of {workers}", cores.len());
            Some(cores)
        }
        Err(why) => {
            session.notes.insert("slower cores".to_owned(), format!("none: {why:#}"));
            None
        }
    };
    let (mut swarm, _) = Swarm::connect(&session.lab.login(&endpoint)?, CLIENTS)?;
    swarm.run(Stop::Turns(100), ask)?;
    Ok(Side { endpoint, swarm, cores })
}

fn measure(
    session: &mut Session,
    side: &mut Side,
    share: Option<f64>,
    case: Case<'_>,
) -> Result<()> {
    match (&side.cores, share) {
        (Some(cores), _) => cores.set(share)?,
        (None, Some(_)) => return Ok(()),
        (None, None) => {}
    }
    let length = Duration::from_secs_f64(session.plan.seconds);
    let swarm = &mut side.swarm;
    session.measure(case, &side.endpoint, |_, _| {
        let dones = swarm.run(Stop::After(length), ask)?;
        ensure!(dones.iter().all(|done| done.errors == 0), "a client had an error");
        let units = dones.iter().map(|done| done.transactions as f64).sum();
        Ok(Work { units, values: values([("tps", units / length.as_secs_f64())]) })
    })
}

fn ask(_: usize, _: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&message::query(QUERY));
}
