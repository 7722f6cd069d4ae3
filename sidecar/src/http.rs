//! One HTTP request to an endpoint of our own: over TCP or a unix socket, time-boxed, bounded.
//!
//! Refuses: redirects, TLS, bodies over [`BODY_MAX`].
//! Invariant: a call returns within the time it is given.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::address::Address;

/// The largest body that is read: a page of metrics with thousands of series.
pub(crate) const BODY_MAX: usize = 8 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("no valid answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer was cut off or is too large: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// `GET path` within `limit`.
pub(crate) async fn get(
    address: &Address,
    path: &'static str,
    limit: Duration,
) -> Result<Reply, GetError> {
    let call = async {
        match address {
            Address::Tcp(address) => {
                exchange(TcpStream::connect(address).await.map_err(GetError::Connect)?, path).await
            }
            Address::Unix(socket) => {
                exchange(UnixStream::connect(socket).await.map_err(GetError::Connect)?, path).await
            }
        }
    };
    tokio::time::timeout(limit, call).await.unwrap_or(Err(GetError::Timeout(limit)))
}

async fn exchange<S>(stream: S, path: &'static str) -> Result<Reply, GetError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, "stent")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("a constant path and constant headers make a request");
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        Ok(Reply { status, body: body.map_err(GetError::Body)?.to_bytes() })
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
