//! What is measured: PostgreSQL itself, `stent proxy`, and PgBouncer where it is installed.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use stent_testkit::{Postgres, Process, TempDir, free_port, wait_until};

/// Servers a pool may have: as in the published figures.
const POOL: &str = "20";
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that speaks PostgreSQL's protocol on a port.
pub enum Endpoint {
    /// PostgreSQL itself.
    Direct(u16),
    /// A pooler.
    Pooler {
        /// Its name.
        name: &'static str,
        /// Its port.
        port: u16,
        /// Its process.
        process: Process,
        /// Its files, kept while it runs.
        files: Option<TempDir>,
    },
}

impl Endpoint {
    /// PostgreSQL itself.
    pub fn direct(postgres: &Postgres) -> Self {
        Self::Direct(postgres.port())
    }

    /// `stent proxy`, beside this program.
    pub fn stent(postgres: &Postgres) -> Result<Self> {
        let own = std::env::current_exe()?;
        let program = own.with_file_name("stent");
        let port = free_port()?;
        let mut command = Command::new(&program);
        command
            .arg("proxy")
            .env("DATABASE_URL", postgres.url())
            .env("STENT_AUTH_TYPE", "trust")
            .env("STENT_LISTEN_PORT", port.to_string())
            .env("STENT_ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()?))
            .env("STENT_DEFAULT_POOL_SIZE", POOL)
            .env("STENT_MAX_CLIENT_CONN", "10000");
        let process = Process::spawn(&mut command)
            .with_context(|| format!("start {}: build it first", program.display()))?;
        Self::Pooler { name: "stent", port, process, files: None }.up()
    }

    /// PgBouncer with the same settings; `None` where it is not installed.
    pub fn pgbouncer(postgres: &Postgres) -> Result<Option<Self>> {
        let named = std::env::var("PGBOUNCER").ok();
        let usual = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"];
        let found = named
            .into_iter()
            .chain(usual.into_iter().map(str::to_owned))
            .find(|path| Path::new(path).exists());
        let Some(program) = found else { return Ok(None) };
        let files = TempDir::new("bench-pgbouncer")?;
        let port = free_port()?;
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = {POOL}\nmax_client_conn = 10000\nmax_prepared_statements = 200\n\
             ignore_startup_parameters = extra_float_digits\n",
            postgres.port(),
            postgres.superuser(),
        );
        let path = files.path().join("pgbouncer.ini");
        std::fs::write(&path, ini)?;
        let mut command = Command::new(program);
        command.arg("--quiet").arg(&path);
        if rustix::process::geteuid().is_root() {
            use std::os::unix::fs::PermissionsExt;
            use std::os::unix::process::CommandExt;
            std::fs::set_permissions(files.path(), PermissionsExt::from_mode(0o755))?;
            // PgBouncer refuses to run as root; "nobody" needs nothing but to read the file.
            command.uid(65_534).gid(65_534);
        }
        let process = Process::spawn(&mut command)?;
        Self::Pooler { name: "pgbouncer", port, process, files: Some(files) }.up().map(Some)
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Direct(_) => "direct",
            Self::Pooler { name, .. } => name,
        }
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Direct(port) | Self::Pooler { port, .. } => *port,
        }
    }

    /// Its process, where it is a pooler.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Direct(_) => None,
            Self::Pooler { process, .. } => Some(process.pid()),
        }
    }

    fn up(self) -> Result<Self> {
        let what = format!("{} to listen", self.name());
        let port = self.port();
        wait_until(&what, PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(self)
    }
}
