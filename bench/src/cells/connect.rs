//! A connection for each query: login, one query, Terminate, one after another.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Turns, is_plain};
use crate::endpoint::{Auth, Running, Setup, Tls};
use crate::figure::values;
use crate::lab::Lab;
use crate::load::message;
use crate::session::{Session, Work};

const EXTRA_ROUNDS: u32 = 2;

pub(super) fn run(session: &mut Session) -> Result<()> {
    // Two more than elsewhere: a second of it is short.
    let rounds = session.plan.rounds + EXTRA_ROUNDS;
    let length = Duration::from_secs_f64(session.plan.seconds / 3.0);
    let kinds: [(&[&str], Setup); 3] =
        [(&["trust"], Setup::PLAIN), (&["SCRAM"], Setup::SCRAM), (&["TLS, trust"], Setup::TLS)];
    for (cases, setup) in kinds {
        let turns = Turns { cell: "connect", cases, setup, rounds };
        turns.run(
            session,
            |kind, _| is_plain(kind),
            move |lab, endpoint, _| connect(lab, endpoint, length),
        )?;
    }
    // Which cipher the poolers took: the same, or the figures say so.
    for kind in session.kinds(is_plain) {
        let endpoint = session.start(kind, Setup { auth: Auth::Trust, ..Setup::TLS })?;
        let client = session.lab.login(&endpoint)?.client()?;
        let cipher = client.cipher().context("TLS was asked for")?;
        session.notes.insert(format!("cipher, {}", kind.name()), cipher);
    }
    Ok(())
}

fn connect(lab: &Lab, endpoint: &Running, length: Duration) -> Result<Work> {
    debug_assert!(endpoint.setup().auth == Auth::Trust || endpoint.setup().tls == Tls::Off);
    let login = lab.login(endpoint)?;
    let query = message::query("select 1");
    let mut chunk = [0; 4096];
    let end = Instant::now() + length;
    let mut connections = 0.0;
    while Instant::now() < end {
        let mut client = login.client()?;
        client.ask(&query, &mut chunk)?;
        client.close()?;
        connections += 1.0;
    }
    Ok(Work { units: connections, values: values([]) })
}
