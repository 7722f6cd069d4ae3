//! Where everything is measured: a PostgreSQL of our own with pgbench's tables, and a certificate.
//!
//! Invariant: endpoints differ in themselves only: all of them have the same server, the same
//! verifier of the password, the same certificate.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use stent_testkit::{Postgres, PostgresBuilder, TempDir};
use stent_wire::auth::secret::Password;

use crate::endpoint::{Auth, Running, Tls};
use crate::load::login::Login;

/// The superuser's, of a server that nobody else can reach.
pub const PASSWORD: &str = "bench";
const CONNECTIONS_MAX: u32 = 400;
/// PostgreSQL's own default.
const FAULTS_CONNECTIONS_MAX: u32 = 100;

/// The lab.
pub struct Lab {
    /// The server.
    pub postgres: Postgres,
    files: TempDir,
    tls: Arc<ClientConfig>,
    verifier: String,
}

impl Lab {
    /// Starts the server and fills pgbench's tables at a scale.
    pub fn start(scale: u32) -> Result<Self> {
        let postgres = builder()
            .max_connections(CONNECTIONS_MAX)
            .setting("shared_buffers", "512MB")
            .setting("autovacuum", "off")
            .start()?;
        let scale = scale.to_string();
        let init = postgres.client("pgbench")?.args(["-i", "-q", "-s", &scale]).output()?;
        ensure!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        Self::around(postgres)
    }

    /// Starts a server for faults: what it has acknowledged survives a crash of its processes, it has
    /// few connections, and a database besides `postgres`.
    pub fn for_faults(database: &str) -> Result<Self> {
        let postgres = builder()
            .max_connections(FAULTS_CONNECTIONS_MAX)
            .setting("synchronous_commit", "on")
            .start()?;
        postgres.sql(&format!("create database {database}"))?;
        Self::around(postgres)
    }

    fn around(postgres: Postgres) -> Result<Self> {
        let user = postgres.superuser();
        postgres.sql(&format!("alter role {user} password '{PASSWORD}'; checkpoint"))?;
        let verifier = postgres
            .value(&format!("select rolpassword from pg_authid where rolname = '{user}'"))?;
        let (files, tls) = certificate()?;
        Ok(Self { postgres, files, tls, verifier })
    }

    /// The certificate's file (PEM), for 127.0.0.1 and `localhost`.
    pub fn certificate(&self) -> PathBuf {
        self.files.path().join("cert.pem")
    }

    /// Its key's.
    pub fn key(&self) -> PathBuf {
        self.files.path().join("key.pem")
    }

    /// The superuser's SCRAM verifier.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// PgBouncer's list of users.
    pub fn userlist(&self) -> String {
        format!("\"{}\" \"{}\"\n", self.postgres.superuser(), self.verifier)
    }

    /// How a client logs in at an endpoint.
    pub fn login(&self, endpoint: &Running) -> Result<Login> {
        let mut login = Login::new(endpoint.port(), self.postgres.superuser(), "postgres");
        match endpoint.setup().auth {
            Auth::Trust => {}
            Auth::Scram => login.password = Some(Password::new(PASSWORD.as_bytes())?),
        }
        match endpoint.setup().tls {
            Tls::Off => {}
            Tls::Require => login.tls = Some(Arc::clone(&self.tls)),
        }
        Ok(login)
    }
}

fn builder() -> PostgresBuilder {
    Postgres::builder().setting("password_encryption", "scram-sha-256")
}

/// A certificate in a folder, and clients that trust it and never resume a session.
fn certificate() -> Result<(TempDir, Arc<ClientConfig>)> {
    use std::os::unix::fs::PermissionsExt;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let files = TempDir::new("bench-tls")?;
    std::fs::write(files.path().join("cert.pem"), made.cert.pem())?;
    std::fs::write(files.path().join("key.pem"), made.signing_key.serialize_pem())?;
    // PgBouncer reads them as another user. They protect nothing.
    std::fs::set_permissions(files.path(), PermissionsExt::from_mode(0o755))?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert.der().to_vec()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok((files, Arc::new(config)))
}
