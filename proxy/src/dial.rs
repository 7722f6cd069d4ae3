//! Reaching PostgreSQL: the socket, and TLS where it is wished.
//!
//! Owns: the SSLRequest and its one-byte answer. Refuses: deciding what to try next (`connect`).
//! Invariant: of the answer one byte is read and no more, so that nothing that came in clear behind
//! it can be taken for the server's word (CVE-2021-23222).

use std::io;

use stent_wire::startup::put_ssl_request;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::broker::Broker;
use crate::config::{Endpoint, TlsMode, TlsNegotiation};
use crate::stream::Stream;
use crate::tls::ALPN;

/// How a connection is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// In clear.
    Plain,
    /// TLS if the server can.
    TlsIfCan,
    /// TLS or nothing.
    Tls,
}

impl Wish {
    /// What a mode tries first, and what it tries when the server refuses that: as libpq does.
    pub(crate) const fn of(mode: TlsMode) -> (Self, Option<Self>) {
        match mode {
            TlsMode::Disable => (Self::Plain, None),
            TlsMode::Allow => (Self::Plain, Some(Self::Tls)),
            TlsMode::Prefer => (Self::TlsIfCan, Some(Self::Plain)),
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => (Self::Tls, None),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// No socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server has no TLS.
    #[error("the server does not support TLS, and server_tls_sslmode asks for it")]
    NoTls,
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// Direct TLS led to something that does not say that it is PostgreSQL.
    #[error("direct TLS was established without the ALPN protocol \"postgresql\"")]
    NoAlpn,
    /// The server answered with an error, in clear: anybody's word, so it is not shown, and nothing
    /// is concluded from it (CVE-2024-10977).
    #[error("the server answers a request for TLS with an error")]
    ErrorInClear,
    /// The server answered something else.
    #[error("it answers a request for TLS with a byte of {0:#04x}")]
    Protocol(u8),
}

/// Connects to one of the places where the database may be.
pub(crate) async fn dial(
    broker: &Broker,
    place: &Endpoint,
    wish: Wish,
) -> Result<Stream, DialError> {
    let present = broker.present();
    if place.host.starts_with('/') {
        return Ok(Stream::Unix(UnixStream::connect(place.to_string()).await?));
    }
    let socket = TcpStream::connect((place.host.as_str(), place.port)).await?;
    let Stream::Tcp(mut socket) = Stream::tcp(socket) else {
        unreachable!("a TCP socket makes a TCP stream")
    };
    let Some(tls) = present.server_tls.as_ref().filter(|_| wish != Wish::Plain) else {
        return Ok(Stream::Tcp(socket));
    };
    let negotiation = present.config.server_tls.negotiation;
    match negotiation {
        TlsNegotiation::Postgres => match ask(&mut socket).await? {
            b'S' => {}
            b'N' if wish == Wish::TlsIfCan => return Ok(Stream::Tcp(socket)),
            b'N' => return Err(DialError::NoTls),
            b'E' => return Err(DialError::ErrorInClear),
            other => return Err(DialError::Protocol(other)),
        },
        TlsNegotiation::Direct => {}
    }
    let stream = tls.connect(&place.host, socket).await.map_err(DialError::Handshake)?;
    // As in libpq: without a word of PostgreSQL's before it, TLS could be any server's (ALPACA).
    let agreed = stream.get_ref().1.alpn_protocol() == Some(ALPN);
    if negotiation == TlsNegotiation::Direct && !agreed {
        return Err(DialError::NoAlpn);
    }
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}

impl Broker {
    /// Where the database may be, for people.
    pub(crate) fn target(&self) -> String {
        let present = self.present();
        let places = present.config.upstream.endpoints().map(|place| place.to_string());
        places.collect::<Vec<_>>().join(", ")
    }
}

/// Asks for TLS.
async fn ask(socket: &mut TcpStream) -> io::Result<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut request = Vec::new();
    put_ssl_request(&mut request);
    socket.write_all(&request).await?;
    socket.read_u8().await
}
