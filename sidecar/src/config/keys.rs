//! The table of configuration keys: file keys, variables, flags, `check-config` and the reference
//! page all come from it.
//!
//! Owns: names, defaults, units and one sentence on each key. Refuses: what keys mean together
//! (`check`) and where their values came from (`raw`).
//! Invariant: a key exists once, here; its default passes its own parser.

use std::num::NonZeroU32;

use secrecy::{ExposeSecret, SecretString};
use stent_proxy::config::{AuthMethod, PoolMode, PortUse, StatementCache, TlsMode};

use super::address::{ListenAddr, OptionalAddress, Targets};
use super::classes::Classes;
use super::console::UserNames;
use super::heap::{HeapPages, MetricSelector};
use super::hold::HoldRules;
use super::lookup::{LookupSql, OptionalName};
use super::passwords::PasswordSources;
use super::pools::PoolRules;
use super::problem::Origin;
use super::publish::{Dimensions, EndpointUrl, Namespace, Region, VariableName};
use super::raw::Raw;
use super::readers::ReaderHosts;
use super::value::{
    AutoSwitch, DatabaseUrl, Interval, KeyType, LogFormat, LogLevel, OptionalPath, Port,
    PositiveSeconds, Seconds, Size, StateKinds, Switch, Timeout, TomlShape, Workers,
};

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Each of them.
    All,
    /// The proxy.
    Proxy,
    /// The agent.
    Agent,
    /// `stent up` and `stent run`.
    Supervisor,
}

/// Whether a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// It may.
    Public,
    /// It may not; nor is there a flag for it, because everyone can read the arguments of a process.
    Secret,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The key in the file; `STENT_<NAME>` and `--name` come from it.
    pub name: &'static str,
    /// The default, as it would be written.
    pub default: &'static str,
    /// The unit of the value, empty where it has none.
    pub unit: &'static str,
    /// What is accepted.
    pub expects: &'static str,
    /// Its form in TOML.
    pub toml: TomlShape,
    /// Whose it is.
    pub owner: Owner,
    /// Whether it may be shown.
    pub secrecy: Secrecy,
    /// What it does.
    pub doc: &'static str,
    /// The canonical spelling of a text, without secrets, or the reason why it is refused.
    pub canonical: fn(&str) -> Result<String, String>,
}

impl Row {
    /// `STENT_LISTEN_PORT`.
    pub fn variable(&self) -> String {
        format!("STENT_{}", self.name.to_uppercase())
    }

    /// `--listen-port`; `None` for a secret.
    pub fn flag(&self) -> Option<String> {
        match self.secrecy {
            Secrecy::Public => Some(format!("--{}", self.name.replace('_', "-"))),
            Secrecy::Secret => None,
        }
    }
}

/// The row of a name, if there is one.
pub fn row(name: &str) -> Option<&'static Row> {
    KEYS.iter().find(|row| row.name == name)
}

/// A value with where it came from.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    /// The value; the default where what was written could not be read.
    pub value: T,
    /// Where it was written.
    pub origin: Origin,
    /// Whether what was written could be read: checks that join two keys skip one that could not,
    /// so that one slip gives one problem.
    pub state: SettingState,
}

/// Whether a value is what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingState {
    /// It is.
    Sound,
    /// It stands in for something that could not be read.
    Refused,
}

impl<T> Setting<T> {
    /// Whether a check may rely on the value.
    pub(crate) fn is_sound(&self) -> bool {
        self.state == SettingState::Sound
    }
}

fn canonical<T: KeyType>(text: &str) -> Result<String, String> {
    T::parse(text).map(|value| value.show())
}

