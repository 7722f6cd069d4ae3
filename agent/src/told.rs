//! What the program around the agent tells it while it runs: its command has another process.
//!
//! Owns: the words. Refuses: orders; the agent watches, and does nothing about what it sees.
//! Invariant: the channel is bounded, and what does not concern a target by process id is not heard.

/// The most news on their way.
pub const NEWS_MAX: usize = 8;

/// Which process a target is from here on. The one before was an earlier life of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The target, which was given by process id.
    pub target: String,
    /// Its process.
    pub pid: u32,
    /// How often it has been restarted before its memory limit; `None`: nobody does.
    pub rejuvenations: Option<u64>,
}
