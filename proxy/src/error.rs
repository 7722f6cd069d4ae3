//! Why the proxy could not start or go on, for the person who started it.

use std::io;

/// A failure of the proxy as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {source}; {mend}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
        /// What to do.
        mend: &'static str,
    },
    /// A user's secret cannot be used.
    #[error("user {name:?}: {why}")]
    User {
        /// Whose.
        name: String,
        /// Why.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("{what}: {why}")]
    Tls {
        /// The file or key.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system gives no unpredictable bytes.
    #[error("cannot read the operating system's random generator: {0}")]
    Entropy(io::Error),
    /// There is nothing to take over, or it is not worth it.
    #[error("cannot take over from the proxy that runs: {0}; it goes on")]
    Takeover(io::Error),
    /// A further thread cannot be had.
    #[error("cannot start a worker: {0}; lower workers")]
    Worker(io::Error),
    /// A thread that serves clients has panicked: it has said why.
    #[error("worker {worker} has ended; the proxy cannot go on without it")]
    WorkerEnded {
        /// Its number.
        worker: u16,
    },
}

impl Error {
    /// A file of TLS that cannot be used.
    pub(crate) fn tls(path: &std::path::Path, why: impl ToString) -> Self {
        Self::Tls { what: path.display().to_string(), why: why.to_string() }
    }

    /// A failure to listen, with what to do about its cause.
    pub(crate) fn listen(address: impl ToString, source: io::Error) -> Self {
        const MENDS: [(io::ErrorKind, &str); 4] = [
            (
                io::ErrorKind::AddrInUse,
                "another process has it: end that process or choose another port",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "choose a port above 1023 or a folder that this user may write to",
            ),
            (io::ErrorKind::NotFound, "create the folder or choose another"),
            (io::ErrorKind::AddrNotAvailable, "choose an address of this machine"),
        ];
        let known = MENDS.iter().find(|(kind, _)| *kind == source.kind());
        let mend = known.map_or("choose another address", |(_, mend)| mend);
        Self::Listen { address: address.to_string(), source, mend }
    }
}
