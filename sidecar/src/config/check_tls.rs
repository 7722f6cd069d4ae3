//! What TLS keys mean together.

use stent_proxy::config::{AuthMethod, TlsMode, TlsNegotiation};

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
    let direct = tls.negotiation == TlsNegotiation::Direct;
    if direct && !must(tls.mode) {
        problems.add(
            &upstream.origin,
            "sslnegotiation=direct begins with TLS, and the sslmode does not ask for it",
            "write sslmode=require or stronger, or sslnegotiation=postgres",
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
    certificates(role, settings, problems);
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
    let without = settings.unix_socket_dir.value.0.is_none() && !by_certificate(settings);
    if must && samples(role, settings) && without {
        problems.add(
            &mode.origin,
            "the agent reaches PostgreSQL through the proxy and does not speak TLS there",
            "set unix_socket_dir, which needs no TLS, or postgres_sampling off",
        );
    }
}

/// What `auth_type = cert` needs.
fn certificates(role: Role, settings: &Settings, problems: &mut Problems) {
    let (method, mode) = (&settings.auth_type, &settings.client_tls_sslmode);
    if !by_certificate(settings) {
        return;
    }
    if mode.is_sound() && !matches!(mode.value, TlsMode::VerifyCa | TlsMode::VerifyFull) {
        problems.add(
            &method.origin,
            "auth_type cert goes by clients' certificates, and client_tls_sslmode asks for none",
            "set client_tls_sslmode verify-ca, or another auth_type",
        );
    }
    if samples(role, settings) {
        problems.add(
            &method.origin,
            "the agent reaches PostgreSQL through the proxy and has no certificate to show there",
            "set postgres_sampling off, or another auth_type",
        );
    }
}

fn by_certificate(settings: &Settings) -> bool {
    settings.auth_type.is_sound() && settings.auth_type.value == AuthMethod::Cert
}

/// Whether an agent of ours is a client too.
fn samples(role: Role, settings: &Settings) -> bool {
    role == Role::Both && settings.postgres_sampling.value == Switch::On
}

/// Whether clients over TCP have to use TLS.
pub(crate) const fn must(mode: TlsMode) -> bool {
    matches!(mode, TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull)
}
