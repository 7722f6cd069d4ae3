//! What TLS keys mean together.

use stent_proxy::config::TlsMode;

use super::keys::Settings;
use super::problem::Problems;
use super::resolve::server_tls;
use super::url::Database;
use super::value::Switch;
use super::{Role, Upstream};

/// Every check of TLS that the role needs.
pub(crate) fn all(role: Role, settings: &Settings, upstream: &Upstream, problems: &mut Problems) {
    match role {
        Role::Proxy | Role::Both => {
            if let Some(database) = &upstream.database {
                server(settings, upstream, database, problems);
            }
            clients(role, settings, problems);
        }
        Role::Agent | Role::Probe => {}
    }
}

fn server(settings: &Settings, upstream: &Upstream, database: &Database, problems: &mut Problems) {
    let tls = server_tls(settings, database);
    let verifies = matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    if verifies && tls.roots.is_none() {
        problems.add(
            &upstream.origin,
            "the server's certificate is to be verified, and no root certificates are named",
            "set server_tls_ca_file to the bundle of its authority (for RDS: AWS's global bundle), \
             or to system",
        );
    }
    let (cert, key) = (&settings.server_tls_cert_file, &settings.server_tls_key_file);
    if cert.value.0.is_some() != key.value.0.is_some() {
        problems.add(
            &cert.origin,
            "server_tls_cert_file and server_tls_key_file belong together",
            "set both, or none",
        );
    }
}

fn clients(role: Role, settings: &Settings, problems: &mut Problems) {
    let mode = &settings.client_tls_sslmode;
    let has = |path: &super::value::OptionalPath| path.0.is_some();
    let (cert, key) = (&settings.client_tls_cert_file.value, &settings.client_tls_key_file.value);
    if mode.value == TlsMode::Disable {
        return;
    }
    if !has(cert) || !has(key) {
        problems.add(
            &mode.origin,
            "TLS for clients needs a certificate and its key",
            "set client_tls_cert_file and client_tls_key_file, or client_tls_sslmode disable",
        );
    }
    let must = must(mode.value);
    if must
        && matches!(mode.value, TlsMode::VerifyCa | TlsMode::VerifyFull)
        && !has(&settings.client_tls_ca_file.value)
    {
        problems.add(
            &mode.origin,
            "clients' certificates are to be verified, and no authority is named",
            "set client_tls_ca_file",
        );
    }
    let samples = role == Role::Both && settings.postgres_sampling.value == Switch::On;
    if must && samples && settings.unix_socket_dir.value.0.is_none() {
        problems.add(
            &mode.origin,
            "the agent reaches PostgreSQL through the proxy and does not speak TLS there",
            "set unix_socket_dir, which needs no TLS, or postgres_sampling off",
        );
    }
}

/// Whether clients over TCP have to use TLS.
pub(crate) const fn must(mode: TlsMode) -> bool {
    matches!(mode, TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull)
}
