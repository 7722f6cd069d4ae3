//! `auth_query`: PostgreSQL is asked for the secrets of users whom the list does not have.
//!
//! Owns: the one question at a time, the pool of its own on which it is put, and its answers
//! ([`book`]). Refuses: what question and answer mean (`stent_wire::auth::lookup`).
//! Invariant: no client chooses anything of the connection that is asked but the name that is asked
//! for: not its database, its user, its `search_path` or any other parameter. A question that
//! cannot be answered lets nobody in.

mod book;

use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_pool::PoolId;
use stent_wire::auth::lookup::{self, LookedUp};
use stent_wire::auth::secret::{AuthType, Refusal, Secret};
use stent_wire::params::Params;
use stent_wire::report::{Report, SqlState};
use stent_wire::startup::Replication;
use stent_wire::userlist::USER_NAME_LEN_MAX;
use tokio::sync::Mutex;

use crate::broker::{Acquired, Broker, Lent, Own, Start};
use crate::clients::{ClientId, ClientState};
use crate::config::{self, Config};
use crate::events;
use crate::exchange::{self, ExchangeError};
use crate::shared::Lock;

use book::Book;
pub(crate) use book::Record;

/// How long PostgreSQL may think about a question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub(crate) struct AuthQuery {
    config: config::AuthQuery,
    /// Held by whoever asks: one connection is enough, and those who want to know the same find
    /// the answer when their turn comes.
    turn: Mutex<()>,
    book: Lock<Book>,
}

/// Why a user could not be looked up. Nothing of it is the client's to know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// No connection.
    #[error("no connection for auth_query: {0}")]
    NoServer(String),
    /// PostgreSQL refused the query.
    #[error("auth_query failed: {0}; on its connection search_path is pg_catalog: name the schema")]
    Refused(String),
    /// No answer.
    #[error("auth_query got no answer: {0}")]
    NoAnswer(String),
}

impl LookupError {
    /// What the client is told.
    pub(crate) fn report(&self) -> Report {
        let code = match self {
            Self::NoServer(_) | Self::NoAnswer(_) => SqlState::CONNECTION_FAILURE,
            Self::Refused(_) => SqlState::INTERNAL_ERROR,
        };
        Report::fatal(code, "the user cannot be looked up at present")
            .with_hint("The log of the proxy says why.")
    }
}

impl AuthQuery {
    /// From the configuration; `None` where nobody is looked up.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let config = config.auth.query.clone()?;
        Some(Self { config, turn: Mutex::new(()), book: Lock::default() })
    }

    fn known(&self, user: &str) -> Option<Arc<Record>> {
        self.book.lock().fresh(user, Instant::now())
    }

    fn enter(&self, user: &str, said: LookedUp, asked: Instant) -> Arc<Record> {
        let record = Arc::new(Record::new(said, asked));
        self.book.lock().enter(user, Arc::clone(&record));
        record
    }

    /// The secret of a user who was looked up at some time.
    pub(crate) fn secret(&self, user: &str) -> Option<Secret> {
        self.book.lock().secret(user).cloned()
    }

    /// The pool's place in the policy has a name that no client can have, for it holds a NUL: the
    /// servers are nobody else's. Its title is for people.
    fn own(&self) -> (String, Own) {
        let user = &self.config.user;
        let mut params = Params::default();
        for (name, value) in
            [("search_path", "pg_catalog, pg_temp"), ("application_name", "stent auth_query")]
        {
            params.set(name.as_bytes(), value.as_bytes()).expect("short names without a NUL");
        }
        let start = Start { params: Arc::new(params), replication: Replication::Off };
        let title = format!("{user} (auth_query)");
        (format!("{user}\0auth_query"), Own { title, login: user.as_str().into(), start })
    }
}

impl Broker {
    /// What PostgreSQL says of a user; `None` where it is not to be asked.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        client: ClientId,
        user: &str,
        auth_type: AuthType,
    ) -> Result<Option<Arc<Record>>, LookupError> {
        let present = self.present();
        let Some(query) = &present.auth_query else { return Ok(None) };
        let by_secret = !matches!(auth_type, AuthType::Trust | AuthType::Cert);
        if !by_secret || present.users.knows(user) {
            return Ok(None);
        }
        if user.len() > USER_NAME_LEN_MAX {
            let said = LookedUp::nobody(Refusal::UnknownUser);
            return Ok(Some(Arc::new(Record::new(said, Instant::now()))));
        }
        if let Some(record) = query.known(user) {
            return Ok(Some(record));
        }
        let _turn = query.turn.lock().await;
        if let Some(record) = query.known(user) {
            return Ok(Some(record));
        }
        let asked = Instant::now();
        let said = self.ask(query, client, user).await;
        self.inner().clients.set_state(client, ClientState::Login);
        match said {
            Ok(said) => Ok(Some(query.enter(user, said, asked))),
            Err(error) => {
                events::LookupFailed { user, why: &error }.emit();
                Err(error)
            }
        }
    }

    /// A login of a user who was looked up has failed.
    pub(crate) fn doubt(&self, user: &str) {
        if let Some(query) = &self.present().auth_query {
            query.book.lock().doubt(user, Instant::now());
        }
    }

    /// Puts the question. The client's task may be dropped at any time: what it holds goes back.
    async fn ask(
        self: &Arc<Self>,
        query: &AuthQuery,
        client: ClientId,
        user: &str,
    ) -> Result<LookedUp, LookupError> {
        let mut lent = self.server_for_questions(query, client).await?;
        let link = lent.link();
        assert!(link.applied.is_empty() && link.traces.is_clean(), "the connection is ours alone");
        let mut question = Vec::new();
        lookup::put_question(&mut question, &query.config.sql, user);
        let answer = exchange::send(link, &question, lookup::note_question);
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ExchangeError::Refused(report))) => {
                self.release(client, lent.into_link());
                return Err(LookupError::Refused(format!("{} {}", report.code, report.message)));
            }
            Ok(Err(error @ (ExchangeError::Io(_) | ExchangeError::OutOfStep(_)))) => {
                self.release_lost(client, lent.into_link());
                return Err(LookupError::NoAnswer(error.to_string()));
            }
            // Dropped with its question unanswered, the server is closed.
            Err(_) => return Err(LookupError::NoAnswer(format!("within {ANSWER_TIMEOUT:?}"))),
        };
        self.release(client, lent.into_link());
        lookup::read_answer(&answer.rows, user).or_else(|error| {
            // The client gets the exchange of a stranger, whatever is wrong with this one user.
            events::LookupUnusable { user, why: &error }.emit();
            Ok(LookedUp::nobody(Refusal::Unusable))
        })
    }

    async fn server_for_questions(
        self: &Arc<Self>,
        query: &AuthQuery,
        client: ClientId,
    ) -> Result<Lent, LookupError> {
        let no_server = |why: String| LookupError::NoServer(why);
        let pool: PoolId = {
            let (key, own) = query.own();
            let pool = self.own_pool(&query.config.database, &key, own);
            pool.map_err(|error| no_server(error.to_string()))?
        };
        let link = match self.acquire(client, pool) {
            Acquired::Link(link) => link,
            Acquired::Refused(refusal) => {
                let report = self.refusal_report(pool, refusal);
                return Err(no_server(report.message.into_owned()));
            }
            Acquired::Later => {
                let link = self.wait_for_link(client, pool).await;
                link.map_err(|report| no_server(report.message.into_owned()))?
            }
        };
        Ok(Lent::new(self, client, link))
    }
}
