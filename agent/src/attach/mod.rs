//! Attribution: looks into a target that is under suspicion and says whose growth it is.
//!
//! Owns: who is looked into and when ([`Attacher`]), whether it may be ([`guard`]), what it may cost
//! ([`budget`]), the runtimes' protocols ([`node`], [`bun`]) and the audit trail ([`event`]).
//! Refuses: acting where it was not enabled, signals to anything but a Node that handles them, and
//! holding up a round: a look is a task of its own, and its end is picked up by a later round.
//! Invariant: one target at a time, within the budget; a target that dies, hangs or lies gives a
//! note instead of names, never an error of the agent.

mod aside;
pub(crate) mod budget;
mod bun;
mod choose;
mod error;
pub(crate) mod event;
mod grown;
pub(crate) mod guard;
mod inspector;
mod jsc;
mod look;
mod node;
mod socket;
mod subject;
mod v8;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stent_contract::snapshot::TargetSnapshot;
use stent_contract::{
    Attribution, AttributionMeans, Diagnosis, Evidence, Frame, LeakClass, Resource, Verdict,
    VerdictLevel,
};
use tokio::sync::oneshot;

use crate::attach_heap::{HeapSocket, Pace, attribute};
use aside::Aside;
use budget::{ATTACHED_MAX, Budget, Limits, Plan};
use error::AttachError;
use event::{Outcome, Totals};
use guard::{Refusal, Way};
use look::{Found, Look};

/// After a look that named something, the same process is looked into again so much later.
const AGAIN_NAMED: Duration = Duration::from_secs(6 * 3_600);
/// After one that did not.
const AGAIN_OTHERWISE: Duration = Duration::from_secs(1_200);
/// The key of the evidence that a diagnosis gets.
const EVIDENCE: &str = "attribution";

/// Looks into targets, for one agent. Keeps one finding a target, so what it keeps is bounded by the
/// configuration.
#[derive(Debug)]
pub(crate) struct Attacher {
    root: PathBuf,
    budget: Budget,
    aside: Aside,
    running: Option<Running>,
    known: BTreeMap<String, Known>,
    totals: Totals,
}

#[derive(Debug)]
struct Running {
    target: String,
    pid: u32,
    end: oneshot::Receiver<Ended>,
}

/// What a task of its own comes back with.
#[derive(Debug)]
struct Ended {
    outcome: Outcome,
    attribution: Attribution,
    attached: Duration,
    left_open: Option<u16>,
}

#[derive(Debug)]
struct Known {
    pid: u32,
    due: Instant,
    attribution: Attribution,
}

impl Attacher {
    /// One that has looked into nothing. `root` is where `/proc` is.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            budget: Budget::default(),
            aside: Aside::default(),
            running: None,
            known: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    /// The same, with siblings that take a target's newcomers over within `lead`; zero: there are none.
    pub(crate) fn with_siblings(self, lead: Duration) -> Self {
        Self { aside: Aside::new(lead), ..self }
    }

    /// The target that is looked into, or will be, where siblings stand in for it.
    pub(crate) fn set_aside(&self) -> Option<&str> {
        self.aside.target()
    }

    /// Takes a round: picks up what has ended, starts what is due, and writes what is known into the
    /// round. Must run on the runtime.
    pub(crate) fn round(
        &mut self,
        now: Instant,
        at_unix_ms: u64,
        targets: &mut [TargetSnapshot],
        diagnoses: &mut [Diagnosis],
    ) {
        self.pick_up(now, at_unix_ms);
        if self.running.is_none() {
            self.start_next(now, at_unix_ms, targets);
        }
        for target in targets {
            let known = self.known.get(&target.name);
            target.attribution = known.map(|known| known.attribution.clone());
        }
        for diagnosis in diagnoses.iter_mut().filter(|d| d.verdict.resource == Resource::Memory) {
            if let Some(known) = self.known.get(&diagnosis.verdict.target) {
                diagnosis.verdict.evidence.push(evidence(&known.attribution));
            }
        }
    }

