//! Whose growth it is, where the target itself serves its heap: `stent-heap` in Rust programs,
//! Stent's module in Python, the preloaded jemalloc in programs that know nothing of it.
//!
//! Owns: the order of an attach: a look before, profiles with windows between them, an end; and what
//! is said when nothing can be named.
//! Refuses: signals, debuggers and writing to the target's memory: it is asked over its socket, and
//! answers or does not. When to attach is decided elsewhere.
//! Invariant: an attach ends: each answer has a time box, and a target that stood still for longer
//! than allowed is not asked again. The target stops measuring when the connection is gone.

mod callers;
mod grown;
mod native;
mod pprof;
mod socket;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stent_contract::{Attribution, AttributionMeans};
use thiserror::Error;

use crate::sample::cpu_seconds;
use grown::{Persistence, Program};
pub(crate) use native::is_whole_heap;
pub use socket::HeapSocket;
use socket::{Connection, SocketError, stat};

/// How a target is looked into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// How long its CPU time is watched before, to know what the attach costs.
    pub before: Duration,
    /// The time between two profiles.
    pub window: Duration,
    /// How many windows; three at least tell a leak from something that fills.
    pub windows: u32,
    /// The longest time for which the target may stand still; after one that was longer, no more.
    pub pause_max: Duration,
    /// The CPU that the target may take more than before, in cores, over the time that the windows are to
    /// take; after more, no more of them.
    pub cpu_share_max: f64,
    /// The longest time for one answer.
    pub time_box: Duration,
}

impl Default for Pace {
    /// Fifty seconds: a third of what a target may be attached to in an hour.
    fn default() -> Self {
        Self {
            before: Duration::from_secs(5),
            window: Duration::from_secs(15),
            windows: 3,
            pause_max: Duration::from_millis(250),
            cpu_share_max: 0.2,
            time_box: Duration::from_secs(20),
        }
    }
}

/// The longest time for which a target is asked for whole stacks.
const STACKS_MAX: Duration = Duration::from_secs(5);

/// Why an attach ended before its time.
#[derive(Debug, Error)]
enum AttachError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("the target's profile: {0}")]
    Profile(#[from] pprof::ProfileError),
    #[error("the target stood still for {0:?}, longer than allowed, and is not asked again")]
    Pause(Duration),
    #[error("the target took {:.0} % of a core more than before, and is not asked again", .0 * 100.0)]
    Cpu(f64),
    #[error(
        "the target keeps no heap profile; start it with \
         _RJEM_MALLOC_CONF=prof:true,lg_prof_sample:19"
    )]
    NotProfiling,
}

/// What an attach has seen so far.
struct Seen {
    means: AttributionMeans,
    profiles: Vec<Vec<pprof::Sample>>,
    /// One more profile, with whole stacks, where they say more.
    stacks: Vec<pprof::Sample>,
    largest_pause: Duration,
    cpu_seconds: Option<f64>,
}

/// Looks into the process `pid`, which serves its heap at `socket`. Takes as long as `pace` says.
/// Nothing is sent to a process that does not serve it. Must run on the runtime.
pub async fn attribute(pid: u32, socket: &HeapSocket, pace: &Pace) -> Attribution {
    let began = Instant::now();
    let mut seen = Seen {
        means: AttributionMeans::None,
        profiles: Vec::new(),
        stacks: Vec::new(),
        largest_pause: Duration::ZERO,
        cpu_seconds: None,
    };
    let end = look(pid, socket, pace, &mut seen).await;
    let (frames, persistence) = grown::rank(&seen.profiles, program(seen.means));
    let frames = match program(seen.means) {
        Program::Managed => callers::name(frames, &seen.stacks),
        Program::Native => frames,
    };
    let note = note(&end, &seen, frames.is_empty(), persistence);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Attribution {
        at_unix_ms: millis(now),
        means: seen.means,
        frames,
        windows: u32::try_from(seen.profiles.len().saturating_sub(1)).unwrap_or(u32::MAX),
        lasted_ms: millis(began.elapsed()),
        largest_pause_ms: millis(seen.largest_pause),
        cpu_seconds: seen.cpu_seconds,
        note,
    }
}

