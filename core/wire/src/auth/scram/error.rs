//! What can go wrong in a SCRAM exchange, and what a client of ours is told of it.
//!
//! Invariant: a report says nothing of why a proof was refused, and shows nothing of the client's
//! that is not printable.
//! Source: the texts are those of PostgreSQL 18, `src/backend/libpq/auth-scram.c`.

use super::SCRAM_ITERATIONS_MAX;
use crate::auth::login_failed;
use crate::auth::secret::Refusal;
use crate::report::{Report, SqlState};

/// A SCRAM exchange that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The message is not what the exchange has in this place.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// The GS2 header has another byte in this place.
    #[error("malformed SCRAM message: {what} {}", shown(*.found))]
    Header {
        /// What is wrong.
        what: &'static str,
        /// The byte.
        found: u8,
    },
    /// Something of RFC 5802 that nobody speaks to PostgreSQL.
    #[error("unsupported in SCRAM: {0}")]
    Unsupported(&'static str),
    /// The nonce is not the one of this exchange.
    #[error("SCRAM nonce mismatch")]
    Nonce,
    /// The client believes that we cannot bind the channel, and we offered it: somebody between us
    /// took the offer away.
    #[error("SCRAM channel binding was offered, and the client was not told")]
    Downgrade,
    /// Another type of channel binding than `tls-server-end-point`.
    #[error("unsupported SCRAM channel-binding type {0:?}")]
    BindingType(Sanitized),
    /// The client sees another certificate than ours at the end of its TLS channel.
    #[error("SCRAM channel binding check failed: the client's TLS ends at another certificate")]
    ChannelBinding,
    /// The last message does not repeat the first one's header, where no channel was bound.
    #[error("the last SCRAM message has a channel binding that the first one had not")]
    BindingAttribute,
    /// The proof is wrong, or there is none that could be right.
    #[error("SCRAM proof refused: {0}")]
    Refused(Refusal),
    /// The server offers nothing that we speak.
    #[error("the server offers no mechanism that Stent speaks")]
    NoMechanism,
    /// The server offers channel binding where there is no TLS: somebody between us ends it.
    #[error(
        "the server offers SCRAM-SHA-256-PLUS on a connection without TLS: somebody in between \
         ends its TLS"
    )]
    PlusInClear,
    /// Channel binding is asked for by the configuration, and cannot be had.
    #[error("channel_binding=require: {0}")]
    BindingRequired(&'static str),
    /// The server asks for more iterations than are computed.
    #[error(
        "the server asks for {iterations} SCRAM iterations, the most is {SCRAM_ITERATIONS_MAX}"
    )]
    Iterations {
        /// How many.
        iterations: u32,
    },
    /// The keys at hand are for another salt or iteration count.
    #[error("the SCRAM keys at hand are for another salt: the password itself is needed")]
    OtherSalt,
    /// The server refused us.
    #[error("the server refused the SCRAM exchange")]
    ServerRefused,
    /// The server does not know the password: it is not the server it claims to be.
    #[error("the server's SCRAM signature is wrong: it does not know the password")]
    ServerSignature,
}

impl ScramError {
    /// What a client of ours is told before its connection is closed: a refusal says nothing
    /// about why, the rest is a mistake in the protocol.
    pub fn report(self, user: &str) -> Report {
        let violation = |what| Report::fatal(SqlState::PROTOCOL_VIOLATION, what);
        let invalid = |what| Report::fatal(SqlState::INVALID_AUTHORIZATION, what);
        const MALFORMED: &str = "malformed SCRAM message";
        match self {
            Self::Refused(_) => login_failed(user),
            Self::Malformed(detail) => violation(MALFORMED).with_detail(detail),
            Self::Header { what, found } => {
                violation(MALFORMED).with_detail(format!("{what} \"{}\".", shown(found)))
            }
            Self::Nonce => violation("invalid SCRAM response").with_detail("Nonce does not match."),
            Self::Downgrade => invalid("SCRAM channel binding negotiation error").with_detail(
                "The client supports SCRAM channel binding but thinks the server does not.  \
                 However, this server does support channel binding.",
            ),
            Self::BindingType(kind) => Report::fatal(
                SqlState::PROTOCOL_VIOLATION,
                format!("unsupported SCRAM channel-binding type \"{kind}\""),
            ),
            Self::ChannelBinding => invalid("SCRAM channel binding check failed"),
            Self::BindingAttribute => {
                violation("unexpected SCRAM channel-binding attribute in client-final-message")
            }
            Self::Unsupported(what) => Report::fatal(SqlState::FEATURE_NOT_SUPPORTED, what),
            Self::NoMechanism
            | Self::PlusInClear
            | Self::BindingRequired(_)
            | Self::Iterations { .. }
            | Self::OtherSalt
            | Self::ServerRefused
            | Self::ServerSignature => {
                Report::fatal(SqlState::CANNOT_CONNECT, "login to the server failed")
            }
        }
    }
}

/// A byte as PostgreSQL shows one that it did not expect (`sanitize_char`).
fn shown(byte: u8) -> String {
    if byte.is_ascii_graphic() {
        format!("'{}'", char::from(byte))
    } else {
        format!("0x{byte:02x}")
    }
}

/// The beginning of a client's text as PostgreSQL shows it (`sanitize_str`): at most 30 bytes, a
/// question mark for each that is not printable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sanitized([u8; Self::LEN]);

impl Sanitized {
    const LEN: usize = 30;

    /// Of a text.
    pub fn of(text: &str) -> Self {
        let mut kept = [0; Self::LEN];
        for (to, from) in kept.iter_mut().zip(text.bytes()) {
            *to = if from.is_ascii_graphic() { from } else { b'?' };
        }
        assert!(kept.is_ascii(), "nothing else is kept");
        Self(kept)
    }
}

impl std::fmt::Display for Sanitized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take_while(|byte| **byte != 0).try_for_each(|byte| {
            use std::fmt::Write as _;
            f.write_char(char::from(*byte))
        })
    }
}

impl std::fmt::Debug for Sanitized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{self}\"")
    }
}
