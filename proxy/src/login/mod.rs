//! A client's login: start-up packet, proof, and the words that end it.
//!
//! Owns: everything between accepting a socket and the session. It runs as a task of its own, so
//! that a session's future stays small.
//! Invariant: before the proof nothing is looked up by the client's wish, every length is bounded,
//! and a stranger gets the same exchange as a user.

mod cleartext;
mod encrypt;
pub(crate) mod gate;
pub(crate) mod keys;
mod prove;
mod rules;
mod seats;
pub(crate) mod verifiers;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use stent_pool::PoolId;
use stent_wire::auth::certificate::EndPoint;
use stent_wire::auth::put_ok;
use stent_wire::cancel::{CANCEL_KEY_LEN_MAX, CancelKey};
use stent_wire::params::Params;
use stent_wire::report::reply::{TransactionStatus, put_backend_key_data, put_ready_for_query};
use stent_wire::report::{Report, Severity, SqlState};
use stent_wire::startup::{EncryptionAsked, Packet, Parsed, Replication, Startup, parse};

use crate::broker::{BaseWelcome, Broker, Draining, Entrant, Lent, Start, Welcome};
use crate::cancel;
use crate::clients::{ClientId, ClientState};
use crate::config::PoolMode;
use crate::console::{self, Access, Console, Rights, Skip};
use crate::disconnects::Cause;
use crate::link::Link;
use crate::messages::Inbox;
use crate::session::Session;
use crate::strangers::Stranger;
use crate::stream::Stream;
use gate::Arrival;

/// How often a login that takes long looks whether a pause is the reason.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Room for the words around a welcome: AuthenticationOk, BackendKeyData and ReadyForQuery.
const LAST_WORDS_LEN: usize = 64;

/// How a login ended that did not lead to a session.
pub(crate) enum Failed {
    /// It only asked to cancel something: counted by what came of it, and not worth a line.
    Cancelled,
    /// It never said who it is: not worth a line.
    Stranger(Stranger),
    /// The client broke off.
    Gone(String),
    /// These last bytes are for the client.
    Answered {
        /// Why, for the ledger.
        cause: Cause,
        /// The last bytes.
        answer: Vec<u8>,
        /// Why, for the log.
        detail: String,
    },
}

impl Failed {
    pub(crate) fn report(cause: Cause, mut report: Report) -> Self {
        report.severity = Severity::Fatal;
        let mut answer = Vec::new();
        report.put(&mut answer);
        Self::Answered { cause, answer, detail: report.message.to_string() }
    }

    pub(crate) fn gone(error: impl ToString) -> Self {
        Self::Gone(error.to_string())
    }
}

/// A client on its way in.
pub(crate) struct Login {
    pub(crate) broker: Arc<Broker>,
    pub(crate) id: ClientId,
    pub(crate) stream: Stream,
    pub(crate) inbox: Inbox,
    /// To what the client may bind its proof: of the certificate that we have shown it.
    pub(crate) end_point: Option<EndPoint>,
    /// What goes out with the next words: the end of a proof, which no client answers.
    pub(crate) unsaid: Vec<u8>,
}

/// What a client has at the end of its login.
pub(crate) struct Home {
    pub(crate) pool: PoolId,
    pub(crate) params: Arc<Params>,
    /// Its server: in session mode from here on.
    pub(crate) server: Option<Box<Link>>,
}

/// Where a login leads.
enum Way {
    /// To a session.
    Session(Home),
    /// To the admin console, with these rights and this name.
    Console(Rights, String),
}

/// Takes a socket from its first byte to the start of its session, in a task of its own.
pub(crate) fn begin(broker: Arc<Broker>, id: ClientId, stream: Stream) {
    // In a box: the runtime moves a task about before it runs and when it ends, and this one is
    // large beside what most logins are (a lookup, a server that is opened first).
    tokio::task::spawn_local(Box::pin(serve(broker, id, stream)));
}

