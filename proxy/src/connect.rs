//! Opening a server connection: connect, start-up, authentication, ReadyForQuery.
//!
//! Owns: the client role of the login. Refuses: retrying (the pool's decision).
//! Invariant: a link leaves this file only after the server's first ReadyForQuery, with nothing
//! unread behind it; under SCRAM only after the server has proved itself too.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::broker::{BaseWelcome, Broker, Start, role_of};
use crate::config::{Endpoint, PoolMode};
use crate::dial::{DialError, Wish, dial};
use crate::exchange::report_of;
use crate::facts::Facts;
use crate::hosts::{Nature, nature_of};
use crate::link::{Definitions, Link, Replay, Suspicion, Writing};
use crate::messages::{Inbox, ReadError};
use crate::passwords::PasswordError;
use crate::stream::Stream;
use crate::traces::Traces;
use crate::workers;
use stent_contract::snapshot::HolderState;
use stent_pool::{Fitness, OpenFailure, PoolId, ServerId};
use stent_wire::auth::scram::{BindingPolicy, ClientBinding, ScramError};
use stent_wire::auth::scram_client::{self, ExpectServerFinal, ExpectServerFirst};
use stent_wire::auth::secret::{Secret, ServerMethod};
use stent_wire::auth::{AuthRequest, put_password, put_sasl_initial, put_sasl_response};
use stent_wire::cancel::CancelKey;
use stent_wire::frame::put_message;
use stent_wire::ledger::Ledger;
use stent_wire::params::Params;
use stent_wire::prepared::ServerStatements;
use stent_wire::report::reply::{parse_backend_key_data, parse_parameter_status};
use stent_wire::report::{Report, Severity, SqlState, is_permanent_login_failure};
use stent_wire::startup::{Replication, StartupRequest};

/// The longest message of a login.
const LOGIN_MESSAGE_MAX: usize = 64 * 1024;
/// The most messages of a login: a server that sends on and on is not a server.
const LOGIN_MESSAGES_MAX: usize = 1_000;
/// The most bytes of notices that are kept for clients.
const LOGIN_NOTICES_MAX: usize = 16 * 1024;

/// A server connection with what its server said of itself.
pub(crate) struct Opened {
    /// The connection.
    pub(crate) link: Box<Link>,
    /// Its ParameterStatus messages and notices.
    pub(crate) welcome: BaseWelcome,
    /// What it is, if it has said.
    pub(crate) nature: Option<Nature>,
}

