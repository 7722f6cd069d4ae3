//! AWS credentials, and the tokens that are made with them.
//!
//! Owns: fetching credentials from the container's endpoint, and keeping them until they are about
//! to end. Refuses: signing (`stent_wire::iam`).
//! Invariant: one fetch at a time; credentials that have ended sign nothing.
//! Source: AWS SDKs and Tools reference guide, "Container credential provider".

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use secrecy::ExposeSecret as _;
use serde_json::Value;
use stent_wire::auth::secret::{Password, SecretError};
use stent_wire::iam::{AwsKeys, TOKEN_SECONDS, Target, auth_token, parse_time};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::http::{self, HttpError};
use super::read_bytes;
use crate::config::Upstream;
use crate::config::passwords::{Authorization, AwsCredentials, ContainerEndpoint, RdsIam};

/// Credentials that end sooner than this are fetched anew: a token is as good as the credentials
/// that signed it.
const MARGIN_SECONDS: u64 = 300;
/// The longest token file.
const TOKEN_FILE_MAX: usize = 16 * 1024;

const _: () = assert!(MARGIN_SECONDS < TOKEN_SECONDS);

/// Makes tokens.
pub(super) struct Iam {
    config: RdsIam,
    host: String,
    port: u16,
    fetched: Mutex<Option<Fetched>>,
}

/// Credentials of a container, until they end.
struct Fetched {
    keys: Arc<AwsKeys>,
    /// Seconds since 1970.
    ends: u64,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IamError {
    /// Tokens were not expected.
    #[error("there are no AWS credentials in the configuration")]
    NotConfigured,
    /// The endpoint did not help.
    #[error("the container's credentials endpoint: {0}")]
    Endpoint(#[from] HttpError),
    /// Not what the endpoint should answer.
    #[error("the container's credentials endpoint answers without a usable {0}")]
    Answer(&'static str),
    /// The file of the endpoint's token.
    #[error("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read: {0}")]
    TokenFile(std::io::Error),
    /// The token is no password.
    #[error("{0}")]
    Token(SecretError),
}

impl Iam {
    pub(super) fn new(config: RdsIam, upstream: &Upstream) -> Self {
        let (host, port) = (upstream.host.clone(), upstream.port);
        Self { config, host, port, fetched: Mutex::new(None) }
    }

    /// A token for a user.
    pub(super) async fn token(&self, user: &str) -> Result<Password, IamError> {
        let keys = self.keys().await?;
        let target =
            Target { host: &self.host, port: self.port, user, region: &self.config.region };
        auth_token(target, &keys, self.now()).map_err(IamError::Token)
    }

    fn now(&self) -> u64 {
        let since = (self.config.clock)().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    async fn keys(&self) -> Result<Arc<AwsKeys>, IamError> {
        let endpoint = match &self.config.credentials {
            AwsCredentials::Container(endpoint) => endpoint,
            AwsCredentials::Fixed { access_key_id, secret_access_key, session_token } => {
                let wiped = |text: &str| Zeroizing::new(text.to_owned());
                let token = session_token.as_ref();
                return Ok(Arc::new(AwsKeys {
                    access_key_id: access_key_id.clone(),
                    secret_access_key: wiped(secret_access_key.expose_secret()),
                    session_token: token.map(|token| wiped(token.expose_secret())),
                }));
            }
        };
        let mut fetched = self.fetched.lock().await;
        let now = self.now();
        if let Some(known) = fetched.as_ref().filter(|known| now + MARGIN_SECONDS < known.ends) {
            return Ok(Arc::clone(&known.keys));
        }
        match fetch(endpoint).await {
            Ok(fresh) => {
                let keys = Arc::clone(&fresh.keys);
                *fetched = Some(fresh);
                Ok(keys)
            }
            Err(error) => match fetched.as_ref().filter(|known| now < known.ends) {
                Some(known) => {
                    tracing::warn!(%error, "the AWS credentials end soon and cannot be renewed");
                    Ok(Arc::clone(&known.keys))
                }
                None => Err(error),
            },
        }
    }
}

async fn fetch(endpoint: &ContainerEndpoint) -> Result<Fetched, IamError> {
    let token = match &endpoint.authorization {
        Authorization::None => None,
        Authorization::Value(token) => {
            Some(Zeroizing::new(token.expose_secret().as_bytes().to_vec()))
        }
        Authorization::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read_bytes(&path, TOKEN_FILE_MAX)).await;
            let bytes = read.map_err(|error| IamError::TokenFile(error.into()))?;
            let bytes = bytes.map_err(IamError::TokenFile)?;
            Some(Zeroizing::new(bytes.trim_ascii().to_vec()))
        }
    };
    let body = http::get(endpoint, token.as_ref().map(|token| token.as_slice())).await?;
    let answer: Value = serde_json::from_slice(&body).map_err(|_| IamError::Answer("JSON"))?;
    let text = |name: &'static str| {
        let text = answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or(IamError::Answer(name))
    };
    let ends = parse_time(text("Expiration")?).map_err(|_| IamError::Answer("Expiration"))?;
    let wiped = |text: &str| Zeroizing::new(text.to_owned());
    Ok(Fetched {
        keys: Arc::new(AwsKeys {
            access_key_id: text("AccessKeyId")?.to_owned(),
            secret_access_key: wiped(text("SecretAccessKey")?),
            session_token: text("Token").ok().map(wiped),
        }),
        ends,
    })
}
