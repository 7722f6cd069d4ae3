//! From what was written (flags, `STENT_` variables, a file, `DATABASE_URL`) to what the proxy, the
//! agent and the supervisor are started with.
//!
//! Owns: the way through the stages: `raw` (texts and origins), `keys` (typed values), `check`
//! (what values mean together), `resolve` (the configurations of the other crates).
//! Refuses: to start anything on a configuration with a single problem in it.
//! Invariant: all problems of a run are reported, not only the first; no secret is.

pub mod address;
mod check;
mod check_auth;
mod check_fleet;
mod check_tls;
pub mod classes;
mod console;
mod container;
mod file;
pub mod flags;

mod hba;
pub mod heap;
mod hold;
pub mod keys;
pub mod lookup;
mod native;
pub mod passwords;
pub(crate) mod path_list;
mod percent;
mod pools;
mod print;
pub mod problem;
pub mod publish;
pub(crate) mod python;
pub mod raw;
mod readers;
pub mod reference;
mod resolve;
mod rules;
mod shown;
mod suggest;
pub mod url;
mod users;
pub mod value;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

use address::Address;
use flags::Flags;
use keys::{KEYS, Settings};
use problem::{Origin, Problems};
use raw::{ConfigFile, Raw, Variables};
use stent_wire::auth::hba::RuleList;
use url::Database;
use value::{LogFormat, LogLevel};

/// Who asks for a configuration: some values are needed by some only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `stent proxy`.
    Proxy,
    /// `stent agent`.
    Agent,
    /// `stent up`, `stent run` and `stent check-config`: both of them.
    Both,
    /// `stent healthcheck`: where the admin listener is, and nothing else.
    Probe,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug)]
pub struct Logging {
    /// The least grave event.
    pub level: LogLevel,
    /// Their form.
    pub format: LogFormat,
}

/// When a command that leaks is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejuvenation {
    /// The early end of the forecast is nearer than this.
    pub margin: Duration,
    /// And it has been running for this long.
    pub interval: Duration,
}

/// A configuration without a problem.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the proxy is started with; `None` in the roles that have none.
    pub proxy: Option<stent_proxy::Config>,
    /// What the agent is started with.
    pub agent: stent_agent::Config,
    /// Log lines.
    pub logging: Logging,
    /// Where the admin endpoints are served.
    pub admin: Option<Address>,
    /// How long `stent run` waits for the proxy.
    pub ready_timeout: Duration,
    /// How long a shutdown may take; `None`: for ever.
    pub shutdown_timeout: Option<Duration>,
    /// When `stent run` restarts its command before the command's memory limit; `None`: never.
    pub rejuvenation: Option<Rejuvenation>,
    /// How long siblings get to take newcomers over before something is done to a target.
    pub sibling_drain: Duration,
    /// The folder of Stent's module for Python, for the command of `stent run`.
    pub heap_python: Option<PathBuf>,
    /// The library that is preloaded into the command of `stent run`.
    pub heap_native: Option<PathBuf>,
    /// How clients reach and enter the proxy, where there is one.
    pub clients: Option<ClientAccess>,
    /// What was not acted on, one sentence each.
    pub warnings: Vec<String>,
    raw: Raw,
    settings: Settings,
    database_origin: Origin,
    database: Option<Database>,
}

/// How a client of the proxy reaches and enters it.
#[derive(Clone, Debug)]
pub struct ClientAccess {
    /// Address, or the folder of the unix socket where it begins with `/`.
    pub host: String,
    /// `listen_port`.
    pub port: u16,
    /// The database URL's user, password, database and foreign parameters; the password is the
    /// `auth_file`'s where that holds a plain one.
    pub database: Database,
    /// Whether clients over TCP have to use TLS.
    pub tls_required: bool,
}

/// The database and where it was written.
struct Upstream {
    database: Option<Database>,
    origin: Origin,
}

impl Upstream {
    fn none() -> Self {
        Self { database: None, origin: Origin::Default }
    }
}

/// Reads the file that flags and variables name, and resolves all.
pub fn load(role: Role, flags: &Flags, variables: &Variables) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let file = file::read(flags, variables, &mut problems);
    load_with(role, flags, variables, file.as_ref(), problems)
}

/// Resolves what has been read; `problems` are those of reading.
pub fn load_with(
    role: Role,
    flags: &Flags,
    variables: &Variables,
    file: Option<&ConfigFile>,
    mut problems: Problems,
) -> Result<Loaded, Problems> {
    let raw = Raw::gather(flags, variables, file, &mut problems);
    let settings = Settings::collect(&raw);
    let mut warnings = Vec::new();
    let (upstream, users, rules) = match role {
        Role::Probe => (Upstream::none(), Vec::new(), RuleList::default()),
        Role::Proxy | Role::Agent | Role::Both => {
            let found = database(role, &settings, variables, &mut warnings, &mut problems);
            let users =
                users::read(&settings, found.database.as_ref(), &found.origin, &mut problems);
            let rules = hba::read(&settings, &mut problems);
            (found, users, rules)
        }
    };
    check::all(role, &settings, &upstream, &users, &mut problems);
    let passwords = match (role, &upstream.database) {
        (Role::Proxy | Role::Both, Some(database)) => {
            passwords::read(&settings, database, variables, &mut problems)
        }
        (Role::Proxy | Role::Both, None) | (Role::Agent | Role::Probe, _) => Default::default(),
    };
    check_auth::all(role, &settings, &users, &rules, &mut problems);
    if !problems.0.is_empty() {
        return Err(problems);
    }
    warnings.extend(check_auth::warnings(role, &settings, upstream.database.as_ref(), &rules));
    warnings.extend(ecs_replaces(&settings, variables));
    let clients = resolve::Clients { users: &users, rules };
    let mut loaded = resolve::loaded(role, raw, settings, upstream, clients, variables, warnings);
    if let Some(proxy) = &mut loaded.proxy {
        proxy.server_passwords = passwords;
    }
    Ok(loaded)
}

