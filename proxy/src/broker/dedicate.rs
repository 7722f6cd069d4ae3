//! Session mode, and replication clients in every mode: a client gets its server during its login
//! and keeps it to its end.
//!
//! Owns: finding a server that was started with the client's own start-up parameters, or making
//! one of it, so that RESET, DISCARD ALL and `pg_settings` say what they say on a direct
//! connection. Refuses: policy; the cap is the pool's, and a server is started anew in its place.
//! Invariant: a link taken for a login that fails or is dropped goes back ([`Lent`]), and a wish
//! for a server is kept exactly as long as its client waits ([`Wanted`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_pool::{PoolId, ServerId};
use stent_wire::params::Params;
use stent_wire::report::{Report, Severity};
use stent_wire::startup::Replication;

use super::carry_out::hang_up;
use super::{Acquired, Broker};
use crate::clients::ClientId;
use crate::config::PoolMode;
use crate::connect::{OpenError, Opened};
use crate::disconnects::Cause;
use crate::hosts;
use crate::link::{Link, Writing};

/// How long the old server may take to hang up before the new one is opened all the same.
const HANG_UP_MAX: Duration = Duration::from_secs(2);

/// With what a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The parameters of its StartupMessage.
    pub(crate) params: Arc<Params>,
    /// Its parameter `replication`.
    pub(crate) replication: Replication,
}

impl Start {
    /// A server for everybody: transaction and statement mode.
    pub(crate) fn plain() -> Self {
        Self { params: Arc::new(Params::default()), replication: Replication::Off }
    }

    /// Whether a server that was started with `self` is what one started with `other` would be.
    fn serves(&self, other: &Self) -> bool {
        self.replication == Replication::Off
            && other.replication == Replication::Off
            && self.params == other.params
    }
}

/// What is particular to the servers of a pool of ours.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// The pool's user, as people read it.
    pub(crate) title: String,
    /// As whom the servers log in.
    pub(crate) login: Arc<str>,
    /// With what they are started, and with nothing else.
    pub(crate) start: Start,
}

/// A server in the hands of a task that may be dropped: then it goes back as lost.
pub(crate) struct Lent {
    broker: Arc<Broker>,
    client: ClientId,
    link: Option<Box<Link>>,
}

impl Lent {
    pub(crate) fn new(broker: &Arc<Broker>, client: ClientId, link: Box<Link>) -> Self {
        Self { broker: Arc::clone(broker), client, link: Some(link) }
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
            self.broker.release_spoilt(self.client, link);
        }
    }
}

/// A client's wish for a server started its way, until it is fulfilled or given up.
struct Wanted<'a> {
    broker: &'a Broker,
    pool: PoolId,
    params: &'a Arc<Params>,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut inner = self.broker.inner();
        let wanted = &mut inner.entries[self.pool.index()].wanted;
        let mine = wanted.iter().position(|start| Arc::ptr_eq(&start.params, self.params));
        if let Some(at) = mine {
            wanted.remove(at);
        }
    }
}

impl Broker {
    /// The server of a client that keeps it; what PostgreSQL says against it, as it says it.
    pub(crate) async fn dedicate(
        self: &Arc<Self>,
        client: ClientId,
        pool: PoolId,
        start: &Start,
    ) -> Result<Lent, Report> {
        // Where servers are shared, the next that is opened may be for anybody.
        let shared = self.config.pool_mode != PoolMode::Session;
        let wanted = (!shared).then(|| self.want(pool, start));
        let acquired = match self.acquire(client, pool) {
            Acquired::Link(link) => Ok(link),
            Acquired::Refused(refusal) => Err(self.refusal_report(pool, refusal)),
            Acquired::Later => self.wait_for_link(client, pool).await,
        };
        drop(wanted);
        let lent = Lent::new(self, client, acquired.map_err(fatal)?);
        if lent.link.as_ref().is_some_and(|link| link.started.serves(start)) {
            return Ok(lent);
        }
        self.start_anew(lent, start).await.map_err(fatal)
    }

    /// Ends the server and starts another in its place, with the client's own parameters.
    async fn start_anew(self: &Arc<Self>, mut lent: Lent, start: &Start) -> Result<Lent, Report> {
        let (client, link) = (lent.client, lent.link());
        let (pool, server) = (link.pool, link.server);
        // A fresh link that was opened for this very client needs no second login.
        if link.started.params == start.params && link.started.replication == start.replication {
            return Ok(lent);
        }
        let ended = Arc::clone(&link.facts);
        let _ = tokio::time::timeout(HANG_UP_MAX, hang_up(link)).await;
        link.writing = Writing::Failed;
        let began = Instant::now();
        let opened = hosts::open(self, pool, server, start.clone()).await;
        let Opened { link: fresh, welcome, .. } = opened.map_err(|error| error.report())?;
        let mut inner = self.inner();
        inner.server_ended(pool, &ended, Cause::Restarted, "");
        let entry = &mut inner.entries[pool.index()];
        entry.stats.own().create.record(began.elapsed());
        if self.config.pool_mode == PoolMode::Session {
            entry.welcomes.set_base(welcome);
        }
        let slot = inner.slot(server).expect("a lent server keeps its place");
        slot.facts = Some(Arc::clone(&fresh.facts));
        fresh.facts.take(client, Instant::now());
        inner.clients.get_mut(client).holds = Some(Arc::clone(&fresh.facts));
        drop(inner);
        *lent.link() = fresh;
        Ok(lent)
    }

    /// A client waits for a server started this way: the next that is opened can be one.
    fn want<'a>(&'a self, pool: PoolId, start: &'a Start) -> Wanted<'a> {
        self.inner().entries[pool.index()].wanted.push_back(start.clone());
        Wanted { broker: self, pool, params: &start.params }
    }

    /// How the next server of a pool is started.
    fn next_start(&self, pool: PoolId) -> Start {
        let next = self.inner().entries[pool.index()].wanted.pop_front();
        next.unwrap_or_else(Start::plain)
    }

    /// Opens a server as the first waiting client wants it. Parameters that PostgreSQL does not
    /// take are that client's business, not the pool's: it hears of them in its own login.
    pub(super) async fn open_for_whom_it_waits(
        self: &Arc<Self>,
        pool: PoolId,
        server: ServerId,
    ) -> Result<Opened, OpenError> {
        let own = self.inner().entries[pool.index()].own.as_ref().map(|own| own.start.clone());
        if let Some(start) = own {
            return hosts::open(self, pool, server, start).await;
        }
        let start = self.next_start(pool);
        let own = !start.params.is_empty() || start.replication != Replication::Off;
        match hosts::open(self, pool, server, start).await {
            Err(OpenError::Refused(report)) if own && may_be_about_parameters(&report) => {
                hosts::open(self, pool, server, Start::plain()).await
            }
            opened => opened,
        }
    }
}

/// Whether PostgreSQL may have refused a login for what its client brought: an unknown parameter
/// (42704), a value out of range (22023), one for superusers only (42501) and more. Not the user,
/// its proof or its database (28, 3D000), and not the server's own state (53, 57).
fn may_be_about_parameters(report: &Report) -> bool {
    let code = report.code.to_string();
    let others = ["28", "3D", "53", "57", "08"];
    !others.iter().any(|class| code.starts_with(class))
}

fn fatal(mut report: Report) -> Report {
    report.severity = Severity::Fatal;
    report
}
