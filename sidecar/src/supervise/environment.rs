//! What the children find in their environment.
//!
//! Owns: the private endpoints of the components, and the variables that lead the command of
//! `stent run` to the proxy. Refuses: arguments; everyone can read those.
//! Invariant: no variable that could lead the command around the proxy is left.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::children::Start;
use crate::config::address::Address;
use crate::config::{ClientAccess, Loaded, own_variables, path_list, python, url};
use crate::front::Endpoints;

/// The components' endpoints for one life of the supervisor.
#[derive(Debug)]
pub(crate) struct Private {
    pub(crate) endpoints: Endpoints,
    /// The folder of the sockets where there is no abstract namespace; removed at the end.
    folder: Option<PathBuf>,
}

impl Private {
    /// Chooses names that nobody else has: the process id, and a random number because process ids
    /// of other PID namespaces share the abstract namespace of a network namespace.
    pub(crate) fn new() -> io::Result<Self> {
        let unique = format!("stent-{}-{:016x}", std::process::id(), fastrand::u64(..));
        if cfg!(target_os = "linux") {
            let socket = |part: &str| Address::Unix(format!("\0{unique}-{part}").into());
            let endpoints = Endpoints { proxy: socket("proxy"), agent: socket("agent") };
            return Ok(Self { endpoints, folder: None });
        }
        let folder = std::env::temp_dir().join(unique);
        create_private(&folder)?;
        let socket = |part: &str| Address::Unix(folder.join(part));
        let endpoints = Endpoints { proxy: socket("proxy"), agent: socket("agent") };
        Ok(Self { endpoints, folder: Some(folder) })
    }
}

fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(folder)
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // What cannot be removed is an empty folder in the folder for temporary files.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// For the proxy and the agent: the resolved configuration, with their private endpoints.
pub(crate) fn component(loaded: &Loaded, private: &Private) -> Start {
    let mut set = loaded.child_variables();
    let mut replace = |name: &str, address: &Address| {
        set.retain(|(known, _)| known != name);
        set.push((name.to_owned(), SecretString::from(address.to_string())));
    };
    replace("STENT_ADMIN_LISTEN", &private.endpoints.proxy);
    replace("STENT_AGENT_LISTEN", &private.endpoints.agent);
    Start { set, ..Start::default() }
}

/// Adds the command's process to the agent's targets.
pub(crate) fn watch_command(start: &mut Start, loaded: &Loaded, name: &str, pid: i32) {
    const TARGETS: &str = "STENT_TARGETS";
    let mut targets = vec![format!("{name}={pid}")];
    targets.extend(loaded.targets_written());
    start.set.retain(|(known, _)| known != TARGETS);
    start.set.push((TARGETS.to_owned(), SecretString::from(targets.join(","))));
}

/// The name of a command as a target: its file name without what a list of targets cannot hold.
pub(crate) fn target_name(command: &[OsString]) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name);
    let program = program.unwrap_or_default().to_string_lossy();
    let name: String =
        program.chars().filter(|c| !c.is_control() && !",= ".contains(*c)).take(32).collect();
    if name.is_empty() { "command".to_owned() } else { name }
}

/// Variables by which libpq would find another server, or ask the proxy for TLS.
/// Source: PostgreSQL documentation, libpq, "Environment Variables" (34.15).
const AROUND: [&str; 6] = [
    "PGHOSTADDR",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGREQUIRESSL",
    "PGSSLROOTCERT",
    "PGCHANNELBINDING",
];

/// What the loader brings into a program before everything else.
const LD_PRELOAD: &str = "LD_PRELOAD";

/// What makes the command serve its heaps.
#[derive(Debug)]
pub(crate) struct Heaps<'a> {
    /// The folder of the module for Python.
    pub(crate) python: Option<&'a Path>,
    /// The library that is preloaded.
    pub(crate) native: Option<&'a Path>,
}

impl<'a> Heaps<'a> {
    /// What the configuration says.
    pub(crate) fn of(loaded: &'a Loaded) -> Self {
        Self { python: loaded.heap_python.as_deref(), native: loaded.heap_native.as_deref() }
    }
}

/// For the command of `stent run`: the proxy instead of the database, and none of our variables.
/// A Python program serves its heap where there is a folder for it, any program C's where there is a library.
pub(crate) fn command(access: &ClientAccess, heaps: &Heaps<'_>, command: Vec<OsString>) -> Start {
    let database = &access.database;
    let mode = if access.tls_required { "require" } else { "disable" };
    let url = url::render(database, &[(access.host.clone(), access.port)], Some(mode));
    let mut set = vec![
        ("DATABASE_URL".to_owned(), url),
        ("PGHOST".to_owned(), access.host.clone().into()),
        ("PGPORT".to_owned(), access.port.to_string().into()),
        ("PGSSLMODE".to_owned(), mode.to_owned().into()),
    ];
    let user = database.user.clone().map(SecretString::from);
    let name = database.database.clone().map(SecretString::from);
    let known = [("PGUSER", user), ("PGDATABASE", name), ("PGPASSWORD", database.password.clone())];
    for (variable, value) in known {
        set.extend(value.map(|value| (variable.to_owned(), value)));
    }
    if let Some(folder) = heaps.python {
        let inherited = std::env::var("PYTHONPATH").ok();
        let variables = python::variables(folder, inherited.as_deref());
        set.extend(variables.map(|(name, value)| (name.to_owned(), value.into())));
    }
    if let Some(library) = heaps.native {
        let inherited = std::env::var(LD_PRELOAD).ok();
        let files = path_list::in_front(library, inherited.as_deref());
        set.push((LD_PRELOAD.to_owned(), files.into()));
    }
    let mut remove: Vec<String> = own_variables().collect();
    remove.extend(AROUND.map(str::to_owned));
    Start { set, remove, command }
}
