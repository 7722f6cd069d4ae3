//! A child process that never outlives its guard, and whose output can be waited for.
//!
//! Owns: the child, its process group, its captured output.
//! Invariant: output is always read, so that the child never blocks on a full pipe, and what is kept
//! of it is bounded by [`LINES_MAX`] lines of [`LINE_BYTES_MAX`] bytes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::proc;
use crate::wait::wait_for;
use crate::watchdog::{End, Watchdog};

/// The newest lines that are kept, over both streams.
const LINES_MAX: usize = 20_000;
/// A longer line is kept as several.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Lines of output shown in an error.
const TAIL: usize = 30;

/// A running child process, in a process group of its own.
///
/// Dropping the guard kills the group and every descendant; [`Process::signal`] and
/// [`Process::wait`] are for an orderly end.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    output: Arc<Mutex<Output>>,
    watchdog: Watchdog,
}

#[derive(Debug, Default)]
struct Output {
    lines: VecDeque<(Stream, String)>,
    forgotten: usize,
    open: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Process {
    /// Starts `command` with its output captured. Its standard input is closed unless the caller set
    /// it to a pipe.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        Self::spawn_with(command, Stdio::null())
    }

    /// Starts `command` with its output captured and its standard input open: see [`Self::stdin`].
    pub fn spawn_with_stdin(command: &mut Command) -> Result<Self> {
        Self::spawn_with(command, Stdio::piped())
    }

    fn spawn_with(command: &mut Command, stdin: Stdio) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut watchdog = Watchdog::start(End::KillGroup, None)?;
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        watchdog.watch(child.id())?;
        let output = Arc::new(Mutex::new(Output { open: 2, ..Output::default() }));
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, Stream::Out, Arc::clone(&output));
        }
        if let Some(stderr) = child.stderr.take() {
            read_lines(stderr, Stream::Err, Arc::clone(&output));
        }
        Ok(Self { name, child, status: None, output, watchdog })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The writing end of the child's standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Both streams so far, in the order of arrival, without lines that were forgotten.
    pub fn output(&self) -> String {
        self.text(|_| true)
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.text(|stream| stream == Stream::Out)
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.text(|stream| stream == Stream::Err)
    }

    /// Waits until a line of either stream contains `text`, and returns the first such line. Lines
    /// that came before the call count.
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> Result<String> {
        self.wait_for_match(&format!("a line with {text:?}"), deadline, |line| {
            line.contains(text).then(|| line.to_owned())
        })
    }

    /// Waits until `find` makes something of a line of either stream. Fails as soon as the child has
    /// ended and all of its output was looked at.
    pub fn wait_for_match<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let mut seen = 0;
        let found = wait_for(what, deadline, || {
            let output = lock(&self.output);
            let fresh = seen.max(output.forgotten);
            let skip = fresh - output.forgotten;
            let found = output.lines.iter().skip(skip).find_map(|(_, line)| find(line));
            seen = output.forgotten + output.lines.len();
            match found {
                Some(found) => Some(Ok(found)),
                None if output.open == 0 => Some(Err(anyhow!("it ended without {what}"))),
                None => None,
            }
        });
        found.and_then(|inner| inner).with_context(|| self.describe())
    }

    /// The exit status, if the child has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
            if self.status.is_some() {
                // A watchdog that cannot be told is a watchdog that has ended.
                let _ = self.watchdog.forget();
            }
        }
        self.status
    }

    /// Waits for the child's end.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let status = wait_for("the end of the process", deadline, || self.status());
        status.with_context(|| self.describe())
    }

    /// Sends `signal` to the child alone (not to its group). An ended child is not an error.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.status().is_some() {
            return Ok(());
        }
        kill_process(self.rustix_pid()?, signal).with_context(|| self.describe())
    }

    /// Asks the child to end by SIGTERM and waits for that.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(deadline)
    }

    /// Kills the child's group and all of its descendants, and waits for the child's end.
    pub fn kill(&mut self) -> Result<()> {
        let below = proc::descendants(self.pid());
        if self.status().is_none() {
            kill_process_group(self.rustix_pid()?, Signal::KILL)
                .with_context(|| self.describe())?;
        } else if !proc::is_alive(self.pid()) {
            // Its number is nobody else's yet, so a group of that number is still its group; most
            // often there is none.
            let _ = kill_process_group(self.rustix_pid()?, Signal::KILL);
        }
        for pid in below {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // Most of them went with the group.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        self.wait(Duration::from_secs(10)).map(drop)
    }

    fn rustix_pid(&self) -> Result<Pid> {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a process id above 2^31")
    }

    fn text(&self, wanted: impl Fn(Stream) -> bool) -> String {
        let output = lock(&self.output);
        let lines = output.lines.iter().filter(|(stream, _)| wanted(*stream));
        lines.flat_map(|(_, line)| [line.as_str(), "\n"]).collect()
    }

    fn describe(&self) -> String {
        let output = lock(&self.output);
        let skip = output.lines.len().saturating_sub(TAIL);
        let tail: Vec<_> = output.lines.iter().skip(skip).map(|(_, line)| line.as_str()).collect();
        let state = self.status.map_or_else(|| "running".to_owned(), |status| status.to_string());
        format!(
            "{} (process {}, {state}), end of its output:\n  {}",
            self.name,
            self.pid(),
            tail.join("\n  ")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Best effort in a destructor; the watchdog, dropped next, tries once more.
        let _ = self.kill();
    }
}

/// Sends a signal to any process; one that has gone meanwhile is not an error.
pub fn send_signal(pid: u32, signal: Signal) -> Result<()> {
    let target = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("signal process {pid}")),
    }
}

fn read_lines(stream: impl Read + Send + 'static, kind: Stream, output: Arc<Mutex<Output>>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = LINE_BYTES_MAX as u64;
            let read = reader.by_ref().take(limit).read_until(b'\n', &mut line);
            if !matches!(read, Ok(bytes) if bytes > 0) {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            let mut output = lock(&output);
            output.lines.push_back((kind, text.trim_end_matches(['\n', '\r']).to_owned()));
            if output.lines.len() > LINES_MAX {
                output.lines.pop_front();
                output.forgotten += 1;
            }
        }
        lock(&output).open -= 1;
    });
}

/// A reader that panicked left whole lines behind: they are as good as ever.
fn lock(output: &Mutex<Output>) -> MutexGuard<'_, Output> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}
