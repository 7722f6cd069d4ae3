//! From checked values to the configurations of the proxy, the agent and the supervisor.
//!
//! Refuses: to fail; whatever could is a check before it.
//! Invariant: the agent reaches PostgreSQL through the proxy, never around it.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use stent_agent::PageUrl;
use stent_agent::config::{Attribution, CloudWatch, Emf, PostgresAccess};
use stent_proxy::config::fleet::FleetBudget;
use stent_proxy::config::{
    CleartextPolicy, ClientAuth, ClientTls, Endpoint, Roots, ServerTls, Upstream as ProxyUpstream,
};
use stent_wire::auth::hba::RuleList;

use super::address::{Address, reachable_ip};
use super::keys::Settings;
use super::problem::Origin;
use super::raw::{Raw, Variables};
use super::shown;
use super::url::Database;
use super::users::User;
use super::value::{AutoSwitch, OptionalPath, Switch};
use super::{ClientAccess, Loaded, Logging, Rejuvenation, Role, Upstream};

/// Who may log in, and how that is proven.
pub(crate) struct Clients<'a> {
    pub(crate) users: &'a [User],
    pub(crate) rules: RuleList,
}

/// Puts everything together.
pub(crate) fn loaded(
    role: Role,
    raw: Raw,
    settings: Settings,
    upstream: Upstream,
    Clients { users, rules }: Clients<'_>,
    variables: &Variables,
    warnings: Vec<String>,
) -> Loaded {
    let clients = upstream.database.as_ref().map(|db| client_access(&settings, db, users));
    let proxy = match (role, &upstream.database) {
        (Role::Proxy | Role::Both, Some(database)) => {
            Some(proxy(&settings, database, Clients { users, rules }))
        }
        (Role::Proxy | Role::Both, None) | (Role::Agent | Role::Probe, _) => None,
    };
    let mut loaded = Loaded {
        proxy,
        agent: agent(&settings, clients.as_ref(), variables),
        logging: Logging { level: settings.log_level.value, format: settings.log_format.value },
        admin: settings.admin_listen.value.0.clone(),
        ready_timeout: settings.ready_timeout.value.0,
        shutdown_timeout: settings.shutdown_timeout.value.0,
        heap_python: settings.heap_python.value.0.clone(),
        heap_native: settings.heap_native.value.0.clone(),
        sibling_drain: settings.sibling_drain.value.0,
        rejuvenation: match settings.rejuvenate.value {
            Switch::On => Some(Rejuvenation {
                margin: settings.rejuvenate_margin.value.0,
                interval: settings.rejuvenate_interval.value.0,
            }),
            Switch::Off => None,
        },
        clients,
        warnings,
        raw,
        settings,
        database_origin: upstream.origin,
        database: upstream.database,
    };
    if let Some(mut proxy) = loaded.proxy.take() {
        proxy.shown = shown::of_proxy(&loaded);
        loaded.proxy = Some(proxy);
    }
    loaded
}

