//! Cost against the number of distinct texts of statements, named and unnamed.
//!
//! A pooler keeps so many named ones on a server and no more: beyond that each execution is a Parse
//! as well, which is a step in every curve, and no growth.

use anyhow::Result;

use super::{BUSY, Bench, finished};
use crate::load::message;
use crate::load::swarm::Stop;

/// Far from 1 and odd: the walk over the texts does not follow their order.
const STRIDE: u64 = 48_271;

/// Each client has its part of the texts prepared before, under names, and executes them.
pub(super) fn named(bench: &mut Bench<'_>) -> Result<()> {
    for texts in bench.size.statements.clone() {
        let endpoint = bench.start(0)?;
        let clients = u64::from(BUSY);
        let each = u64::from(texts).div_ceil(clients);
        let text =
            move |client: usize, nth: u64| (client as u64 + nth * clients) % u64::from(texts);
        let mut busy = bench.swarm(&endpoint, BUSY)?;
        let prepared = busy.run(Stop::Turns(each), move |client, turn, out| {
            out.extend_from_slice(&message::prepare(&format!("s{turn}"), &sql(text(client, turn))));
        })?;
        finished(&prepared)?;
        let place = ("named statements", u64::from(texts));
        bench.point(place, &endpoint, &mut busy, move |_, turn, out| {
            let name = format!("s{}", turn.wrapping_mul(STRIDE) % each);
            out.extend_from_slice(&message::execute(&name, "7"));
        })?;
    }
    Ok(())
}

/// Each execution brings its text.
pub(super) fn unnamed(bench: &mut Bench<'_>) -> Result<()> {
    for texts in bench.size.statements.clone() {
        let endpoint = bench.start(0)?;
        let mut busy = bench.swarm(&endpoint, BUSY)?;
        let place = ("unnamed statements", u64::from(texts));
        bench.point(place, &endpoint, &mut busy, move |client, turn, out| {
            let walk = (turn * u64::from(BUSY) + client as u64).wrapping_mul(STRIDE);
            out.extend_from_slice(&message::extended(&sql(walk % u64::from(texts)), "7"));
        })?;
    }
    Ok(())
}

fn sql(text: u64) -> String {
    format!("SELECT abalance FROM pgbench_accounts WHERE aid = $1 AND {text} = {text}")
}
