//! The proxy's `/snapshot`, over HTTP on TCP or a unix socket.
//!
//! Owns: what a page must hold to be a snapshot, and what is said where there is none.
//! Invariant: an answer that is late or longer than [`BODY_MAX`] is an error.

use std::io;
use std::time::Duration;

use hyper::StatusCode;
use stent_contract::{ProxySnapshot, Snapshot};
use thiserror::Error;

use super::skipped::Reason;
use crate::config::Endpoint;
use crate::fetch::{FetchError, Fetcher};

/// The largest answer taken. A thousand holders with long statements are under 2 MB.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// Why there is no snapshot. All of it is the proxy's or the network's doing; the next round tries
/// again.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// No connection.
    #[error("connect to the proxy's admin endpoint: {0}")]
    Connect(io::Error),
    /// HTTP went wrong.
    #[error("ask the proxy for its snapshot: {0}")]
    Http(hyper::Error),
    /// An answer other than 200.
    #[error("ask the proxy for its snapshot: it answered {0}")]
    Status(StatusCode),
    /// The answer was cut off or too long.
    #[error("read the proxy's snapshot: {0}")]
    Body(String),
    /// The answer is not a snapshot.
    #[error("understand the proxy's snapshot: {0}")]
    Json(#[from] serde_json::Error),
    /// A snapshot without the proxy's side.
    #[error("understand the proxy's snapshot: it says nothing of the proxy")]
    Empty,
    /// No answer in time.
    #[error("no answer from the proxy within {0:?}")]
    Late(Duration),
}

impl Error {
    /// What was wrong with an answer, where there was one.
    pub(super) fn broken(&self) -> Option<(Reason, &Self)> {
        match self {
            Self::Body(_) => Some((Reason::CutOff, self)),
            Self::Json(_) | Self::Empty => Some((Reason::Malformed, self)),
            Self::Connect(_) | Self::Http(_) | Self::Status(_) | Self::Late(_) => None,
        }
    }
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Connect(error) => Self::Connect(error),
            FetchError::Http(error) => Self::Http(error),
            FetchError::Status(status) => Self::Status(status),
            FetchError::Body(why) => Self::Body(why),
            FetchError::Late(time_box) => Self::Late(time_box),
        }
    }
}

/// Asks the proxy.
pub(crate) struct ProxyClient(Fetcher);

impl ProxyClient {
    pub(crate) fn new(endpoint: Endpoint, time_box: Duration) -> Self {
        Self(Fetcher::of_ours(endpoint, "/snapshot", time_box, BODY_MAX))
    }

    /// The proxy's snapshot, or why there is none, within the time box.
    pub(crate) async fn fetch(&mut self) -> Result<ProxySnapshot, Error> {
        let page = self.0.fetch_bytes().await?;
        understand(&page).inspect_err(|_| self.0.forget())
    }
}

fn understand(page: &[u8]) -> Result<ProxySnapshot, Error> {
    let snapshot: Snapshot = serde_json::from_slice(page)?;
    snapshot.proxy.ok_or(Error::Empty)
}
