//! Where the passwords come from with which the proxy logs in to the database.
//!
//! Invariant: a secret in here never prints (`SecretString`).

use std::path::PathBuf;
use std::time::SystemTime;

use secrecy::SecretString;

/// A source for each user (`server_password_source`). A password belongs to a role of PostgreSQL, so
/// all pools of a user share it, whatever their database.
#[derive(Clone, Debug, Default)]
pub struct ServerPasswords {
    /// Users with a source of their own.
    pub of_users: Vec<(String, PasswordSource)>,
    /// The source of all others.
    pub of_others: PasswordSource,
    /// How tokens are made, where a source is [`PasswordSource::RdsIam`].
    pub rds_iam: Option<RdsIam>,
}

impl ServerPasswords {
    /// Every secret in here, for the scrubbing of messages.
    pub fn secrets(&self) -> Vec<SecretString> {
        let sources = self.of_users.iter().map(|(_, source)| source).chain([&self.of_others]);
        let mut secrets: Vec<SecretString> = sources
            .filter_map(|source| match source {
                PasswordSource::Literal(secret) => Some(secret.clone()),
                PasswordSource::Auto | PasswordSource::File(_) | PasswordSource::RdsIam => None,
            })
            .collect();
        match self.rds_iam.as_ref().map(|iam| &iam.credentials) {
            Some(AwsCredentials::Fixed { secret_access_key, session_token, .. }) => {
                secrets.push(secret_access_key.clone());
                secrets.extend(session_token.clone());
            }
            Some(AwsCredentials::Container(endpoint)) => match &endpoint.authorization {
                Authorization::Value(token) => secrets.push(token.clone()),
                Authorization::None | Authorization::File(_) => {}
            },
            None => {}
        }
        secrets
    }
}

/// Where a password comes from.
#[derive(Clone, Debug, Default)]
pub enum PasswordSource {
    /// What is known already: the `auth_file`'s secret or `DATABASE_URL`'s password, what was looked
    /// up, or the keys that clients have proved to have.
    #[default]
    Auto,
    /// This one, in the form of the `auth_file`.
    Literal(SecretString),
    /// The content of a file, in that form, read for each login; a line's end at its end is not
    /// part of it.
    File(PathBuf),
    /// An RDS IAM token, made for each login.
    RdsIam,
}

/// How RDS IAM tokens are made.
#[derive(Clone, Debug)]
pub struct RdsIam {
    /// The region of the database.
    pub region: String,
    /// With what they are signed.
    pub credentials: AwsCredentials,
    /// What time it is.
    pub clock: fn() -> SystemTime,
}

/// AWS credentials.
#[derive(Clone, Debug)]
pub enum AwsCredentials {
    /// `AWS_ACCESS_KEY_ID` and its kin.
    Fixed {
        /// `AWS_ACCESS_KEY_ID`.
        access_key_id: String,
        /// `AWS_SECRET_ACCESS_KEY`.
        secret_access_key: SecretString,
        /// `AWS_SESSION_TOKEN`.
        session_token: Option<SecretString>,
    },
    /// The container's credentials endpoint, over HTTP on the machine itself.
    Container(ContainerEndpoint),
}

/// Source: AWS SDKs and Tools reference guide, "Container credential provider".
#[derive(Clone, Debug)]
pub struct ContainerEndpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// The header `Authorization`.
    pub authorization: Authorization,
}

/// What the credentials endpoint is shown.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// Nothing.
    None,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    Value(SecretString),
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, read each time.
    File(PathBuf),
}
