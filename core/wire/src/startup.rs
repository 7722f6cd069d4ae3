//! The first packet of a connection: what a client wants, before anything is known of it.
//!
//! Owns: the lengths, codes and layout of start-up packets, the limits that hold before
//! authentication, and the packets with which we open a server connection.
//! Refuses: sockets, TLS, and deciding whether the client may do what it asks.
//! Invariant: nothing past the declared length is read; a length is checked before anybody waits
//! for that many bytes; bytes that arrive behind a request for encryption are never a packet
//! (they were sent in the clear, by whoever: CVE-2021-23222, CVE-2021-3935).
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol"; PostgreSQL,
//! `src/backend/tcop/backend_startup.c`, `ProcessStartupPacket`.

use crate::cancel::{
    CANCEL_KEY_LEN_MAX, CANCEL_KEY_LEN_MIN, CANCEL_REQUEST_CODE, CancelKey, CancelRequest,
};
use crate::frame::cstr;
use crate::params::Params;
use crate::report::reply::put_negotiate_protocol_version;

mod build;
mod error;

pub use build::{BadStartupRequest, StartupRequest, put_ssl_request};
pub use error::StartupError;

/// The longest start-up packet: PostgreSQL's `MAX_STARTUP_PACKET_LENGTH` and the length field,
/// which that does not count.
pub const STARTUP_LEN_MAX: usize = 10_000 + LENGTH_LEN;

/// The shortest: a length and a code.
pub const STARTUP_LEN_MIN: usize = LENGTH_LEN + CODE_LEN;

/// The most `_pq_.` options that are listed back to a client.
pub const PROTOCOL_OPTIONS_MAX: usize = 64;

const LENGTH_LEN: usize = 4;
const CODE_LEN: usize = 4;
const PID_LEN: usize = 4;
const SSL_REQUEST_CODE: u32 = 80_877_103;
const GSSENC_REQUEST_CODE: u32 = 80_877_104;

/// The first byte of a TLS record that carries a handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// How requests of HTTP/1 begin, and the preface of HTTP/2. As lengths they are all far too long.
const HTTP: [&[u8; 4]; 10] =
    [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC", b"CONN", b"TRAC", b"PRI "];

/// What the bytes hold so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not a whole packet: call again when there are at least `total` bytes, from the first on.
    NeedMore {
        /// At most [`STARTUP_LEN_MAX`].
        total: usize,
    },
    /// A packet.
    Complete {
        /// What it says.
        packet: Packet,
        /// Its length: 0 for [`Packet::DirectTls`], whose bytes are the handshake's.
        consumed: usize,
    },
}

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A TLS handshake without a request for one (PostgreSQL 17, `sslnegotiation=direct`).
    DirectTls,
    /// SSLRequest: answer `S` or `N`.
    SslRequest,
    /// GSSENCRequest: answer `G` or `N`.
    GssEncRequest,
    /// CancelRequest: nothing is answered.
    Cancel(CancelRequest),
    /// StartupMessage.
    Startup(Box<Startup>),
}

/// A StartupMessage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The version that the client asks for.
    pub version: ProtocolVersion,
    /// Who; never empty.
    pub user: String,
    /// Where; the user's name where the client gave none.
    pub database: String,
    /// Whether it wants a replication connection.
    pub replication: Replication,
    /// All other parameters; those of `options` first, which the named ones override.
    pub params: Params,
    /// Names of the `_pq_.` options, of which we know none.
    pub protocol_options: Vec<Box<[u8]>>,
}

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolVersion {
    /// The first number.
    pub major: u16,
    /// The second.
    pub minor: u16,
}

/// The start-up parameter `replication`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// An ordinary connection.
    Off,
    /// Physical replication.
    Physical,
    /// Logical replication, which is connected to a database.
    Logical,
}

/// Which requests for encryption a connection has made: each may come once, in either order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncryptionAsked {
    ssl: bool,
    gss: bool,
}

