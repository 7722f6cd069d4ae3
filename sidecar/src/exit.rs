//! How a `stent` process ends: its exit codes.
//!
//! Invariant: a code keeps its meaning over releases; restart policies are written against them.

use std::fmt::Write as _;

/// A documented way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The work is done, or SIGTERM ended it in good order.
    Clean,
    /// `healthcheck`, `check-config` or `budget` found what it asks for wanting.
    Negative,
    /// The command line or the configuration is wrong; nothing was started.
    Usage,
    /// An address or socket cannot be listened on.
    Listen,
    /// Something else failed at run time.
    Failure,
    /// The command of `stent run` cannot be executed.
    NotExecutable,
    /// The command of `stent run` does not exist.
    NotFound,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Listen => 3,
            Self::Failure => 4,
            // The shell's numbers. Source: POSIX.1-2017, Shell Command Language, 2.8.2.
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Clean => "the work is done, or SIGTERM ended it in good order",
            Self::Negative => {
                "`healthcheck`, `check-config`, `budget`: not healthy, not valid, does not fit"
            }
            Self::Usage => "the command line or the configuration is wrong; nothing was started",
            Self::Listen => "an address or a socket cannot be listened on",
            Self::Failure => "something else failed at run time",
            Self::NotExecutable => "`stent run`: the command cannot be executed",
            Self::NotFound => "`stent run`: the command does not exist",
        }
    }
}

const ALL: [Exit; 7] = [
    Exit::Clean,
    Exit::Negative,
    Exit::Usage,
    Exit::Listen,
    Exit::Failure,
    Exit::NotExecutable,
    Exit::NotFound,
];

/// The exit codes, for the reference page.
pub(crate) fn reference() -> String {
    let mut out = "## Exit codes\n\n| Code | Meaning |\n|---|---|\n".to_owned();
    for exit in ALL {
        writeln!(out, "| {} | {} |", exit.code(), exit.meaning())
            .expect("a string takes everything");
    }
    out.push_str("| 101 | a bug: the log holds the place |\n");
    out.push_str(
        "\n`stent run` otherwise ends with the exit code of its command, or with 128 and the number of \
         the\nsignal that ended it.\n",
    );
    out
}
