//! Why a look into a target ended early.
//!
//! Invariant: none of these ends the agent or holds up a round; each becomes the note of an
//! attribution. A text that came from the target is cut to [`SAID_MAX`] before it gets here.

use std::io;

use super::guard::Refusal;

/// The longest text of a target's that is kept.
pub(crate) const SAID_MAX: usize = 200;

/// What went wrong, and so what the note says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// Nothing was done to the target.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The target ended, or another process has its number.
    #[error("the process ended while it was looked into")]
    Gone,
    /// The signal could not be sent.
    #[error("the signal could not be sent: {0}")]
    Signal(io::Error),
    /// The inspector's connection failed.
    #[error("the inspector's connection failed: {0}")]
    Socket(#[from] io::Error),
    /// The inspector's answer took too long.
    #[error("the inspector did not answer {0} in time")]
    Late(&'static str),
    /// More bytes than an answer may have.
    #[error("the inspector's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Not what the protocol says.
    #[error("the inspector's answer makes no sense: {0}")]
    Nonsense(&'static str),
    /// It refused a call.
    #[error("the inspector refused: {0}")]
    Said(String),
}

/// A text of the target's, short enough to be kept.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(SAID_MAX).collect()
}
