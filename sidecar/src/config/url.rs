//! The database URL: `postgres://user:password@host:port/database?name=value`.
//!
//! Owns: taking it apart, and writing it again with another host (for the command of `stent run`).
//! Refuses: keys of the configuration.
//! Invariant: no error and no warning repeats any part of the URL but a parameter's name.
//! Source: PostgreSQL documentation, libpq, "Connection URIs" (34.1.1.2).

use std::fmt::Write as _;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use stent_proxy::config::{SessionAttrs, TlsMode, TlsNegotiation};
use stent_wire::auth::scram::BindingPolicy;

use super::percent::{decoded, encoded};
use super::value::{KeyType, Port, Timeout};

/// What a database URL says.
#[derive(Clone, Debug)]
pub struct Database {
    /// Host name or address, or the folder of a unix socket where it begins with `/`.
    pub host: String,
    /// Port, 5432 where none is named.
    pub port: u16,
    /// Further hosts, each with its port.
    pub others: Vec<(String, u16)>,
    /// `target_session_attrs`.
    pub session_attrs: SessionAttrs,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
    /// Database; the user's name where none is named, as in libpq.
    pub database: Option<String>,
    /// `connect_timeout`.
    pub connect_timeout: Option<Duration>,
    /// `sslmode` and its kin.
    pub tls: UrlTls,
    /// Parameters that mean nothing to the proxy; the command of `stent run` gets them.
    pub parameters: Vec<(String, SecretString)>,
}

impl Database {
    /// All hosts with their ports, in the order in which they are tried.
    pub fn hosts(&self) -> Vec<(String, u16)> {
        let first = (self.host.clone(), self.port);
        std::iter::once(first).chain(self.others.iter().cloned()).collect()
    }
}

/// What a URL says of TLS; the keys of the configuration go before it.
#[derive(Clone, Debug, Default)]
pub struct UrlTls {
    /// `sslmode`.
    pub mode: Option<TlsMode>,
    /// `sslrootcert`.
    pub roots: Option<String>,
    /// `sslcert`.
    pub cert: Option<String>,
    /// `sslkey`.
    pub key: Option<String>,
    /// `sslnegotiation`.
    pub negotiation: TlsNegotiation,
    /// `channel_binding`.
    pub channel_binding: BindingPolicy,
}

/// Why a URL is refused. The texts hold nothing of the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("does not begin with postgres:// or postgresql://")]
    Scheme,
    /// An `@` behind the part where it belongs.
    #[error("has an @ after the part that names the host")]
    StrayAt,
    /// A second `/` in the path.
    #[error("has a / in the name of its database")]
    Path,
    /// A `%` without two hexadecimal digits, or something that is not UTF-8 once decoded.
    #[error("holds a % that is not followed by two hexadecimal digits of UTF-8")]
    Percent,
    /// A NUL byte.
    #[error("holds a NUL byte")]
    Nul,
    /// The part after the host's colon is no port.
    #[error("has no valid port where the port belongs")]
    Port,
    /// The host holds something that no host has.
    #[error("has no valid host where the host belongs")]
    Host,
    /// Several hosts where there is room for one.
    #[error("names several hosts in a parameter")]
    ManyHosts,
    /// More hosts than are tried.
    #[error("names more than {HOSTS_MAX} hosts")]
    HostsMax,
    /// Another number of ports than of hosts.
    #[error("names neither one port nor as many as hosts")]
    Ports,
    /// Another `target_session_attrs`.
    #[error("has a target_session_attrs that PostgreSQL does not know")]
    SessionAttrs,
    /// A parameter without `=`, or with a name that none has.
    #[error("has a parameter part that is not name=value")]
    Parameter,
    /// Another `sslmode` or `sslnegotiation`.
    #[error("has an sslmode or sslnegotiation that PostgreSQL does not know")]
    SslMode,
    /// Another `channel_binding`.
    #[error("has a channel_binding that PostgreSQL does not know")]
    ChannelBinding,
    /// `connect_timeout` is no number of seconds.
    #[error("has a connect_timeout that is not a number of seconds")]
    ConnectTimeout,
}