    /// Counts since the start.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    fn pick_up(&mut self, now: Instant, at_unix_ms: u64) {
        let Some(running) = &mut self.running else { return };
        let ended = match running.end.try_recv() {
            Ok(ended) => ended,
            Err(oneshot::error::TryRecvError::Empty) => return,
            // The task is gone without a word. That it may have been attached counts as if it was.
            Err(oneshot::error::TryRecvError::Closed) => Ended {
                outcome: Outcome::Failed,
                attribution: blank(AttributionMeans::None, "the look broke off".to_owned()),
                attached: ATTACHED_MAX,
                left_open: None,
            },
        };
        let Some(running) = self.running.take() else { return };
        self.aside.keep_due(std::iter::empty());
        self.budget.end(now, ended.attached);
        self.learn(running.target, running.pid, ended, now, at_unix_ms);
    }

    fn learn(&mut self, target: String, pid: u32, ended: Ended, now: Instant, at_unix_ms: u64) {
        let Ended { outcome, attribution, left_open, .. } = ended;
        event::Ended { target: &target, pid, outcome, attribution: &attribution, left_open }
            .emit(&mut self.totals);
        let again = if outcome == Outcome::Named { AGAIN_NAMED } else { AGAIN_OTHERWISE };
        let attribution = Attribution { at_unix_ms, ..attribution };
        self.known.insert(target, Known { pid, due: now + again, attribution });
    }

    /// The worst verdict that is due goes first.
    fn start_next(&mut self, now: Instant, at_unix_ms: u64, targets: &[TargetSnapshot]) {
        let mut due: Vec<(&Verdict, &str, u32)> = Vec::new();
        for target in targets {
            let (Some(reading), Some(verdict)) = (&target.reading, &target.memory) else {
                continue;
            };
            if reading.pid == 0 {
                continue; // a container whose processes are out of sight
            }
            let known = self.known.get(&target.name);
            let waits = known.is_some_and(|known| known.pid == reading.pid && now < known.due);
            if verdict.level >= VerdictLevel::Suspect && !waits {
                due.push((verdict, &target.name, reading.pid));
            }
        }
        self.aside.keep_due(due.iter().map(|(_, name, pid)| (*name, *pid)));
        due.sort_by(|a, b| b.0.level.cmp(&a.0.level).then_with(|| a.1.cmp(b.1)));
        for (verdict, name, pid) in due {
            let plan = Plan::for_growth(verdict.growth_per_hour);
            match self.start(now, name, pid, verdict.class, plan) {
                Ok(()) | Err(None) => return,
                Err(Some(ended)) => self.learn(name.to_owned(), pid, ended, now, at_unix_ms),
            }
        }
    }

    /// `Err(Some)`: refused, and why. `Err(None)`: not now.
    fn start(
        &mut self,
        now: Instant,
        name: &str,
        pid: u32,
        class: LeakClass,
        plan: Plan,
    ) -> Result<(), Option<Ended>> {
        let in_vain = self.known.get(name).filter(|known| known.pid == pid);
        let in_vain = in_vain.filter(|known| known.attribution.frames.is_empty());
        let way = self
            .guarded(pid, class, in_vain.map(|known| known.attribution.means))
            .map_err(|error| Some(failed(AttributionMeans::None, &error)))?;
        self.budget.allows(now, plan.length()).map_err(|_| None)?;
        if !self.aside.is_clear(name, pid, now) {
            return Err(None);
        }
        self.budget.start(now, plan.length()).map_err(|_| None)?;
        let means = means(&way);
        event::Begun { target: name, pid, means, planned: plan.length() }.emit();
        let (sender, end) = oneshot::channel();
        let root = self.root.clone();
        tokio::spawn(async move {
            // Nobody waits any more where the agent has ended.
            let _ = sender.send(attach(&root, pid, &way, &plan).await);
        });
        self.running = Some(Running { target: name.to_owned(), pid, end });
        Ok(())
    }

    fn guarded(
        &self,
        pid: u32,
        class: LeakClass,
        in_vain: Option<AttributionMeans>,
    ) -> Result<Way, AttachError> {
        let look = Look::at(&self.root, pid, Limits::default())?;
        let own = match guard::decide(&look.place.subject(), &subject::own(&self.root)) {
            // A program that serves its own heap may be asked for it.
            Err(unknown @ Refusal::Unknown(_)) => serving(&look, &HeapSocket::OfPid)
                .map(|pid_inside| Way::Heap { pid_inside })
                .ok_or(unknown),
            decided => decided,
        };
        let native = serving(&look, &HeapSocket::NativeOfPid);
        let native = native.map(|pid_inside| Way::Native { pid_inside });
        Ok(choose::choose(class, own, native, in_vain)?)
    }
}

/// Its number in its own process namespace, where it serves there.
fn serving(look: &Look, socket: &HeapSocket) -> Option<u32> {
    let pid_inside = look.place.identity()?.pid_inside;
    look.place.serves(socket, pid_inside).then_some(pid_inside)
}

fn means(way: &Way) -> AttributionMeans {
    match way {
        Way::Node { .. } => AttributionMeans::V8Sampling,
        Way::Bun { .. } => AttributionMeans::JscSnapshot,
        // Which of its kinds it says when it is asked.
        Way::Heap { .. } => AttributionMeans::None,
        Way::Native { .. } => AttributionMeans::NativeProfile,
    }
}

