//! The words between the supervisor's loop and its plan: what happened, and what is to be done.

use std::time::Duration;

use rustix::process::Signal;

/// A child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The one that serves newcomers.
    Proxy,
    /// One that is to take over from it.
    Successor,
    /// One that was taken over from: it serves the clients that it has.
    Predecessor,
    Agent,
    /// The command of `stent run`.
    Command,
}

impl Part {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Successor => "new proxy",
            Self::Predecessor => "old proxy",
            Self::Agent => "agent",
            Self::Command => "command",
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(u8),
    Signal(u8),
}

impl Ended {
    /// The exit code that tells it: 128 and the signal, as shells do.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.saturating_add(signal),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The first event.
    Begin,
    /// The proxy has answered a request for the first time.
    Live,
    /// The proxy reaches its database, or `ready_timeout` is over.
    Ready,
    Ended(Part, Ended),
    /// Another process of the proxy is wanted in its place.
    Upgrade,
    /// The proxy that was started last serves newcomers.
    Serving,
    Signal(Signal),
    /// The command's memory limit is near: it is to be restarted, this long after siblings have been given its
    /// newcomers.
    Rejuvenate {
        lead: Duration,
    },
    /// No transaction is open, or those that are had their time; new ones wait.
    Held,
    /// Nobody was made to wait.
    NotHeld,
    /// A moment asked for by the plan has come.
    Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start(Part),
    Send(Part, Signal),
    /// The successor is the proxy from here on, and that is the predecessor.
    Promote,
    /// The proxy lets open transactions finish, and new ones wait.
    Hold,
    /// They wait no longer.
    Release,
    /// All is done: end with this code.
    Leave(u8),
}

/// Whether an end was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Yes,
    No,
}

/// `stent up`, or `stent run` with its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Up,
    Run,
}
