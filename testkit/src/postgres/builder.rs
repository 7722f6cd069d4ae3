//! What a test may ask of its PostgreSQL before it starts.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};

use super::Postgres;
use super::find::Installation;
use super::owner::Owner;
use super::server::Server;
use super::template::{self, SUPERUSER};
use crate::port::free_port;
use crate::temp;
use crate::watchdog::{End, Watchdog};

/// Another process may take the port between its choice and its use.
const PORT_TRIES: usize = 5;

/// Settings of a PostgreSQL that is yet to start.
#[derive(Clone, Debug)]
pub struct Builder {
    installation: Option<Installation>,
    auth: String,
    password: Option<String>,
    settings: Vec<(String, String)>,
}

impl Default for Builder {
    fn default() -> Self {
        let settings = [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
            ("cluster_name", "stent-testkit"),
            ("log_line_prefix", "%m [%p] "),
        ];
        Self {
            installation: None,
            auth: "trust".to_owned(),
            password: None,
            settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        }
    }
}

impl Builder {
    /// Uses these programs instead of those that [`Installation::find`] finds.
    #[must_use]
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = Some(installation);
        self
    }

    /// PostgreSQL's `max_connections` (its own default is 100).
    #[must_use]
    pub fn max_connections(self, count: u32) -> Self {
        self.setting("max_connections", &count.to_string())
    }

    /// A line of `postgresql.conf`; the last of a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The method of `pg_hba.conf` for everybody over TCP, and for all but the superuser over the unix
    /// socket: `trust` (the default), `md5`, `scram-sha-256`, `reject` and so on. Passwords are stored
    /// in the form that it needs.
    #[must_use]
    pub fn auth(mut self, method: &str) -> Self {
        self.auth = method.to_owned();
        self
    }

    /// The superuser's password: letters and digits, so that it needs no escape in a URL. Without
    /// one a method other than `trust` gets the password `stent`.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Starts the server and waits until it answers a query.
    pub fn start(self) -> Result<Postgres> {
        let password = self.checked_password()?;
        let installation = match self.installation.clone() {
            Some(installation) => installation,
            None => Installation::find()?,
        };
        let owner = Owner::choose();
        let folder = temp::create("pg")?;
        let watchdog = Watchdog::start(End::Quit, Some(&folder))?;
        let mut server = Server::new(folder, owner, watchdog);
        // initdb runs as the server's user and must be able to enter the folder.
        owner.own(&server.folder)?;
        template::fill(&server.data(), &installation, owner)?;
        let hba = format!(
            "local all {SUPERUSER} trust\nlocal all all {auth}\nhost all all 127.0.0.1/32 {auth}\n\
             local replication {SUPERUSER} trust\n\
             host replication all 127.0.0.1/32 {auth}\n",
            auth = self.auth
        );
        fs::write(server.data().join("pg_hba.conf"), hba).context("write pg_hba.conf")?;
        owner.own(&server.folder)?;

        self.start_on_a_free_port(&mut server, &installation)?;
        let postgres = Postgres { installation, server, password };
        if let Some(password) = postgres.password() {
            postgres.sql(&format!("alter role {SUPERUSER} password '{password}'"))?;
        }
        Ok(postgres)
    }

    fn checked_password(&self) -> Result<Option<String>> {
        let password = match (&self.password, self.auth.as_str()) {
            (Some(password), _) => password.clone(),
            (None, "trust") => return Ok(None),
            (None, _) => "stent".to_owned(),
        };
        let plain = !password.is_empty() && password.bytes().all(|b| b.is_ascii_alphanumeric());
        ensure!(plain, "the testkit's passwords are of letters and digits");
        Ok(Some(password))
    }

    fn start_on_a_free_port(&self, server: &mut Server, installation: &Installation) -> Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            server.port = free_port()?;
            self.write_settings(server)?;
            match server.start(installation) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let taken = server.log().contains("Address already in use");
                    if !taken || tries == PORT_TRIES {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// `postgresql.auto.conf` is read after `postgresql.conf` and is empty in a fresh cluster.
    fn write_settings(&self, server: &Server) -> Result<()> {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        };
        line("listen_addresses", "127.0.0.1");
        line("port", &server.port.to_string());
        line("unix_socket_directories", &server.folder.to_string_lossy());
        if matches!(self.auth.as_str(), "md5" | "scram-sha-256") {
            line("password_encryption", &self.auth);
        }
        for (name, value) in &self.settings {
            line(name, value);
        }
        fs::write(server.data().join("postgresql.auto.conf"), text).context("write the settings")
    }
}
