//! What a transaction costs the proxy as something else grows: clients, pools, statements, age.
//!
//! Owns: the sizes, and what is held while a point is measured. In front of a server that answers
//! at once, so that PostgreSQL's own growth is in no figure. Refuses: a point whose clients had
//! errors.

mod clients;
mod pools;
mod statements;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::endpoint::{Kind, Running, Server, Setup};
use crate::figure::values;
use crate::load::message;
use crate::load::swarm::{Done, Stop, Swarm};
use crate::plan::Asked;
use crate::session::{Case, Session, Work};
use crate::stub::Stub;

/// The curves: what grows.
pub const NAMES: [&str; 6] = [
    "idle clients",
    "busy clients",
    "pools",
    "named statements",
    "unnamed statements",
    "transactions so far",
];
/// Clients that ask, where their number is not what grows.
const BUSY: u32 = 16;
const QUERY: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345";

/// The points of each curve.
#[derive(Clone, Debug)]
pub struct Size {
    /// Idle clients beside the busy ones.
    pub idle: Vec<u32>,
    /// Busy clients.
    pub busy: Vec<u32>,
    /// Pools with an open server each.
    pub pools: Vec<u32>,
    /// Distinct statements.
    pub statements: Vec<u32>,
    /// Transactions that the process has done before.
    pub age: Vec<u64>,
    /// How long a measurement is.
    pub length: Duration,
    /// Measurements of a point.
    pub repeats: u32,
}

impl Size {
    /// What is published.
    pub fn whole() -> Self {
        Self {
            idle: vec![10, 100, 1_000, 3_000, 10_000],
            busy: vec![1, 10, 100, 300, 1_000],
            pools: vec![1, 10, 100, 1_000],
            statements: vec![1, 100, 1_000, 10_000, 100_000],
            age: vec![0, 250_000, 500_000, 1_000_000],
            length: Duration::from_millis(800),
            repeats: 5,
        }
    }

    /// For a test of the way.
    pub fn tiny() -> Self {
        Self {
            idle: vec![1, 20],
            busy: vec![1, 20],
            pools: vec![1, 5],
            statements: vec![1, 300],
            age: vec![0, 500],
            length: Duration::from_millis(100),
            repeats: 1,
        }
    }
}

/// Measures all curves at the endpoints that the plan names; else at Stent and PgBouncer.
pub fn run(session: &mut Session, size: &Size) -> Result<()> {
    let asked = session.plan.asked;
    let kinds = session.kinds(|kind| match kind {
        Kind::Stent | Kind::PgBouncer => true,
        Kind::StentNamed | Kind::StentAll | Kind::PgBouncerDebian | Kind::PgDoorman => {
            asked == Asked::ByName
        }
        Kind::Direct | Kind::PgBouncer64k => false,
    });
    let stub = Stub::start()?;
    for kind in kinds {
        eprintln!("bench: curves of {}", kind.name());
        let mut point = Bench { session, stub: &stub, size, kind };
        clients::idle(&mut point)?;
        clients::busy(&mut point)?;
        pools::run(&mut point)?;
        statements::named(&mut point)?;
        statements::unnamed(&mut point)?;
        clients::age(&mut point)?;
    }
    Ok(())
}

/// Where one endpoint's curves are measured.
struct Bench<'a> {
    session: &'a mut Session,
    stub: &'a Stub,
    size: &'a Size,
    kind: Kind,
}

impl Bench<'_> {
    /// A fresh process in front of the stub.
    fn start(&mut self, databases: u32) -> Result<Running> {
        let setup =
            Setup { server: Some(Server::local(self.stub.port())), databases, ..Setup::PLAIN };
        self.session.start(self.kind, setup)
    }

    fn swarm(&self, endpoint: &Running, clients: u32) -> Result<Swarm> {
        let login = self.session.lab.login(endpoint)?;
        Ok(Swarm::connect(&login, clients)?.0)
    }

    /// Measures one point of a curve.
    fn point(
        &mut self,
        (curve, at): (&str, u64),
        endpoint: &Running,
        swarm: &mut Swarm,
        request: impl Fn(usize, u64, &mut Vec<u8>) + Clone + 'static,
    ) -> Result<()> {
        let case = at.to_string();
        for round in 1..=self.size.repeats {
            let place = Case { cell: curve, case: &case, round };
            let stop = Stop::After(self.size.length);
            self.session.measure(place, endpoint, |_, _| {
                let transactions = finished(&swarm.run(stop, request.clone())?)?;
                Ok(Work { units: transactions, values: values([]) })
            })?;
        }
        Ok(())
    }
}

/// Transactions of clients none of which had an error.
fn finished(dones: &[Done]) -> Result<f64> {
    let errors: u64 = dones.iter().map(|done| done.errors).sum();
    ensure!(errors == 0, "{errors} errors");
    let transactions: u64 = dones.iter().map(|done| done.transactions).sum();
    ensure!(transactions > 0, "no transaction was finished");
    Ok(transactions as f64)
}

/// One simple query.
fn simple(_: usize, _: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&message::query(QUERY));
}