/// Why a server connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// No connection.
    #[error("cannot connect to PostgreSQL at {target}: {source}")]
    Connect {
        /// Where.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("PostgreSQL at {target} did not complete the login within {seconds} s")]
    Timeout {
        /// Where.
        target: String,
        /// `server_connect_timeout`.
        seconds: f64,
    },
    /// PostgreSQL said no.
    #[error("PostgreSQL refused the login: {} {}", .0.code, .0.message)]
    Refused(Box<Report>),
    /// We cannot give the proof that it asks for.
    #[error("cannot log in as {user:?}: {why}")]
    Proof {
        /// As whom.
        user: String,
        /// Why not.
        why: String,
    },
    /// There is no password to prove.
    #[error("cannot log in as {user:?}: {why}")]
    Password {
        /// As whom.
        user: String,
        /// Why not.
        why: PasswordError,
    },
    /// TLS is asked for and cannot be had.
    #[error("no TLS connection to PostgreSQL at {target}: {why}")]
    Tls {
        /// Where.
        target: String,
        /// Why not.
        why: String,
    },
    /// What answered does not speak the protocol.
    #[error("what listens at {target} does not answer as PostgreSQL does: {why}")]
    Protocol {
        /// Where.
        target: String,
        /// How so.
        why: String,
    },
    /// It does not take writes where there was one that did: a failover is not over yet.
    #[error("PostgreSQL at {target} is read-only, and was not: the failover is not over yet")]
    Misplaced {
        /// Where.
        target: String,
    },
    /// It is not what `target_session_attrs` asks for.
    #[error("PostgreSQL at {target} is {is}, and target_session_attrs is {wanted}")]
    Unwanted {
        /// Where.
        target: String,
        /// What it is.
        is: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
}

impl OpenError {
    /// Whether another attempt can only end the same.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(report) => is_permanent_login_failure(report.code),
            Self::Proof { .. } => true,
            Self::Password { why, .. } => why.is_permanent(),
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Misplaced { .. }
            | Self::Unwanted { .. } => false,
        }
    }

    /// What the pools make of it.
    pub(crate) fn failure(&self) -> OpenFailure {
        match self {
            _ if self.is_permanent() => OpenFailure::Permanent,
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Misplaced { .. }
            | Self::Unwanted { .. } => OpenFailure::Unreachable,
            Self::Refused(report) if report.code == SqlState::CANNOT_CONNECT_NOW => {
                OpenFailure::Unreachable
            }
            Self::Refused(_)
            | Self::Proof { .. }
            | Self::Password { .. }
            | Self::Tls { .. }
            | Self::Protocol { .. } => OpenFailure::Transient,
        }
    }

    /// The SQLSTATE: PostgreSQL's own where it gave one.
    pub(crate) fn sqlstate(&self) -> SqlState {
        match self {
            Self::Refused(report) => report.code,
            Self::Proof { .. } | Self::Password { .. } => SqlState::INVALID_PASSWORD,
            Self::Connect { .. } | Self::Timeout { .. } | Self::Tls { .. } => {
                SqlState::CANNOT_CONNECT
            }
            Self::Protocol { .. } => SqlState::PROTOCOL_VIOLATION,
            Self::Misplaced { .. } | Self::Unwanted { .. } => SqlState::CANNOT_CONNECT_NOW,
        }
    }

    /// What a client is told.
    pub(crate) fn report(&self) -> Report {
        match self {
            Self::Refused(report) => Report { severity: Severity::Error, ..(**report).clone() },
            Self::Proof { .. } => Report::error(self.sqlstate(), self.to_string()).with_hint(
                "Give the user's password in DATABASE_URL, or in auth_file in a form that serves.",
            ),
            Self::Password { why, .. } => {
                Report::error(self.sqlstate(), self.to_string()).with_hint(why.hint())
            }
            Self::Tls { .. } => Report::error(self.sqlstate(), self.to_string()).with_hint(
                "Check server_tls_sslmode (or sslmode in DATABASE_URL) and server_tls_ca_file.",
            ),
            Self::Misplaced { .. } => Report::error(self.sqlstate(), self.to_string()).with_hint(
                "Its name still leads to the old place: clients wait until it does not.",
            ),
            Self::Unwanted { .. } => Report::error(self.sqlstate(), self.to_string()).with_hint(
                "Clients wait until one of the hosts has what target_session_attrs asks for.",
            ),
            Self::Connect { .. } | Self::Timeout { .. } | Self::Protocol { .. } => {
                Report::error(self.sqlstate(), self.to_string()).with_hint(
                    "Check that PostgreSQL runs and that DATABASE_URL names its address.",
                )
            }
        }
    }
}

/// Logs in to one of the places where the database may be.
pub(crate) async fn login(
    broker: &Arc<Broker>,
    pool: PoolId,
    server: ServerId,
    start: Start,
    place: &Endpoint,
) -> Result<Opened, OpenError> {
    let (wish, other) = Wish::of(broker.present().config.server_tls.mode);
    let first = login_as(broker, pool, server, start.clone(), (place, wish)).await;
    match (first, other) {
        (Err(OpenError::Refused(report)), Some(other))
            if report.code == SqlState::INVALID_AUTHORIZATION =>
        {
            let second = login_as(broker, pool, server, start, (place, other)).await;
            second.map_err(|_| OpenError::Refused(report))
        }
        (Err(OpenError::Tls { .. }), Some(other)) => {
            login_as(broker, pool, server, start, (place, other)).await
        }
        (first, _) => first,
    }
}

/// One login, in clear or not.
async fn login_as(
    broker: &Arc<Broker>,
    pool: PoolId,
    server: ServerId,
    start: Start,
    (place, wish): (&Endpoint, Wish),
) -> Result<Opened, OpenError> {
    let (database, user) = broker.login_names(pool);
    let stream = dial(broker, place, wish).await.map_err(|error| not_reached(place, error))?;
    let mut attempt = Attempt {
        broker,
        place,
        user: &user,
        stream,
        inbox: Inbox::default(),
        proof: Proof::NotAsked,
        key: None,
        backend_pid: 0,
        parameters: Vec::new(),
        notices: Vec::new(),
    };
    let mut packet = Vec::new();
    let (params, replication) = (&*start.params, start.replication);
    let request = StartupRequest { user: &user, database: &database, params, replication };
    request.put(&mut packet).map_err(|error| attempt.protocol(error))?;
    attempt.send(&packet).await?;
    attempt.run().await?;
    match broker.fits(role_of(&attempt.parameters)) {
        Fitness::Fit => Ok(attempt.opened(pool, server, start)),
        Fitness::Misplaced => Err(OpenError::Misplaced { target: place.to_string() }),
    }
}

