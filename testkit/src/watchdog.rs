//! The watchdog: a small shell that outlives this process just long enough to clean up after it.
//!
//! Owns: the end of one process (or process group with its descendants) and of one folder.
//! It reads a pipe whose only writer is this process. Each line is the process to end; an empty one
//! means that there is none. The pipe's end is the order to clean up, and comes when the guard is
//! dropped or, by the kernel's hand, when this process is gone for whatever reason.
//! Invariant: it stands in a process group of its own and ignores the terminal's signals, so that
//! neither Ctrl-C nor a kill of the test's group takes it away before its work is done.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// `$1` signal, `$2` folder. SIGCONT is for a process that a test has paused. Ten seconds after the signal comes SIGKILL.
/// `/proc/PID/task/*/children` exists on Linux only; elsewhere the process group has to do.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM PIPE
cd /
target=
while read -r line; do target=$line; done
tree() {
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        echo "$child"
        tree "$child"
    done
}
if [ -n "$target" ]; then
    others=
    [ "$1" = KILL ] && others=$(tree "${target#-}")
    kill -s "$1" -- "$target" $others 2>/dev/null
    kill -s CONT -- "$target" 2>/dev/null
    looks=0
    while kill -s 0 -- "$target" 2>/dev/null && [ "$looks" -lt 100 ]; do
        looks=$((looks + 1))
        sleep 0.1
    done
    kill -s KILL -- "$target" 2>/dev/null
fi
[ -z "$2" ] || rm -rf -- "$2"
"#;

/// How the watched process is to be ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// PostgreSQL's immediate shutdown: SIGQUIT to the postmaster, which ends its own children.
    Quit,
    /// SIGKILL to the process's group and to its descendants.
    KillGroup,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    orders: Option<ChildStdin>,
    end: End,
}

impl Watchdog {
    /// Starts a watchdog that has nothing to kill yet, and `folder` to remove in the end.
    pub(crate) fn start(end: End, folder: Option<&Path>) -> Result<Self> {
        let signal = match end {
            End::Quit => "QUIT",
            End::KillGroup => "KILL",
        };
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "stent-testkit-watchdog", signal])
            .arg(folder.unwrap_or_else(|| Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start the watchdog /bin/sh")?;
        let orders = shell.stdin.take();
        Ok(Self { shell, orders, end })
    }

    /// From now on `pid` is the process to end.
    pub(crate) fn watch(&mut self, pid: u32) -> Result<()> {
        let line = match self.end {
            End::Quit => format!("{pid}\n"),
            End::KillGroup => format!("-{pid}\n"),
        };
        self.order(&line)
    }

    /// The watched process has been ended and reaped: its number may now be another's.
    pub(crate) fn forget(&mut self) -> Result<()> {
        self.order("\n")
    }

    fn order(&mut self, line: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("the watchdog's pipe is closed")?;
        orders.write_all(line.as_bytes()).context("write to the watchdog")
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Best effort in a destructor: the shell does its work whether or not it is waited for.
        let _ = self.shell.wait();
    }
}