fn proxy(settings: &Settings, database: &Database, clients: Clients<'_>) -> stent_proxy::Config {
    let port = settings.listen_port.value.0;
    let connect_timeout = shown::connect_timeout(settings, database)
        .unwrap_or(settings.server_connect_timeout.value.0);
    let drain = drain_timeout(settings.shutdown_timeout.value.0);
    stent_proxy::Config {
        listen: settings.listen_addr.value.0.iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
        unix_socket_dir: settings.unix_socket_dir.value.0.clone(),
        listen_port: port,
        so_reuseport: settings.so_reuseport.value,
        workers: settings.workers.value.0,
        admin: settings.admin_listen.value.0.as_ref().map(Address::for_proxy),
        upstream: upstream(settings, database),
        // Filled in by the caller: it takes the environment.
        server_passwords: Default::default(),
        server_tls: server_tls(settings, database),
        client_tls: client_tls(settings),
        auth: ClientAuth {
            method: settings.auth_type.value,
            rules: clients.rules,
            cleartext: match settings.auth_allow_cleartext.value {
                Switch::On => CleartextPolicy::Anywhere,
                Switch::Off => CleartextPolicy::EncryptedOnly,
            },
            users: clients.users.iter().map(|user| user.entry.clone()).collect(),
            query: super::lookup::resolve(settings, database),
        },
        pool_mode: settings.pool_mode.value,
        default_pool_size: settings.default_pool_size.value,
        reserve_pool_size: settings.reserve_pool_size.value,
        reserve_pool_timeout: settings.reserve_pool_timeout.value.0,
        min_pool_size: settings.min_pool_size.value,
        pool_limits: settings.pool_limits.value.0.clone(),
        max_db_connections: settings.max_db_connections.value,
        queue_classes: settings.queue_classes.value.0.clone(),
        hold_limits: super::hold::rules(settings),
        max_user_connections: settings.max_user_connections.value,
        max_server_connections: settings.max_server_connections.value,
        fleet: fleet(settings),
        max_client_conn: settings.max_client_conn.value,
        max_client_conn_per_address: settings.max_client_conn_per_address.value,
        max_db_client_connections: settings.max_db_client_connections.value,
        max_user_client_connections: settings.max_user_client_connections.value,
        query_wait_timeout: settings.query_wait_timeout.value.0,
        server_lifetime: Some(settings.server_lifetime.value.0),
        server_max_uses: settings.server_max_uses.value,
        server_max_memory: settings.server_max_memory.value.0.and_then(NonZeroU64::new),
        server_memory_interval: settings.server_memory_interval.value.0,
        server_idle_timeout: settings.server_idle_timeout.value.0,
        server_check_delay: settings.server_check_delay.value.0,
        server_connect_timeout: connect_timeout,
        client_login_timeout: settings.client_login_timeout.value.0,
        drain_serve_timeout: drain.min(settings.drain_serve_timeout.value.0),
        drain_timeout: drain.saturating_sub(settings.drain_serve_timeout.value.0),
        takeover: Default::default(),
        upgrade_drain_timeout: settings.upgrade_drain_timeout.value.0,
        forbidden_state: settings.forbidden_state.value.0,
        console_admins: settings.admin_users.value.0.clone(),
        console_users: settings.stats_users.value.0.clone(),
        max_prepared_statements: settings.max_prepared_statements.value,
        statement_cache: settings.statement_cache.value,
        // Filled in by the caller: it takes what was written.
        shown: Vec::new(),
    }
}

/// Where the database is, and who clients are to it.
fn upstream(settings: &Settings, database: &Database) -> ProxyUpstream {
    ProxyUpstream {
        host: database.host.clone(),
        port: database.port,
        others: endpoints(&database.others),
        readers: super::readers::readers(settings),
        target_session_attrs: database.session_attrs,
        database: database.database.clone(),
        user: database.user.clone(),
        password: database.password.clone(),
    }
}

/// TLS to clients.
fn client_tls(settings: &Settings) -> ClientTls {
    ClientTls {
        mode: settings.client_tls_sslmode.value,
        cert: settings.client_tls_cert_file.value.0.clone().unwrap_or_default(),
        key: settings.client_tls_key_file.value.0.clone().unwrap_or_default(),
        ca: settings.client_tls_ca_file.value.0.clone(),
    }
}

fn fleet(settings: &Settings) -> Option<FleetBudget> {
    match settings.fleet_budget.value {
        Switch::Off => None,
        Switch::On => Some(FleetBudget {
            interval: settings.fleet_interval.value.0,
            minimum: settings.fleet_minimum.value,
            reserve: settings.fleet_reserve.value,
        }),
    }
}

/// TLS to the database: what a key says goes before what the URL says.
pub(crate) fn server_tls(settings: &Settings, database: &Database) -> ServerTls {
    let url = &database.tls;
    let mode = &settings.server_tls_sslmode;
    let path = |key: &OptionalPath, url: &Option<String>| {
        key.0.clone().or_else(|| url.as_ref().map(PathBuf::from))
    };
    let roots = path(&settings.server_tls_ca_file.value, &url.roots);
    let cert = path(&settings.server_tls_cert_file.value, &url.cert);
    let key = path(&settings.server_tls_key_file.value, &url.key);
    ServerTls {
        mode: match (&mode.origin, url.mode) {
            (Origin::Default, Some(asked)) => asked,
            _ => mode.value,
        },
        roots: roots.map(|path| match path.to_str() {
            Some("system") => Roots::System,
            _ => Roots::File(path),
        }),
        cert: cert.zip(key),
        negotiation: url.negotiation,
        channel_binding: url.channel_binding,
    }
}

/// The proxy's part of `shutdown_timeout`: the rest is for its last words and its end.
fn drain_timeout(shutdown: Option<Duration>) -> Duration {
    const LAST_WORDS: Duration = Duration::from_secs(3);
    const UNLIMITED: Duration = Duration::from_secs(24 * 3600);
    shutdown.map_or(UNLIMITED, |limit| limit.saturating_sub(LAST_WORDS))
}

