//! Certificates made by the tests, PostgreSQL and clients that use them.
//!
//! Owns: files in a folder of its own. Invariant: no certificate outlives its test.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use stent_proxy::config::{ClientTls, Roots, ServerTls, TlsMode};
use stent_testkit::{Installation, Postgres, TempDir};

use crate::support::PATIENCE;

/// An authority with a certificate of its own, and one for `localhost` and 127.0.0.1.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::signing_with(&rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// One whose signatures are of that kind.
    pub(crate) fn signing_with(kind: &'static SignatureAlgorithm) -> Self {
        let folder = TempDir::new("tls").unwrap();
        let key = KeyPair::generate_for(kind).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        let authority = Self { folder, issuer: Issuer::new(params, key) };
        authority.sign("server", &["localhost", "127.0.0.1"]);
        authority
    }

    /// Signs a certificate and writes `NAME.pem` and `NAME.key`.
    pub(crate) fn sign(&self, file: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, &*names[0]);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{file}.pem")), cert.pem()).unwrap();
        std::fs::write(self.file(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn for_clients(&self, mode: TlsMode) -> ClientTls {
        ClientTls {
            mode,
            cert: self.file("server.pem"),
            key: self.file("server.key"),
            ca: Some(self.file("ca.pem")),
        }
    }

    /// A PostgreSQL that speaks TLS with the certificate.
    pub(crate) fn postgres(&self) -> Postgres {
        self.postgres_of(Postgres::builder())
    }

    /// The same, of other settings.
    pub(crate) fn postgres_of(&self, builder: stent_testkit::PostgresBuilder) -> Postgres {
        let pg = builder.start().unwrap();
        for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
            write(&pg, to, &std::fs::read_to_string(self.file(from)).unwrap());
        }
        chmod(&format!("{}/server.key", data(&pg)));
        pg.sql("alter system set ssl = on").unwrap();
        pg.sql("select pg_reload_conf()").unwrap();
        let on = || (pg.value("show ssl").is_ok_and(|shown| shown == "on")).then_some(());
        stent_testkit::wait_for("TLS in PostgreSQL", PATIENCE, on).unwrap();
        pg
    }

    /// A TLS client that trusts this authority, and offers these protocols.
    pub(crate) fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut config = self.client_of(rustls::ALL_VERSIONS);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A TLS client that trusts this authority, and speaks these versions.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.pem")).unwrap()).unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A TLS server with the certificate, for whoever stands between two others.
    pub(crate) fn server(&self, alpn: &[&str]) -> ServerConfig {
        let chain = vec![CertificateDer::from_pem_file(self.file("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// Writes a file of the data folder by the server itself, so that the file is its own.
pub(crate) fn write(pg: &Postgres, file: &str, content: &str) {
    let path = format!("{}/{file}", data(pg));
    let content = content.trim_end();
    let lines = format!("select unnest(string_to_array($stent${content}$stent$, E'\\n'))");
    pg.sql(&format!("copy ({lines}) to '{path}'")).unwrap();
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A TLS connection of a test's.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// The client's handshake on a socket.
pub(crate) fn handshake(
    config: impl Into<Arc<ClientConfig>>,
    mut socket: TcpStream,
) -> std::io::Result<Tls> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(config.into(), name).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(tls, socket))
}

fn data(pg: &Postgres) -> String {
    pg.value("show data_directory").unwrap()
}

pub(crate) fn chmod(file: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn psql(port: u16, options: &str, sql: &str) -> Output {
    let dsn = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres {options}");
    Command::new(program()).args(["-XAtc", sql, &dsn]).env("HOME", "/nonexistent").output().unwrap()
}

pub(crate) fn program() -> PathBuf {
    Installation::find().unwrap().tool("psql").expect("psql comes with PostgreSQL")
}

pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn server_tls(mode: TlsMode, roots: Option<&Path>) -> ServerTls {
    ServerTls {
        mode,
        roots: roots.map(|path| Roots::File(path.to_owned())),
        ..ServerTls::default()
    }
}