/// The bytes that the process `pid` has allocated, where it serves jemalloc's figures. `None` also for
/// Python, which counts only while somebody measures.
pub(crate) async fn heap_allocated(
    pid: u32,
    socket: &HeapSocket,
    time_box: Duration,
) -> Option<u64> {
    let mut connection = Connection::open(socket, pid, time_box).await.ok()?;
    let stats = connection.ask("stats").await.ok()?;
    let stats = String::from_utf8_lossy(&stats.body);
    (stat(&stats, "kind") == Some("jemalloc")).then_some(())?;
    stat(&stats, "allocated")?.parse().ok()
}

async fn look(
    pid: u32,
    socket: &HeapSocket,
    pace: &Pace,
    seen: &mut Seen,
) -> Result<(), AttachError> {
    let mut connection = Connection::open(socket, pid, pace.time_box).await?;
    let stats = connection.ask("stats").await?;
    let stats = String::from_utf8_lossy(&stats.body).into_owned();
    seen.means = match stat(&stats, "kind") {
        Some("jemalloc") if stat(&stats, "heap") == Some("native") => {
            AttributionMeans::NativeProfile
        }
        Some("jemalloc") => AttributionMeans::JemallocProfile,
        Some("tracemalloc") => AttributionMeans::Tracemalloc,
        Some(_) | None => return Err(SocketError::Protocol.into()),
    };
    if stat(&stats, "profiling") == Some("off") {
        return Err(AttachError::NotProfiling);
    }
    let cpu = Cpu::watch(pid, pace).await;
    connection.ask("start").await?;
    let mut windows = windows(&mut connection, pace, cpu.as_ref(), seen).await;
    if windows.is_ok() && are_callers_wanted(seen) {
        windows = stacks(&mut connection, pace, cpu.as_ref(), seen).await;
    }
    seen.cpu_seconds = cpu.and_then(|cpu| cpu.taken());
    // After an error there may be nobody who listens: the closed connection says it too.
    let stopped = connection.ask("stop").await;
    windows?;
    stopped?;
    Ok(())
}

/// Only Python has more to say.
fn are_callers_wanted(seen: &Seen) -> bool {
    seen.means == AttributionMeans::Tracemalloc
        && callers::are_wanted(&grown::rank(&seen.profiles, Program::Managed).0)
}

/// Whose code is looked for in the stacks.
fn program(means: AttributionMeans) -> Program {
    match means {
        AttributionMeans::NativeProfile => Program::Native,
        AttributionMeans::V8Sampling
        | AttributionMeans::JscSnapshot
        | AttributionMeans::Tracemalloc
        | AttributionMeans::JemallocProfile
        | AttributionMeans::None => Program::Managed,
    }
}

async fn windows(
    connection: &mut Connection,
    pace: &Pace,
    cpu: Option<&Cpu>,
    seen: &mut Seen,
) -> Result<(), AttachError> {
    for window in 0..=pace.windows {
        if window > 0 {
            let part = f64::from(window) / f64::from(pace.windows.max(1));
            wait(connection, pace.window, part, pace, cpu, seen.means).await?;
        }
        let answer = connection.ask("profile").await?;
        seen.profiles.push(pprof::decode(&answer.body)?);
        seen.largest_pause = seen.largest_pause.max(answer.pause);
        if answer.pause > pace.pause_max && window < pace.windows {
            return Err(AttachError::Pause(answer.pause));
        }
        if window < pace.windows {
            check(cpu, pace)?;
        }
    }
    Ok(())
}

/// Waits for a window, or until what a tracer has recorded fills this part of what a profile may hold: where
/// much is allocated, growth is seen soon, and a profile of all of it would be a long stop.
async fn wait(
    connection: &mut Connection,
    window: Duration,
    part: f64,
    pace: &Pace,
    cpu: Option<&Cpu>,
    means: AttributionMeans,
) -> Result<(), AttachError> {
    let end = Instant::now() + window;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        if means != AttributionMeans::Tracemalloc {
            tokio::time::sleep(left).await;
            continue;
        }
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
        check(cpu, pace)?;
        let stats = connection.ask("stats").await?;
        let stats = String::from_utf8_lossy(&stats.body);
        let figure = |key| stat(&stats, key).and_then(|text| text.parse::<f64>().ok());
        if let (Some(traces), Some(most)) = (figure("traces"), figure("traces_max"))
            && traces >= ROOM * part * most
        {
            return Ok(());
        }
    }
}

