//! The proxy's resolved configuration: every value present, checked and in its final type.
//!
//! Owns: what the proxy needs to know to start. Refuses: where a value came from (file,
//! environment, flag) and how it was spelled; that is the binary's business.
//! Invariant: a secret in here never prints (`SecretString`).

pub mod fleet;
pub mod passwords;
pub mod shown;

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use stent_wire::auth::hba::RuleList;
use stent_wire::auth::scram::BindingPolicy;
use stent_wire::inspect::Causes;

use fleet::FleetBudget;
use passwords::ServerPasswords;

pub use crate::workers::WORKERS_MAX;
pub use shown::{Change, Shown};
pub use stent_pool::{CLASSES_MAX, Class, ClassRule, Hold, HoldRule, SizeRule, Stage, Whom};

/// Everything the proxy is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect over TCP (`listen_addr`, `listen_port`). Empty: no TCP.
    pub listen: Vec<SocketAddr>,
    /// Whether other processes may listen on the same TCP port (`so_reuseport`).
    pub so_reuseport: PortUse,
    /// Folder of the unix socket `.s.PGSQL.<listen_port>`; `None`: no unix socket.
    pub unix_socket_dir: Option<PathBuf>,
    /// `listen_port`: names the unix socket too.
    pub listen_port: u16,
    /// Whether it takes over from a proxy that runs with the same `listen_port` and admin address.
    pub takeover: Takeover,
    /// Where `/metrics`, `/livez`, `/readyz` and `/snapshot` are served; `None`: nowhere.
    pub admin: Option<AdminAddr>,
    /// The database behind the proxy.
    pub upstream: Upstream,
    /// With which passwords the proxy logs in to it.
    pub server_passwords: ServerPasswords,
    /// How TLS is spoken to the database.
    pub server_tls: ServerTls,
    /// How TLS is spoken to clients.
    pub client_tls: ClientTls,
    /// How clients prove who they are.
    pub auth: ClientAuth,
    /// When a server goes back to its pool.
    pub pool_mode: PoolMode,
    /// The most servers a pool (one database and user) may hold.
    pub default_pool_size: NonZeroU32,
    /// Servers beyond that size, for clients that have waited for `reserve_pool_timeout`.
    pub reserve_pool_size: u32,
    /// How long a client waits before it may have one of those; `None`: it never may.
    pub reserve_pool_timeout: Option<Duration>,
    /// Servers that a used pool keeps open.
    pub min_pool_size: u32,
    /// The pools that have sizes of their own, in the order in which they are tried.
    pub pool_limits: Vec<SizeRule>,
    /// The most servers to one database, over all users; `None`: no limit.
    pub max_db_connections: Option<NonZeroU32>,
    /// The most servers of one user, over all databases; `None`: no limit.
    pub max_user_connections: Option<NonZeroU32>,
    /// The most servers of all databases together; `None`: no limit.
    pub max_server_connections: Option<NonZeroU32>,
    /// Whether PostgreSQL's connections are shared with other proxies (`fleet_budget`).
    pub fleet: Option<FleetBudget>,
    /// How many threads serve clients (`workers`), at most [`WORKERS_MAX`].
    pub workers: NonZeroU16,
    /// The most clients at a time.
    pub max_client_conn: NonZeroU32,
    /// The most clients of one address at a time, those in their login included; `None`: no limit.
    pub max_client_conn_per_address: Option<NonZeroU32>,
    /// The most clients of one database at a time; `None`: no limit.
    pub max_db_client_connections: Option<NonZeroU32>,
    /// The most clients of one user at a time, over all databases; `None`: no limit.
    pub max_user_client_connections: Option<NonZeroU32>,
    /// How long a client may queue for a server; `None`: for ever.
    pub query_wait_timeout: Option<Duration>,
    /// Who waits behind whom.
    pub queue_classes: QueueClasses,
    /// Age at which a server is closed once it is free; `None`: never.
    pub server_lifetime: Option<Duration>,
    /// How many times a server is lent before it is replaced; `None`: without end.
    pub server_max_uses: Option<NonZeroU32>,
    /// How much memory a server may have for its session, in bytes, before it is replaced; `None`:
    /// nobody asks.
    pub server_max_memory: Option<NonZeroU64>,
    /// How often a server is asked for that at the most; not zero.
    pub server_memory_interval: Duration,
    /// Idle time after which a server is closed; `None`: never.
    pub server_idle_timeout: Option<Duration>,
    /// A server idle for longer than this is probed before it is lent.
    pub server_check_delay: Duration,
    /// Time for opening a server connection, login included.
    pub server_connect_timeout: Duration,
    /// Time for a client's login.
    pub client_login_timeout: Duration,
    /// How long clients are served as before after the shutdown has begun, while there are any.
    pub drain_serve_timeout: Duration,
    /// How long clients may take to finish their transactions after that.
    pub drain_timeout: Duration,
    /// What happens to clients that hold a server for long; the first rule that fits counts.
    pub hold_limits: Vec<HoldRule>,
    /// How long clients are served after another proxy has taken over, while there are any.
    pub upgrade_drain_timeout: Duration,
    /// Session state that clients may not make in transaction and statement mode.
    pub forbidden_state: Causes,
    /// Users of the admin console who may give commands (`admin_users`).
    pub console_admins: Vec<String>,
    /// Users of the admin console who may look (`stats_users`). Both lists empty: nobody over TCP.
    pub console_users: Vec<String>,
    /// The most statements kept on one server; 0 turns their translation off.
    pub max_prepared_statements: u32,
    /// Which statements are kept on servers.
    pub statement_cache: StatementCache,
    /// What `SHOW CONFIG` shows, row by row.
    pub shown: Vec<Shown>,
}

