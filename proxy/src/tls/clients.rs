//! TLS towards clients: the certificate that they are shown, and the one that they must show.
//!
//! Owns: the files' present content. Changed files are noticed at a handshake, at most once a
//! second; where the new ones cannot be used the old ones stay, and the log says so.
//! Invariant: a client that is connected is not touched by a change of files.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{ALPN, certificates, private_key, provider, roots};
use crate::config::{ClientTls, TlsMode};
use crate::error::Error;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// TLS for clients.
pub(crate) struct Clients {
    config: ClientTls,
    acceptor: RefCell<TlsAcceptor>,
    stamps: RefCell<Stamps>,
    looked: Cell<Instant>,
}

/// Length and time of change of each file.
type Stamps = Vec<Option<(u64, SystemTime)>>;

impl Clients {
    /// From the configuration; `None` where TLS is not served.
    pub(crate) fn new(config: &ClientTls) -> Result<Option<Self>, Error> {
        if config.mode == TlsMode::Disable {
            return Ok(None);
        }
        Ok(Some(Self {
            acceptor: RefCell::new(acceptor(config)?),
            stamps: RefCell::new(stamps(config)),
            looked: Cell::new(Instant::now()),
            config: config.clone(),
        }))
    }

    /// The handshake.
    pub(crate) async fn accept(&self, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.look();
        let acceptor = self.acceptor.borrow().clone();
        acceptor.accept(socket).await
    }

    /// Whether a client may do without.
    pub(crate) const fn must(&self) -> bool {
        match self.config.mode {
            TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer => false,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => true,
        }
    }

    fn look(&self) {
        if self.looked.get().elapsed() < LOOK_EVERY {
            return;
        }
        self.looked.set(Instant::now());
        let now = stamps(&self.config);
        if *self.stamps.borrow() == now {
            return;
        }
        *self.stamps.borrow_mut() = now;
        match acceptor(&self.config) {
            Ok(fresh) => {
                *self.acceptor.borrow_mut() = fresh;
                tracing::info!("the TLS files have changed and are in use");
            }
            Err(error) => {
                tracing::warn!(%error, "the changed TLS files cannot be used: the old ones stay")
            }
        }
    }
}

fn files(config: &ClientTls) -> impl Iterator<Item = &PathBuf> {
    [&config.cert, &config.key].into_iter().chain(&config.ca)
}

fn stamps(config: &ClientTls) -> Stamps {
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    files(config).map(stamp).collect()
}

fn acceptor(config: &ClientTls) -> Result<TlsAcceptor, Error> {
    let provider = provider();
    let failed = |error: rustls::Error| Error::tls(&config.cert, error);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match (&config.ca, config.mode) {
        (Some(ca), TlsMode::VerifyCa | TlsMode::VerifyFull) => {
            let store = Arc::new(roots(ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(store, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| Error::tls(ca, error))?)
        }
        (None, TlsMode::VerifyCa | TlsMode::VerifyFull) => {
            return Err(Error::Tls {
                what: "client_tls_ca_file".to_owned(),
                why: "is needed to verify clients: name the file of the authority that signed \
                      their certificates"
                    .to_owned(),
            });
        }
        (_, TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer | TlsMode::Require) => {
            builder.with_no_client_auth()
        }
    };
    let chain = certificates(&config.cert)?;
    let mut made = builder.with_single_cert(chain, private_key(&config.key)?).map_err(failed)?;
    made.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(made)))
}