/// How often a tracer is asked how much it has recorded.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How much of what a profile may hold is used: more comes between two such questions.
const ROOM: f64 = 0.75;

/// Takes a profile with whole stacks, which cost more: over a short time, and at the end.
async fn stacks(
    connection: &mut Connection,
    pace: &Pace,
    cpu: Option<&Cpu>,
    seen: &mut Seen,
) -> Result<(), AttachError> {
    match connection.ask("callers").await {
        Ok(_) => {}
        // It always has whole stacks, or is of an older version.
        Err(SocketError::Refused(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    wait(connection, pace.window.min(STACKS_MAX), 1.0, pace, cpu, seen.means).await?;
    let answer = connection.ask("profile").await?;
    seen.stacks = pprof::decode(&answer.body)?;
    seen.largest_pause = seen.largest_pause.max(answer.pause);
    Ok(())
}

/// What a reader must know beside the names.
fn note(
    end: &Result<(), AttachError>,
    seen: &Seen,
    is_nameless: bool,
    persistence: Persistence,
) -> String {
    let windows = seen.profiles.len().saturating_sub(1);
    match (end, is_nameless, persistence) {
        (Err(AttachError::Socket(SocketError::Connect(_))), _, _) => {
            "the target does not serve its heap: call stent_heap::serve_default() in a Rust program; \
             put Stent's folder for Python on PYTHONPATH in a Python program; preload libstent_heap.so \
             into any other"
                .to_owned()
        }
        (Err(error), true, _) => error.to_string(),
        (Err(error), false, _) => format!("after {windows} windows: {error}"),
        (Ok(()), true, _) => format!(
            "nothing that was allocated grew in each of {windows} windows: longer windows show slower \
             growth; memory that no profile sees is native code's"
        ),
        (Ok(()), false, Persistence::AllButOne) => {
            "these grew in all windows but one: longer windows would be surer".to_owned()
        }
        (Ok(()), false, Persistence::Every) => String::new(),
    }
}

/// Whether the target has taken too much more than before.
fn check(cpu: Option<&Cpu>, pace: &Pace) -> Result<(), AttachError> {
    match cpu.and_then(Cpu::share) {
        Some(share) if share > pace.cpu_share_max => Err(AttachError::Cpu(share)),
        Some(_) | None => Ok(()),
    }
}

/// The target's CPU time before the attach and during it.
struct Cpu {
    pid: u32,
    /// The time that shares are of: what is taken in a look that ends early counts as over all of it.
    planned: Duration,
    /// Seconds of CPU a second, before.
    usual: f64,
    at_start: f64,
    started: Instant,
}

impl Cpu {
    async fn watch(pid: u32, pace: &Pace) -> Option<Self> {
        let (first, began) = (cpu_seconds(Path::new("/"), pid)?, Instant::now());
        tokio::time::sleep(pace.before).await;
        let at_start = cpu_seconds(Path::new("/"), pid)?;
        let started = Instant::now();
        let span = started.saturating_duration_since(began).as_secs_f64();
        let usual = if span > 0.0 { (at_start - first) / span } else { 0.0 };
        let planned = pace.window.saturating_mul(pace.windows);
        Some(Self { pid, planned, usual, at_start, started })
    }

    /// What it takes more than before, cores.
    fn share(&self) -> Option<f64> {
        let lasted = self.started.elapsed().max(self.planned);
        Some(self.taken()? / lasted.as_secs_f64().max(f64::EPSILON))
    }

    fn taken(&self) -> Option<f64> {
        let now = cpu_seconds(Path::new("/"), self.pid)?;
        let usual = self.usual * self.started.elapsed().as_secs_f64();
        Some((now - self.at_start - usual).max(0.0))
    }
}

#[cfg(test)]
mod tests;