impl UrlError {
    /// What to do about it.
    pub const fn mend(self) -> &'static str {
        match self {
            Self::Scheme => "write postgres://user:password@host:5432/database",
            Self::ManyHosts => {
                "name them before the path: postgres://user:password@one:5432,two:5432/database"
            }
            Self::HostsMax => "name fewer hosts, or a name that leads to all of them",
            Self::Ports => "write one port for all hosts, or one for each",
            Self::SessionAttrs => {
                "write target_session_attrs=any, read-write, read-only, primary, standby or \
                 prefer-standby"
            }
            Self::SslMode => {
                "write sslmode=disable, allow, prefer, require, verify-ca or verify-full, and \
                 sslnegotiation=postgres or direct"
            }
            Self::ChannelBinding => "write channel_binding=disable, prefer or require",
            Self::ConnectTimeout => "write a whole number, such as connect_timeout=10",
            Self::StrayAt
            | Self::Path
            | Self::Percent
            | Self::Nul
            | Self::Port
            | Self::Host
            | Self::Parameter => {
                "write postgres://user:password@host:5432/database, with : / ? # @ % and spaces \
                 in user and password percent-encoded (%3A %2F %3F %23 %40 %25 %20)"
            }
        }
    }
}

/// Takes a URL apart.
pub fn parse(url: &str) -> Result<Database, UrlError> {
    let rest = ["postgres://", "postgresql://"].iter().find_map(|s| url.strip_prefix(s));
    let rest = rest.ok_or(UrlError::Scheme)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if tail.contains('@') && !authority.contains('@') {
        // Most likely a password with a raw / or ?: what follows would be taken for a database.
        return Err(UrlError::StrayAt);
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let (user_part, host_part) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (user, password) = match user_part.map(|part| part.split_once(':').unwrap_or((part, ""))) {
        Some((user, password)) => (decoded_or_none(user)?, decoded_or_none(password)?),
        None => (None, None),
    };
    let mut hosts = host_part.split(',').map(host_and_port).collect::<Result<Vec<_>, _>>()?;
    if hosts.len() > HOSTS_MAX {
        return Err(UrlError::HostsMax);
    }
    let (host, port) = hosts.remove(0);
    let others = hosts.into_iter().map(|(host, port)| {
        (host.unwrap_or_else(|| LOCAL.to_owned()), port.unwrap_or(POSTGRES_PORT))
    });
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.contains('@') {
        return Err(UrlError::StrayAt);
    }
    if path.contains('/') {
        return Err(UrlError::Path);
    }
    let mut database = Database {
        host: host.unwrap_or_default(),
        port: port.unwrap_or(POSTGRES_PORT),
        others: others.collect(),
        session_attrs: SessionAttrs::default(),
        user,
        password: password.map(SecretString::from),
        database: decoded_or_none(path)?,
        connect_timeout: None,
        tls: UrlTls::default(),
        parameters: Vec::new(),
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        parameter(&mut database, pair)?;
    }
    Ok(completed(database))
}

/// PostgreSQL's port. Source: PostgreSQL documentation, `PGPORT`.
const POSTGRES_PORT: u16 = 5432;
/// The host where none is named.
const LOCAL: &str = "localhost";
/// The most hosts.
const HOSTS_MAX: usize = 16;

/// Fills in what libpq would.
fn completed(mut database: Database) -> Database {
    if database.host.is_empty() {
        database.host = LOCAL.to_owned();
    }
    if database.database.is_none() {
        database.database.clone_from(&database.user);
    }
    database
}

/// The libpq variables, where no URL is given. `None` where `PGHOST` is not there.
/// Source: PostgreSQL documentation, libpq, "Environment Variables" (34.15).
pub(crate) fn from_libpq(get: impl Fn(&str) -> Option<String>) -> Option<Result<Database, PgVar>> {
    let host = get("PGHOST")?;
    Some(libpq(host, get))
}

/// A libpq variable that cannot be used, and why.
pub(crate) type PgVar = (&'static str, UrlError);

fn libpq(host: String, get: impl Fn(&str) -> Option<String>) -> Result<Database, PgVar> {
    let mut hosts = libpq_hosts(&host, get("PGPORT").as_deref())?;
    let (host, port) = hosts.remove(0);
    let session_attrs = match get("PGTARGETSESSIONATTRS") {
        Some(wanted) => session_attrs(&wanted).map_err(|error| ("PGTARGETSESSIONATTRS", error))?,
        None => SessionAttrs::default(),
    };
    let tls = UrlTls {
        mode: match get("PGSSLMODE") {
            Some(mode) => Some(sslmode(&mode).map_err(|error| ("PGSSLMODE", error))?),
            None => None,
        },
        roots: get("PGSSLROOTCERT"),
        cert: get("PGSSLCERT"),
        key: get("PGSSLKEY"),
        negotiation: match get("PGSSLNEGOTIATION") {
            Some(how) => negotiation(&how).map_err(|error| ("PGSSLNEGOTIATION", error))?,
            None => TlsNegotiation::default(),
        },
        channel_binding: match get("PGCHANNELBINDING") {
            Some(policy) => binding(&policy).map_err(|error| ("PGCHANNELBINDING", error))?,
            None => BindingPolicy::default(),
        },
    };
    let connect_timeout = match get("PGCONNECT_TIMEOUT") {
        Some(time) => connect_timeout(&time).map_err(|error| ("PGCONNECT_TIMEOUT", error))?,
        None => None,
    };
    Ok(completed(Database {
        host,
        port,
        others: hosts,
        session_attrs,
        user: get("PGUSER"),
        password: get("PGPASSWORD").map(SecretString::from),
        database: get("PGDATABASE"),
        connect_timeout,
        tls,
        parameters: Vec::new(),
    }))
}

/// `PGHOST` and `PGPORT`: lists, with one port for all or one for each.
fn libpq_hosts(hosts: &str, ports: Option<&str>) -> Result<Vec<(String, u16)>, PgVar> {
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > HOSTS_MAX {
        return Err(("PGHOST", UrlError::HostsMax));
    }
    let ports = match ports {
        None => vec![POSTGRES_PORT],
        Some(ports) => {
            let ports = ports.split(',').map(|port| match port {
                "" => Ok(POSTGRES_PORT),
                port => Port::parse(port).map(|port| port.0),
            });
            ports.collect::<Result<_, _>>().map_err(|_| ("PGPORT", UrlError::Port))?
        }
    };
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(("PGPORT", UrlError::Ports));
    }
    let pairs = hosts.into_iter().zip(ports.iter().cycle()).map(|(host, &port)| {
        check_host(host)?;
        Ok((if host.is_empty() { LOCAL } else { host }.to_owned(), port))
    });
    pairs.collect::<Result<_, _>>().map_err(|error| ("PGHOST", error))
}

fn session_attrs(wanted: &str) -> Result<SessionAttrs, UrlError> {
    let known = SessionAttrs::ALL.into_iter().find(|known| known.as_str() == wanted);
    known.ok_or(UrlError::SessionAttrs)
}

/// The URL for a message: user, host, port and database, the password as stars.
pub(crate) fn redacted(url: &str) -> String {
    let Ok(database) = parse(url) else { return "(malformed, not shown)".to_owned() };
    let stars = database.password.as_ref().map(|_| SecretString::from("********"));
    let shown = Database { password: stars, parameters: Vec::new(), ..database };
    render(&shown, &shown.hosts(), None).expose_secret().to_owned()
}

/// Writes a URL to hosts with their ports (the first a folder where it begins with `/`) with the
/// user, password, database and foreign parameters of `database`. `sslmode` is added where it is given.
pub(crate) fn render(
    database: &Database,
    hosts: &[(String, u16)],
    sslmode: Option<&str>,
) -> SecretString {
    let mut url = "postgres://".to_owned();
    if let Some(user) = &database.user {
        url.push_str(&encoded(user));
        if let Some(password) = &database.password {
            url.push(':');
            url.push_str(&encoded(password.expose_secret()));
        }
        url.push('@');
    }
    let mut parameters: Vec<String> = Vec::new();
    for (number, (host, port)) in hosts.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        if host.starts_with('/') && hosts.len() == 1 {
            parameters.push(format!("host={}", encoded(host)));
            parameters.push(format!("port={port}"));
        } else if host.starts_with('/') {
            write!(url, "{comma}{}:{port}", encoded(host)).expect("a string takes everything");
        } else if host.contains(':') {
            write!(url, "{comma}[{host}]:{port}").expect("a string takes everything");
        } else {
            write!(url, "{comma}{host}:{port}").expect("a string takes everything");
        }
    }
    url.push('/');
    url.push_str(&encoded(database.database.as_deref().unwrap_or_default()));
    parameters.extend(
        database
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value.expose_secret()))),
    );
    if hosts.len() > 1 {
        parameters.push(format!("target_session_attrs={}", database.session_attrs.as_str()));
    }
    parameters.extend(sslmode.map(|mode| format!("sslmode={mode}")));
    if !parameters.is_empty() {
        url.push('?');
        url.push_str(&parameters.join("&"));
    }
    SecretString::from(url)
}

