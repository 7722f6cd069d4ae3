//! Why a first packet is refused, and what its sender is told.
//!
//! Owns: SQLSTATE, message and hint of each refusal, in PostgreSQL's words where it has some.
//! Refuses: echoing bytes of the packet, except names and values that are shown as text.
//! Invariant: a client that speaks HTTP is answered in HTTP, every other in PostgreSQL's protocol.

use super::{PROTOCOL_OPTIONS_MAX, ProtocolVersion};
use crate::cancel::BadCancelKey;
use crate::params::ParamsError;
use crate::report::{Report, SqlState};

/// A first packet that is none. All are the client's fault, and none is worth a retry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// A request for encryption with bytes behind it.
    #[error("received unencrypted data after a request for encryption")]
    BytesBehindEncryptionRequest,
    /// A cancel request whose key no protocol version allows.
    #[error("invalid cancel request: {0}")]
    CancelKey(#[from] BadCancelKey),
    /// A second SSLRequest or GSSENCRequest.
    #[error("encryption was requested twice on one connection")]
    EncryptionAskedTwice,
    /// The client speaks HTTP.
    #[error("received an HTTP request instead of a PostgreSQL startup packet")]
    Http,
    /// Names, values and terminator do not add up to the packet.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    /// The length field is out of range, or is not that of the packet's kind.
    #[error("invalid length of startup packet")]
    Length {
        /// The length field.
        len: u32,
    },
    /// No user, or an empty one.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// A user or database name that is not UTF-8.
    #[error("the {of} name in the startup packet is not valid UTF-8")]
    NotUtf8 {
        /// `user` or `database`.
        of: &'static str,
    },
    /// A parameter that cannot be one.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// `replication` is neither a boolean nor `database`.
    #[error("invalid value for parameter \"replication\": \"{value}\"")]
    Replication {
        /// The value, what is not UTF-8 replaced.
        value: String,
    },
    /// More `_pq_.` options than we list back.
    #[error("more than {PROTOCOL_OPTIONS_MAX} protocol options in startup packet")]
    TooManyProtocolOptions,
    /// A protocol version that is not 3.x.
    #[error("unsupported frontend protocol {version}: server supports 3.0 to 3.2")]
    Version {
        /// The version asked for.
        version: ProtocolVersion,
    },
}

impl StartupError {
    /// What the client is told, if it speaks PostgreSQL's protocol.
    pub fn report(&self) -> Report {
        if let Self::Params(error) = self {
            return error.report();
        }
        let report = Report::fatal(self.sqlstate(), self.to_string());
        match self.hint() {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }

    /// Appends the answer after which the connection is closed.
    pub fn put_answer(&self, out: &mut Vec<u8>) {
        match self {
            Self::Http => out.extend_from_slice(http_refusal().as_bytes()),
            // The sender of a cancel request waits for the connection to close, not for an answer.
            Self::CancelKey(_) => {}
            // PostgreSQL logs it and closes (COMMERROR in `ProcessStartupPacket`): node-postgres sends
            // Terminate in place of a first packet when it is ended before it has begun.
            Self::Length { .. } => {}
            Self::BytesBehindEncryptionRequest
            | Self::EncryptionAskedTwice
            | Self::Layout
            | Self::NoUser
            | Self::NotUtf8 { .. }
            | Self::Params(_)
            | Self::Replication { .. }
            | Self::TooManyProtocolOptions
            | Self::Version { .. } => self.report().put(out),
        }
    }

    /// The SQLSTATE.
    pub fn sqlstate(&self) -> SqlState {
        match self {
            Self::BytesBehindEncryptionRequest
            | Self::CancelKey(_)
            | Self::Http
            | Self::Layout
            | Self::Length { .. }
            | Self::TooManyProtocolOptions => SqlState::PROTOCOL_VIOLATION,
            Self::EncryptionAskedTwice | Self::Version { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            Self::NoUser => SqlState::INVALID_AUTHORIZATION,
            Self::NotUtf8 { .. } => SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            Self::Params(error) => error.report().code,
            Self::Replication { .. } => SqlState::INVALID_PARAMETER_VALUE,
        }
    }

    /// What to do, where that is not plain from the message.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::BytesBehindEncryptionRequest => Some(
                "This could be either a client-software bug or evidence of an attempted \
                 man-in-the-middle attack.",
            ),
            Self::Http => Some("Point health checks at the admin port, not at this one."),
            Self::Layout | Self::Length { .. } => {
                Some("Is this a PostgreSQL client? This port speaks nothing else.")
            }
            Self::NotUtf8 { .. } => Some("Use a name that is valid UTF-8."),
            Self::Replication { .. } => {
                Some("Valid values are: \"false\", 0, \"true\", 1, \"database\".")
            }
            Self::Version { .. } => Some("Use a client that speaks protocol 3 (PostgreSQL 7.4+)."),
            Self::CancelKey(_)
            | Self::EncryptionAskedTwice
            | Self::NoUser
            | Self::Params(_)
            | Self::TooManyProtocolOptions => None,
        }
    }
}

/// One line that a person with curl, or a load balancer's log, can read.
fn http_refusal() -> String {
    let body = "This port speaks the PostgreSQL protocol, not HTTP. \
                Health checks and metrics are on the admin port.\n";
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}
