//! TLS towards clients: the certificate that they are shown, and the one that they must show.
//!
//! Invariant: a client is told of the end point of the very certificate that its handshake shows,
//! also while the files change.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use stent_wire::auth::certificate::EndPoint;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::watched::Watched;
use super::{ALPN, UNSENT_MAX, certificates, private_key, provider, roots};
use crate::config::{ClientTls, TlsMode};
use crate::error::Error;

/// TLS for clients.
pub(crate) struct Clients {
    mode: TlsMode,
    served: Watched<Served>,
}

/// What the files make.
#[derive(Clone)]
struct Served {
    acceptor: TlsAcceptor,
    /// To what a client may bind its login.
    end_point: Option<EndPoint>,
}

impl Clients {
    /// From the configuration; `None` where TLS is not served.
    pub(crate) fn new(config: &ClientTls) -> Result<Option<Self>, Error> {
        if config.mode == TlsMode::Disable {
            return Ok(None);
        }
        let files: Vec<PathBuf> =
            [&config.cert, &config.key].into_iter().chain(&config.ca).cloned().collect();
        let (mode, config) = (config.mode, config.clone());
        let served = Watched::new("client_tls", files, move || served(&config))?;
        Ok(Some(Self { mode, served }))
    }

    /// The handshake; with the end point of the certificate that was shown in it.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
    ) -> std::io::Result<(TlsStream<TcpStream>, Option<EndPoint>)> {
        let Served { acceptor, end_point } = self.served.current();
        let mut stream = acceptor.accept(socket).await?;
        stream.get_mut().1.set_buffer_limit(Some(UNSENT_MAX));
        Ok((stream, end_point))
    }

    /// Whether a client may do without.
    pub(crate) const fn must(&self) -> bool {
        match self.mode {
            TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer => false,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => true,
        }
    }
}

fn served(config: &ClientTls) -> Result<Served, Error> {
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
    let end_point = chain.first().and_then(|shown| EndPoint::of(shown));
    let mut made = builder.with_single_cert(chain, private_key(&config.key)?).map_err(failed)?;
    made.alpn_protocols = vec![ALPN.to_vec()];
    // No resumption: see the module above.
    made.session_storage = Arc::new(NoServerSessionStorage {});
    made.send_tls13_tickets = 0;
    Ok(Served { acceptor: TlsAcceptor::from(Arc::new(made)), end_point })
}