async fn serve(broker: Arc<Broker>, id: ClientId, stream: Stream) {
    let _entrant = Entrant::new(&broker, id);
    let inbox = Inbox::default();
    let mut login = Login {
        broker: Arc::clone(&broker),
        id,
        stream,
        inbox,
        end_point: None,
        unsaid: Vec::new(),
    };
    match login.run().await {
        Ok(Way::Session(home)) => {
            tokio::task::spawn_local(login.into_session(home));
        }
        Ok(Way::Console(rights, user)) => {
            tokio::task::spawn_local(login.into_console(rights, user).serve());
        }
        Err(failed) => {
            broker.withdraw(id);
            login.end(failed);
        }
    }
}

/// What a client is told last in its login, and the server that it was told of, if it keeps one.
struct Settled {
    welcome: Welcome,
    pid: i32,
    server: Option<Lent>,
}

/// Finds out what a client is told. In session mode, and of a replication client in every mode, it
/// is its own server's word, for which it waits as long as a request would (`query_wait_timeout`).
async fn settle(
    broker: &Arc<Broker>,
    id: ClientId,
    pool: PoolId,
    start: &Start,
) -> Result<Settled, Failed> {
    let failed = |report| Failed::report(Cause::LoginFailed, report);
    let mode = match start.replication {
        Replication::Off => broker.config.pool_mode,
        Replication::Physical | Replication::Logical => PoolMode::Session,
    };
    match mode {
        PoolMode::Session => {
            let mut lent = broker.dedicate(id, pool, start).await.map_err(failed)?;
            let link = lent.link();
            let said = link.greeting.as_ref().map(BaseWelcome::plain);
            let pid = match broker.config.pool_mode {
                PoolMode::Session => i32::try_from(link.facts.backend_pid).unwrap_or_default(),
                PoolMode::Transaction | PoolMode::Statement => id.cancel_pid(),
            };
            Ok(Settled { welcome: said.unwrap_or_default(), pid, server: Some(lent) })
        }
        PoolMode::Transaction | PoolMode::Statement => {
            let welcome = pin!(broker.welcome(id, pool, &start.params));
            let welcome = in_time(broker, id, welcome).await?.map_err(failed)?;
            Ok(Settled { welcome, pid: id.cancel_pid(), server: None })
        }
    }
}

/// Gives a step of a login `client_login_timeout`. While its client waits for a server of a paused
/// database the time does not run, and begins anew after that.
async fn in_time<T>(
    broker: &Arc<Broker>,
    id: ClientId,
    mut step: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Failed> {
    let timeout = broker.present().config.client_login_timeout;
    let mut left = timeout;
    loop {
        let look = left.min(LOOK_EVERY);
        match tokio::time::timeout(look, step.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_) if broker.waits_for_resume(id) => left = timeout,
            Err(_) => left -= look,
        }
        if left.is_zero() {
            return Err(too_slow(broker, id, timeout));
        }
    }
}

/// The client's fault, unless it has waited for a server that cannot be had.
fn too_slow(broker: &Broker, id: ClientId, timeout: Duration) -> Failed {
    let message = format!("the login took longer than client_login_timeout ({timeout:?})");
    let inner = broker.inner();
    let pool = inner.clients.get(id).and_then(|client| client.pool);
    let report = match pool.and_then(|pool| inner.why_closed(pool)) {
        Some(error) => Report::fatal(error.sqlstate(), error.to_string()).with_detail(message),
        None => Report::fatal(SqlState::CONNECTION_FAILURE, message),
    };
    Failed::report(Cause::LoginTimeout, report)
}

impl Login {
    async fn run(&mut self) -> Result<Way, Failed> {
        let (arrival, broker) = (self.arrive()?, Arc::clone(&self.broker));
        let (startup, access) = in_time(&broker, self.id, pin!(self.proven(&arrival))).await??;
        drop(arrival);
        let mut key = [0; CANCEL_KEY_LEN_MAX];
        let key = &mut key[..startup.cancel_key_len()];
        self.broker.entropy.fill(key).map_err(Failed::gone)?;
        let key = CancelKey::new(key).map_err(Failed::gone)?;
        match access {
            Access::Database => self.seat(startup, key).await.map(Way::Session),
            Access::Console(rights) => self.open_console(rights, startup.user, key).await,
            Access::Keeper => self.open_console(Rights::Change, startup.user, key).await,
            Access::Denied => Err(console_denied(&startup.user)),
        }
    }

