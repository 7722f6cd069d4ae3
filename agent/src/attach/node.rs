//! Node: its inspector opened, the sampling heap profiler run over windows, the inspector closed.
//!
//! Owns: what is done to a Node and the order of it. Refuses: whether it may be done (`guard`).
//! Invariant: the signal goes to the very process that the guard has just looked at (by pidfd, its
//! start time compared); nothing is asked of an inspector before it has said that it is that
//! process; an inspector that was opened here is closed again, by a timer inside the target too
//! should the agent die; one that was open before is left open.
//! Source: Node.js documentation ("Debugger", "Inspector"), Chrome DevTools Protocol, pidfd_open(2).

use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use super::budget::{Plan, Stop};
use super::error::AttachError;
use super::grown::{self, Reading};
use super::guard::{Refusal, Way, decide};
use super::inspector::Inspector;
use super::look::{Found, Look, text_of_bytes};
use super::socket::{self, WebSocket};
use super::subject;
use super::v8::{self, Of};

/// How long Node may take to open its inspector: it does so between two events.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// How long it may take to close it.
const CLOSE_MAX: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);
/// What the ages of the same process may differ by, as seen from outside and inside.
const AGE_TOLERANCE: f64 = 3.0;
/// Bytes between samples where what grows is buffers: their objects are small.
const BUFFER_SAMPLING: u32 = 1 << 10;
/// Growth outside of the heap below this within the lead is noise.
const BUFFER_GROWTH_MIN: f64 = 256.0 * 1024.0;

const WHO: &str = "[process.pid, process.uptime()]";
const MEMORY: &str = "(()=>{const m=process.memoryUsage();return [m.heapUsed,m.external]})()";
/// Closes the inspector two and a half minutes later even if nobody comes back. `require` is a
/// helper of the evaluation, gone when the timer runs; nothing may throw in a timer, or the target
/// would end.
const ARM: &str = "(()=>{const i=(typeof require==='function'?require:process.getBuiltinModule)\
    ('inspector'),k=Symbol.for('stent.inspector');clearTimeout(globalThis[k]);\
    globalThis[k]=setTimeout(()=>{try{i.close()}catch{}},150000).unref();return true})()";
/// Closes it as soon as this answer is out.
const DISARM: &str = "(()=>{const i=(typeof require==='function'?require:process.getBuiltinModule)\
    ('inspector'),k=Symbol.for('stent.inspector');clearTimeout(globalThis[k]);\
    delete globalThis[k];setTimeout(()=>{try{i.close()}catch{}},50).unref();return true})()";

/// Who opened the inspector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenedBy {
    Us,
    Others,
}

/// Looks into a Node that the guard has let through.
pub(crate) async fn attach(look: &mut Look, port: u16, plan: &Plan) -> Result<Found, AttachError> {
    look.take_baseline().await;
    let (mut inspector, opened_by) = open(look, port).await?;
    if opened_by == OpenedBy::Us {
        inspector.evaluate(ARM).await?;
    }
    look.start();
    let found = windows(look, &mut inspector, plan).await;
    // Stops the profiler without the profile, and so without the pause, of stopSampling.
    let disabled = inspector.call("HeapProfiler.disable", json!({})).await;
    if opened_by == OpenedBy::Us {
        close(look, inspector, port).await;
    }
    let found = found?;
    disabled?;
    Ok(found)
}

