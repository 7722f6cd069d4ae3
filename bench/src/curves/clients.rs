//! Cost against the number of clients, idle and busy, and against the age of the process.

use anyhow::Result;

use super::{BUSY, Bench, finished, simple};
use crate::load::swarm::{Stop, Swarm};

/// Sixteen ask; more and more others are logged in, have asked once, and say nothing.
pub(super) fn idle(bench: &mut Bench<'_>) -> Result<()> {
    let endpoint = bench.start(0)?;
    let mut busy = bench.swarm(&endpoint, BUSY)?;
    let mut idle: Vec<Swarm> = Vec::new();
    for wanted in bench.size.idle.clone() {
        let held: usize = idle.iter().map(Swarm::len).sum();
        let more = wanted.saturating_sub(u32::try_from(held)?);
        let mut others = bench.swarm(&endpoint, more)?;
        if more > 0 {
            finished(&others.run(Stop::Turns(1), simple)?)?;
        }
        idle.push(others);
        bench.point(("idle clients", u64::from(wanted)), &endpoint, &mut busy, simple)?;
    }
    Ok(())
}

/// More and more ask, as fast as they are answered.
pub(super) fn busy(bench: &mut Bench<'_>) -> Result<()> {
    let endpoint = bench.start(0)?;
    for clients in bench.size.busy.clone() {
        let mut busy = bench.swarm(&endpoint, clients)?;
        finished(&busy.run(Stop::Turns(10), simple)?)?;
        bench.point(("busy clients", u64::from(clients)), &endpoint, &mut busy, simple)?;
    }
    Ok(())
}

/// Sixteen ask, and have asked for longer and longer. What is measured counts too.
pub(super) fn age(bench: &mut Bench<'_>) -> Result<()> {
    let endpoint = bench.start(0)?;
    let mut busy = bench.swarm(&endpoint, BUSY)?;
    let mut before = 0;
    for at in bench.size.age.clone() {
        let more = (at - before) / u64::from(BUSY);
        before = at;
        if more > 0 {
            finished(&busy.run(Stop::Turns(more), simple)?)?;
        }
        bench.point(("transactions so far", at), &endpoint, &mut busy, simple)?;
    }
    Ok(())
}