fn decoded_or_none(text: &str) -> Result<Option<String>, UrlError> {
    Ok(Some(decoded(text)?).filter(|text| !text.is_empty()))
}

pub(super) type HostPort = (Option<String>, Option<u16>);

pub(super) fn host_and_port(text: &str) -> Result<HostPort, UrlError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        let host: std::net::Ipv6Addr = host.parse().map_err(|_| UrlError::Host)?;
        let port = match port {
            "" => "",
            _ => port.strip_prefix(':').ok_or(UrlError::Port)?,
        };
        (Some(host.to_string()), port)
    } else {
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        (decoded_or_none(host)?, port)
    };
    if let Some(host) = &host {
        check_host(host)?;
    }
    let port = match port {
        "" => None,
        _ => Some(Port::parse(port).map_err(|_| UrlError::Port)?.0),
    };
    Ok((host, port))
}

fn check_host(host: &str) -> Result<(), UrlError> {
    if host.contains(',') {
        return Err(UrlError::ManyHosts);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b) || !b.is_ascii();
    if host.starts_with('/') || (host.len() <= 255 && host.bytes().all(allowed)) {
        return Ok(());
    }
    Err(UrlError::Host)
}

/// Parameters of TLS that have no meaning here.
const TLS_DETAILS: [&str; 4] = ["sslcrl", "sslcompression", "sslsni", "ssl"];

