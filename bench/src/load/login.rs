//! Logging in as libpq does: under trust or with SCRAM-SHA-256, over TLS where that is asked for.
//!
//! Owns: the password's derived keys, kept from one login to the next, so that a login costs the
//! load little. Refuses: resuming TLS sessions (each login is a whole handshake).

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use stent_wire::auth::scram::{ClientBinding, SCRAM_NONCE_LEN, ScramKeys};
use stent_wire::auth::secret::Password;
use stent_wire::auth::{self, AuthRequest, Mechanism, scram_client};

use super::client::{Client, Stream};
use super::message;
use super::scan::{Scan, Seen};

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest message of a login; a peer's error is shorter too.
const MESSAGE_MAX: usize = 64 * 1024;

/// Who logs in, where, and how.
pub struct Login {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The password, should one be asked for.
    pub password: Option<Password>,
    /// Set: TLS is asked for, and must be given.
    pub tls: Option<Arc<ClientConfig>>,
    keys: RefCell<Option<ScramKeys>>,
}

impl Login {
    /// Without password and TLS.
    pub fn new(port: u16, user: &str, database: &str) -> Self {
        Self {
            port,
            user: user.to_owned(),
            database: database.to_owned(),
            password: None,
            tls: None,
            keys: RefCell::new(None),
        }
    }

    /// Logs in: a client whose server is ready for a query.
    pub fn client(&self) -> Result<Client> {
        let mut stream = self.connect()?;
        stream.write_all(&message::startup(&self.user, &self.database))?;
        loop {
            let (tag, body) = read_message(&mut stream).context("log in")?;
            ensure!(tag == b'R', "the login was answered with {:?}", text(&body));
            match AuthRequest::parse(&body)? {
                AuthRequest::Ok => break,
                AuthRequest::Sasl { .. } => self.scram(&mut stream)?,
                other @ (AuthRequest::CleartextPassword
                | AuthRequest::Md5Password { .. }
                | AuthRequest::SaslContinue { .. }
                | AuthRequest::SaslFinal { .. }
                | AuthRequest::Unsupported { .. }) => bail!("the login is asked for {other:?}"),
            }
        }
        let mut scan = Scan::default();
        let mut chunk = [0; 4096];
        loop {
            let n = stream.read(&mut chunk)?;
            ensure!(n > 0, "the login ended early");
            if scan.feed(&chunk[..n]) == Seen::Ready {
                break;
            }
        }
        if let Some(error) = scan.take_error() {
            bail!("the login failed: {error}");
        }
        Ok(Client::new(stream, scan))
    }

    fn connect(&self) -> Result<Stream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let Some(config) = &self.tls else { return Ok(Stream::Plain(stream)) };
        stream.write_all(SSL_REQUEST)?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        ensure!(answer == *b"S", "TLS was refused");
        let name = ServerName::try_from("localhost")?;
        let connection = ClientConnection::new(Arc::clone(config), name)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    fn scram(&self, stream: &mut Stream) -> Result<()> {
        let password = self.password.as_ref().context("a password is asked for")?;
        let nonce: [u8; SCRAM_NONCE_LEN] = std::array::from_fn(|_| fastrand::u8(..));
        let (state, first) = scram_client::start(nonce, &ClientBinding::Unable);
        let mut out = Vec::new();
        auth::put_sasl_initial(&mut out, Mechanism::Scram, &first);
        stream.write_all(&out)?;
        let (_, body) = read_message(stream)?;
        let AuthRequest::SaslContinue { data: challenge } = AuthRequest::parse(&body)? else {
            bail!("SCRAM was answered with {:?}", text(&body));
        };
        let state = state.handle(challenge)?;
        let mut keys = self.keys.borrow_mut();
        let keys = match keys.take().filter(|keys| keys.fit(state.salt(), state.iterations())) {
            Some(kept) => keys.insert(kept),
            None => keys.insert(ScramKeys::derive(password, state.salt(), state.iterations())),
        };
        let (state, last) = state.answer(keys)?;
        out.clear();
        auth::put_sasl_response(&mut out, &last);
        stream.write_all(&out)?;
        let (_, body) = read_message(stream)?;
        let AuthRequest::SaslFinal { data: proof } = AuthRequest::parse(&body)? else {
            bail!("SCRAM ended with {:?}", text(&body));
        };
        Ok(state.handle(proof)?)
    }
}

fn read_message(stream: &mut Stream) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [tag, len @ ..] = head;
    let len = (u32::from_be_bytes(len) as usize).checked_sub(4).context("a message's length")?;
    ensure!(len <= MESSAGE_MAX, "a message of {len} bytes");
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    Ok((tag, body))
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).replace('\0', " ")
}
