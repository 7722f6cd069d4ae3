//! `server_password_source`: how it is written, and what comes of it.
//!
//! Owns: variables with passwords, and where AWS's credentials and region are. Refuses: reading
//! password files (the proxy does, for each login); here it is only seen that they are there.
//! Invariant: no secret enters a message.

use std::path::PathBuf;
use std::time::SystemTime;

use secrecy::SecretString;
use stent_proxy::config::TlsMode;
use stent_proxy::config::passwords::{AwsCredentials, PasswordSource, RdsIam, ServerPasswords};
use stent_wire::auth::secret::Secret;
use stent_wire::iam::region_of;

use super::container::{self, Endpoint};
use super::keys::Settings;
use super::problem::{Origin, Problems};
use super::raw::Variables;
use super::resolve::server_tls;
use super::url::Database;
use super::value::{KeyType, TomlShape};

/// The sources as they are written; `None` stands for all users that are not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordSources(pub Vec<(Option<String>, Source)>);

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `auto`.
    Auto,
    /// `env:NAME`.
    Variable(String),
    /// `file:PATH`.
    File(PathBuf),
    /// `rds-iam`.
    RdsIam,
}

/// The most users with a source of their own.
const SOURCES_MAX: usize = 1_000;

impl Source {
    fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("env:") {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            return (!name.is_empty() && name.bytes().all(is_name))
                .then(|| Self::Variable(name.to_owned()));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return path.starts_with('/').then(|| Self::File(path.into()));
        }
        match text {
            "auto" => Some(Self::Auto),
            "rds-iam" => Some(Self::RdsIam),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Variable(name) => format!("env:{name}"),
            Self::File(path) => format!("file:{}", path.display()),
            Self::RdsIam => "rds-iam".to_owned(),
        }
    }
}

impl KeyType for PasswordSources {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str = "auto, env:NAME, file:/path or rds-iam for all users, or \
                                   user=source, with commas between them";
    fn parse(text: &str) -> Result<Self, String> {
        let mut sources: Vec<(Option<String>, Source)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (user, source) = parse_part(part).ok_or("names a source that there is not")?;
            if sources.iter().any(|(known, _)| *known == user) {
                return Err("names two sources for the same users".to_owned());
            }
            if sources.len() == SOURCES_MAX {
                return Err(format!("names more than {SOURCES_MAX} sources"));
            }
            sources.push((user, source));
        }
        if sources.is_empty() {
            return Err("names no source".to_owned());
        }
        Ok(Self(sources))
    }
    fn show(&self) -> String {
        let shown = self.0.iter().map(|(user, source)| match user {
            Some(user) => format!("{user}={}", source.show()),
            None => source.show(),
        });
        shown.collect::<Vec<_>>().join(",")
    }
}

/// A name may hold `=`: it ends at the first one behind which a source stands.
fn parse_part(part: &str) -> Option<(Option<String>, Source)> {
    if let Some(source) = Source::parse(part) {
        return Some((None, source));
    }
    part.match_indices('=').find_map(|(at, _)| {
        let source = Source::parse(&part[at + 1..])?;
        (at > 0).then(|| (Some(part[..at].to_owned()), source))
    })
}

/// What the proxy is told. What cannot work is a problem.
pub(super) fn read(
    settings: &Settings,
    database: &Database,
    variables: &Variables,
    problems: &mut Problems,
) -> ServerPasswords {
    let setting = &settings.server_password_source;
    let mut passwords = ServerPasswords::default();
    for (user, source) in &setting.value.0 {
        let source = match source {
            Source::Auto => PasswordSource::Auto,
            Source::RdsIam => PasswordSource::RdsIam,
            Source::File(path) => {
                file_is_there(&setting.origin, path, problems);
                PasswordSource::File(path.clone())
            }
            Source::Variable(name) => variable(&setting.origin, name, variables, problems),
        };
        match user {
            Some(user) => passwords.of_users.push((user.clone(), source)),
            None => passwords.of_others = source,
        }
    }
    if setting.value.0.iter().any(|(_, source)| *source == Source::RdsIam) {
        passwords.rds_iam = rds_iam(settings, database, variables, problems);
    }
    passwords
}

