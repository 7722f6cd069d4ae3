//! The packets with which we open a connection to a server.
//!
//! Owns: StartupMessage (3.0) and SSLRequest. Refuses: texts with a NUL, and packets longer than
//! a server reads. (A CancelRequest writes itself: [`crate::cancel::CancelRequest::put`].)
//! Invariant: [`super::parse`] reads what is written here.

use super::{ProtocolVersion, Replication, SSL_REQUEST_CODE, STARTUP_LEN_MAX, STARTUP_LEN_MIN};
use crate::params::Params;

/// A request that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStartupRequest {
    /// A name with a NUL, which would end it early.
    #[error("the {of} name contains a NUL")]
    Nul {
        /// `user` or `database`.
        of: &'static str,
    },
    /// More than a server reads.
    #[error("the startup packet would have {len} bytes, servers read {STARTUP_LEN_MAX}")]
    TooLong {
        /// Its length.
        len: usize,
    },
}

/// A session that we ask a server for.
#[derive(Clone, Copy, Debug)]
pub struct StartupRequest<'a> {
    /// Who.
    pub user: &'a str,
    /// Where.
    pub database: &'a str,
    /// With what. In transaction mode a client's own parameters are not among them: they are
    /// applied by [`Params::sync_sql`], so that they can be taken back.
    pub params: &'a Params,
    /// Whether it is to be a replication connection.
    pub replication: Replication,
}

impl StartupRequest<'_> {
    /// Appends the StartupMessage; leaves `out` as it was where it cannot.
    pub fn put(&self, out: &mut Vec<u8>) -> Result<(), BadStartupRequest> {
        for (of, text) in [("user", self.user), ("database", self.database)] {
            if text.contains('\0') {
                return Err(BadStartupRequest::Nul { of });
            }
        }
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&ProtocolVersion::V3_0.code().to_be_bytes());
        let own = [("user", self.user), ("database", self.database)];
        let replication = match self.replication {
            Replication::Off => None,
            Replication::Physical => Some(("replication", "true")),
            Replication::Logical => Some(("replication", "database")),
        };
        let own =
            own.iter().chain(&replication).map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        for (name, value) in own.chain(self.params.iter()) {
            out.extend_from_slice(name);
            out.push(0);
            out.extend_from_slice(value);
            out.push(0);
        }
        out.push(0);
        let len = out.len() - at;
        if STARTUP_LEN_MAX < len {
            out.truncate(at);
            return Err(BadStartupRequest::TooLong { len });
        }
        assert!(STARTUP_LEN_MIN < len, "a startup packet has parameters");
        out[at..at + 4].copy_from_slice(&(len as u32).to_be_bytes());
        Ok(())
    }
}

/// Appends an SSLRequest.
pub fn put_ssl_request(out: &mut Vec<u8>) {
    out.extend_from_slice(&(STARTUP_LEN_MIN as u32).to_be_bytes());
    out.extend_from_slice(&SSL_REQUEST_CODE.to_be_bytes());
}
