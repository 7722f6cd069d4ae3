//! The signals that the supervisor takes.
//!
//! Invariant: the handlers are in place before the first child is started.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// For the command, or for us.
    Forward(Signal),
    /// A child has ended, one of ours or an orphan.
    Child,
}

/// The streams of all of them.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Stream,
    int: Stream,
    hup: Stream,
    quit: Stream,
    usr1: Stream,
    usr2: Stream,
    winch: Stream,
    child: Stream,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            winch: signal(SignalKind::window_change())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// The next one. May be dropped without losing any.
    pub(crate) async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.term.recv() => Received::Forward(Signal::TERM),
            _ = self.int.recv() => Received::Forward(Signal::INT),
            _ = self.hup.recv() => Received::Forward(Signal::HUP),
            _ = self.quit.recv() => Received::Forward(Signal::QUIT),
            _ = self.usr1.recv() => Received::Forward(Signal::USR1),
            _ = self.usr2.recv() => Received::Forward(Signal::USR2),
            _ = self.winch.recv() => Received::Forward(Signal::WINCH),
            _ = self.child.recv() => Received::Child,
        }
    }
}

/// The name of a signal that is taken.
pub(crate) fn name(signal: Signal) -> &'static str {
    const NAMES: [(Signal, &str); 7] = [
        (Signal::TERM, "SIGTERM"),
        (Signal::INT, "SIGINT"),
        (Signal::HUP, "SIGHUP"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::WINCH, "SIGWINCH"),
    ];
    NAMES.iter().find(|(known, _)| *known == signal).map_or("another", |(_, name)| name)
}

/// Whether the terminal has sent this signal to the command already: it sends those of its keys
/// and of its size to every process of its foreground group, in which the command is with us.
pub(crate) fn came_from_terminal(signal: Signal) -> bool {
    [Signal::INT, Signal::QUIT, Signal::WINCH].contains(&signal) && in_foreground()
}

/// Whether our process group is the foreground group of a terminal: fields 5 (pgrp) and 8 (tpgid) of
/// `/proc/self/stat`. Source: proc_pid_stat(5).
#[cfg(target_os = "linux")]
fn in_foreground() -> bool {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return false };
    // The command's name, in parentheses, may hold spaces and parentheses itself.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    matches!((fields.get(2), fields.get(5)), (Some(own), Some(front)) if own == front)
}

#[cfg(not(target_os = "linux"))]
fn in_foreground() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stdin())
}
