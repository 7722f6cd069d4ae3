//! Large results and loads: CPU a megabyte.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Turns;
use crate::endpoint::{Kind, Running, Setup};
use crate::figure::values;
use crate::lab::Lab;
use crate::load::client::CHUNK;
use crate::load::message;
use crate::session::{Session, Work};

/// Ten megabytes: a hundred bytes a row.
const SELECT: &str = "select repeat('x', 99) from generate_series(1, 100000)";
const COPY_OUT: &str = "copy (select repeat('x', 99) from generate_series(1, 100000)) to stdout";
/// Nothing is stored: what is measured is the way there.
const COPY_IN: &str = "copy sink from stdin where false";
const SINK: &str = "create unlogged table if not exists sink (line text)";
/// Rows of a CopyData message, a hundred bytes each: about what libpq's buffer holds.
const ROWS: usize = 80;
/// Messages of a COPY.
const MESSAGES: u32 = 1_250;
const MEGABYTE: f64 = 1e6;

pub(super) fn run(session: &mut Session) -> Result<()> {
    session.lab.postgres.sql(SINK)?;
    let (rounds, length) = (session.plan.rounds, session.plan.seconds / 3.0);
    let length = Duration::from_secs_f64(length);
    let plain = Turns {
        cell: "streaming",
        cases: &["select", "copy out", "copy in"],
        setup: Setup::PLAIN,
        rounds,
    };
    plain.run(
        session,
        |kind, _| is_streamed(kind),
        move |lab, endpoint, case| stream(lab, endpoint, case, length),
    )?;
    let tls = Turns {
        cell: "streaming",
        cases: &["TLS select", "TLS copy in"],
        setup: Setup::TLS,
        rounds,
    };
    tls.run(
        session,
        |kind, _| is_streamed(kind),
        move |lab, endpoint, case| stream(lab, endpoint, case, length),
    )
}

const fn is_streamed(kind: Kind) -> bool {
    match kind {
        Kind::Stent
        | Kind::PgBouncer
        | Kind::PgBouncer64k
        | Kind::PgBouncerDebian
        | Kind::PgDoorman => true,
        Kind::Direct | Kind::StentNamed | Kind::StentAll => false,
    }
}

fn stream(lab: &Lab, endpoint: &Running, case: &str, length: Duration) -> Result<Work> {
    let mut client = lab.login(endpoint)?.client()?;
    let rows = format!("{}\n", "x".repeat(99)).repeat(ROWS).into_bytes();
    let mut chunk = vec![0; CHUNK];
    let end = Instant::now() + length;
    let mut bytes = 0;
    loop {
        bytes += match case.trim_start_matches("TLS ") {
            "select" => client.ask(&message::query(SELECT), &mut chunk)?,
            "copy out" => client.ask(&message::query(COPY_OUT), &mut chunk)?,
            "copy in" => client.copy_in(COPY_IN, &rows, MESSAGES, &mut chunk)?,
            other => bail!("nothing streams {other}"),
        };
        if Instant::now() >= end {
            break;
        }
    }
    client.close()?;
    Ok(Work { units: bytes as f64 / MEGABYTE, values: values([]) })
}
