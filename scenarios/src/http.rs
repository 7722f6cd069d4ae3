//! A small HTTP client: one connection, one request at a time, each with a time limit.
//!
//! Refuses: redirects, TLS, bodies above [`BODY_BYTES_MAX`]; it only ever talks to this machine.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A `/snapshot` with a thousand holders is well under a megabyte.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A client of one address. It connects when it must, and again after a failure.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    limit: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Client {
    /// `limit` is for a whole request, the connection included.
    pub fn new(address: SocketAddr, limit: Duration) -> Self {
        Self { address, limit, connection: None }
    }

    /// GET.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, String::new()).await
    }

    /// Any method, with a JSON body (empty for none).
    pub async fn send(&mut self, method: Method, path: &str, json: String) -> Result<Answer> {
        let what = format!("{method} http://{}{path}", self.address);
        // Taken out: whoever is late or fails in the middle leaves a connection that nobody can use.
        let mut connection = self.connection.take();
        let address = self.address;
        let exchange = async {
            let mut ready = match connection.take().filter(|kept| !kept.is_closed()) {
                Some(kept) => kept,
                None => connect(address).await?,
            };
            ready.ready().await?;
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", address.to_string())
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(json)))?;
            let response = ready.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
            anyhow::Ok((ready, Answer { status, body }))
        };
        let outcome = timeout(self.limit, exchange).await;
        let (kept, answer) = outcome
            .with_context(|| format!("{what}: no answer in {:?}", self.limit))?
            .with_context(|| what.clone())?;
        self.connection = Some(kept);
        Ok(answer)
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.context("connect")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends by itself when the sender is dropped or the other side closes.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
