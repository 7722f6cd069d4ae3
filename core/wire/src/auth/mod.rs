//! Authentication in both roles: towards clients as a server, towards servers as a client.
//!
//! Owns: the messages of the exchange (this file), what a stored secret can prove ([`secret`]),
//! MD5 ([`md5`]) and SCRAM-SHA-256 ([`scram_server`], [`scram_client`], [`scram`]).
//! Refuses: randomness (nonces and salts are arguments), channel binding, and telling a client
//! whether it was the user or the password that was wrong.
//! Invariant: secrets compare in constant time, never print, and are wiped when dropped.
//! Source: PostgreSQL documentation, "Message Formats" and "SASL Authentication"; RFC 5802, 7677.

use crate::frame::{HEADER_LEN, cstr, put_message};
use crate::report::{Report, SqlState};

pub mod lookup;
pub mod md5;
pub mod scram;
pub mod scram_client;
pub mod scram_server;
pub mod secret;

/// The one mechanism that is offered and accepted.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// The longest message that a client may send before it is logged in, header included.
pub const ANSWER_LEN_MAX: usize = 10_000;

/// The most mechanisms that a server may offer.
const MECHANISMS_MAX: usize = 32;

/// The body of an Authentication message (`R`) from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthRequest<'a> {
    /// Nothing more is asked.
    Ok,
    /// The password as it is.
    CleartextPassword,
    /// The password hashed with the user's name and this salt.
    Md5Password {
        /// The salt.
        salt: [u8; 4],
    },
    /// A SASL exchange with one of these mechanisms.
    Sasl {
        /// Their names, the server's favourite first.
        mechanisms: Vec<&'a str>,
    },
    /// The server's next SASL message.
    SaslContinue {
        /// Its bytes.
        data: &'a [u8],
    },
    /// The server's last SASL message.
    SaslFinal {
        /// Its bytes.
        data: &'a [u8],
    },
    /// Something that Stent does not speak: Kerberos (2), GSSAPI (7, 8), SSPI (9), OAuth's and
    /// whatever may come.
    Unsupported {
        /// The code.
        code: i32,
    },
}

/// What a client sends while it is asked for proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Not a whole message: call again when there are at least `total` bytes, from the first on.
    NeedMore {
        /// At most [`ANSWER_LEN_MAX`].
        total: usize,
    },
    /// A PasswordMessage, SASLInitialResponse or SASLResponse, whichever is due: all are `p`.
    Proof {
        /// Without tag and length.
        body: &'a [u8],
        /// With them.
        consumed: usize,
    },
    /// The client gives up: Terminate.
    Terminate,
}

/// A message of an authentication exchange that is not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthMessageError {
    /// The client sends something else than an answer.
    #[error("expected password response, got message type {tag:#04x}")]
    Unexpected {
        /// Its type byte.
        tag: u8,
    },
    /// The client's answer is too long, or shorter than its own length field.
    #[error("invalid password packet size {len}")]
    AnswerLength {
        /// The length field.
        len: u32,
    },
    /// An Authentication message of the server.
    #[error("malformed Authentication message (code {code:?})")]
    Request {
        /// Its code, if it has one.
        code: Option<i32>,
    },
    /// A password message without its NUL, or with more behind it.
    #[error("invalid password packet size")]
    Password,
    /// A password message without a password.
    #[error("empty password returned by client")]
    EmptyPassword,
    /// A SASLInitialResponse whose parts do not add up to it.
    #[error("malformed SASLInitialResponse")]
    SaslInitial,
    /// A mechanism that was not offered.
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
}

impl AuthMessageError {
    /// What the sender is told before the connection is closed.
    pub fn report(self) -> Report {
        let code = match self {
            Self::EmptyPassword => SqlState::INVALID_PASSWORD,
            Self::Unexpected { .. }
            | Self::AnswerLength { .. }
            | Self::Request { .. }
            | Self::Password
            | Self::SaslInitial
            | Self::Mechanism => SqlState::PROTOCOL_VIOLATION,
        };
        Report::fatal(code, self.to_string())
    }
}

/// Reads the message with which a client answers a request for proof, out of all bytes that it has
/// sent since. Its length is bounded: nobody knows yet who it is.
pub fn parse_answer(bytes: &[u8]) -> Result<Answer<'_>, AuthMessageError> {
    let Some((&tag, rest)) = bytes.split_first() else {
        return Ok(Answer::NeedMore { total: HEADER_LEN });
    };
    if tag != b'p' && tag != b'X' {
        return Err(AuthMessageError::Unexpected { tag });
    }
    let Some((&len, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(Answer::NeedMore { total: HEADER_LEN });
    };
    let len = u32::from_be_bytes(len);
    let total = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(1);
    if !(HEADER_LEN..=ANSWER_LEN_MAX).contains(&total) {
        return Err(AuthMessageError::AnswerLength { len });
    }
    let Some(body) = rest.get(..total - HEADER_LEN) else {
        return Ok(Answer::NeedMore { total });
    };
    assert!(total <= bytes.len(), "an answer is complete when all of its bytes are there");
    if tag == b'X' { Ok(Answer::Terminate) } else { Ok(Answer::Proof { body, consumed: total }) }
}

