//! Fetches one page over HTTP, again and again: an application's metrics, a task's metadata, the
//! proxy's snapshot.
//!
//! Owns: one kept-alive connection, over TCP or a unix socket. Refuses: TLS and redirects (the page is in
//! the same task or on the same machine), and retrying within a round.
//! Invariant: a page that is late or too long is an error, and the connection that it came on is not
//! used again.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::Endpoint;

/// Why there is no page. The next reading tries again.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("connect: {0}")]
    Connect(#[from] io::Error),
    #[error("ask: {0}")]
    Http(#[from] hyper::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("read the page: {0}")]
    Body(String),
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// Where a page is: `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageUrl {
    authority: String,
    path: String,
}

/// Why a text is no address of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not http://host:port/path")]
pub struct PageUrlError;

impl FromStr for PageUrl {
    type Err = PageUrlError;

    fn from_str(text: &str) -> Result<Self, PageUrlError> {
        let url: Uri = text.parse().map_err(|_| PageUrlError)?;
        let authority = url.authority().ok_or(PageUrlError)?;
        // Without user and password, which would be shown with the configuration.
        if url.scheme_str() != Some("http") || authority.as_str().contains('@') {
            return Err(PageUrlError);
        }
        let port = authority.port_u16().unwrap_or(80);
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { authority: format!("{}:{port}", authority.host()), path: path.to_owned() })
    }
}

impl PageUrl {
    /// The page below this one.
    pub(crate) fn join(&self, path: &str) -> Self {
        let path = format!("{}{path}", self.path.trim_end_matches('/'));
        Self { authority: self.authority.clone(), path }
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// Who is asked.
enum Peer {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}

/// Asks for one page.
pub(crate) struct Fetcher {
    peer: Peer,
    /// What is asked for: path, host and media types as the request names them.
    path: String,
    host: String,
    accept: &'static str,
    time_box: Duration,
    /// The longest page.
    longest: usize,
    connection: Option<Sender>,
}

impl Fetcher {
    pub(crate) fn new(url: PageUrl, time_box: Duration, longest: usize) -> Self {
        let PageUrl { authority, path } = url;
        Self {
            peer: Peer::Tcp(authority.clone()),
            path,
            host: authority,
            accept: "text/plain, application/json",
            time_box,
            longest,
            connection: None,
        }
    }

    /// For a page of JSON on one of Stent's own endpoints.
    pub(crate) fn of_ours(
        endpoint: Endpoint,
        path: &str,
        time_box: Duration,
        longest: usize,
    ) -> Self {
        let peer = match endpoint {
            Endpoint::Tcp(address) => Peer::Tcp(address.to_string()),
            Endpoint::Unix(path) => Peer::Unix(path),
        };
        Self {
            peer,
            path: path.to_owned(),
            host: "localhost".to_owned(),
            accept: "application/json",
            time_box,
            longest,
            connection: None,
        }
    }

    /// The page as text.
    pub(crate) async fn fetch(&mut self) -> Result<String, FetchError> {
        Ok(String::from_utf8_lossy(&self.fetch_bytes().await?).into_owned())
    }

    /// The page, within the time box.
    pub(crate) async fn fetch_bytes(&mut self) -> Result<Bytes, FetchError> {
        // Taken out: whatever goes wrong below, a connection in doubt is dropped.
        let kept = self.connection.take();
        let (page, sender) = match tokio::time::timeout(self.time_box, self.ask(kept)).await {
            Ok(answer) => answer?,
            Err(_elapsed) => return Err(FetchError::Late(self.time_box)),
        };
        self.connection = Some(sender);
        Ok(page)
    }

    /// Drops the connection: what came on it makes no sense.
    pub(crate) fn forget(&mut self) {
        self.connection = None;
    }

    async fn ask(&self, kept: Option<Sender>) -> Result<(Bytes, Sender), FetchError> {
        let mut sender = match reusable(kept).await {
            Some(sender) => sender,
            None => connect(&self.peer).await?,
        };
        let request = Request::get(self.path.as_str())
            .header(HOST, self.host.as_str())
            .header(ACCEPT, self.accept)
            .body(Empty::new())
            .map_err(|error| FetchError::Body(error.to_string()))?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), self.longest).collect().await;
        let bytes = body.map_err(|error| FetchError::Body(error.to_string()))?.to_bytes();
        Ok((bytes, sender))
    }
}

type Sender = SendRequest<Empty<Bytes>>;

/// The kept connection, where the far side has not closed it meanwhile.
async fn reusable(kept: Option<Sender>) -> Option<Sender> {
    let mut sender = kept?;
    sender.ready().await.ok()?;
    Some(sender)
}

async fn connect(peer: &Peer) -> Result<Sender, FetchError> {
    match peer {
        Peer::Tcp(authority) => handshake(TcpStream::connect(authority.as_str()).await?).await,
        // A path that begins with NUL is taken for the abstract namespace.
        Peer::Unix(path) => handshake(UnixStream::connect(path).await?).await,
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the sender is dropped; its error reaches the sender too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_page_has_a_port_and_no_secret() {
        let shown = |text: &str| text.parse::<PageUrl>().map(|url| url.to_string());
        assert_eq!(shown("http://localhost/metrics"), Ok("http://localhost:80/metrics".to_owned()));
        assert_eq!(shown("http://[::1]:9464"), Ok("http://[::1]:9464/".to_owned()));
        for text in
            ["https://h/metrics", "localhost:9464/metrics", "http://a:b@h/", "", "http:///x"]
        {
            assert_eq!(shown(text), Err(PageUrlError), "{text}");
        }
    }
}