impl Config {
    /// Which statements are kept on servers, the number of them considered.
    pub const fn kept_statements(&self) -> StatementCache {
        if self.max_prepared_statements == 0 { StatementCache::Off } else { self.statement_cache }
    }
}

/// Classes of clients (`queue_classes`). Without rules there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueClasses {
    /// Their names, by number, the usual one first; at most [`CLASSES_MAX`].
    pub names: Vec<String>,
    /// How often each is served in proportion to the others, likewise.
    pub weights: Vec<NonZeroU16>,
    /// Who is of which; the first rule that fits counts.
    pub rules: Vec<ClassRule>,
}

/// Which statements are kept on servers, whoever parsed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatementCache {
    /// None: Parse, Bind, Describe and Close go as they are.
    Off,
    /// Those with a name.
    #[default]
    Named,
    /// Unnamed ones too.
    All,
}

impl StatementCache {
    /// As it is written in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Named => "named",
            Self::All => "all",
        }
    }
}

/// Whether a proxy takes over from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// It begins anew.
    #[default]
    No,
    /// It goes on with the other's listening sockets once it can serve; the other serves the clients that
    /// it has.
    Yes,
}

/// Where an admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddr {
    /// TCP, loopback unless told otherwise.
    Tcp(SocketAddr),
    /// A unix socket; a path that begins with a NUL byte is in Linux's abstract namespace.
    Unix(PathBuf),
}

/// Whether other processes may listen on the same TCP port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortUse {
    /// They may not.
    #[default]
    Exclusive,
    /// Proxies of the same user may: the kernel spreads connections over them, and a cancel
    /// request that reaches the wrong one is passed on.
    Shared,
}

/// When a server goes back to its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// When its client leaves.
    Session,
    /// At the end of each transaction.
    Transaction,
    /// At the end of each statement: transaction blocks are refused.
    Statement,
}

impl PoolMode {
    /// PgBouncer's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

/// The database behind the proxy.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Host name or address, or the folder of a unix socket where it begins with `/`.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Other places where it may be, tried in this order after the first.
    pub others: Vec<Endpoint>,
    /// Which of them is wanted (`target_session_attrs`).
    pub target_session_attrs: SessionAttrs,
    /// Where read-only pools lead, if there are such (`reader_hosts`).
    pub readers: Option<Readers>,
    /// The database that a client gets which names none, and the agent's.
    pub database: Option<String>,
    /// The user of `DATABASE_URL`, if there was one.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
}

impl Upstream {
    /// All places where the database may be, in the order in which they are tried.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        let first = Endpoint { host: self.host.clone(), port: self.port };
        std::iter::once(first).chain(self.others.iter().cloned())
    }

    /// The database behind a name that is one of a read-only pool.
    pub fn read_database<'a>(&self, name: &'a str) -> Option<&'a str> {
        let suffix = &self.readers.as_ref()?.suffix;
        name.strip_suffix(&**suffix).filter(|database| !database.is_empty())
    }
}

