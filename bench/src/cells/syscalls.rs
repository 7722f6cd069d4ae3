//! System calls a transaction, logins included: they are few against so many transactions.

use anyhow::{Context, Result};

use super::{protocol_and_clients, speaks, warm};
use crate::endpoint::{Kind, Setup};
use crate::figure::values;
use crate::load::pgbench::{self, Call, Length, Script};
use crate::meter::syscalls::Counter;
use crate::plan::PROTOCOLS;
use crate::session::{Case, Session};

/// Clients, and transactions of each.
const LOADS: [(u32, u32); 3] = [(1, 4_000), (16, 1_000), (64, 250)];

pub(super) fn run(session: &mut Session) -> Result<()> {
    let Some(counter) = Counter::find() else {
        eprintln!("bench: neither perf nor strace can count system calls here");
        return Ok(());
    };
    session.notes.insert("system calls counted by".to_owned(), counter.name().to_owned());
    for kind in session.kinds(|kind| kind != Kind::Direct && speaks(kind, "extended")) {
        let endpoint = session.start(kind, Setup::PLAIN)?;
        let pid = endpoint.pid().context("a pooler has a process")?;
        warm(&session.lab, &endpoint)?;
        for protocol in PROTOCOLS.into_iter().filter(|protocol| speaks(kind, protocol)) {
            for (clients, each) in LOADS {
                let case = format!("{protocol}/{clients}");
                if !session.plan.wants(&case) {
                    continue;
                }
                let (protocol, clients) = protocol_and_clients(&case)?;
                let length = Length::Each(each);
                let call = Call { script: Script::Row, protocol, clients, length, rate: None };
                let mut transactions = 0.0;
                let calls = counter.count(pid, |wrapper| {
                    let report =
                        pgbench::run_under(wrapper, &session.lab.postgres, &endpoint, call)?;
                    transactions = report.transactions;
                    Ok(())
                })?;
                let place = Case { cell: "syscalls", case: &case, round: 1 };
                session.keep(place, kind, values([("calls", calls / transactions)]));
            }
        }
    }
    Ok(())
}
