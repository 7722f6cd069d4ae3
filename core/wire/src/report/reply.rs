//! The small messages of a server that we write to clients ourselves, and read from servers.
//!
//! Owns: ReadyForQuery, EmptyQueryResponse, ParameterStatus, BackendKeyData and
//! NegotiateProtocolVersion. Refuses: everything that carries rows.
//! Invariant: a parser takes the whole body or fails; what a builder writes, its parser reads.
//! Source: PostgreSQL documentation, "Message Formats".

use crate::cancel::{BadCancelKey, CancelKey};
use crate::frame::{cstr, put_message};

/// The fields of a DataRow's body, NULL as `None`; `None` where it is no such body.
pub fn parse_data_row(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut fields = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let Ok(len) = usize::try_from(i32::from_be_bytes(*len)) else {
            fields.push(None);
            rest = after;
            continue;
        };
        fields.push(Some(after.get(..len)?));
        rest = &after[len..];
    }
    rest.is_empty().then_some(fields)
}

/// The transaction status of a ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: not in a transaction.
    Idle,
    /// `T`: in a transaction.
    Open,
    /// `E`: in a transaction that has failed.
    Failed,
}

impl TransactionStatus {
    /// The byte of the protocol.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }

    /// Reads the byte of the protocol.
    pub const fn parse(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Open),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }
}

/// A message of a server that is not what its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// BackendKeyData is shorter than its process id.
    #[error("BackendKeyData of {bytes} bytes")]
    ShortKeyData {
        /// The body's length.
        bytes: usize,
    },
    /// BackendKeyData with a key that no protocol version allows.
    #[error("BackendKeyData: {0}")]
    Key(#[from] BadCancelKey),
    /// ParameterStatus is not two NUL-terminated strings.
    #[error("malformed ParameterStatus")]
    ParameterStatus,
}

/// Appends a ReadyForQuery.
pub fn put_ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    put_message(out, b'Z', |body| body.push(status.byte()));
}

/// Appends an EmptyQueryResponse.
pub fn put_empty_query_response(out: &mut Vec<u8>) {
    put_message(out, b'I', |_| {});
}

/// Appends a ParameterStatus. The caller passes what a server reported: there is no NUL in it.
pub fn put_parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    assert!(!name.contains(&0) && !value.contains(&0), "a string of the protocol has no NUL");
    put_message(out, b'S', |body| {
        body.extend_from_slice(name);
        body.push(0);
        body.extend_from_slice(value);
        body.push(0);
    });
}

/// Reads the body of a ParameterStatus: name and value.
pub fn parse_parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), BadReply> {
    let (name, rest) = cstr(body).ok_or(BadReply::ParameterStatus)?;
    let (value, rest) = cstr(rest).ok_or(BadReply::ParameterStatus)?;
    if name.is_empty() || !rest.is_empty() {
        return Err(BadReply::ParameterStatus);
    }
    Ok((name, value))
}

/// Appends a BackendKeyData.
pub fn put_backend_key_data(out: &mut Vec<u8>, pid: i32, key: &CancelKey) {
    put_message(out, b'K', |body| {
        body.extend_from_slice(&pid.to_be_bytes());
        body.extend_from_slice(key.as_bytes());
    });
}

/// Reads the body of a BackendKeyData: process id and key.
pub fn parse_backend_key_data(body: &[u8]) -> Result<(i32, CancelKey), BadReply> {
    let short = BadReply::ShortKeyData { bytes: body.len() };
    let (&pid, key) = body.split_first_chunk::<4>().ok_or(short)?;
    Ok((i32::from_be_bytes(pid), CancelKey::new(key)?))
}

/// Appends a NegotiateProtocolVersion: the newest version spoken and the `_pq_.` options that
/// are not known. The first field carries the whole version, as PostgreSQL's servers send it and
/// libpq reads it, although the documentation calls it a minor version.
pub fn put_negotiate_protocol_version<'a>(
    out: &mut Vec<u8>,
    newest: u32,
    unknown: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    put_message(out, b'v', |body| {
        body.extend_from_slice(&newest.to_be_bytes());
        body.extend_from_slice(&(unknown.len() as u32).to_be_bytes());
        for name in unknown {
            assert!(!name.contains(&0), "a string of the protocol has no NUL");
            body.extend_from_slice(name);
            body.push(0);
        }
    });
}