/// Reads the first packet out of all bytes that the connection has sent.
///
/// After SslRequest or GssEncRequest has been answered, call it with what comes then.
pub fn parse(bytes: &[u8]) -> Result<Parsed, StartupError> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Parsed::Complete { packet: Packet::DirectTls, consumed: 0 });
    }
    let Some(first) = bytes.first_chunk::<LENGTH_LEN>() else {
        return Ok(Parsed::NeedMore { total: LENGTH_LEN });
    };
    if HTTP.contains(&first) {
        return Err(StartupError::Http);
    }
    let len = u32::from_be_bytes(*first);
    let total = usize::try_from(len).unwrap_or(usize::MAX);
    if !(STARTUP_LEN_MIN..=STARTUP_LEN_MAX).contains(&total) {
        return Err(StartupError::Length { len });
    }
    let Some((&code, rest)) = bytes[LENGTH_LEN..].split_first_chunk::<CODE_LEN>() else {
        return Ok(Parsed::NeedMore { total });
    };
    let wanted = Wanted::of(u32::from_be_bytes(code), total)?;
    let Some(body) = rest.get(..total - STARTUP_LEN_MIN) else {
        return Ok(Parsed::NeedMore { total });
    };
    assert!(total <= bytes.len(), "a packet is complete when all of its bytes are there");
    let packet = match wanted {
        Wanted::Ssl | Wanted::GssEnc if total < bytes.len() => {
            return Err(StartupError::BytesBehindEncryptionRequest);
        }
        Wanted::Ssl => Packet::SslRequest,
        Wanted::GssEnc => Packet::GssEncRequest,
        Wanted::Cancel => Packet::Cancel(parse_cancel(body)?),
        Wanted::Session(version) => Packet::Startup(Box::new(Startup::parse(version, body)?)),
    };
    Ok(Parsed::Complete { packet, consumed: total })
}

impl ProtocolVersion {
    /// What all clients and servers speak since PostgreSQL 7.4; Stent speaks it to servers.
    pub const V3_0: Self = Self { major: 3, minor: 0 };

    /// PostgreSQL 18's: cancel keys of up to 256 bytes. The newest that Stent speaks to clients.
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    /// The number of the protocol.
    pub const fn code(self) -> u32 {
        ((self.major as u32) << 16) | self.minor as u32
    }
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl EncryptionAsked {
    /// Notes a packet; refuses the second request of a kind, as PostgreSQL does.
    pub fn note(&mut self, packet: &Packet) -> Result<(), StartupError> {
        let asked = match packet {
            Packet::SslRequest => &mut self.ssl,
            Packet::GssEncRequest => &mut self.gss,
            Packet::DirectTls | Packet::Cancel(_) | Packet::Startup(_) => return Ok(()),
        };
        if std::mem::replace(asked, true) {
            return Err(StartupError::EncryptionAskedTwice);
        }
        Ok(())
    }
}

impl Startup {
    /// The version that is spoken with this client: the one it asks for, or the newest that we
    /// know. (3.1 was never described, and is taken for what it asks, as PostgreSQL 18 does.)
    pub fn spoken(&self) -> ProtocolVersion {
        self.version.min(ProtocolVersion::V3_2)
    }

    /// Whether the client asks for a newer version than is spoken, or for options: then
    /// [`Startup::put_negotiation`] comes before authentication.
    pub fn needs_negotiation(&self) -> bool {
        self.spoken() < self.version || !self.protocol_options.is_empty()
    }

    /// Appends the NegotiateProtocolVersion, if one is due.
    pub fn put_negotiation(&self, out: &mut Vec<u8>) {
        if self.needs_negotiation() {
            let unknown = self.protocol_options.iter().map(AsRef::as_ref);
            put_negotiate_protocol_version(out, self.spoken().code(), unknown);
        }
    }

    /// How many bytes the client's cancel key has: as many as PostgreSQL 18 gives.
    pub fn cancel_key_len(&self) -> usize {
        let len = if self.spoken() < ProtocolVersion::V3_2 { CANCEL_KEY_LEN_MIN } else { 32 };
        assert!((CANCEL_KEY_LEN_MIN..=CANCEL_KEY_LEN_MAX).contains(&len));
        len
    }

