//! One call of PutMetricData, and what its end means.
//!
//! Owns: the SDK's client (built at the first call, so that a slow look-up of region or credentials
//! costs a call and not the start) and the reading of its errors.
//! Refuses: retries. The SDK's own are off: the publisher decides, with the newest points in view.
//! Invariant: a call ends within the time it is given, and no credential is in its error.
//!
//! Credentials come from the SDK's chain, without the parts that need more dependencies (SSO,
//! `credential_process`, `aws login`): environment, shared profile, web identity token, the
//! container endpoint of ECS and EKS, EC2 instance metadata.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::SharedHttpClient;
use aws_sdk_cloudwatch::config::http::HttpResponse;
use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataError;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;

use super::entry::Entry;
use crate::config::CloudWatch;

/// The most of an error's text that is logged.
const WHY_MAX: usize = 400;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// CloudWatch has the points.
    Accepted,
    /// CloudWatch will never take these points.
    Refused(String),
    /// Too many calls: later.
    Throttled(String),
    /// Nobody there, no answer in time, no permission, or a failure of CloudWatch's own: later.
    /// Whether the points arrived is not known where an answer is missing.
    Failed(String),
}

/// The way to CloudWatch.
#[derive(Debug)]
pub(crate) struct Link {
    config: CloudWatch,
    client: OnceCell<Client>,
}

impl Link {
    /// Nothing is opened or looked up yet.
    pub(crate) fn new(config: &CloudWatch) -> Self {
        Self { config: config.clone(), client: OnceCell::new() }
    }

    /// A way with a client that is ready.
    #[cfg(test)]
    pub(crate) fn ready(config: &CloudWatch, client: Client) -> Self {
        Self { config: config.clone(), client: OnceCell::new_with(Some(client)) }
    }

    /// Sends the entries in one request.
    pub(crate) async fn put(&self, entries: &[Entry], limit: Duration) -> Answer {
        let late = || Answer::Failed(format!("no answer within {limit:?}"));
        tokio::time::timeout(limit, self.send(entries)).await.unwrap_or_else(|_| late())
    }

    async fn send(&self, entries: &[Entry]) -> Answer {
        let client = self.client.get_or_init(|| load(&self.config)).await;
        if client.config().region().is_none() {
            let why = "no region is known: set cloudwatch_region or AWS_REGION";
            return Answer::Failed(why.to_owned());
        }
        let data = entries.iter().map(|entry| entry.to_datum(&self.config.dimensions));
        let call = client
            .put_metric_data()
            .namespace(&self.config.namespace)
            .set_metric_data(Some(data.collect()));
        match call.send().await {
            Ok(_) => Answer::Accepted,
            Err(error) => answer(&error),
        }
    }
}

/// Reads region and credentials' whereabouts from the environment.
async fn load(config: &CloudWatch) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .retry_config(RetryConfig::disabled());
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    Client::new(&loader.load().await)
}

/// The one TLS stack and crypto provider of the whole program, named rather than discovered.
pub(crate) fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_https()
}

fn answer(error: &SdkError<PutMetricDataError, HttpResponse>) -> Answer {
    let why = why(error);
    let SdkError::ServiceError(service) = error else {
        return Answer::Failed(why);
    };
    match (service.raw().status().as_u16(), error.code().unwrap_or_default()) {
        (429, _) => Answer::Throttled(why),
        (_, code) if is_throttling(code) => Answer::Throttled(why),
        (400, code) if is_about_the_caller(code) => Answer::Failed(why),
        (400 | 413, _) => Answer::Refused(why),
        _ => Answer::Failed(why),
    }
}

/// Source: Amazon CloudWatch API reference, "Common errors"; AWS SDK, retry behaviour.
fn is_throttling(code: &str) -> bool {
    code.contains("Throttl") || code.contains("LimitExceeded") || code == "SlowDown"
}

/// Errors that say something about who calls, not about the points.
/// Source: Amazon CloudWatch API reference, "Common errors".
fn is_about_the_caller(code: &str) -> bool {
    const CODES: &[&str] = &[
        "AccessDenied",
        "ClientToken",
        "ExpiredToken",
        "IncompleteSignature",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SecurityToken",
        "Signature",
        "AuthenticationToken",
        "UnrecognizedClient",
        "ClientTokenId",
    ];
    CODES.iter().any(|known| code.contains(known))
}

/// The error with its causes on one line, cut: the text may come from the network.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source.filter(|_| text.len() < WHY_MAX) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    let text = text.replace(char::is_control, " ");
    text.chars().take(WHY_MAX).collect()
}
