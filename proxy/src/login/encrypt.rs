//! A client's way into TLS, and what TLS says of the client.
//!
//! Invariant: nothing that a client sent in clear is read after its handshake. Behind an SSLRequest
//! the parser refuses it; what arrives later is the handshake's, and fails there (CVE-2021-23222).

use stent_wire::auth::certificate::{EndPoint, common_name};
use stent_wire::auth::hba::Encryption;
use stent_wire::auth::{Mechanism, certificate_failed, certificate_missing};
use stent_wire::report::{Report, SqlState};
use tokio_rustls::TlsStream;

use super::prove::refused;
use super::{Failed, Login};
use crate::disconnects::Cause;
use crate::strangers::Stranger;
use crate::stream::Stream;
use crate::tls::ALPN;

impl Login {
    /// Whether TLS is served here: on TCP, if it is configured, and once.
    pub(super) fn can_encrypt(&self) -> bool {
        self.broker.present().client_tls.is_some() && matches!(self.stream, Stream::Tcp(_))
    }

    /// Refuses a client that should have used TLS. Unix sockets need none.
    pub(super) fn must_be_encrypted(&self) -> Result<(), Failed> {
        let must = self.broker.present().client_tls.as_ref().is_some_and(|tls| tls.must());
        if !must || !matches!(self.stream, Stream::Tcp(_)) {
            return Ok(());
        }
        let report = Report::fatal(SqlState::INVALID_AUTHORIZATION, "TLS is required")
            .with_hint("Connect with sslmode=require or stronger: client_tls_sslmode asks for it.");
        Err(Failed::report(Cause::LoginFailed, report))
    }

    /// Whether the client begins with a handshake. Nothing of it is read.
    pub(super) async fn begins_with_tls(&self) -> Result<bool, Failed> {
        const HANDSHAKE: u8 = 0x16;
        match &self.stream {
            Stream::Tcp(socket) if self.can_encrypt() => {
                let mut first = [0];
                // A load balancer looks at a port in this way too: a connect and an RST.
                let n = socket.peek(&mut first).await;
                let n = n.map_err(|_| Failed::Stranger(Stranger::Silent))?;
                Ok(n == 1 && first[0] == HANDSHAKE)
            }
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Tls(_) | Stream::Gone => Ok(false),
        }
    }

    /// The handshake, on a socket from which nothing of it has been read.
    pub(super) async fn encrypt(&mut self) -> Result<(), Failed> {
        assert!(self.inbox.bytes().is_empty(), "nothing in clear survives the handshake");
        let broker = std::sync::Arc::clone(&self.broker);
        let present = broker.present();
        let Some(tls) = &present.client_tls else {
            return Err(Failed::gone("TLS is not served any more"));
        };
        let Some(socket) = self.stream.take_tcp() else {
            return Err(Failed::gone("TLS is served on TCP only"));
        };
        let stream = tls.accept(socket).await;
        let (stream, end_point) =
            stream.map_err(|error| Failed::gone(format!("TLS handshake: {error}")))?;
        self.end_point = end_point;
        self.stream = Stream::Tls(Box::new(TlsStream::Server(stream)));
        broker.inner().clients.get_mut(self.id).encryption = Encryption::Tls;
        Ok(())
    }

    /// TLS from the first byte: only with the protocol's name, so that no other protocol's client
    /// is led here (ALPACA). Source: PostgreSQL 17, `ProcessSSLStartup`.
    pub(super) async fn direct_tls(&mut self) -> Result<(), Failed> {
        self.encrypt().await?;
        let Stream::Tls(stream) = &self.stream else { unreachable!("it was made a line above") };
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            let report = Report::fatal(
                SqlState::PROTOCOL_VIOLATION,
                "direct TLS connection without the ALPN protocol \"postgresql\"",
            );
            return Err(Failed::report(Cause::ProtocolError, report));
        }
        Ok(())
    }

    /// The mechanisms that the client may choose from, and to what it may bind the stronger one.
    pub(super) fn offer(&self) -> (Option<EndPoint>, &'static [Mechanism]) {
        match &self.end_point {
            Some(end_point) => (Some(end_point.clone()), Mechanism::ON_TLS),
            None => (None, Mechanism::PLAIN),
        }
    }

    /// The proof of `auth_type = cert`: the certificate's common name is the user's. That an
    /// authority of ours has signed it is the handshake's: where none is asked to, no certificate
    /// is asked for, and there is none here.
    pub(super) fn certificate(&self, user: &str) -> Result<(), Failed> {
        let Some(shown) = self.stream.peer_certificate() else {
            return Err(refused(certificate_missing(), "none was shown"));
        };
        let failed = |why: String| Err(refused(certificate_failed(user), why));
        match common_name(shown) {
            Some(name) if name == user => Ok(()),
            Some(name) => failed(format!("the certificate is {name:?}'s")),
            None => failed("the certificate names no user".to_owned()),
        }
    }
}
