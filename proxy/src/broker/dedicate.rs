//! Session mode: a client gets its server during its login and keeps it to its end.
//!
//! Owns: finding a server that was started with the client's own start-up parameters, or making
//! one of it, so that RESET, DISCARD ALL and `pg_settings` say what they say on a direct
//! connection. Refuses: policy; the cap is the pool's, and a server is started anew in its place.
//! Invariant: a link taken for a login that fails or is dropped goes back ([`Lent`]).

use std::rc::Rc;
use std::time::{Duration, Instant};

use stent_pool::PoolId;
use stent_wire::params::Params;
use stent_wire::report::{Report, Severity};
use stent_wire::startup::Replication;

use super::carry_out::hang_up;
use super::{Acquired, Broker};
use crate::clients::ClientId;
use crate::connect::{self, Opened};
use crate::link::{Link, Writing};

/// How long the old server may take to hang up before the new one is opened all the same.
const HANG_UP_MAX: Duration = Duration::from_secs(2);

/// With what a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The parameters of its StartupMessage.
    pub(crate) params: Rc<Params>,
    /// Its parameter `replication`.
    pub(crate) replication: Replication,
}

impl Start {
    /// A server for everybody: transaction and statement mode.
    pub(crate) fn plain() -> Self {
        Self { params: Rc::new(Params::default()), replication: Replication::Off }
    }

    /// Whether a server that was started with `self` is what one started with `other` would be.
    fn serves(&self, other: &Self) -> bool {
        self.replication == Replication::Off
            && other.replication == Replication::Off
            && self.params == other.params
    }
}

/// A server in the hands of a task that may be dropped: then it goes back as lost.
pub(crate) struct Lent {
    broker: Rc<Broker>,
    client: ClientId,
    link: Option<Box<Link>>,
}

impl Lent {
    pub(crate) fn new(broker: &Rc<Broker>, client: ClientId, link: Box<Link>) -> Self {
        Self { broker: Rc::clone(broker), client, link: Some(link) }
    }

    pub(crate) fn link(&mut self) -> &mut Box<Link> {
        self.link.as_mut().expect("it is taken out by value only")
    }

    pub(crate) fn into_link(mut self) -> Box<Link> {
        self.link.take().expect("it is taken out by value only")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.broker.release_lost(self.client, link);
        }
    }
}

impl Broker {
    /// The server of a client of session mode; what PostgreSQL says against it, as it says it.
    pub(crate) async fn dedicate(
        self: &Rc<Self>,
        client: ClientId,
        pool: PoolId,
        start: &Start,
    ) -> Result<Lent, Report> {
        self.want(pool, start);
        let acquired = match self.acquire(client, pool) {
            Acquired::Link(link) => Ok(link),
            Acquired::Refused(refusal) => Err(self.refusal_report(pool, refusal)),
            Acquired::Later => self.wait_for_link(client, pool).await,
        };
        self.want_no_more(pool, start);
        let lent = Lent::new(self, client, acquired.map_err(fatal)?);
        if lent.link.as_ref().is_some_and(|link| link.started.serves(start)) {
            return Ok(lent);
        }
        self.start_anew(lent, start).await.map_err(fatal)
    }

    /// Ends the server and starts another in its place, with the client's own parameters.
    async fn start_anew(self: &Rc<Self>, mut lent: Lent, start: &Start) -> Result<Lent, Report> {
        let (client, link) = (lent.client, lent.link());
        let (pool, server) = (link.pool, link.server);
        // A fresh link that was opened for this very client needs no second login.
        if link.started.params == start.params && link.started.replication == start.replication {
            return Ok(lent);
        }
        let _ = tokio::time::timeout(HANG_UP_MAX, hang_up(link)).await;
        link.writing = Writing::Failed;
        let opened = connect::open(self, pool, server, start.clone()).await;
        let Opened { link: fresh, welcome } = opened.map_err(|error| error.report())?;
        let mut inner = self.inner();
        inner.entries[pool.index()].welcomes.set_base(welcome);
        let slot = inner.slot(server).expect("a lent server keeps its place");
        slot.facts = Some(Rc::clone(&fresh.facts));
        fresh.facts.take(client, Instant::now());
        inner.clients.get_mut(client).holds = Some(Rc::clone(&fresh.facts));
        drop(inner);
        *lent.link() = fresh;
        Ok(lent)
    }

    /// A client waits for a server started this way: the next that is opened can be one.
    fn want(&self, pool: PoolId, start: &Start) {
        self.inner().entries[pool.index()].wanted.push_back(start.clone());
    }

    fn want_no_more(&self, pool: PoolId, start: &Start) {
        let mut inner = self.inner();
        let wanted = &mut inner.entries[pool.index()].wanted;
        let mine = wanted.iter().position(|wanted| Rc::ptr_eq(&wanted.params, &start.params));
        if let Some(at) = mine {
            wanted.remove(at);
        }
    }

    /// How the next server of a pool is started.
    pub(super) fn next_start(&self, pool: PoolId) -> Start {
        let next = self.inner().entries[pool.index()].wanted.pop_front();
        next.unwrap_or_else(Start::plain)
    }
}

fn fatal(mut report: Report) -> Report {
    report.severity = Severity::Fatal;
    report
}
