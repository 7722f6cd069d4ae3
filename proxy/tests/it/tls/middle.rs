//! Somebody in the middle: ends TLS on one side and begins it anew on the other, and may change
//! what passes.
//!
//! Owns: a listener on a port of its own, on a thread of its own. Invariant: it has ended when its
//! guard is dropped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ServerConfig, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::authority::provider;

/// How he treats those who connect.
#[derive(Clone)]
pub(crate) struct Middle {
    /// His certificate, and whatever else makes his handshake.
    pub(crate) tls: ServerConfig,
    /// How the TLS of those who connect begins.
    pub(crate) begins: Begins,
    /// How he goes on to the one behind.
    pub(crate) behind: Behind,
    /// What he makes of the words of the one behind.
    pub(crate) edit: fn(Vec<u8>) -> Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// With an SSLRequest.
    Asked,
    /// At once.
    Direct,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    Plain,
    Tls,
}

/// A running one.
pub(crate) struct Running {
    pub(crate) port: u16,
    /// The kind of each handshake that he served.
    pub(crate) handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// Takes channel binding off a server's offer.
pub(crate) fn strip_plus(bytes: Vec<u8>) -> Vec<u8> {
    const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS\0";
    let Some(at) = bytes.windows(PLUS.len()).position(|window| window == PLUS) else {
        return bytes;
    };
    assert_eq!(bytes[0], b'R', "the offer comes by itself");
    let mut bytes = [&bytes[..at], &bytes[at + PLUS.len()..]].concat();
    let len = u32::try_from(bytes.len() - 1).unwrap();
    bytes[1..5].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// Asks for the password itself in the place of a challenge.
pub(crate) fn ask_for_password(bytes: Vec<u8>) -> Vec<u8> {
    const CHALLENGE: &[u8] = b"\0\0\0\x0b";
    if bytes.first() == Some(&b'R') && bytes.get(5..9) == Some(CHALLENGE) {
        return b"R\0\0\0\x08\0\0\0\x03".to_vec();
    }
    bytes
}

impl Middle {
    /// Stands before a port of this machine.
    pub(crate) fn before(self, port: u16) -> Running {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let own = listener.local_addr().unwrap().port();
        let (stop, handshakes) = (Arc::new(Notify::new()), Arc::default());
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&handshakes));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let serve = async {
                    loop {
                        let (socket, _) = listener.accept().await.unwrap();
                        let (middle, seen) = (self.clone(), Arc::clone(&seen));
                        // What goes wrong here, the two ends see.
                        tokio::spawn(async move {
                            let _ = middle.pass(socket, port, &seen).await;
                        });
                    }
                };
                tokio::select! { () = serve => {}, () = stopped.notified() => {} }
            });
        });
        Running { port: own, handshakes, stop, thread: Some(thread) }
    }

    async fn pass(
        self,
        mut socket: TcpStream,
        port: u16,
        seen: &Mutex<Vec<HandshakeKind>>,
    ) -> std::io::Result<()> {
        if self.begins == Begins::Asked {
            let mut request = [0; 8];
            socket.read_exact(&mut request).await?;
            socket.write_all(b"S").await?;
        }
        let client = TlsAcceptor::from(Arc::new(self.tls)).accept(socket).await?;
        seen.lock().unwrap().extend(client.get_ref().1.handshake_kind());
        let mut server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        if self.behind == Behind::Plain {
            return relay(client, server, self.edit).await;
        }
        server.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
        assert_eq!(server.read_u8().await?, b'S');
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let server = TlsConnector::from(Arc::new(config)).connect(name, server).await?;
        relay(client, server, self.edit).await
    }
}

async fn relay(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    edit: fn(Vec<u8>) -> Vec<u8>,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let down = async {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let n = from_server.read(&mut chunk).await?;
            if n == 0 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&edit(chunk[..n].to_vec())).await?;
        }
    };
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    tokio::try_join!(down, up).map(drop)
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.notify_one();
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("it was running").unwrap();
        }
    }
}

/// He does not care whom he talks to.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