/// How the command of `stent run` and the agent enter the proxy. TCP before the unix socket:
/// every driver can do it.
fn client_access(settings: &Settings, database: &Database, users: &[User]) -> ClientAccess {
    let folder = settings.unix_socket_dir.value.0.as_ref();
    let host = match (settings.listen_addr.value.0.first(), folder) {
        (Some(ip), _) => reachable_ip(*ip).to_string(),
        (None, Some(folder)) => folder.display().to_string(),
        (None, None) => reachable_ip([0, 0, 0, 0].into()).to_string(),
    };
    let mut database = database.clone();
    let mut entries = users.iter().map(|user| &user.entry);
    let entry = entries.find(|entry| Some(&entry.name) == database.user.as_ref());
    if let Some(entry) = entry.filter(|entry| is_plain(entry.secret.expose_secret())) {
        database.password = Some(entry.secret.clone());
    }
    let tls_required = super::check_tls::must(settings.client_tls_sslmode.value);
    ClientAccess { host, port: settings.listen_port.value.0, database, tls_required }
}

fn is_plain(secret: &str) -> bool {
    !secret.is_empty() && !secret.starts_with("SCRAM-SHA-256$") && !super::check::is_md5(secret)
}

fn agent(
    settings: &Settings,
    clients: Option<&ClientAccess>,
    variables: &Variables,
) -> stent_agent::Config {
    let namespace = settings.cloudwatch_namespace.value.0.clone();
    let dimensions = settings.dimensions.value.0.clone();
    let interval = settings.cloudwatch_interval.value.0;
    let postgres = match settings.postgres_sampling.value {
        Switch::On => clients.and_then(|clients| postgres_access(clients, settings)),
        Switch::Off => None,
    };
    let cloudwatch = match settings.cloudwatch.value {
        Switch::On => Some(CloudWatch {
            namespace: namespace.clone(),
            region: settings.cloudwatch_region.value.0.clone(),
            endpoint: settings.cloudwatch_endpoint.value.0.clone(),
            dimensions: dimensions.clone(),
            interval,
        }),
        Switch::Off => None,
    };
    let emf = emf_wanted(settings.emf.value, variables);
    stent_agent::Config {
        targets: settings.targets.value.0.clone(),
        sample_interval: settings.sample_interval.value.0,
        proxy_admin: settings.admin_listen.value.0.as_ref().map(|a| a.reachable().for_agent()),
        admin: settings.agent_listen.value.0.as_ref().map(Address::for_agent),
        postgres,
        postgres_interval: settings.postgres_interval.value.0,
        root: PathBuf::from("/"),
        cloudwatch,
        emf: emf.then_some(Emf { namespace, dimensions, interval }),
        memory_limit: settings.memory_limit.value.0,
        heap_metrics: super::heap::resolve(settings),
        build_variable: settings.build_variable.value.0.clone(),
        ecs_metadata: ecs_metadata(variables),
        sibling_drain: settings.sibling_drain.value.0,
        attribution: match settings.attribution.value {
            Switch::On => Attribution::On,
            Switch::Off => Attribution::Off,
        },
    }
}

fn postgres_access(clients: &ClientAccess, settings: &Settings) -> Option<PostgresAccess> {
    let user = clients.database.user.clone()?;
    let needed = super::check_auth::agent_needs_socket(settings);
    let folder = settings.unix_socket_dir.value.0.as_ref().filter(|_| needed);
    Some(PostgresAccess {
        host: folder.map_or_else(|| clients.host.clone(), |path| path.display().to_string()),
        port: clients.port,
        database: clients.database.database.clone().unwrap_or_else(|| user.clone()),
        user,
        password: clients.database.password.clone(),
    })
}

/// What ECS puts into the environment of each container. One that is not understood is as good as
/// none: it is ours to use, not the user's to mend.
fn ecs_metadata(variables: &Variables) -> Option<PageUrl> {
    variables.get("ECS_CONTAINER_METADATA_URI_V4")?.to_str()?.parse().ok()
}

/// Inside an ECS task standard output goes to CloudWatch Logs, which makes metrics of EMF lines;
/// elsewhere they would be noise.
/// Source: Amazon ECS developer guide, "Task metadata endpoint version 4".
fn emf_wanted(switch: AutoSwitch, variables: &Variables) -> bool {
    match switch {
        AutoSwitch::On => true,
        AutoSwitch::Off => false,
        AutoSwitch::Auto => variables.contains_key("ECS_CONTAINER_METADATA_URI_V4"),
    }
}

fn endpoints(hosts: &[(String, u16)]) -> Vec<Endpoint> {
    let endpoint = |(host, port): &(String, u16)| Endpoint { host: host.clone(), port: *port };
    hosts.iter().map(endpoint).collect()
}
