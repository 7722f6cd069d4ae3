//! TLS towards PostgreSQL: libpq's modes.
//!
//! Invariant: `require` and above never speak in clear; `verify-ca` and above never to a server
//! whose certificate no known authority has signed; `verify-full` never to one of another name.
//! Source: PostgreSQL documentation, libpq, "SSL Support".

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::watched::Watched;
use super::{ALPN, UNSENT_MAX, certificates, private_key, provider, roots};
use crate::config::{Endpoint, Roots, ServerTls, TlsMode};
use crate::error::Error;

/// How TLS is spoken to PostgreSQL.
pub(crate) struct Upstream {
    connector: Watched<TlsConnector>,
}

impl Upstream {
    /// From the configuration; `None` where TLS is never spoken.
    pub(crate) fn new(
        config: &ServerTls,
        places: impl Iterator<Item = Endpoint>,
    ) -> Result<Option<Self>, Error> {
        let over_tcp: Vec<_> = places.filter(|place| !place.host.starts_with('/')).collect();
        if config.mode == TlsMode::Disable || over_tcp.is_empty() {
            return Ok(None);
        }
        for Endpoint { host, .. } in over_tcp {
            ServerName::try_from(host.as_str()).map_err(|error| Error::Tls {
                what: format!("the host {host}"),
                why: error.to_string(),
            })?;
        }
        let (files, config) = (files(config), config.clone());
        let make = move || connector(&config);
        Ok(Some(Self { connector: Watched::new("server_tls", files, make)? }))
    }

    /// The handshake with the server of that host, on a socket on which it awaits it.
    pub(crate) async fn connect(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let mut stream = self.connector.current().connect(name, socket).await?;
        stream.get_mut().1.set_buffer_limit(Some(UNSENT_MAX));
        Ok(stream)
    }
}

/// The files of a configuration. Those of the operating system are read once, at the start.
fn files(config: &ServerTls) -> Vec<PathBuf> {
    let roots = config.roots.iter().filter_map(|roots| match roots {
        Roots::File(path) => Some(path),
        Roots::System => None,
    });
    let own = config.cert.iter().flat_map(|(cert, key)| [cert, key]);
    roots.chain(own).cloned().collect()
}

fn connector(config: &ServerTls) -> Result<TlsConnector, Error> {
    let provider = provider();
    let verifier = Arc::new(Check {
        authority: authority(config, &provider)?,
        name: match config.mode {
            TlsMode::VerifyFull => Name::Must,
            TlsMode::Disable
            | TlsMode::Allow
            | TlsMode::Prefer
            | TlsMode::Require
            | TlsMode::VerifyCa => Name::Any,
        },
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls {
            what: "server_tls_sslmode".to_owned(),
            why: error.to_string(),
        })?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut made = match &config.cert {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| Error::tls(cert, error))?,
    };
    made.alpn_protocols = vec![ALPN.to_vec()];
    // No resumption: see the module above.
    made.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(made)))
}

/// Who must have signed the server's certificate. As in libpq, `require` with a file of roots
/// checks too.
fn authority(
    config: &ServerTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, Error> {
    let store = match (&config.roots, config.mode) {
        (_, TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer) => return Ok(None),
        (None, TlsMode::Require) => return Ok(None),
        (None, TlsMode::VerifyCa | TlsMode::VerifyFull) => {
            return Err(Error::Tls {
                what: "server_tls_ca_file".to_owned(),
                why: "is needed to verify the server: name a file of root certificates, or system"
                    .to_owned(),
            });
        }
        (Some(Roots::File(path)), _) => roots(path)?,
        (Some(Roots::System), _) => {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            store
        }
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map(Some)
        .map_err(|error| Error::Tls {
            what: "server_tls_ca_file".to_owned(),
            why: error.to_string(),
        })
}

/// The check of a server's certificate.
#[derive(Debug)]
struct Check {
    authority: Option<Arc<WebPkiServerVerifier>>,
    name: Name,
    provider: Arc<CryptoProvider>,
}

/// Whether the certificate's name must be the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Any,
    Must,
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        let verified = authority.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The chain is checked before the name, so this error says that the chain holds.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.name == Name::Any => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