fn not_reached(place: &Endpoint, error: DialError) -> OpenError {
    let target = place.to_string();
    match error {
        DialError::Io(source) => OpenError::Connect { target, source },
        DialError::NoTls
        | DialError::ErrorInClear
        | DialError::Handshake(_)
        | DialError::NoAlpn => OpenError::Tls { target, why: error.to_string() },
        DialError::Protocol(_) => OpenError::Protocol { target, why: error.to_string() },
    }
}

/// A login in progress.
struct Attempt<'a> {
    broker: &'a Arc<Broker>,
    place: &'a Endpoint,
    user: &'a str,
    stream: Stream,
    inbox: Inbox,
    proof: Proof,
    key: Option<CancelKey>,
    backend_pid: u32,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
    notices: Vec<u8>,
}

/// How far the authentication is.
enum Proof {
    /// The server may still let us in without.
    NotAsked,
    /// Given; the server's word decides.
    Given,
    /// SCRAM, first message sent.
    ScramFirst(ExpectServerFirst),
    /// SCRAM, proof sent.
    ScramFinal(ExpectServerFinal),
}

impl Attempt<'_> {
    /// Reads and answers up to ReadyForQuery.
    async fn run(&mut self) -> Result<(), OpenError> {
        for _ in 0..LOGIN_MESSAGES_MAX {
            let message = self.inbox.backend(&mut self.stream, LOGIN_MESSAGE_MAX).await;
            let (tag, body) = message.map_err(|error| self.read_failed(error))?;
            match tag {
                b'R' => self.authenticate(&body).await?,
                b'E' => return Err(OpenError::Refused(Box::new(report_of(&body)))),
                b'K' => {
                    let parsed = parse_backend_key_data(&body);
                    let (pid, key) = parsed.map_err(|error| self.protocol(error))?;
                    self.backend_pid = u32::try_from(pid).unwrap_or(0);
                    self.key = Some(key);
                }
                b'S' => {
                    let parsed = parse_parameter_status(&body);
                    let (name, value) = parsed.map_err(|error| self.protocol(error))?;
                    self.parameters.push((name.to_vec(), value.to_vec()));
                }
                b'Z' if self.inbox.bytes().is_empty() => return Ok(()),
                b'Z' => return Err(self.protocol("it says more than it is asked")),
                b'N' => {
                    if self.notices.len() + body.len() <= LOGIN_NOTICES_MAX {
                        put_message(&mut self.notices, b'N', |out| out.extend_from_slice(&body));
                    }
                }
                b'v' => {}
                other => {
                    let what = format!("a message of type {:?} in the login", char::from(other));
                    return Err(self.protocol(what));
                }
            }
        }
        Err(self.protocol("the login never ends"))
    }

    async fn authenticate(&mut self, body: &[u8]) -> Result<(), OpenError> {
        let request = AuthRequest::parse(body).map_err(|error| self.protocol(error))?;
        let proof = std::mem::replace(&mut self.proof, Proof::Given);
        let mut reply = Vec::new();
        match (request, proof) {
            (AuthRequest::Ok, Proof::NotAsked)
            | (AuthRequest::CleartextPassword | AuthRequest::Md5Password { .. }, _)
                if self.binding_policy() == BindingPolicy::Require =>
            {
                let why = "the server asks for a login without it";
                return Err(self.cannot(ScramError::BindingRequired(why)));
            }
            (AuthRequest::Ok, Proof::NotAsked | Proof::Given) => return Ok(()),
            (AuthRequest::CleartextPassword, _) => {
                let secret = self.secret(ServerMethod::Cleartext).await?;
                let password = secret.for_cleartext().map_err(|error| self.cannot(error))?;
                put_password(&mut reply, password.as_bytes());
            }
            (AuthRequest::Md5Password { salt }, _) => {
                let secret = self.secret(ServerMethod::Md5).await?;
                let hash = secret.for_md5(self.user).map_err(|error| self.cannot(error))?;
                put_password(&mut reply, &hash.answer(salt));
            }
            (AuthRequest::Sasl { mechanisms }, _) => {
                let (channel, policy) = (self.stream.channel(), self.binding_policy());
                let chosen = ClientBinding::choose(&channel, policy, &mechanisms);
                let (mechanism, binding) = chosen.map_err(|error| self.cannot(error))?;
                let nonce = self.broker.entropy.bytes().map_err(|error| self.cannot(error))?;
                let (state, first) = scram_client::start(nonce, &binding);
                self.proof = Proof::ScramFirst(state);
                put_sasl_initial(&mut reply, mechanism, &first);
            }
            (AuthRequest::SaslContinue { data }, Proof::ScramFirst(state)) => {
                let need = state.handle(data).map_err(|error| self.cannot(error))?;
                let keys = self.scram_keys(need.salt(), need.iterations()).await?;
                let answered = need.answer(&keys);
                let (state, last) = answered.map_err(|error| self.cannot(error))?;
                self.proof = Proof::ScramFinal(state);
                put_sasl_response(&mut reply, &last);
            }
            (AuthRequest::SaslFinal { data }, Proof::ScramFinal(state)) => {
                return state.handle(data).map_err(|error| self.cannot(error));
            }
            (AuthRequest::Unsupported { code }, _) => {
                return Err(self.cannot(format!(
                    "the server asks for authentication method {code}, which Stent does not speak"
                )));
            }
            (
                AuthRequest::Ok | AuthRequest::SaslContinue { .. } | AuthRequest::SaslFinal { .. },
                _,
            ) => return Err(self.protocol("authentication messages out of order")),
        }
        self.send(&reply).await
    }

    /// The secret with which this user logs in to the server.
    async fn secret(&self, method: ServerMethod) -> Result<Secret, OpenError> {
        let secret = self.broker.server_secret(self.user, method, &self.stream).await;
        secret.map_err(|why| OpenError::Password { user: self.user.to_owned(), why })
    }

    fn binding_policy(&self) -> BindingPolicy {
        self.broker.present().config.server_tls.channel_binding
    }

    async fn scram_keys(
        &self,
        salt: &[u8],
        iterations: u32,
    ) -> Result<Arc<stent_wire::auth::scram::ScramKeys>, OpenError> {
        if self.broker.present().passwords.is_auto(self.user)
            && let Some(keys) = self.broker.keys.proven(self.user, salt, iterations)
        {
            return Ok(keys);
        }
        let secret = self.secret(ServerMethod::ScramSha256).await?;
        let password = secret.for_scram().map_err(|error| self.cannot(error))?;
        Ok(self.broker.keys.for_server(self.user, password, salt, iterations))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        let sent = self.stream.write_whole(bytes).await;
        sent.map_err(|source| OpenError::Connect { target: self.place.to_string(), source })
    }

    fn read_failed(&self, error: ReadError) -> OpenError {
        let target = self.place.to_string();
        match error {
            ReadError::Io(source) => OpenError::Connect { target, source },
            ReadError::Frame(_) | ReadError::TooLong { .. } => {
                OpenError::Protocol { target, why: error.to_string() }
            }
        }
    }

    fn protocol(&self, why: impl ToString) -> OpenError {
        let target = self.place.to_string();
        OpenError::Protocol { target, why: why.to_string() }
    }

    fn cannot(&self, why: impl ToString) -> OpenError {
        OpenError::Proof { user: self.user.to_owned(), why: why.to_string() }
    }

    fn opened(self, pool: PoolId, server: ServerId, started: Start) -> Opened {
        let began_as = role_of(&self.parameters);
        let nature = nature_of(&self.parameters);
        let welcome = BaseWelcome::new(self.parameters, self.notices);
        let kept = self.broker.config.pool_mode == PoolMode::Session
            || started.replication != Replication::Off;
        let greeting = kept.then(|| welcome.clone());
        let limit = self.broker.config.max_prepared_statements.max(1) as usize;
        let cancel_by = if self.stream.is_tls() { Wish::Tls } else { Wish::Plain };
        let reached = (self.place.clone(), cancel_by);
        let replication = started.replication;
        let facts = Facts::new(self.backend_pid, self.key, reached, replication, Instant::now());
        let link = Box::new(Link {
            stream: self.stream,
            server,
            pool,
            home: workers::home(),
            ledger: Ledger::default(),
            statements: ServerStatements::new(limit),
            applied: Arc::new(Params::default()),
            shown: HolderState::Active,
            facts: Arc::new(facts),
            carry: Vec::new(),
            rest: 0,
            to_server: Vec::new(),
            last_words: None,
            writing: Writing::Open,
            traces: Traces::default(),
            heard: Vec::new(),
            replay: Replay::default(),
            definitions: Definitions::Same,
            began_as,
            suspicion: Suspicion::None,
            started,
            greeting,
        });
        Opened { link, welcome, nature }
    }
}