    fn parse(version: ProtocolVersion, body: &[u8]) -> Result<Self, StartupError> {
        let given = Given::read(body)?;
        let user = utf8(given.user, "user")?;
        if user.is_empty() {
            return Err(StartupError::NoUser);
        }
        let mut database = utf8(given.database, "database")?;
        if database.is_empty() {
            database.clone_from(&user);
        }
        let mut params = Params::default();
        params.set_options(given.options)?;
        for (name, value) in given.settings {
            params.set(name, value)?;
        }
        let replication = Replication::parse(given.replication)?;
        assert!(!user.is_empty() && !database.is_empty(), "a session has a user and a database");
        Ok(Self {
            version,
            user,
            database,
            replication,
            params,
            protocol_options: given.protocol_options,
        })
    }
}

impl Replication {
    /// PostgreSQL takes `database` and all spellings of a boolean (`parse_bool`).
    fn parse(value: &[u8]) -> Result<Self, StartupError> {
        let word = value.to_ascii_lowercase();
        let begins =
            |of: &str, least: usize| least <= word.len() && of.as_bytes().starts_with(&word);
        match word.as_slice() {
            b"" | b"0" => Ok(Self::Off),
            b"1" => Ok(Self::Physical),
            _ if value == b"database" => Ok(Self::Logical),
            _ if begins("true", 1) || begins("yes", 1) || begins("on", 2) => Ok(Self::Physical),
            _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Ok(Self::Off),
            _ => Err(StartupError::Replication {
                value: String::from_utf8_lossy(value).into_owned(),
            }),
        }
    }
}

/// What a packet is, by its code.
enum Wanted {
    Ssl,
    GssEnc,
    Cancel,
    Session(ProtocolVersion),
}

impl Wanted {
    fn of(code: u32, total: usize) -> Result<Self, StartupError> {
        let version = ProtocolVersion { major: (code >> 16) as u16, minor: (code & 0xffff) as u16 };
        match code {
            SSL_REQUEST_CODE | GSSENC_REQUEST_CODE if total != STARTUP_LEN_MIN => {
                Err(StartupError::Length { len: total as u32 })
            }
            SSL_REQUEST_CODE => Ok(Self::Ssl),
            GSSENC_REQUEST_CODE => Ok(Self::GssEnc),
            CANCEL_REQUEST_CODE => {
                CancelKey::check_len(total.saturating_sub(STARTUP_LEN_MIN + PID_LEN))?;
                Ok(Self::Cancel)
            }
            _ if version.major == 3 => Ok(Self::Session(version)),
            _ => Err(StartupError::Version { version }),
        }
    }
}

/// The parameters of a packet before any is judged. The last of a repeated name counts.
#[derive(Default)]
struct Given<'a> {
    user: &'a [u8],
    database: &'a [u8],
    replication: &'a [u8],
    options: &'a [u8],
    settings: Vec<(&'a [u8], &'a [u8])>,
    protocol_options: Vec<Box<[u8]>>,
}

impl<'a> Given<'a> {
    /// Reads names and values up to the terminator, which must be the last byte.
    fn read(body: &'a [u8]) -> Result<Self, StartupError> {
        let mut given = Self::default();
        let mut rest = body;
        loop {
            let (name, after) = cstr(rest).ok_or(StartupError::Layout)?;
            if name.is_empty() {
                return if after.is_empty() { Ok(given) } else { Err(StartupError::Layout) };
            }
            let (value, after) = cstr(after).ok_or(StartupError::Layout)?;
            assert!(after.len() < rest.len(), "each pair takes bytes");
            given.note(name, value)?;
            rest = after;
        }
    }

    fn note(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), StartupError> {
        match name {
            b"user" => self.user = value,
            b"database" => self.database = value,
            b"replication" => self.replication = value,
            b"options" => self.options = value,
            _ if name.starts_with(b"_pq_.") => {
                if self.protocol_options.len() == PROTOCOL_OPTIONS_MAX {
                    return Err(StartupError::TooManyProtocolOptions);
                }
                self.protocol_options.push(name.into());
            }
            _ => self.settings.push((name, value)),
        }
        Ok(())
    }
}

fn parse_cancel(body: &[u8]) -> Result<CancelRequest, StartupError> {
    let (&pid, key) =
        body.split_first_chunk::<PID_LEN>().expect("its length was checked with its key's");
    Ok(CancelRequest { pid: i32::from_be_bytes(pid), key: CancelKey::new(key)? })
}

fn utf8(name: &[u8], of: &'static str) -> Result<String, StartupError> {
    std::str::from_utf8(name).map(ToOwned::to_owned).map_err(|_| StartupError::NotUtf8 { of })
}
