//! What the keys of clients' authentication mean together.

use stent_proxy::config::{AuthMethod, TlsMode};
use stent_wire::auth::hba::{Attempt, Encryption, Method, Origin, Rule, RuleList};
use stent_wire::auth::secret::AuthType;
use stent_wire::startup::Replication;

use super::Role;
use super::address::reachable_ip;
use super::keys::Settings;
use super::problem::Problems;
use super::url::Database;
use super::users::User;
use super::value::Switch;

/// Every check of authentication that the role needs.
pub(crate) fn all(
    role: Role,
    settings: &Settings,
    users: &[User],
    rules: &RuleList,
    problems: &mut Problems,
) {
    match role {
        Role::Proxy | Role::Both => {
            files(settings, problems);
            secrets(settings, users, rules, problems);
            certificates(settings, rules, problems);
            agent(role, settings, problems);
        }
        Role::Agent | Role::Probe => {}
    }
}

/// What works and may not be meant, one sentence each.
pub(crate) fn warnings(
    role: Role,
    settings: &Settings,
    database: Option<&Database>,
    rules: &RuleList,
) -> Vec<String> {
    match role {
        Role::Proxy | Role::Both => {
            let mut warnings = in_clear(settings, rules);
            let agents = database.filter(|_| samples(role, settings));
            warnings.extend(agents.and_then(|database| agent_refused(settings, database, rules)));
            warnings
        }
        Role::Agent | Role::Probe => Vec::new(),
    }
}

/// Whether the agent cannot come over TCP: it does not speak TLS to the proxy.
pub(crate) fn agent_needs_socket(settings: &Settings) -> bool {
    super::check_tls::must(settings.client_tls_sslmode.value) || password_refused(settings)
}

/// Whether everyone is asked for a password that may not come in clear.
fn password_refused(settings: &Settings) -> bool {
    let by_password = settings.auth_type.value == AuthMethod::Password;
    by_password && settings.auth_allow_cleartext.value == Switch::Off
}

/// Whether an agent of ours is a client too.
fn samples(role: Role, settings: &Settings) -> bool {
    role == Role::Both && settings.postgres_sampling.value == Switch::On
}

fn agent(role: Role, settings: &Settings, problems: &mut Problems) {
    let method = &settings.auth_type;
    let without = settings.unix_socket_dir.value.0.is_none();
    if method.is_sound() && samples(role, settings) && without && password_refused(settings) {
        problems.add(
            &method.origin,
            "the agent reaches PostgreSQL through the proxy, and its password would come in clear",
            "set unix_socket_dir, auth_allow_cleartext on, postgres_sampling off or another \
             auth_type",
        );
    }
}

/// What the rules say of the agent itself, if it is a refusal.
fn agent_refused(settings: &Settings, database: &Database, rules: &RuleList) -> Option<String> {
    if settings.auth_type.value != AuthMethod::Hba {
        return None;
    }
    let user = database.user.as_deref()?;
    let socket = settings.unix_socket_dir.value.0.as_ref().filter(|_| agent_needs_socket(settings));
    let address = settings.listen_addr.value.0.first().map(|ip| reachable_ip(*ip));
    let origin = match (socket, address) {
        (None, Some(address)) => Origin::Tcp { address, encryption: Encryption::None },
        (Some(_), _) | (None, None) => Origin::Local,
    };
    let attempt = Attempt {
        origin,
        database: database.database.as_deref().unwrap_or(user),
        user,
        replication: Replication::Off,
    };
    let report = match rules.find(&attempt).map(Rule::method) {
        None => rules.no_rule(&attempt),
        Some(Method::Reject | Method::Ask(AuthType::Cert)) => rules.rejected(&attempt),
        Some(Method::Ask(_)) => return None,
    };
    Some(format!(
        "the agent's own connection through the proxy is refused ({}): add a rule for it, or set \
         postgres_sampling off",
        report.message
    ))
}

/// Rules that are written and not in force would let in whom they should keep out.
fn files(settings: &Settings, problems: &mut Problems) {
    let (method, file) = (&settings.auth_type, &settings.auth_hba_file);
    if !method.is_sound() || !file.is_sound() {
        return;
    }
    match (method.value == AuthMethod::Hba, &file.value.0) {
        (true, None) => problems.add(
            &method.origin,
            "auth_type hba goes by rules, and there are none",
            "name their file in auth_hba_file, or set another auth_type",
        ),
        (false, Some(_)) => problems.add(
            &file.origin,
            "the rules of auth_hba_file are not in force: auth_type is not hba",
            "set auth_type hba, or remove auth_hba_file",
        ),
        (true, Some(_)) | (false, None) => {}
    }
}

fn secrets(settings: &Settings, users: &[User], rules: &RuleList, problems: &mut Problems) {
    let method = &settings.auth_type;
    let by_rules = method.is_sound() && method.value == AuthMethod::Hba;
    if !by_rules || !users.is_empty() || settings.auth_file.value.0.is_some() {
        return;
    }
    let asks = rules.iter().find(|rule| match rule.method() {
        Method::Ask(AuthType::Password | AuthType::Md5 | AuthType::ScramSha256) => true,
        Method::Ask(AuthType::Trust | AuthType::Cert) | Method::Reject => false,
    });
    if let Some(rule) = asks {
        problems.add(
            &settings.auth_hba_file.origin,
            format!(
                "the rule of line {} asks for a password, and no user has one: there is no \
                 auth_file, and the database URL names no user with a password",
                rule.line()
            ),
            "name an auth_file, or add user and password to the database URL",
        );
    }
}

/// A certificate is there to be judged only where clients are asked for one.
fn certificates(settings: &Settings, rules: &RuleList, problems: &mut Problems) {
    let mode = &settings.client_tls_sslmode;
    if !mode.is_sound() || matches!(mode.value, TlsMode::VerifyCa | TlsMode::VerifyFull) {
        return;
    }
    let by_certificate = |method| method == Method::Ask(AuthType::Cert);
    if let Some(rule) = rules.iter().find(|rule| by_certificate(rule.method())) {
        problems.add(
            &settings.auth_hba_file.origin,
            format!(
                "the rule of line {} goes by clients' certificates, and client_tls_sslmode asks \
                 for none",
                rule.line()
            ),
            "set client_tls_sslmode verify-ca, or another method in the rule",
        );
    }
}

fn in_clear(settings: &Settings, rules: &RuleList) -> Vec<String> {
    let lines: Vec<String> = match settings.auth_type.value {
        AuthMethod::Password => vec!["auth_type password".to_owned()],
        AuthMethod::Hba => {
            let lines = rules.iter().filter(|rule| rule.takes_passwords_in_clear());
            lines.map(|rule| format!("auth_hba_file, line {}", rule.line())).collect()
        }
        AuthMethod::Trust | AuthMethod::Md5 | AuthMethod::ScramSha256 | AuthMethod::Cert => {
            Vec::new()
        }
    };
    let has_tcp = !settings.listen_addr.value.0.is_empty();
    if !has_tcp || super::check_tls::must(settings.client_tls_sslmode.value) {
        return Vec::new();
    }
    let what = match settings.auth_allow_cleartext.value {
        Switch::On => {
            "passwords may come over the network in clear: auth_allow_cleartext is on, and \
             client_tls_sslmode does not insist on TLS"
        }
        Switch::Off => {
            "clients over TCP without TLS are refused: a password would come in clear \
             (client_tls_sslmode, auth_allow_cleartext)"
        }
    };
    lines.into_iter().map(|place| format!("{place}: {what}")).collect()
}
