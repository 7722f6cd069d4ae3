//! What a client is told at the end of its login: the parameters of its session.
//!
//! Owns: the server's own values, and the values that follow from a client's start-up parameters,
//! learnt from a server once and kept. Refuses: inventing a value that a server has never given,
//! unless no server is free to ask.
//! Invariant: at most [`KINDS_MAX`] kinds of clients are remembered a pool.

use std::sync::Arc;
use std::time::Duration;

use stent_pool::PoolId;
use stent_wire::params::{Params, ParamsKey};
use stent_wire::report::reply::put_parameter_status;
use stent_wire::report::{Report, SqlState};

use super::{Acquired, Broker, Lent};
use crate::clients::{ClientId, Outcome};
use crate::exchange::{self, Answer, ExchangeError};
use crate::link::Link;

/// The most kinds of start-up parameters that are remembered a pool.
const KINDS_MAX: usize = 64;

/// How long a login waits for a server to ask, where it could go on without.
const PATIENCE_WITH_LOGIN: Duration = Duration::from_secs(1);

/// Names and values of ParameterStatus messages.
type Reported = Vec<(Vec<u8>, Vec<u8>)>;

/// Notices, and names and values of ParameterStatus, rendered.
pub(crate) type Welcome = Arc<[u8]>;

/// What a server of this pool says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BaseWelcome {
    parameters: Reported,
    /// Whole messages: a database whose collations have changed warns each client, for one.
    notices: Vec<u8>,
}

/// What is known for the clients of a pool.
#[derive(Debug, Default)]
pub(crate) struct WelcomeCache {
    base: Option<BaseWelcome>,
    by_params: Vec<Known>,
}

/// What clients of one kind are told.
#[derive(Debug)]
struct Known {
    key: ParamsKey,
    welcome: Welcome,
    /// The parameters of the first of them, which those share that have spelled them alike.
    params: Arc<Params>,
}

impl BaseWelcome {
    /// From the ParameterStatus messages and notices of a login.
    pub(crate) const fn new(parameters: Reported, notices: Vec<u8>) -> Self {
        Self { parameters, notices }
    }

    /// As it is, rendered.
    pub(crate) fn plain(&self) -> Welcome {
        self.with(std::iter::empty(), &[])
    }

    /// The same with some values changed and notices (whole messages) added, rendered.
    fn with<'a>(
        &self,
        changed: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        notices: &[u8],
    ) -> Welcome {
        let mut values = self.parameters.clone();
        for (name, value) in changed {
            if let Some(known) = values.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
                known.1 = value.to_vec();
            }
        }
        let mut out = [&self.notices, notices].concat();
        for (name, value) in &values {
            put_parameter_status(&mut out, name, value);
        }
        out.into()
    }
}

impl WelcomeCache {
    /// A server has been opened. A server that says otherwise than the last (an upgrade, another
    /// configuration) makes what was learnt from that one void.
    pub(crate) fn set_base(&mut self, base: BaseWelcome) {
        if self.base.as_ref() != Some(&base) {
            self.by_params.clear();
            self.base = Some(base);
        }
    }

    /// The encoding in which a server of this pool speaks unless it is told otherwise.
    pub(crate) fn encoding(&self) -> Option<&[u8]> {
        let said = self.base.as_ref()?.parameters.iter();
        let mut named = said.filter(|(name, _)| name.eq_ignore_ascii_case(b"client_encoding"));
        named.next().map(|(_, value)| value.as_slice())
    }

    fn get(&self, key: &ParamsKey) -> Option<Welcome> {
        let mut known = self.by_params.iter();
        known.find(|known| known.key == *key).map(|known| Arc::clone(&known.welcome))
    }

    /// The same parameters, where another client brings them too.
    fn shared(&self, params: &Params) -> Option<Arc<Params>> {
        let mut known = self.by_params.iter();
        known.find(|known| *known.params == *params).map(|known| Arc::clone(&known.params))
    }

    fn remember(&mut self, key: ParamsKey, welcome: &Welcome, params: &Arc<Params>) {
        if self.by_params.len() == KINDS_MAX {
            self.by_params.remove(0);
        }
        let (welcome, params) = (Arc::clone(welcome), Arc::clone(params));
        self.by_params.push(Known { key, welcome, params });
    }
}

impl Broker {
    /// A client's parameters: those of another client of the pool where they are the same.
    pub(crate) fn shared_params(&self, pool: PoolId, params: Params) -> Arc<Params> {
        let shared = self.inner().entries[pool.index()].welcomes.shared(&params);
        shared.unwrap_or_else(|| Arc::new(params))
    }

