//! Resident memory of idle clients, in a fresh process for each number of them.
//!
//! The baseline is taken when a first client has done all that the others will do, so that what a
//! pooler needs once is not in a client's share.

use anyhow::{Context, Result};
use stent_testkit::proc;

use super::is_plain;
use crate::endpoint::{Kind, Setup};
use crate::figure::values;
use crate::load::client::{CHUNK, Client};
use crate::load::message;
use crate::session::{Case, Session};

const QUERY: &str = "select 1";
/// A hundred kilobytes.
const RESULT: &str = "select repeat('x', 100000)";

pub(super) fn run(session: &mut Session) -> Result<()> {
    for kind in session.kinds(is_plain) {
        for clients in session.plan.idle.clone() {
            idle(session, kind, Setup::PLAIN, clients, &format!("{clients}"))?;
        }
        if let Some(clients) = session.plan.idle.first().copied() {
            idle(session, kind, Setup::TLS, clients, &format!("TLS {clients}"))?;
        }
    }
    Ok(())
}

fn idle(session: &mut Session, kind: Kind, setup: Setup, clients: u32, case: &str) -> Result<()> {
    if !session.plan.wants(case) {
        return Ok(());
    }
    let endpoint = session.start(kind, setup)?;
    let pid = endpoint.pid().context("a pooler has a process")?;
    let login = session.lab.login(&endpoint)?;
    let (query, result) = (message::query(QUERY), message::query(RESULT));
    let mut chunk = vec![0; CHUNK];
    let mut first = login.client()?;
    first.ask(&query, &mut chunk)?;
    first.ask(&result, &mut chunk)?;
    let base = proc::memory(pid)?.resident();
    let each = |now: u64| now.saturating_sub(base) as f64 / f64::from(clients);
    let held: Result<Vec<Client>> = (0..clients).map(|_| login.client()).collect();
    let mut held =
        held.with_context(|| format!("log {clients} idle clients in at {}", endpoint.name()))?;
    let idle = each(proc::memory(pid)?.resident());
    let mut after = [0.0; 2];
    for (request, after) in [&query, &result].into_iter().zip(&mut after) {
        for client in &mut held {
            client.ask(request, &mut chunk)?;
        }
        *after = each(proc::memory(pid)?.resident());
    }
    let [after_query, after_result] = after;
    let figures = values([
        ("base_kib", base as f64 / 1024.0),
        ("idle_bytes", idle),
        ("after_query_bytes", after_query),
        ("after_result_bytes", after_result),
    ]);
    session.keep(Case { cell: "memory", case, round: 1 }, kind, figures);
    Ok(())
}