/// Reads one key: the written value if it parses, else the default.
fn take<T: KeyType>(raw: &Raw, row: &Row) -> Setting<T> {
    let written = raw.find(row.name);
    let value = written.map(|entry| T::parse(entry.text.expose_secret()));
    let (origin, state) = match (written, &value) {
        (Some(entry), Some(Ok(_))) => (entry.origin.clone(), SettingState::Sound),
        (Some(entry), _) => (entry.origin.clone(), SettingState::Refused),
        (None, _) => (Origin::Default, SettingState::Sound),
    };
    let value = value.and_then(Result::ok);
    let value = value.or_else(|| T::parse(row.default).ok());
    Setting { value: value.expect("a test parses each default"), origin, state }
}

macro_rules! keys {
    ($($name:ident: $type:ty = $default:literal, $unit:literal, $owner:ident, $secrecy:ident,
        $doc:literal;)*) => {
        /// Every key.
        pub const KEYS: &[Row] = &[$(Row {
            name: stringify!($name),
            default: $default,
            unit: $unit,
            expects: <$type as KeyType>::EXPECTS,
            toml: <$type as KeyType>::TOML,
            owner: Owner::$owner,
            secrecy: Secrecy::$secrecy,
            doc: $doc,
            canonical: canonical::<$type>,
        },)*];

        /// Every key's value.
        #[derive(Clone, Debug)]
        pub struct Settings { $(#[doc = $doc] pub $name: Setting<$type>,)* }

        impl Settings {
            /// The values that win, from what was written.
            pub(crate) fn collect(raw: &Raw) -> Self {
                Self {
                    $($name: take(raw, row(stringify!($name)).expect("the table made this name")),)*
                }
            }
        }
    };
}

keys! {
    // The database behind the proxy.
    database_url: DatabaseUrl = "", "", All, Secret,
        "The database behind the proxy. Several hosts with commas between them are tried in their order, and target_session_attrs (any, read-write, read-only, primary, standby, prefer-standby) says which is wanted. Also read from DATABASE_URL; without either, from PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE. Without an auth_file its user and password are what clients log in with.";
    // The proxy's listeners and clients.
    listen_addr: ListenAddr = "127.0.0.1", "", Proxy, Public,
        "Addresses on which clients connect over TCP.";
    listen_port: Port = "6432", "", Proxy, Public,
        "Port on which clients connect; it names the unix socket too.";
    so_reuseport: PortUse = "off", "", Proxy, Public,
        "Share listen_port with other proxies of the same user on this machine: the kernel spreads connections over them, and cancel requests find their client through any. Each needs an admin_listen and a unix_socket_dir of its own.";
    workers: Workers = "1", "threads", Proxy, Public,
        "Threads that serve clients. Each client stays with one, a new one goes to where the fewest are; pools, limits and metrics are of the whole. More than one helps where the proxy alone would use up a processor, and costs nothing else.";
    unix_socket_dir: OptionalPath = "", "", Proxy, Public,
        "Folder of the unix socket .s.PGSQL.<listen_port> on which clients connect.";
    auth_type: AuthMethod = "scram-sha-256", "", Proxy, Public,
        "How clients prove who they are. With md5, a user whose stored secret is a SCRAM one is asked for SCRAM. Over TLS SCRAM is offered with channel binding too. password (PgBouncer's plain) has it sent as it is, over TLS or the unix socket. With cert the common name of the client's certificate must be the user; it needs client_tls_sslmode verify-ca or verify-full. With hba the rules of auth_hba_file decide.";
    auth_file: OptionalPath = "", "", Proxy, Public,
        "Users and their secrets, in the form of PgBouncer's userlist.txt.";
    auth_user: OptionalName = "", "", Proxy, Public,
        "The role as which PostgreSQL is asked for the secrets of users whom auth_file does not have; its own password is auth_file's or the database URL's. Empty: nobody is looked up.";
    auth_query: LookupSql = "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1", "", Proxy, Public,
        "What it asks. On its connection search_path is pg_catalog: name the schemas of your own functions and tables. Whatever it gives, a role whose VALID UNTIL has passed or that may not log in is refused.";
    auth_dbname: OptionalName = "", "", Proxy, Public,
        "The database in which it asks; empty: the database URL's. Unlike PgBouncer's it is never the client's.";
    auth_hba_file: OptionalPath = "", "", Proxy, Public,
        "The rules of auth_type hba, in the form of pg_hba.conf: the first that fits the connection, the database, the user and the address of a client decides; a client that none fits is refused. Methods: trust, reject, password, md5, scram-sha-256, cert.";
    auth_allow_cleartext: Switch = "off", "", Proxy, Public,
        "Let clients send passwords over TCP without TLS where the method is password. Whoever can read the network reads them then.";
    max_client_conn: NonZeroU32 = "1000", "clients", Proxy, Public,
        "The most clients at a time. The admin console needs no room among them.";
    max_client_conn_per_address: Option<NonZeroU32> = "0", "clients", Proxy, Public,
        "The most clients of one address at a time, those in their login included; 0: no limit. Not for clients of the unix socket and the admin console.";
    max_db_client_connections: Option<NonZeroU32> = "0", "clients", Proxy, Public,
        "The most clients of one database at a time, over all users; 0: no limit.";
    max_user_client_connections: Option<NonZeroU32> = "0", "clients", Proxy, Public,
        "The most clients of one user at a time, over all databases; 0: no limit.";
    admin_users: UserNames = "", "", Proxy, Public,
        "Users who may use the admin console: the database stent (or pgbouncer) of the proxy itself, where psql answers SHOW HELP, and give its commands (PAUSE, RESUME, RECONNECT, RELOAD). They prove themselves as auth_type says. The operating system user of the proxy needs neither name nor proof over the unix socket, as user stent or pgbouncer. Empty, with stats_users: nobody else, and the two databases are PostgreSQL's.";
    stats_users: UserNames = "", "", Proxy, Public,
        "Users who may look in the console and change nothing: SHOW is answered, PAUSE and the like are refused.";
    client_login_timeout: PositiveSeconds = "60", "seconds", Proxy, Public,
        "Time for a client's login.";
    drain_serve_timeout: Seconds = "15", "seconds", Proxy, Public,
        "How long after SIGTERM clients old and new are served as before, while there are any: the application is stopped at the same time. Then idle ones are closed, one after the other so that they do not come back all at once, and the others at the end of their transaction, until shutdown_timeout.";
    upgrade_drain_timeout: Seconds = "3600", "seconds", Proxy, Public,
        "How long after an upgrade (stent upgrade) the old proxy serves the clients that it has; new ones are the new proxy's. Then idle ones are closed, one after the other so that they do not come back all at once, and the others at the end of their transaction.";
    // TLS.
    client_tls_sslmode: TlsMode = "disable", "", Proxy, Public,
        "TLS for clients over TCP: require refuses clients without it, verify-ca asks for a certificate that client_tls_ca_file has signed. The unix socket needs none.";
    client_tls_cert_file: OptionalPath = "", "", Proxy, Public,
        "The certificate (with its chain, PEM) that clients are shown. A changed file is in use within a second or at the next connection, whichever is later.";
    client_tls_key_file: OptionalPath = "", "", Proxy, Public,
        "The key of that certificate, PEM.";
    client_tls_ca_file: OptionalPath = "", "", Proxy, Public,
        "The authorities, PEM, that sign clients' certificates.";
    server_password_source: PasswordSources = "auto", "", Proxy, Public,
        "Where the passwords come from with which the proxy logs in to the database, for all users or, as user=source, for one. auto: auth_file's or the database URL's, what auth_query found, or the SCRAM keys that a client has proved to have. env:NAME: a variable. file:/path: a file, read for each login. rds-iam: an RDS IAM token, signed for each login with the credentials of the task's role or of AWS_ACCESS_KEY_ID and its kin.";
    server_tls_sslmode: TlsMode = "prefer", "", Proxy, Public,
        "TLS to the database, with libpq's meanings. Also read from sslmode in the database URL.";
    server_tls_ca_file: OptionalPath = "", "", Proxy, Public,
        "Root certificates of the database's authority, PEM, one or more; system: those of the operating system. Also read from sslrootcert in the database URL. A changed file is in use within a second or at the next server connection, whichever is later, as are those of the two keys below.";
    server_tls_cert_file: OptionalPath = "", "", Proxy, Public,
        "Our own certificate for the database, PEM. Also read from sslcert in the database URL.";
    server_tls_key_file: OptionalPath = "", "", Proxy, Public,
        "Its key, PEM. Also read from sslkey in the database URL.";
    // The proxy's pools and servers.
    reader_hosts: ReaderHosts = "", "", Proxy, Public,
        "Where standbys are, such as the reader endpoint of an Aurora cluster. A client that connects to the database NAME with reader_database_suffix gets a pool of NAME of its own, whose servers are there: the first of these hosts that is a standby, else any of them or of the database URL that answers (target_session_attrs=prefer-standby). Servers that were opened elsewhere for want of a standby end by server_lifetime. They count against max_server_connections and the fleet budget like others. Empty: there are none.";
    reader_database_suffix: OptionalName = "_ro", "", Proxy, Public,
        "What is put behind the name of a database to ask for its standbys. While reader_hosts are named, a database whose own name ends in this cannot be reached.";
    pool_mode: PoolMode = "transaction", "", Proxy, Public,
        "When a server goes back to its pool: at the end of each statement (transaction blocks are refused), at the end of each transaction, or when its client leaves.";
    forbidden_state: StateKinds = "", "", Proxy, Public,
        "Session state that clients may not make with pool_mode transaction or statement; a statement that would make it gets an error. Kinds: temp_table, advisory_lock, listen, held_cursor, prepare, role, setting, load, or all. Otherwise settings follow their client, one connection of the pool, beside its size, listens for all clients that LISTEN, and for the other kinds the server stays with its client until the state is gone.";
    default_pool_size: NonZeroU32 = "20", "servers", Proxy, Public,
        "The most servers of one pool (one database and user). While clients LISTEN in transaction or statement mode there is one connection more, which listens for all of them.";
    min_pool_size: u32 = "0", "servers", Proxy, Public,
        "Servers that a pool in use keeps open.";
    reserve_pool_size: u32 = "0", "servers", Proxy, Public,
        "Servers that a pool may have beyond default_pool_size for clients that have waited for reserve_pool_timeout, below all other limits. They are the first to be closed: as soon as one comes back and nobody waits.";
    reserve_pool_timeout: Timeout = "5", "seconds", Proxy, Public,
        "How long a client waits before it may have one of those; 0: there is no reserve.";
    pool_limits: PoolRules = "", "servers", Proxy, Public,
        "Pools with sizes of their own, as rules with commas between them: whose (database=, user=), then pool_size=, min_pool_size=, reserve_pool_size=. The first rule that fits a pool counts, so special rules come first; what it leaves out is default_pool_size, min_pool_size, reserve_pool_size. Example: database=shop user=report pool_size=2 reserve_pool_size=1, database=shop pool_size=40.";
    max_db_connections: Option<NonZeroU32> = "0", "servers", Proxy, Public,
        "The most connections to one database, over all users, those that listen for clients included; 0: no limit.";
    max_user_connections: Option<NonZeroU32> = "0", "servers", Proxy, Public,
        "The most connections of one user, over all databases, those that listen for clients included; 0: no limit. Where it is reached, idle connections of the user to other databases make room, and the next free place is for its client that has waited longest.";
    max_server_connections: Option<NonZeroU32> = "0", "servers", Proxy, Public,
        "The most connections to all databases together; 0: no limit. Where it is reached, idle connections of other databases make room, and the next free place is for the client that has waited longest.";
    fleet_budget: Switch = "off", "", Proxy, Public,
        "Share PostgreSQL's max_connections with all proxies that have this on: each opens no more servers than its share, which follows what each needs. Takes one connection more, as the user and to the database of the database URL. PostgreSQL must be reached directly, not through another pooler.";
    fleet_interval: Interval = "5", "seconds", Proxy, Public,
        "Shares settle within two of these; a proxy that PostgreSQL has not answered for one opens nothing. It grows by itself from 250 proxies on.";
    fleet_minimum: u32 = "2", "servers", Proxy, Public,
        "The share that this proxy has in any case, as long as the minimums of all fit; `stent budget` says whether they do.";
    fleet_reserve: u32 = "3", "connections", Proxy, Public,
        "Connections that the fleet leaves free: for the first connection of tasks that start, as many at a time, and for whoever connects without Stent.";
    query_wait_timeout: Timeout = "120", "seconds", Proxy, Public,
        "How long a client may wait for a server before it gets an error that says who holds them; 0: for ever.";
    queue_classes: Classes = "", "", Proxy, Public,
        "Clients that wait for a server behind others, as rules with commas between them: the name of a class, for whom (database=, user=, application_name=, where * stands for any text), and its weight=. The first rule that fits a client counts; whom none fits is of the class default. While several classes wait for a pool, each is served as often as its weight says (default: 10, the others: 1), and first come, first served in itself; a free server is for whoever comes. Example: default application_name=urgent*, background user=etl, background application_name=report* weight=2.";
    hold_limits: HoldRules = "idle_in_transaction warn=60", "seconds", Proxy, Public,
        "What happens to clients that hold a server for long, as rules with commas between them: idle_in_transaction, transaction or query, then for whom (database=, user=, application_name=; without them for all), then stages with their ages: warn (log and metric), notify (a NOTICE to the client), cancel (what it runs), close (its connection). For each of the three the first rule that fits a holder counts: special rules come first. Clients that replicate are left alone. Example: query application_name=reports warn=600, query warn=5 notify=10 cancel=30.";
    idle_transaction_timeout: Timeout = "0", "seconds", Proxy, Public,
        "How long a client may be silent in an open transaction before its connection is closed: hold_limits' idle_in_transaction close=, for all whom no rule of it fits; 0: for ever.";
    transaction_timeout: Timeout = "0", "seconds", Proxy, Public,
        "How long a transaction may last before its client's connection is closed, likewise; 0: for ever.";
    query_timeout: Timeout = "0", "seconds", Proxy, Public,
        "How long a statement may run before its client's connection is closed, likewise; 0: for ever.";
    server_lifetime: Seconds = "3600", "seconds", Proxy, Public,
        "Age at which a server is replaced once it is free; 0: each server is used once. The last tenth of it is drawn for each server, and where there is room for both the new one is opened before the old one is closed.";
    server_max_uses: Option<NonZeroU32> = "0", "checkouts", Proxy, Public,
        "How many times a server is lent before it is replaced in the same way, for a backend whose memory grows with use; 0: without end.";
    server_max_memory: Size = "0", "bytes", Proxy, Public,
        "How much memory a server's process may have for its session before it is replaced in the same way; 0: nobody asks. It is what pg_backend_memory_contexts adds up to, which from PostgreSQL 15 on users with the role pg_read_all_stats may see (GRANT pg_read_all_stats TO app; in 14 superusers only); on the servers of others it has no effect.";
    server_memory_interval: Interval = "60", "seconds", Proxy, Public,
        "How often a server is asked for it at the most: as it comes back, while nobody waits and another is free or the pool is full; at the latest after five times as long it is asked in any case.";
    server_idle_timeout: Timeout = "600", "seconds", Proxy, Public,
        "Idle time after which a server is closed, and the listening connection after its last client; 0: never.";
    server_check_delay: Seconds = "30", "seconds", Proxy, Public,
        "A server that has been idle for longer than this is probed before it is lent; 0: always.";
    server_connect_timeout: PositiveSeconds = "15", "seconds", Proxy, Public,
        "Time for opening a server connection, login included. Also read from connect_timeout in the database URL.";
    max_prepared_statements: u32 = "200", "statements", Proxy, Public,
        "The most prepared statements kept on one server in transaction mode, named or not; 0 is statement_cache = off.";
    statement_cache: StatementCache = "named", "", Proxy, Public,
        "Which prepared statements servers keep in transaction mode, whoever parsed them; off: none, a statement must be used in the transaction that prepared it; named: those with a name; all: unnamed ones too, from the second time on that their text is seen.";
    // HTTP and logs.
    admin_listen: OptionalAddress = "127.0.0.1:9187", "", All, Public,
        "Where /metrics, /livez, /readyz and /snapshot are served: by the supervisor in up and run, else by the proxy. The agent asks the proxy there. Empty: nowhere.";
    agent_listen: OptionalAddress = "127.0.0.1:9188", "", Agent, Public,
        "Where a lone `stent agent` serves the same; in up and run it is part of admin_listen. Empty: nowhere.";
    log_level: LogLevel = "info", "", All, Public,
        "The least grave event that is logged.";
    log_format: LogFormat = "auto", "", All, Public,
        "Form of the log lines on standard error; auto: human on a terminal, else json.";
    // The supervisor.
    ready_timeout: Seconds = "10", "seconds", Supervisor, Public,
        "How long `stent run` waits for the proxy to reach its database before it starts the command all the same; 0: not at all.";
    shutdown_timeout: Timeout = "28", "seconds", Supervisor, Public,
        "How long after SIGTERM what still runs is killed; keep it under the stop timeout of what runs stent (30 seconds in ECS); 0: never.";
    heap_python: OptionalPath = "", "", Supervisor, Public,
        "The folder of Stent's module for Python: /usr/share/stent/python in the image. `stent run` puts it first on the command's PYTHONPATH and sets STENT_HEAP=on, so that a Python program serves its heap when it is asked (attribution); to any other program it is nothing. Empty: neither is done.";
    heap_native: OptionalPath = "", "", Supervisor, Public,
        "The library that gives a program jemalloc with heap profiles: /usr/share/stent/libstent_heap.so in the image. `stent run` puts it first in the command's LD_PRELOAD, so that the command, and what it starts, serve what C's malloc gave out when they are asked (attribution); the heap of a C or C++ program is read so, too. For programs of glibc 2.34 or newer on Linux 5.9 or newer. Empty: it is not done.";
    rejuvenate: Switch = "off", "", Supervisor, Public,
        "Restart the command of `stent run` before it meets its memory limit: when the agent's verdict on it is leak and the early end of the forecast is inside rejuvenate_margin. Open transactions finish first (for 10 seconds at the most; new ones wait), then the command gets SIGTERM and, at shutdown_timeout, SIGKILL, and is started again. Logged with the forecast, counted, and alarmed.";
    rejuvenate_margin: PositiveSeconds = "900", "seconds", Supervisor, Public,
        "How near the early end of the forecast (an 80 % interval) must be.";
    sibling_drain: Seconds = "0", "seconds", All, Public,
        "For tasks that are one of several behind something that routes by /readyz: how long it says 503 before a target is looked into (attribution) or the command is restarted (rejuvenate), so that newcomers go to siblings; it says 503 until that is over. Not in an ECS service whose load balancer asks /readyz: ECS replaces tasks that are found unhealthy. 0: there are no siblings.";
    rejuvenate_interval: PositiveSeconds = "3600", "seconds", Supervisor, Public,
        "The shortest life of the command that is ended so: there is at most one restart in this time.";
    // The agent.
    targets: Targets = "", "", Agent, Public,
        "Processes to watch: command names, process ids, or name=id. A name that stands several times is as many processes (workers: `gunicorn,gunicorn,gunicorn`; the second is called gunicorn-2), each a control for the others. `stent run` adds its command. container:name is a container of the ECS task whose processes cannot be seen (without pidMode): its memory is what the task metadata endpoint says.";
    sample_interval: Interval = "1", "seconds", Agent, Public,
        "Time between readings.";
    memory_limit: Size = "0", "bytes", Agent, Public,
        "Memory at which a target ends; 0: what its cgroup says.";
    build_variable: VariableName = "", "", Agent, Public,
        "The variable in a target's own environment that names its build, such as GIT_SHA: a new value is a new revision, not a restart, and where the one before settled is a known level. Only this variable is looked for. Empty: the ECS task's family and revision.";
    heap_metrics_url: HeapPages = "", "", Agent, Public,
        "Pages of metrics (Prometheus or OpenMetrics) on which targets say how large their heaps are: http://host:port/path for the first target, name=http://... for another. Without one the socket of stent-heap is asked, where the target serves it. A heap that stays flat while memory grows is a leak of native code.";
    heap_metric: MetricSelector = "", "bytes", Agent, Public,
        "The gauge of the heap on those pages, such as nodejs_heap_size_used_bytes or name{label=\"value\"}; empty: those of Node's, Go's and Java's clients, the first that is there.";
    requests_metric: MetricSelector = "", "requests", Agent, Public,
        "The counter of requests on those pages, for memory that grows with traffic; empty: the usual names, such as http_requests_total. It counts where no transactions pass the proxy.";
    attribution: Switch = "off", "", Agent, Public,
        "Look into a target under suspicion to say whose growth it is: Node by SIGUSR1 and its inspector, Bun by BUN_INSPECT, Rust and Python programs over the socket on which they serve their heaps; at most two minutes an hour.";
    postgres_sampling: Switch = "on", "", Agent, Public,
        "Ask PostgreSQL for its own view, over one connection through the proxy.";
    postgres_interval: Interval = "5", "seconds", Agent, Public,
        "Time between those questions.";
    emf: AutoSwitch = "auto", "", Agent, Public,
        "Metrics on standard output in CloudWatch's embedded metric format; auto: on inside an ECS task.";
    cloudwatch: Switch = "off", "", Agent, Public,
        "Metrics by CloudWatch's PutMetricData.";
    cloudwatch_namespace: Namespace = "Stent", "", Agent, Public,
        "Namespace of the metrics in CloudWatch, by either way.";
    cloudwatch_region: Region = "", "", Agent, Public,
        "Region of PutMetricData, where AWS_REGION does not say.";
    cloudwatch_endpoint: EndpointUrl = "", "", Agent, Public,
        "Another endpoint for PutMetricData, such as a VPC endpoint.";
    cloudwatch_interval: Interval = "60", "seconds", Agent, Public,
        "Time between publications to CloudWatch, by either way.";
    dimensions: Dimensions = "ServiceName=stent", "", Agent, Public,
        "Dimensions on every metric in CloudWatch. Each distinct set is billed as a metric of its own.";
}

/// The text of the database URL, where one was written.
pub(crate) fn url_text(setting: &Setting<DatabaseUrl>) -> Option<&SecretString> {
    setting.value.0.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_default_passes_its_own_parser_and_reads_back_as_itself() {
        for row in KEYS {
            let shown = (row.canonical)(row.default).expect(row.name);
            assert_eq!((row.canonical)(&shown).expect(row.name), shown, "{}", row.name);
            if row.name != "database_url" {
                assert_eq!(shown, row.default, "{}", row.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_each_key_is_documented() {
        let mut seen = BTreeSet::new();
        for row in KEYS {
            assert!(seen.insert(row.name), "{} stands twice", row.name);
            assert!(row.doc.ends_with('.'), "{}", row.name);
        }
    }
}