    /// What a client with these parameters is told. Asks a server where that is not known yet;
    /// PostgreSQL's own error comes back where it does not take the parameters.
    pub(crate) async fn welcome(
        self: &Arc<Self>,
        client: ClientId,
        pool: PoolId,
        params: &Arc<Params>,
    ) -> Result<Welcome, Report> {
        let key = params.key();
        if let Some(known) = self.inner().entries[pool.index()].welcomes.get(&key) {
            return Ok(known);
        }
        let link = match self.acquire(client, pool) {
            Acquired::Link(link) => link,
            Acquired::Refused(refusal) => return Err(self.refusal_report(pool, refusal)),
            Acquired::Later => match self.wait_for_link_or_guess(client, pool).await? {
                Some(link) => link,
                None => return Ok(self.guess(pool, params)),
            },
        };
        self.learn(client, link, params, key).await
    }

    /// A link, or `None` where the pool has been up but has no server free for us soon: a client
    /// (an engineer's psql above all) must be able to log in to a pool that is held by others, or
    /// paused.
    async fn wait_for_link_or_guess(
        self: &Arc<Self>,
        client: ClientId,
        pool: PoolId,
    ) -> Result<Option<Box<Link>>, Report> {
        let known = self.inner().entries[pool.index()].welcomes.base.is_some();
        if !known {
            return self.wait_for_link(client, pool).await.map(Some);
        }
        if self.waits_for_resume(client) {
            self.withdraw(client);
            return Ok(None);
        }
        let waiting = self.wait_for_link(client, pool);
        match tokio::time::timeout(PATIENCE_WITH_LOGIN, waiting).await {
            Ok(result) => result.map(Some),
            Err(_) => {
                self.withdraw(client);
                Ok(None)
            }
        }
    }

    /// The server's own values with the client's put over them, as the client spelled them.
    fn guess(&self, pool: PoolId, params: &Params) -> Welcome {
        let base = self.inner().entries[pool.index()].welcomes.base.clone().unwrap_or_default();
        base.with(params.iter(), &[])
    }

    pub(crate) async fn wait_for_link(
        self: &Arc<Self>,
        client: ClientId,
        pool: PoolId,
    ) -> Result<Box<Link>, Report> {
        let outcome = std::future::poll_fn(|cx| {
            self.inner().clients.get_mut(client).waker = Some(cx.waker().clone());
            match self.take_outcome(client) {
                Some(outcome) => std::task::Poll::Ready(outcome),
                None => std::task::Poll::Pending,
            }
        })
        .await;
        match outcome {
            Outcome::Granted(link) => Ok(link),
            Outcome::Refused(refusal) => Err(self.refusal_report(pool, refusal)),
            Outcome::Cancelled => Err(Report::error(
                SqlState::parse(b"57014").expect("five digits are a code"),
                "canceling statement due to user request",
            )),
        }
    }

    /// Gives a server the client's parameters and listens to what it makes of them.
    async fn learn(
        self: &Arc<Self>,
        client: ClientId,
        link: Box<Link>,
        params: &Arc<Params>,
        key: ParamsKey,
    ) -> Result<Welcome, Report> {
        let pool = link.pool;
        let base = self.inner().entries[pool.index()].welcomes.base.clone().unwrap_or_default();
        // The login may be given up while PostgreSQL thinks.
        let mut lent = Lent::new(self, client, link);
        let answer = told_of(lent.link(), params).await;
        let link = lent.into_link();
        match answer {
            Ok(told) => {
                self.release(client, link);
                let values = told.parameters.iter();
                let values = values.map(|(name, value)| (name.as_slice(), value.as_slice()));
                let welcome = base.with(values, &told.notices);
                let mut inner = self.inner();
                inner.entries[pool.index()].welcomes.remember(key, &welcome, params);
                Ok(welcome)
            }
            Err(ExchangeError::Refused(report)) => {
                self.release(client, link);
                Err(*report)
            }
            Err(error) => {
                self.release_lost(client, link);
                Err(Report::error(SqlState::CONNECTION_FAILURE, error.to_string()))
            }
        }
    }
}

/// Gives a server these parameters; what it reports then differs from its own values, and is
/// spelled as it spells it.
///
/// PostgreSQL reports changes only, and "utf8" after "UTF-8" is none: so its own values come first.
async fn told_of(link: &mut Link, params: &Arc<Params>) -> Result<Answer, ExchangeError> {
    if let Some(sql) = Params::default().sync_sql(&link.applied) {
        exchange::query(link, &sql).await?;
    }
    link.applied = Arc::default();
    let told = match params.sync_sql(&link.applied) {
        None => Answer::default(),
        Some(sql) => exchange::query(link, &sql).await?,
    };
    link.applied = Arc::clone(params);
    Ok(told)
}