/// In ECS `/readyz` may be what a service's load balancer asks.
fn ecs_replaces(settings: &Settings, variables: &Variables) -> Option<String> {
    let setting = &settings.sibling_drain;
    let in_ecs = variables.contains_key("ECS_CONTAINER_METADATA_URI_V4");
    (in_ecs && !setting.value.0.is_zero()).then(|| {
        format!(
            "{}: sibling_drain: ECS replaces a task that its service's load balancer finds \
             unhealthy; if that asks /readyz, leave sibling_drain at 0",
            setting.origin
        )
    })
}

/// The database: the URL's, else that of the libpq variables, else none (a problem for a proxy).
fn database(
    role: Role,
    settings: &Settings,
    variables: &Variables,
    warnings: &mut Vec<String>,
    problems: &mut Problems,
) -> Upstream {
    use secrecy::ExposeSecret as _;
    let setting = &settings.database_url;
    let mut upstream = Upstream { database: None, origin: setting.origin.clone() };
    if let Some(url) = keys::url_text(setting) {
        match url::parse(url.expose_secret()) {
            Ok(database) => {
                warnings.extend(url::ignored_parameters(&database).map(|name| {
                    format!("{}: the proxy does not act on the parameter {name}", setting.origin)
                }));
                upstream.database = Some(database);
            }
            Err(error) => problems.add(&setting.origin, error.to_string(), error.mend()),
        }
        return upstream;
    }
    if setting.origin != Origin::Default {
        let mend = "unset it, or write postgres://user:password@host:5432/database";
        problems.add(&setting.origin, "is empty", mend);
        return upstream;
    }
    let get = |name: &str| {
        let text = variables.get(name)?.to_str()?.to_owned();
        // libpq takes an empty variable for one that is not there.
        (!text.is_empty()).then_some(text)
    };
    upstream.origin = Origin::Variable("PGHOST".to_owned());
    match url::from_libpq(get) {
        Some(Ok(database)) => upstream.database = Some(database),
        Some(Err((name, error))) => {
            problems.add(&Origin::Variable(name.to_owned()), error.to_string(), error.mend());
        }
        None if matches!(role, Role::Proxy | Role::Both) => problems.add(
            &Origin::Default,
            "there is no database: neither DATABASE_URL nor PGHOST is set",
            "set DATABASE_URL=postgres://user:password@host:5432/database",
        ),
        None => upstream.origin = Origin::Default,
    }
    upstream
}

impl Loaded {
    /// What `stent check-config` prints.
    pub fn report(&self) -> String {
        print::report(self)
    }

    /// The variables that give a child process this very configuration, whatever becomes of the
    /// file meanwhile.
    pub fn child_variables(&self) -> Vec<(String, secrecy::SecretString)> {
        let written = self.raw.winners();
        let mut variables: Vec<_> =
            written.map(|entry| (entry.row.variable(), entry.text.clone())).collect();
        variables.push((variables::CONFIG_VARIABLE.to_owned(), String::new().into()));
        variables
    }

    /// The keys that have another value in another configuration.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static keys::Row> {
        KEYS.iter().filter(|row| self.spelled(row) != other.spelled(row)).collect()
    }

    /// A value as it would be written, with what is secret in it.
    fn spelled(&self, row: &keys::Row) -> String {
        use secrecy::ExposeSecret as _;
        match row.secrecy {
            keys::Secrecy::Public => shown::written(&self.raw, row),
            keys::Secrecy::Secret => {
                let written = self.raw.find(row.name).map(|entry| entry.text.expose_secret());
                written.unwrap_or(row.default).to_owned()
            }
        }
    }

    /// `listen_port`.
    pub(crate) const fn listen_port(&self) -> u16 {
        self.settings.listen_port.value.0
    }

    /// The targets that were written, as they would be written again.
    pub fn targets_written(&self) -> Option<String> {
        use value::KeyType as _;
        Some(self.settings.targets.value.show()).filter(|targets| !targets.is_empty())
    }

    /// Every spelling of every secret in here, for the scrubbing of crash messages.
    pub fn secrets(&self) -> Vec<secrecy::SecretString> {
        print::secrets(self)
    }
}

/// The names of all variables of ours, which the command of `stent run` need not see.
pub fn own_variables() -> impl Iterator<Item = String> {
    let config = std::iter::once(variables::CONFIG_VARIABLE.to_owned());
    KEYS.iter().map(keys::Row::variable).chain(config)
}