impl<'a> AuthRequest<'a> {
    /// Reads the body of an Authentication message.
    pub fn parse(body: &'a [u8]) -> Result<Self, AuthMessageError> {
        let short = AuthMessageError::Request { code: None };
        let (&code, rest) = body.split_first_chunk::<4>().ok_or(short)?;
        let code = i32::from_be_bytes(code);
        let bad = AuthMessageError::Request { code: Some(code) };
        match code {
            0 if rest.is_empty() => Ok(Self::Ok),
            3 if rest.is_empty() => Ok(Self::CleartextPassword),
            5 => rest.try_into().map(|salt| Self::Md5Password { salt }).map_err(|_| bad),
            10 => mechanisms(rest).map(|mechanisms| Self::Sasl { mechanisms }).ok_or(bad),
            11 => Ok(Self::SaslContinue { data: rest }),
            12 => Ok(Self::SaslFinal { data: rest }),
            0 | 3 => Err(bad),
            _ => Ok(Self::Unsupported { code }),
        }
    }
}

/// The names of an AuthenticationSASL: one string each, then an empty one.
fn mechanisms(mut rest: &[u8]) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    loop {
        let (name, after) = cstr(rest)?;
        if name.is_empty() {
            return (after.is_empty() && !names.is_empty()).then_some(names);
        }
        if names.len() == MECHANISMS_MAX {
            return None;
        }
        names.push(std::str::from_utf8(name).ok()?);
        rest = after;
    }
}

/// Appends an AuthenticationOk.
pub fn put_ok(out: &mut Vec<u8>) {
    put_request(out, 0, &[]);
}

/// Appends an AuthenticationCleartextPassword.
pub fn put_cleartext_password(out: &mut Vec<u8>) {
    put_request(out, 3, &[]);
}

/// Appends an AuthenticationMD5Password.
pub fn put_md5_password(out: &mut Vec<u8>, salt: [u8; 4]) {
    put_request(out, 5, &salt);
}

/// Appends an AuthenticationSASL that offers SCRAM-SHA-256.
pub fn put_sasl(out: &mut Vec<u8>) {
    put_request(out, 10, format!("{SCRAM_SHA_256}\0\0").as_bytes());
}

/// Appends an AuthenticationSASLContinue.
pub fn put_sasl_continue(out: &mut Vec<u8>, data: &str) {
    put_request(out, 11, data.as_bytes());
}

/// Appends an AuthenticationSASLFinal.
pub fn put_sasl_final(out: &mut Vec<u8>, data: &str) {
    put_request(out, 12, data.as_bytes());
}

fn put_request(out: &mut Vec<u8>, code: i32, rest: &[u8]) {
    put_message(out, b'R', |body| {
        body.extend_from_slice(&code.to_be_bytes());
        body.extend_from_slice(rest);
    });
}

/// Appends a PasswordMessage: a cleartext password or an MD5 answer.
pub fn put_password(out: &mut Vec<u8>, password: &[u8]) {
    assert!(!password.contains(&0), "secrets have no NUL");
    put_message(out, b'p', |body| {
        body.extend_from_slice(password);
        body.push(0);
    });
}

/// Reads the body of a PasswordMessage. Source: PostgreSQL, `recv_password_packet`.
pub fn parse_password(body: &[u8]) -> Result<&[u8], AuthMessageError> {
    match cstr(body) {
        Some((b"", b"")) => Err(AuthMessageError::EmptyPassword),
        Some((password, b"")) => Ok(password),
        Some(_) | None => Err(AuthMessageError::Password),
    }
}

/// Appends a SASLInitialResponse for SCRAM-SHA-256.
pub fn put_sasl_initial(out: &mut Vec<u8>, data: &str) {
    put_message(out, b'p', |body| {
        body.extend_from_slice(SCRAM_SHA_256.as_bytes());
        body.push(0);
        body.extend_from_slice(&(data.len() as u32).to_be_bytes());
        body.extend_from_slice(data.as_bytes());
    });
}

/// Reads the body of a SASLInitialResponse for SCRAM-SHA-256: the client's first message.
///
/// A length of -1 (no initial response) is refused: in SCRAM the client always speaks first, and
/// no client of PostgreSQL waits to be asked.
pub fn parse_sasl_initial(body: &[u8]) -> Result<&[u8], AuthMessageError> {
    let (mechanism, rest) = cstr(body).ok_or(AuthMessageError::SaslInitial)?;
    if mechanism != SCRAM_SHA_256.as_bytes() {
        return Err(AuthMessageError::Mechanism);
    }
    let (&len, data) = rest.split_first_chunk::<4>().ok_or(AuthMessageError::SaslInitial)?;
    // Compared as they are, never added to: a length of 2^31 - 1 must not wrap (CVE-2026-6664).
    if usize::try_from(i32::from_be_bytes(len)) == Ok(data.len()) {
        Ok(data)
    } else {
        Err(AuthMessageError::SaslInitial)
    }
}

/// Appends a SASLResponse.
pub fn put_sasl_response(out: &mut Vec<u8>, data: &str) {
    put_message(out, b'p', |body| body.extend_from_slice(data.as_bytes()));
}

/// The one answer to a wrong password, a user without one, and a user that does not exist.
pub fn login_failed(user: &str) -> Report {
    Report::fatal(
        SqlState::INVALID_PASSWORD,
        format!("password authentication failed for user \"{user}\""),
    )
}