/// Looks into a process that the guard has let through, from beginning to end.
async fn attach(root: &Path, pid: u32, way: &Way, plan: &Plan) -> Ended {
    match way {
        Way::Heap { pid_inside } => {
            return ask(pid, HeapSocket::OfPid.inside(*pid_inside), plan).await;
        }
        Way::Native { pid_inside } => {
            return ask(pid, HeapSocket::NativeOfPid.inside(*pid_inside), plan).await;
        }
        Way::Node { .. } | Way::Bun { .. } => {}
    }
    let means = means(way);
    let mut look = match Look::at(root, pid, plan.limits) {
        Ok(look) => look,
        Err(error) => return failed(means, &error),
    };
    let started = Instant::now();
    let looked = async {
        match way {
            Way::Node { port } => node::attach(&mut look, *port, plan).await,
            Way::Bun { port, path } => bun::attach(&mut look, *port, path, plan).await,
            Way::Heap { .. } | Way::Native { .. } => Ok(Found::default()), // asked above
        }
    };
    // Every step has a limit of its own; this one is for all of them together.
    let found = tokio::time::timeout(ATTACHED_MAX, looked).await;
    let found = found.unwrap_or(Err(AttachError::Late("everything")));
    // A target that ends breaks its connections first.
    let found =
        found.map_err(|error| if look.check_alive().is_err() { AttachError::Gone } else { error });
    let attached = started.elapsed();
    let mut ended = match found {
        Ok(Found { frames, windows, note }) => {
            let outcome = if frames.is_empty() { Outcome::Nothing } else { Outcome::Named };
            let attribution = Attribution { frames, windows, ..blank(means, note) };
            Ended { outcome, attribution, attached, left_open: None }
        }
        Err(error) => failed(means, &error),
    };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    ended.attached = attached;
    ended.left_open = look.left_open;
    ended.attribution.lasted_ms = millis(attached);
    ended.attribution.largest_pause_ms = millis(look.cost.largest_pause);
    ended.attribution.cpu_seconds = look.cost.cpu_seconds;
    ended
}

/// Asks a program that serves its own heap.
async fn ask(pid: u32, socket: HeapSocket, plan: &Plan) -> Ended {
    let pace = Pace {
        window: plan.window,
        windows: plan.windows,
        pause_max: plan.limits.pause,
        cpu_share_max: plan.limits.cpu_share,
        ..Pace::default()
    };
    let started = Instant::now();
    let found = tokio::time::timeout(ATTACHED_MAX, attribute(pid, &socket, &pace)).await;
    let attribution = found.unwrap_or_else(|_elapsed| {
        blank(AttributionMeans::None, AttachError::Late("everything").to_string())
    });
    let outcome = match (attribution.frames.is_empty(), attribution.means) {
        (false, _) => Outcome::Named,
        (true, AttributionMeans::None) => Outcome::Failed,
        (
            true,
            AttributionMeans::V8Sampling
            | AttributionMeans::JscSnapshot
            | AttributionMeans::Tracemalloc
            | AttributionMeans::JemallocProfile
            | AttributionMeans::NativeProfile,
        ) => Outcome::Nothing,
    };
    Ended { outcome, attribution, attached: started.elapsed(), left_open: None }
}

fn failed(means: AttributionMeans, error: &AttachError) -> Ended {
    let outcome = match error {
        AttachError::Refused(_) => Outcome::Refused,
        AttachError::Gone
        | AttachError::Signal(_)
        | AttachError::Socket(_)
        | AttachError::Late(_)
        | AttachError::TooLarge(_)
        | AttachError::Nonsense(_)
        | AttachError::Said(_) => Outcome::Failed,
    };
    let attribution = blank(means, error.to_string());
    Ended { outcome, attribution, attached: Duration::ZERO, left_open: None }
}

fn blank(means: AttributionMeans, note: String) -> Attribution {
    Attribution {
        at_unix_ms: 0,
        means,
        frames: Vec::new(),
        windows: 0,
        lasted_ms: 0,
        largest_pause_ms: 0,
        cpu_seconds: None,
        note,
    }
}

/// `remember /app/server.js:12`, as far as it is known.
pub(crate) fn shown(frame: &Frame) -> String {
    match (frame.file.is_empty(), frame.line) {
        (true, _) => frame.function.clone(),
        (false, None) => format!("{} {}", frame.function, frame.file),
        (false, Some(line)) => format!("{} {}:{line}", frame.function, frame.file),
    }
}

/// What a diagnosis says of it. The figure is the share of the first place, 0 where none is named.
fn evidence(attribution: &Attribution) -> Evidence {
    let Some(first) = attribution.frames.first() else {
        let text = format!("whose growth it is could not be told: {}", attribution.note);
        return Evidence { key: EVIDENCE.to_owned(), value: 0.0, text };
    };
    let held = match attribution.means {
        AttributionMeans::JscSnapshot => format!("objects of {}", shown(first)),
        AttributionMeans::V8Sampling
        | AttributionMeans::Tracemalloc
        | AttributionMeans::JemallocProfile
        | AttributionMeans::NativeProfile
        | AttributionMeans::None => format!("what {} allocates", shown(first)),
    };
    let via = first.via.first().map(|via| format!(", by way of {via}")).unwrap_or_default();
    let text = format!(
        "{held} grew in each of {} windows: {:.1} MiB in all, {:.0} % of the growth seen{via}",
        attribution.windows,
        first.bytes as f64 / f64::from(1 << 20),
        first.share * 100.0
    );
    Evidence { key: EVIDENCE.to_owned(), value: first.share, text }
}

#[cfg(test)]
mod tests;