async fn open(look: &Look, port: u16) -> Result<(Inspector, OpenedBy), AttachError> {
    if let Some(path) = listed(port).await? {
        let inspector = identified(look, port, &path).await?;
        return Ok((inspector.ok_or(Refusal::PortTaken(port))?, OpenedBy::Others));
    }
    signal(look, port)?;
    let deadline = Instant::now() + OPEN_MAX;
    loop {
        if let Some(path) = listed(port).await? {
            let inspector = identified(look, port, &path).await?;
            return Ok((inspector.ok_or(Refusal::PortTaken(port))?, OpenedBy::Us));
        }
        look.check_alive()?;
        if Instant::now() >= deadline {
            return Err(AttachError::Late("the signal to open"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The path of the inspector at this port. `None`: nobody listens there.
async fn listed(port: u16) -> Result<Option<String>, AttachError> {
    match socket::get(port, "/json/list").await {
        Ok(list) => {
            let list: Value = serde_json::from_str(&list).unwrap_or_default();
            let address = list[0]["webSocketDebuggerUrl"].as_str().unwrap_or_default();
            let path = address.strip_prefix("ws://").and_then(|rest| rest.split_once('/'));
            let path = path.map(|(_, path)| format!("/{path}"));
            let path = path.filter(|path| path.bytes().all(|byte| byte.is_ascii_graphic()));
            Ok(Some(path.ok_or(Refusal::PortTaken(port))?))
        }
        Err(AttachError::Socket(error))
            if error.kind() == std::io::ErrorKind::ConnectionRefused =>
        {
            Ok(None)
        }
        // Somebody is there and does not speak like an inspector.
        Err(_) => Err(Refusal::PortTaken(port).into()),
    }
}

/// A session, if the process behind it is the target. Two containers may both have a process 1, so
/// its age is compared as well.
async fn identified(look: &Look, port: u16, path: &str) -> Result<Option<Inspector>, AttachError> {
    let mut inspector = Inspector::new(WebSocket::open(port, path).await?);
    let (who, _) = inspector.evaluate(WHO).await?;
    Ok(is_target(look, &who)?.then_some(inspector))
}

/// Whether `[pid, age]` of a runtime's own saying are the target's.
pub(super) fn is_target(look: &Look, who: &Value) -> Result<bool, AttachError> {
    let identity = look.place.identity().ok_or(AttachError::Gone)?;
    let (Some(pid), Some(age)) = (who[0].as_u64(), who[1].as_f64()) else { return Ok(false) };
    Ok(pid == u64::from(identity.pid_inside) && (age - identity.age).abs() < AGE_TOLERANCE)
}

/// Sends SIGUSR1, if the guard still says so at the last moment.
fn signal(look: &Look, port: u16) -> Result<(), AttachError> {
    let pid = i32::try_from(look.pid).ok().and_then(Pid::from_raw).ok_or(AttachError::Gone)?;
    // From here on the number cannot come to mean another process unnoticed.
    let process =
        pidfd_open(pid, PidfdFlags::empty()).map_err(|error| AttachError::Signal(error.into()))?;
    look.check_alive()?;
    if decide(&look.place.subject(), &subject::own(&look.root))? != (Way::Node { port }) {
        return Err(AttachError::Gone);
    }
    pidfd_send_signal(&process, Signal::USR1).map_err(|error| AttachError::Signal(error.into()))
}

/// What the heap and what is outside of it hold, bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    heap: f64,
    external: f64,
}

async fn memory(look: &mut Look, inspector: &mut Inspector) -> Result<Memory, AttachError> {
    let (value, took) = inspector.evaluate(MEMORY).await?;
    look.note_answer(took);
    let figure = |index: usize| value[index].as_f64().unwrap_or_default();
    Ok(Memory { heap: figure(0), external: figure(1) })
}

async fn windows(
    look: &mut Look,
    inspector: &mut Inspector,
    plan: &Plan,
) -> Result<Found, AttachError> {
    let before = memory(look, inspector).await?;
    let of = sample(look, inspector, plan, before).await?;
    let mut readings: Vec<Reading> = Vec::new();
    let first = memory(look, inspector).await?;
    let mut stop = read(look, inspector, of, &mut readings).await?;
    while stop.is_none() && readings.len() <= plan.windows as usize {
        look.wait(plan.window).await?;
        stop = match read(look, inspector, of, &mut readings).await? {
            None => look.check_cpu(),
            stop => stop,
        };
    }
    let last = memory(look, inspector).await?;
    let windows = u32::try_from(readings.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let external = last.external - first.external;
    let mut found = Found { windows, ..Found::default() };
    if windows >= plan.windows {
        found.frames = grown::frames(&readings);
    }
    if of == Of::Buffers {
        // What is sampled are the buffers' small objects: they share out the memory behind them.
        for frame in &mut found.frames {
            frame.bytes = (frame.share * external.max(0.0)) as u64;
        }
    }
    found.note = note(&found, of, last.heap - first.heap, external, stop);
    Ok(found)
}

/// Starts the profiler and waits for the lead to end. The lead tells what grows: where it is
/// buffers, the profiler starts anew with finer samples.
async fn sample(
    look: &mut Look,
    inspector: &mut Inspector,
    plan: &Plan,
    before: Memory,
) -> Result<Of, AttachError> {
    start_sampling(look, inspector, plan.sampling).await?;
    look.wait(plan.lead).await?;
    let after = memory(look, inspector).await?;
    let outside = after.external - before.external;
    if outside < BUFFER_GROWTH_MIN || outside < after.heap - before.heap {
        return Ok(Of::Heap);
    }
    inspector.call("HeapProfiler.disable", json!({})).await?;
    start_sampling(look, inspector, BUFFER_SAMPLING).await?;
    look.wait(plan.lead / 2).await?;
    Ok(Of::Buffers)
}

async fn start_sampling(
    look: &mut Look,
    inspector: &mut Inspector,
    interval: u32,
) -> Result<(), AttachError> {
    inspector.call("HeapProfiler.enable", json!({})).await?;
    let parameters = json!({ "samplingInterval": interval });
    let answer = inspector.call("HeapProfiler.startSampling", parameters).await?;
    look.note_answer(answer.took);
    Ok(())
}

/// Takes a profile; `Some`: the target stood still for too long, and that was the last one.
async fn read(
    look: &mut Look,
    inspector: &mut Inspector,
    of: Of,
    readings: &mut Vec<Reading>,
) -> Result<Option<Stop>, AttachError> {
    let answer = inspector.call("HeapProfiler.getSamplingProfile", json!({})).await?;
    readings.push(v8::reading(&answer.text, of)?);
    Ok(look.cost.answered(answer.took).err())
}

fn note(found: &Found, of: Of, heap: f64, external: f64, stop: Option<Stop>) -> String {
    if found.frames.is_empty() {
        let figures = format!(
            "over {} windows the heap changed by {}, buffers outside of it by {}",
            found.windows,
            text_of_bytes(heap),
            text_of_bytes(external)
        );
        return match stop {
            Some(stop) => format!("{stop}; {figures}"),
            None => format!(
                "nothing in the script heap grew in every window; {figures}. Growth elsewhere is \
                 native code's: to have it named, preload a jemalloc with profiling"
            ),
        };
    }
    match of {
        Of::Heap => String::new(),
        Of::Buffers => "the growth is in buffers outside the script heap; it is shared out by the \
                        objects that stand for them"
            .to_owned(),
    }
}

/// Closes the inspector and makes sure. If this fails the timer in the target does it.
async fn close(look: &mut Look, mut inspector: Inspector, port: u16) {
    if inspector.evaluate(DISARM).await.is_err()
        && let Ok(Some(path)) = listed(port).await
        && let Ok(Some(mut anew)) = identified(look, port, &path).await
    {
        let _ = anew.evaluate(DISARM).await; // judged by what follows
    }
    drop(inspector); // or Node would hold the connection against its closing
    let deadline = Instant::now() + CLOSE_MAX;
    while look.check_alive().is_ok() {
        if matches!(listed(port).await, Ok(None)) {
            return;
        }
        if Instant::now() >= deadline {
            look.left_open = Some(port);
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}
