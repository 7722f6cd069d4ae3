//! TLS on both sides, through rustls with the one crypto provider of the product.
//!
//! Owns: the configurations made of modes and files. Refuses: sockets (`stream`), the words by
//! which PostgreSQL's protocol asks for TLS (`dial`, `login`), and resuming sessions, in both
//! roles: no tickets are sent, no session is kept. A resumed session skips the check of the other
//! side's certificate, which may have expired or lost its authority meanwhile, and a cache of
//! sessions would be the one part of TLS that grows; pooled connections gain next to nothing by it.
//! PostgreSQL refuses it too (`SSL_OP_NO_TICKET`, `SSL_SESS_CACHE_OFF` in `be-secure-openssl.c`).
//! Invariant: a mode that asks for a check never falls back to a connection without it.

pub(crate) mod clients;
pub(crate) mod upstream;
mod watched;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, crypto};

use crate::error::Error;

/// How much of what a peer does not take is kept in TLS records, for each direction of a connection.
const UNSENT_MAX: usize = 32 * 1024;

/// The protocol's name in TLS (RFC 7301), as PostgreSQL 17 asks for it with direct TLS.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// The one crypto provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::aws_lc_rs::default_provider())
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| Error::tls(path, error))?;
    if certificates.is_empty() {
        return Err(Error::tls(path, "holds no certificate in PEM form"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| Error::tls(path, error))
}

/// The roots of a bundle: RDS's has one for each region and age. One that cannot be used does not
/// make the others useless.
fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(Error::tls(path, "holds no certificate that can be a root"));
    }
    Ok(store)
}
