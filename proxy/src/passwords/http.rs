//! One GET from the container's credentials endpoint.
//!
//! Refuses: TLS, redirects, and answers over [`BODY_MAX`]. The endpoint is on this machine.
//! Invariant: a call returns within [`TIMEOUT`].

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::passwords::ContainerEndpoint;

/// Below `server_connect_timeout`, so that its own error is seen.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer: credentials have some kilobytes.
const BODY_MAX: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The host, path or token cannot be written into a request.
    #[error("its address or token cannot be part of a request")]
    Request,
    /// No connection.
    #[error("cannot connect to it: {0}")]
    Connect(std::io::Error),
    /// Not HTTP.
    #[error("it gives no valid answer: {0}")]
    Http(#[from] hyper::Error),
    /// Cut off, or too long.
    #[error("its answer was cut off or is too long")]
    Body,
    /// An answer that is none.
    #[error("it answers with the status {0}")]
    Status(StatusCode),
    /// No answer in time.
    #[error("it does not answer within {TIMEOUT:?}")]
    Timeout,
}

/// `GET` with the token, where there is one.
pub(super) async fn get(
    endpoint: &ContainerEndpoint,
    token: Option<&[u8]>,
) -> Result<Bytes, HttpError> {
    let call = async {
        let address = (endpoint.host.as_str(), endpoint.port);
        let socket = TcpStream::connect(address).await.map_err(HttpError::Connect)?;
        exchange(socket, endpoint, token).await
    };
    tokio::time::timeout(TIMEOUT, call).await.unwrap_or(Err(HttpError::Timeout))
}

async fn exchange(
    socket: TcpStream,
    endpoint: &ContainerEndpoint,
    token: Option<&[u8]>,
) -> Result<Bytes, HttpError> {
    let host = match endpoint.host.contains(':') {
        true => format!("[{}]:{}", endpoint.host, endpoint.port),
        false => format!("{}:{}", endpoint.host, endpoint.port),
    };
    let mut request = Request::get(&endpoint.path).header(HOST, host);
    request = request.header(ACCEPT, "application/json");
    if let Some(token) = token {
        let mut value = HeaderValue::from_bytes(token).map_err(|_| HttpError::Request)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| HttpError::Request)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(HttpError::Status(status));
        }
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        Ok(body.map_err(|_| HttpError::Body)?.to_bytes())
    };
    // The connection does the reading and writing; it lives no longer than the answer takes.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        reply = &mut answer => reply,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}