fn file_is_there(origin: &Origin, path: &std::path::Path, problems: &mut Problems) {
    // A pipe would be waited for.
    let opened = std::fs::metadata(path).and_then(|meta| match meta.is_file() {
        true => std::fs::File::open(path),
        false => Err(std::io::Error::other("it is not a file")),
    });
    if let Err(error) = opened {
        problems.add(
            origin,
            format!("the password file {} cannot be read: {error}", path.display()),
            "name a readable file that holds the password",
        );
    }
}

fn variable(
    origin: &Origin,
    name: &str,
    variables: &Variables,
    problems: &mut Problems,
) -> PasswordSource {
    let text = variables.get(name).and_then(|text| text.to_str()).unwrap_or_default();
    if let Err(error) = Secret::parse(text.as_bytes()) {
        let reason = match text {
            "" => format!("the variable {name} is not set"),
            _ => format!("the variable {name} holds no password: {error}"),
        };
        problems.add(origin, reason, format!("set {name} to the password"));
    }
    PasswordSource::Literal(SecretString::from(text))
}

fn rds_iam(
    settings: &Settings,
    database: &Database,
    variables: &Variables,
    problems: &mut Problems,
) -> Option<RdsIam> {
    let origin = &settings.server_password_source.origin;
    only_over_tls(settings, database, problems);
    if !database.others.is_empty() {
        problems.add(
            origin,
            "rds-iam signs its tokens for one host, and the database URL names several",
            "name the cluster's endpoint, which follows the writer",
        );
    }
    let get = |name: &str| {
        let text = variables.get(name)?.to_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    let of_host = region_of(&database.host).map(str::to_owned);
    let region = of_host.or_else(|| get("AWS_REGION")).or_else(|| get("AWS_DEFAULT_REGION"));
    if region.is_none() {
        problems.add(
            origin,
            "rds-iam needs the region of the database, which its host name does not say",
            "set AWS_REGION",
        );
    }
    let fixed = get("AWS_ACCESS_KEY_ID").zip(get("AWS_SECRET_ACCESS_KEY"));
    let credentials = match (fixed, container::endpoint(&get)) {
        (Some((access_key_id, secret)), _) => Some(AwsCredentials::Fixed {
            access_key_id,
            secret_access_key: secret.into(),
            session_token: get("AWS_SESSION_TOKEN").map(SecretString::from),
        }),
        (None, Endpoint::At(endpoint)) => Some(AwsCredentials::Container(endpoint)),
        (None, Endpoint::Refused(variable)) => {
            problems.add(
                &Origin::Variable(variable.to_owned()),
                "is not an http:// URL of this machine or of a container agent",
                "write it as ECS or EKS sets it",
            );
            None
        }
        (None, Endpoint::None) => {
            problems.add(
                origin,
                "rds-iam needs AWS credentials, and there are none in the environment",
                "give the task a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            );
            None
        }
    };
    Some(RdsIam { region: region?, credentials: credentials?, clock: SystemTime::now })
}

/// A token is a password in the clear: it goes to somebody whose certificate was checked, or stays
/// on this machine (a tunnel's end).
fn only_over_tls(settings: &Settings, database: &Database, problems: &mut Problems) {
    let local = database.host == "localhost"
        || database.host.starts_with('/')
        || database.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let tls = server_tls(settings, database);
    let checked = match tls.mode {
        TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer => false,
        TlsMode::Require => tls.roots.is_some(),
        TlsMode::VerifyCa | TlsMode::VerifyFull => true,
    };
    if !local && !checked {
        problems.add(
            &settings.server_password_source.origin,
            "rds-iam sends a token that is as good as a password, and the server's certificate is \
             not checked",
            "set server_tls_sslmode verify-full and server_tls_ca_file to AWS's global bundle",
        );
    }
}