fn parameter(database: &mut Database, pair: &str) -> Result<(), UrlError> {
    let (name, value) = pair.split_once('=').ok_or(UrlError::Parameter)?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
        return Err(UrlError::Parameter);
    }
    let value = decoded(value)?;
    match name {
        "host" | "hostaddr" => {
            check_host(&value)?;
            database.host = value;
        }
        "port" => database.port = Port::parse(&value).map_err(|_| UrlError::Port)?.0,
        "user" => database.user = Some(value),
        "password" => database.password = Some(SecretString::from(value)),
        "dbname" => database.database = Some(value),
        "sslmode" => database.tls.mode = Some(sslmode(&value)?),
        "ssl" if !matches!(value.as_str(), "false" | "0" | "disable" | "prefer" | "allow") => {
            database.tls.mode = Some(TlsMode::Require);
        }
        "sslrootcert" => database.tls.roots = Some(value),
        "sslcert" => database.tls.cert = Some(value),
        "sslkey" => database.tls.key = Some(value),
        "sslnegotiation" => database.tls.negotiation = negotiation(&value)?,
        "channel_binding" => database.tls.channel_binding = binding(&value)?,
        "target_session_attrs" => database.session_attrs = session_attrs(&value)?,
        "connect_timeout" => {
            database.connect_timeout = connect_timeout(&value)?;
            database.parameters.push((name.to_owned(), SecretString::from(value)));
        }
        tls if TLS_DETAILS.contains(&tls) => {}
        _ => database.parameters.push((name.to_owned(), SecretString::from(value))),
    }
    Ok(())
}

fn sslmode(mode: &str) -> Result<TlsMode, UrlError> {
    // no-verify is node-postgres' word for TLS without a check.
    let mode = if mode == "no-verify" { "require" } else { mode };
    TlsMode::parse(mode).map_err(|_| UrlError::SslMode)
}

fn negotiation(how: &str) -> Result<TlsNegotiation, UrlError> {
    match how {
        "postgres" => Ok(TlsNegotiation::Postgres),
        "direct" => Ok(TlsNegotiation::Direct),
        _ => Err(UrlError::SslMode),
    }
}

fn binding(policy: &str) -> Result<BindingPolicy, UrlError> {
    match policy {
        "disable" => Ok(BindingPolicy::Disable),
        "prefer" => Ok(BindingPolicy::Prefer),
        "require" => Ok(BindingPolicy::Require),
        _ => Err(UrlError::ChannelBinding),
    }
}

/// Whole seconds; zero and below mean "for ever", which is left to the key's default.
fn connect_timeout(text: &str) -> Result<Option<Duration>, UrlError> {
    if text
        .strip_prefix('-')
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    {
        return Ok(None);
    }
    Timeout::parse(text).map(|time| time.0).map_err(|_| UrlError::ConnectTimeout)
}

/// Parameters that may stand in a URL without a warning, because dropping them changes nothing:
/// clients set their own, through the proxy.
const HARMLESS: [&str; 2] = ["application_name", "connect_timeout"];

/// The names of parameters that the proxy does not act on.
pub(crate) fn ignored_parameters(database: &Database) -> impl Iterator<Item = &str> {
    let names = database.parameters.iter().map(|(name, _)| name.as_str());
    names.filter(|name| !HARMLESS.contains(name))
}
