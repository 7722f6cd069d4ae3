//! The socket: one question a line, one answer.
//!
//! Owns: what a thread does that answers, one connection at a time. Refuses: anybody but the own
//! user and root, and waiting for one who does not ask: [`PATIENCE`].
//! Invariant: a line is at most [`LINE_MAX`] bytes; whatever a connection does, the next one is
//! served.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use crate::fork::working;
use crate::jemalloc;
use crate::modules::Modules;
use crate::pprof;
use crate::profile;
use crate::symbols::Symbols;

/// The longest question.
const LINE_MAX: u64 = 64;
/// How long a connection may be silent: longer than the longest window between two profiles.
const PATIENCE: Duration = Duration::from_secs(90);
/// The pause after a failure to accept: out of descriptors, it would fail again at once.
const BREATH: Duration = Duration::from_millis(100);

/// What is answered: `ok LENGTH PAUSE_US` and the body, or `error` and the reason.
struct Answer {
    body: Vec<u8>,
    /// For how long allocations may have waited.
    pause: Duration,
}

/// Whose heap it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// The program's own: jemalloc is its allocator.
    Own,
    /// What C's `malloc` gives out in a program that knows nothing of it, and may keep a heap beside.
    Native,
}

impl Served {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Native => "native",
        }
    }
}

/// Answers for as long as the process lives.
pub(crate) fn run(listener: &UnixListener, served: Served) {
    for stream in listener.incoming() {
        match stream {
            // A connection that fails is its client's loss.
            Ok(stream) if is_ours(&stream) => drop(serve(&stream, served)),
            Ok(_stranger) => {}
            Err(_) => std::thread::sleep(BREATH),
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    socket_peercred(stream).is_ok_and(|peer| peer.uid == geteuid() || peer.uid.is_root())
}

fn serve(stream: &UnixStream, served: Served) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut symbols = Symbols::default();
    loop {
        let mut line = String::new();
        if reader.by_ref().take(LINE_MAX).read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Ok(());
        }
        let mut writer = stream;
        match answer(line.trim(), served, &mut symbols) {
            Ok(Answer { body, pause }) => {
                writeln!(writer, "ok {} {}", body.len(), pause.as_micros())?;
                writer.write_all(&body)?;
            }
            Err(why) => writeln!(writer, "error {why}")?,
        }
    }
}

fn answer(question: &str, served: Served, symbols: &mut Symbols) -> Result<Answer, String> {
    match question {
        "stats" => stats(served),
        "profile" => profile(symbols),
        // jemalloc keeps its profile from the program's start on, so there is nothing to do.
        "start" | "stop" => Ok(Answer { body: Vec::new(), pause: Duration::ZERO }),
        _ => Err("the questions are stats, start, profile and stop".to_owned()),
    }
}

fn stats(served: Served) -> Result<Answer, String> {
    let figures = jemalloc::figures().map_err(|error| error.to_string())?;
    let profiling = if jemalloc::is_profiling() { "on" } else { "off" };
    let body = format!(
        "kind jemalloc\nheap {}\npid {}\nprofiling {profiling}\nallocated {}\nactive {}\nresident {}\n\
         retained {}\n",
        served.as_str(),
        std::process::id(),
        figures.allocated,
        figures.active,
        figures.resident,
        figures.retained
    );
    Ok(Answer { body: body.into_bytes(), pause: Duration::ZERO })
}

fn profile(symbols: &mut Symbols) -> Result<Answer, String> {
    let (text, pause) = working(jemalloc::dump).map_err(|error| error.to_string())?;
    let profile = profile::parse(&text).map_err(|error| error.to_string())?;
    let modules = Modules::parse(&text);
    drop(text);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(now.as_nanos()).unwrap_or_default();
    let body = pprof::encode(&profile, nanos, |address| symbols.of(address, &modules));
    symbols.rest();
    Ok(Answer { body, pause })
}
