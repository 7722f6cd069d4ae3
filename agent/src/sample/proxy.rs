//! The proxy's `/snapshot`, over HTTP on TCP or a unix socket.
//!
//! Owns: one kept-alive connection. Refuses: retrying within a round.
//! Invariant: an answer that is late or longer than [`BODY_MAX`] is an error, and the connection
//! it came on is not used again.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use stent_contract::{ProxySnapshot, Snapshot};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::Endpoint;

/// The largest answer taken. A thousand holders with long statements are under 2 MB.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// Why there is no snapshot. All of it is the proxy's or the network's doing; the next round tries
/// again.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// No connection.
    #[error("connect to the proxy's admin endpoint: {0}")]
    Connect(#[from] io::Error),
    /// HTTP went wrong.
    #[error("ask the proxy for its snapshot: {0}")]
    Http(#[from] hyper::Error),
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

/// Asks the proxy.
pub(crate) struct ProxyClient {
    endpoint: Endpoint,
    time_box: Duration,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl ProxyClient {
    pub(crate) fn new(endpoint: Endpoint, time_box: Duration) -> Self {
        Self { endpoint, time_box, connection: None }
    }

    /// The proxy's snapshot, or why there is none, within the time box.
    pub(crate) async fn fetch(&mut self) -> Result<ProxySnapshot, Error> {
        // Taken out: whatever goes wrong below, a connection in doubt is dropped.
        let kept = self.connection.take();
        let work = fetch(&self.endpoint, kept);
        let (snapshot, sender) = match tokio::time::timeout(self.time_box, work).await {
            Ok(answer) => answer?,
            Err(_elapsed) => return Err(Error::Late(self.time_box)),
        };
        self.connection = Some(sender);
        Ok(snapshot)
    }
}

type Sender = SendRequest<Empty<Bytes>>;

async fn fetch(
    endpoint: &Endpoint,
    kept: Option<Sender>,
) -> Result<(ProxySnapshot, Sender), Error> {
    let mut sender = match reusable(kept).await {
        Some(sender) => sender,
        None => connect(endpoint).await?,
    };
    let request = Request::get("/snapshot")
        .header(HOST, "localhost")
        .header(ACCEPT, "application/json")
        .body(Empty::new())
        .expect("a constant request is well-formed");
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(Error::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
    let bytes = body.map_err(|error| Error::Body(error.to_string()))?.to_bytes();
    let snapshot: Snapshot = serde_json::from_slice(&bytes)?;
    Ok((snapshot.proxy.ok_or(Error::Empty)?, sender))
}

/// The kept connection, where the proxy has not closed it meanwhile.
async fn reusable(kept: Option<Sender>) -> Option<Sender> {
    let mut sender = kept?;
    sender.ready().await.ok()?;
    Some(sender)
}

async fn connect(endpoint: &Endpoint) -> Result<Sender, Error> {
    match endpoint {
        Endpoint::Tcp(address) => handshake(TcpStream::connect(address).await?).await,
        // A path that begins with NUL is taken for the abstract namespace.
        Endpoint::Unix(path) => handshake(UnixStream::connect(path).await?).await,
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the sender is dropped; its error reaches the sender too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