    async fn open_console(
        &mut self,
        rights: Rights,
        user: String,
        key: CancelKey,
    ) -> Result<Way, Failed> {
        let mut last = std::mem::take(&mut self.unsaid);
        console::put_welcome(&mut last, self.id, &key);
        self.broker.inner().clients.get_mut(self.id).key = Some(key);
        self.tell(&last).await?;
        Ok(Way::Console(rights, user))
    }

    async fn tell(&mut self, last: &[u8]) -> Result<(), Failed> {
        let timeout = self.broker.present().config.client_login_timeout;
        let told = tokio::time::timeout(timeout, self.stream.write_whole(last)).await;
        told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Failed::gone)
    }

    /// A place in its pool, and the words that end its login.
    async fn seat(&mut self, startup: Startup, key: CancelKey) -> Result<Home, Failed> {
        let (broker, id) = (Arc::clone(&self.broker), self.id);
        let pool = broker.pool(&startup.database, &startup.user).map_err(|error| {
            let report = Report::fatal(SqlState::TOO_MANY_CONNECTIONS, error.to_string());
            Failed::report(Cause::LoginFailed, report)
        })?;
        let params = broker.shared_params(pool, startup.params);
        let start = Start { params, replication: startup.replication };
        broker.take_seat(id, pool, &start.params)?;
        let settled = tokio::select! {
            biased;
            settled = settle(&broker, id, pool, &start) => settled?,
            error = self.inbox.until_gone(&mut self.stream) => return Err(Failed::gone(error)),
        };
        let mut last = std::mem::take(&mut self.unsaid);
        last.reserve(settled.welcome.len() + LAST_WORDS_LEN);
        put_ok(&mut last);
        last.extend_from_slice(&settled.welcome);
        put_backend_key_data(&mut last, settled.pid, &key);
        broker.inner().clients.get_mut(id).key = Some(key);
        put_ready_for_query(&mut last, TransactionStatus::Idle);
        self.tell(&last).await?;
        let server = settled.server.map(Lent::into_link);
        if server.is_none() {
            broker.inner().clients.set_state(id, ClientState::Idle);
        }
        Ok(Home { pool, params: start.params, server })
    }

    /// Who the client is and what it wants, proven.
    async fn proven(&mut self, arrival: &Arrival) -> Result<(Startup, Access), Failed> {
        let startup = self.startup().await?;
        #[cfg(test)]
        assert_ne!(startup.user, crate::trap::USER, "a trap in the login");
        self.must_be_encrypted()?;
        let access = Access::of(&self.broker.present().config, &self.stream, &startup);
        self.admit(access)?;
        let mut hello = Vec::new();
        startup.put_negotiation(&mut hello);
        if !hello.is_empty() {
            self.stream.write_whole(&hello).await.map_err(Failed::gone)?;
        }
        if access != Access::Keeper {
            self.prove(&startup, arrival).await?;
        }
        Ok((startup, access))
    }

    /// Reads the start-up packet, past requests for encryption, which we do not serve.
    async fn startup(&mut self) -> Result<Startup, Failed> {
        let mut asked = EncryptionAsked::default();
        let mut so_far = Stranger::Silent;
        if self.begins_with_tls().await? {
            self.direct_tls().await?;
        }
        loop {
            let parsed = parse(self.inbox.bytes());
            let (packet, consumed) = match parsed {
                Ok(Parsed::Complete { packet, consumed }) => (packet, consumed),
                Ok(Parsed::NeedMore { .. }) => {
                    let silent = self.inbox.bytes().is_empty();
                    self.inbox.fill(&mut self.stream).await.map_err(|error| match silent {
                        true => Failed::Stranger(so_far),
                        false => Failed::gone(error),
                    })?;
                    continue;
                }
                Err(error) => return Err(refused(&error)),
            };
            asked.note(&packet).map_err(|error| refused(&error))?;
            self.inbox.consume(consumed);
            so_far = Stranger::Encryption;
            match packet {
                Packet::SslRequest if self.can_encrypt() => {
                    self.stream.write_whole(b"S").await.map_err(Failed::gone)?;
                    self.encrypt().await?;
                }
                Packet::SslRequest | Packet::GssEncRequest => {
                    self.stream.write_whole(b"N").await.map_err(Failed::gone)?;
                }
                Packet::DirectTls => {
                    return Err(Failed::gone("a TLS handshake where none is served"));
                }
                Packet::Cancel(request) => {
                    cancel::cancel(&self.broker, &request).await;
                    return Err(Failed::Cancelled);
                }
                Packet::Startup(startup) => return Ok(*startup),
            }
        }
    }

    /// Whether there is room for this client.
    fn admit(&self, access: Access) -> Result<(), Failed> {
        let max = self.broker.present().config.max_client_conn.get();
        if self.broker.draining() == Draining::Closing {
            let report = Report::fatal(SqlState::CANNOT_CONNECT_NOW, "the proxy is shutting down");
            return Err(Failed::report(Cause::Shutdown, report));
        }
        let (counts, from_address) = {
            let clients = &self.broker.inner().clients;
            (clients.counts(max), clients.count_at_address_of(self.id))
        };
        let most = self.broker.present().config.max_client_conn_per_address;
        if let Some(most) = most
            && access.needs_room()
            && from_address > most.get()
        {
            let report = Report::fatal(
                SqlState::TOO_MANY_CONNECTIONS,
                format!(
                    "no more client connections allowed from your address \
                     (max_client_conn_per_address is {most})"
                ),
            )
            .with_hint("Close idle client connections, or raise max_client_conn_per_address.");
            return Err(Failed::report(Cause::TooManyClients, report));
        }
        if access.needs_room() && counts.idle + counts.active + counts.waiting >= max {
            let report = Report::fatal(
                SqlState::TOO_MANY_CONNECTIONS,
                format!("no more client connections allowed (max_client_conn is {max})"),
            )
            .with_hint("Close idle client connections, or raise max_client_conn.");
            return Err(Failed::report(Cause::TooManyClients, report));
        }
        Ok(())
    }

    fn into_session(self, home: Home) -> Session {
        let Self { broker, id, stream, inbox, end_point: _, unsaid: _ } = self;
        Session::new(broker, id, home, stream, inbox.into_bytes())
    }

    fn into_console(self, rights: Rights, user: String) -> Console {
        let Self { broker, id, stream, inbox, end_point: _, unsaid: _ } = self;
        Console { broker, id, user, rights, stream, inbox, skip: Skip::No }
    }

    /// Says the last word, if there is one, and writes the end into the ledger.
    fn end(self, failed: Failed) {
        let Self { broker, id, mut stream, mut unsaid, .. } = self;
        match failed {
            Failed::Cancelled => drop(broker.inner().clients.remove(id)),
            Failed::Stranger(stranger) => {
                let mut inner = broker.inner();
                drop(inner.clients.remove(id));
                inner.strangers.add(stranger);
            }
            Failed::Gone(detail) => broker.client_ended(id, Cause::Gone, &detail),
            Failed::Answered { cause, answer, detail } => {
                // A client that does not even read its refusal does not get it.
                unsaid.extend_from_slice(&answer);
                let _ = stream.try_write(&unsaid);
                stream.shutdown_write();
                broker.client_ended(id, cause, &detail);
            }
        }
    }
}

fn console_denied(user: &str) -> Failed {
    let message = format!("user {user:?} is not allowed to use the admin console");
    let report = Report::fatal(SqlState::INSUFFICIENT_PRIVILEGE, message)
        .with_hint("Name the user in admin_users or stats_users.");
    Failed::report(Cause::LoginFailed, report)
}

fn refused(error: &stent_wire::startup::StartupError) -> Failed {
    let mut answer = Vec::new();
    error.put_answer(&mut answer);
    Failed::Answered { cause: Cause::ProtocolError, answer, detail: error.to_string() }
}
