//! Why the agent could not start, for the person who started it.
//!
//! Invariant: everything that can fail later (a target, PostgreSQL, CloudWatch) is a state that is
//! reported, never the end of the agent.

use std::io;

/// A failure of the agent as a whole. The user's environment is at fault; a retry helps only after
/// the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {mend}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
        /// What to do.
        mend: &'static str,
    },
    /// The thread that writes the embedded metric format cannot be started.
    #[error(
        "cannot start the thread that writes metrics to standard output: {0}; raise the process limit"
    )]
    Thread(io::Error),
}

impl Error {
    /// A failure to listen, with what to do about its cause.
    pub(crate) fn listen(address: String, source: io::Error) -> Self {
        let known = MENDS.iter().find(|(kind, _)| *kind == source.kind());
        let mend = known.map_or("choose another admin_listen", |(_, mend)| *mend);
        Self::Listen { address, source, mend }
    }
}

const MENDS: &[(io::ErrorKind, &str)] = &[
    (
        io::ErrorKind::AddrInUse,
        "another process has it: end that process or choose another admin_listen",
    ),
    (
        io::ErrorKind::PermissionDenied,
        "choose a port above 1023, or a folder that this user may write to",
    ),
    (io::ErrorKind::NotFound, "create the folder or choose another"),
    (io::ErrorKind::AddrNotAvailable, "choose an address of this machine"),
];
