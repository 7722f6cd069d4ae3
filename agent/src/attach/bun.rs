//! Bun: heap snapshots over the inspector that its environment has opened.
//!
//! Owns: what is done to a Bun and the order of it. Refuses: signals; Bun has no handler for any
//! that would help, and SIGUSR1 ends it.
//! Invariant: no snapshot is taken of a heap so large that it would stand still for longer than the
//! budget allows: objects are counted first, which is cheap.
//! Source: WebKit's inspector protocol (Heap, Runtime); Bun documentation ("Debugger", `bun:jsc`).

use std::time::Duration;

use serde_json::{Value, json};

use super::budget::{PAUSE_MAX, Plan};
use super::error::AttachError;
use super::grown::{self, Reading};
use super::guard::Refusal;
use super::inspector::Inspector;
use super::jsc::Snapshot;
use super::look::{Found, Look};
use super::node::is_target;
use super::socket::WebSocket;

const WHO: &str = "[process.pid, process.uptime()]";
/// Counts objects by kind without a snapshot; kinds are the engine's, not the program's classes.
const STATS: &str = "(()=>{const s=process.getBuiltinModule('bun:jsc').heapStats();\
    return {objects:s.objectCount,kinds:Object.entries(s.objectTypeCounts).slice(0,64)}})()";
/// A snapshot takes about four microseconds an object on a busy machine (Bun 1.4).
const SNAPSHOT_NANOS_PER_OBJECT: u64 = 4_000;
/// The kinds that a note names.
const KINDS: usize = 3;

/// Looks into a Bun that the guard has let through.
pub(crate) async fn attach(
    look: &mut Look,
    port: u16,
    path: &str,
    plan: &Plan,
) -> Result<Found, AttachError> {
    look.take_baseline().await;
    let mut inspector = Inspector::new(WebSocket::open(port, path).await?);
    let (who, _) = inspector.evaluate(WHO).await?;
    if !is_target(look, &who)? {
        return Err(Refusal::PortTaken(port).into());
    }
    look.start();
    let first = stats(look, &mut inspector).await?;
    look.wait(plan.lead).await?;
    let expected = Duration::from_nanos(first.objects.saturating_mul(SNAPSHOT_NANOS_PER_OBJECT));
    if expected > look.cost.limits.pause {
        return kinds(look, &mut inspector, plan, &first, expected).await;
    }
    snapshots(look, &mut inspector, plan).await
}

#[derive(Debug, Default)]
struct Stats {
    objects: u64,
    kinds: Vec<(String, u64)>,
}

async fn stats(look: &mut Look, inspector: &mut Inspector) -> Result<Stats, AttachError> {
    let (value, took) = inspector.evaluate(STATS).await?;
    look.note_answer(took);
    let objects = value["objects"].as_u64();
    let objects = objects.ok_or(AttachError::Nonsense("no count of objects"))?;
    let kind = |row: &Value| Some((super::error::cut(row[0].as_str()?), row[1].as_u64()?));
    let kinds = value["kinds"].as_array().into_iter().flatten().filter_map(kind).collect();
    Ok(Stats { objects, kinds })
}

async fn snapshots(
    look: &mut Look,
    inspector: &mut Inspector,
    plan: &Plan,
) -> Result<Found, AttachError> {
    let mut stop = None;
    let mut base = None;
    let mut readings: Vec<Reading> = Vec::new();
    let mut objects = 0;
    while stop.is_none() && readings.len() <= plan.windows as usize {
        if base.is_some() {
            look.wait(plan.window).await?;
        }
        let answer = inspector.call("Heap.snapshot", json!({})).await?;
        let snapshot = Snapshot::read(&answer.text)?;
        objects = snapshot.len();
        let base = *base.get_or_insert_with(|| snapshot.youngest());
        readings.push(snapshot.since(base));
        stop = look.cost.answered(answer.took).err().or_else(|| look.check_cpu());
    }
    let windows = u32::try_from(readings.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let frames = if windows >= plan.windows { grown::frames(&readings) } else { Vec::new() };
    let note = match stop {
        Some(stop) if frames.is_empty() => format!("{stop}; its heap has {objects} objects"),
        None if frames.is_empty() => {
            "no class of objects grew in every window: growth elsewhere is native code's".to_owned()
        }
        _ => "classes and what holds them; this runtime does not tell which function allocated"
            .to_owned(),
    };
    Ok(Found { frames, windows, note })
}

/// The way that is left where a snapshot would take too long: kinds of objects, counted.
async fn kinds(
    look: &mut Look,
    inspector: &mut Inspector,
    plan: &Plan,
    first: &Stats,
    expected: Duration,
) -> Result<Found, AttachError> {
    let mut last = Stats::default();
    for _ in 0..plan.windows {
        look.wait(plan.window).await?;
        last = stats(look, inspector).await?;
    }
    let before = |name: &str| first.kinds.iter().find(|(kind, _)| kind == name).map_or(0, |k| k.1);
    let mut grown: Vec<(u64, &str)> = last
        .kinds
        .iter()
        .map(|(name, count)| (count.saturating_sub(before(name)), name.as_str()))
        .filter(|(more, _)| *more > 0)
        .collect();
    grown.sort_unstable_by(|a, b| b.cmp(a));
    let named: Vec<String> =
        grown.iter().take(KINDS).map(|(more, name)| format!("{name} +{more}")).collect();
    let note = format!(
        "a snapshot of {} objects would stop it for about {} ms, more than the {} ms allowed; \
         counted by kind only: {}. To have the class named, take Heap.snapshot of a task that \
         serves no traffic",
        first.objects,
        expected.as_millis(),
        PAUSE_MAX.as_millis(),
        if named.is_empty() { "nothing grew".to_owned() } else { named.join(", ") },
    );
    Ok(Found { frames: Vec::new(), windows: plan.windows, note })
}
