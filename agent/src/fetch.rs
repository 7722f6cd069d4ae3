//! Fetches one page over HTTP, again and again: an application's metrics, a task's metadata.
//!
//! Owns: one kept-alive connection. Refuses: TLS and redirects: the page is in the same task or on the
//! same machine.
//! Invariant: a page that is late or too long is an error, and the connection that it came on is not
//! used again.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

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

/// Asks for one page.
pub(crate) struct Fetcher {
    url: PageUrl,
    time_box: Duration,
    /// The longest page.
    longest: usize,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Fetcher {
    pub(crate) fn new(url: PageUrl, time_box: Duration, longest: usize) -> Self {
        Self { url, time_box, longest, connection: None }
    }

    /// The page.
    pub(crate) async fn fetch(&mut self) -> Result<String, FetchError> {
        // Taken out: whatever goes wrong below, a connection in doubt is dropped.
        let kept = self.connection.take();
        let work = fetch(&self.url, self.longest, kept);
        let (page, sender) = match tokio::time::timeout(self.time_box, work).await {
            Ok(answer) => answer?,
            Err(_elapsed) => return Err(FetchError::Late(self.time_box)),
        };
        self.connection = Some(sender);
        Ok(page)
    }
}

type Sender = SendRequest<Empty<Bytes>>;

async fn fetch(
    url: &PageUrl,
    longest: usize,
    kept: Option<Sender>,
) -> Result<(String, Sender), FetchError> {
    let mut sender = match reusable(kept).await {
        Some(sender) => sender,
        None => connect(url).await?,
    };
    let request = Request::get(url.path.as_str())
        .header(HOST, url.authority.as_str())
        .header(ACCEPT, "text/plain, application/json")
        .body(Empty::new())
        .map_err(|error| FetchError::Body(error.to_string()))?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), longest).collect().await;
    let bytes = body.map_err(|error| FetchError::Body(error.to_string()))?.to_bytes();
    Ok((String::from_utf8_lossy(&bytes).into_owned(), sender))
}

/// The kept connection, where the far side has not closed it meanwhile.
async fn reusable(kept: Option<Sender>) -> Option<Sender> {
    let mut sender = kept?;
    sender.ready().await.ok()?;
    Some(sender)
}

async fn connect(url: &PageUrl) -> Result<Sender, FetchError> {
    let stream = TcpStream::connect(url.authority.as_str()).await?;
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