/// Where standbys are, and how clients ask for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readers {
    /// What follows the database's name in the name of its read-only pool
    /// (`reader_database_suffix`); not empty.
    pub suffix: String,
    /// At least one; tried in this order, and after them the places of the database itself.
    pub places: Vec<Endpoint>,
}

/// Where a PostgreSQL server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address, or the folder of a unix socket where it begins with `/`.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// For people: `host:port`, or the socket's path.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.starts_with('/') {
            write!(f, "{host}/.s.PGSQL.{port}")
        } else if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// libpq's `target_session_attrs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionAttrs {
    /// Whatever is there.
    #[default]
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that does not.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is.
    Standby,
    /// The same, and if there is none any other.
    PreferStandby,
}

impl SessionAttrs {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Any,
        Self::ReadWrite,
        Self::ReadOnly,
        Self::Primary,
        Self::Standby,
        Self::PreferStandby,
    ];

    /// libpq's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        }
    }
}

/// libpq's `sslmode`, which PgBouncer uses for both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    #[default]
    Disable,
    /// Only if the other side insists.
    Allow,
    /// If the other side can.
    Prefer,
    /// Always, whoever the other side is.
    Require,
    /// Always, and an authority that we know has signed the other side's certificate.
    VerifyCa,
    /// The same, and the server's certificate has the server's name.
    VerifyFull,
}

/// Where root certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// A PEM file with one or more of them.
    File(PathBuf),
    /// The operating system.
    System,
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsNegotiation {
    /// An SSLRequest asks for it.
    #[default]
    Postgres,
    /// At once (PostgreSQL 17 and later).
    Direct,
}

/// TLS towards the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// `server_tls_sslmode`.
    pub mode: TlsMode,
    /// `server_tls_ca_file`.
    pub roots: Option<Roots>,
    /// `server_tls_cert_file` and `server_tls_key_file`: our own certificate.
    pub cert: Option<(PathBuf, PathBuf)>,
    /// libpq's `sslnegotiation`.
    pub negotiation: TlsNegotiation,
    /// libpq's `channel_binding`.
    pub channel_binding: BindingPolicy,
}

/// TLS towards clients.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// `client_tls_sslmode`.
    pub mode: TlsMode,
    /// `client_tls_cert_file`.
    pub cert: PathBuf,
    /// `client_tls_key_file`.
    pub key: PathBuf,
    /// `client_tls_ca_file`: who signs clients' certificates.
    pub ca: Option<PathBuf>,
}

/// How clients prove who they are.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// The method (`auth_type`).
    pub method: AuthMethod,
    /// The rules of [`AuthMethod::Hba`] (`auth_hba_file`). Without any, nobody gets in by it.
    pub rules: RuleList,
    /// Where a password may come in clear (`auth_allow_cleartext`).
    pub cleartext: CleartextPolicy,
    /// Users and their secrets: the `auth_file`'s, else the one of `DATABASE_URL`.
    pub users: Vec<UserEntry>,
    /// Where the secrets of all others are, if they are looked up.
    pub query: Option<AuthQuery>,
}

/// How PostgreSQL is asked for the secrets of users whom the list does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthQuery {
    /// As whom (`auth_user`).
    pub user: String,
    /// In which database (`auth_dbname`).
    pub database: String,
    /// What (`auth_query`): the name is `$1`, the answer is a row of name and secret.
    pub sql: String,
}

/// `auth_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// No proof asked.
    Trust,
    /// The password as it is.
    Password,
    /// MD5 challenge (SCRAM where the stored secret is a SCRAM one, as in PgBouncer).
    Md5,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// The certificate that TLS has verified names the user.
    Cert,
    /// What the first rule says that fits.
    Hba,
}

/// Over which connections a client may send its password as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CleartextPolicy {
    /// TLS and the unix socket.
    #[default]
    EncryptedOnly,
    /// Any.
    Anywhere,
}

/// One line of the `auth_file`.
#[derive(Clone, Debug)]
pub struct UserEntry {
    /// The user's name.
    pub name: String,
    /// Its secret in the form of the file: plain, `md5…` or `SCRAM-SHA-256$…`.
    pub secret: SecretString,
}
