//! `stent up` and `stent run`: the proxy and the agent as child processes, the command of `run`
//! beside them, and one admin endpoint in front.
//!
//! Owns: the loop of signals, deaths and moments around `plan`, which decides.
//! Refuses: the data path; no byte of PostgreSQL's passes here, and the death of this process is
//! the only one that takes others along.
//! Invariant: one `select!`, then one synchronous application of what the plan says.

mod children;
mod environment;
mod event;
mod plan;
mod ready;
mod rejuvenate;
mod reload;
mod renew;
mod renewal;
mod signals;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::{mpsc, watch};

use crate::config::flags::Flags;
use crate::config::{Loaded, Role};
use crate::exit::Exit;
use crate::front::{self, Front, Restarts, Siblings};
use crate::reload::{Asked, Request};
use children::{Children, Reaped, Start};
use environment::{Heaps, Private};
use event::{Action, Ended, Event, Expected, Mode, Part};
use plan::Plan;
use rejuvenate::Forecast;
use reload::{OnHangup, Reloaded, Reloading};
use renew::Renewals;
use signals::{Received, Signals};

/// `stent up`.
pub(crate) fn up(flags: &Flags) -> u8 {
    supervise(Mode::Up, flags, Vec::new())
}

/// `stent run -- command`.
pub(crate) fn run(flags: &Flags, command: Vec<OsString>) -> u8 {
    supervise(Mode::Run, flags, command)
}

fn supervise(mode: Mode, flags: &Flags, command: Vec<OsString>) -> u8 {
    let loaded = match crate::load(Role::Both, flags) {
        Ok(loaded) => loaded,
        Err(exit) => return exit.code(),
    };
    crate::logging::start(loaded.logging, loaded.secrets());
    crate::component::warn(&loaded);
    let runtime = match crate::component::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return Exit::Failure.code();
        }
    };
    let ended = runtime.block_on(supervised(mode, flags, loaded, command));
    ended.unwrap_or_else(|exit| exit.code())
}

/// Everything in place, then the loop.
async fn supervised(
    mode: Mode,
    flags: &Flags,
    loaded: Loaded,
    command: Vec<OsString>,
) -> Result<u8, Exit> {
    let failed = |what: &'static str, exit: Exit| {
        move |error: std::io::Error| {
            tracing::error!(%error, "{what}");
            exit
        }
    };
    let signals = Signals::new().map_err(failed("cannot handle signals", Exit::Failure))?;
    let private =
        Private::new().map_err(failed("cannot make a folder for sockets", Exit::Failure))?;
    children::adopt_orphans();
    let (restarts, restarts_seen) = watch::channel(Restarts::default());
    if let Some(admin) = &loaded.admin {
        let listener = front::bind(admin).await.map_err(|error| {
            tracing::error!(%error, address = %admin, "cannot listen on admin_listen");
            Exit::Listen
        })?;
        let endpoints = private.endpoints.clone();
        let siblings = match loaded.sibling_drain.is_zero() {
            true => Siblings::None,
            false => Siblings::Some,
        };
        let front = Front { endpoints, restarts: restarts_seen, siblings };
        tokio::task::spawn_local(front::serve(listener, front));
        tracing::info!(address = %admin, "serving /metrics, /livez, /readyz and /snapshot");
    }
    let (sender, readiness) = mpsc::channel(2);
    let limit = (mode == Mode::Run).then_some(loaded.ready_timeout);
    let events = sender.clone();
    tokio::task::spawn_local(ready::watch(private.endpoints.proxy.clone(), limit, sender));
    let command_name = environment::target_name(&command);
    let policy = loaded.rejuvenation.filter(|_| mode == Mode::Run);
    let (forecaster, forecasts) = mpsc::channel(1);
    if policy.is_some() {
        let (agent, interval) = (private.endpoints.agent.clone(), loaded.agent.sample_interval);
        let looks = rejuvenate::watch(agent, command_name.clone(), interval, forecaster);
        tokio::task::spawn_local(looks);
    }
    let access = loaded.clients.as_ref().expect("the role of both has a database");
    let component = environment::component(&loaded, &private);
    let (asks, asked) = mpsc::channel(ASKED_MAX);
    let _control = crate::reload::listen(&loaded, asks.clone());
    let (done, reloaded) = mpsc::channel(1);
    let supervisor = Supervisor {
        plan: Plan::new(mode, loaded.shutdown_timeout),
        children: Children::new().map_err(failed("cannot find our own program", Exit::Failure))?,
        component,
        command_name,
        command: environment::command(access, &Heaps::of(&loaded), command),
        restarts,
        renewals: Renewals::new(policy, events),
        started: BTreeSet::new(),
        reloading: Reloading::new(mode, flags, private, asks, done),
        loaded,
        pending: VecDeque::from([Event::Begin]),
    };
    Ok(supervisor.run(Sources { signals, readiness, asked, reloaded, forecasts }).await)
}

/// The most requests that wait to be looked at.
const ASKED_MAX: usize = 8;

/// What the loop waits for, beside time.
struct Sources {
    signals: Signals,
    readiness: mpsc::Receiver<Event>,
    asked: mpsc::Receiver<Asked>,
    reloaded: mpsc::Receiver<Reloaded>,
    forecasts: mpsc::Receiver<Forecast>,
}

/// The loop's state.
struct Supervisor<'a> {
    plan: Plan,
    children: Children,
    /// How the components are started.
    component: Start,
    /// How the command is started.
    command: Start,
    command_name: String,
    restarts: watch::Sender<Restarts>,
    renewals: Renewals,
    started: BTreeSet<Part>,
    loaded: Loaded,
    reloading: Reloading<'a>,
    /// Events that have happened and wait for their turn.
    pending: VecDeque<Event>,
}

/// Longer than a process lives: stands for "no moment is awaited".
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl Supervisor<'_> {
    async fn run(mut self, mut sources: Sources) -> u8 {
        loop {
            while let Some(event) = self.pending.pop_front() {
                if let Some(code) = self.apply(event) {
                    return code;
                }
            }
            let moment = self.plan.next_moment().unwrap_or_else(|| Instant::now() + NEVER);
            tokio::select! {
                received = sources.signals.next() => self.received(received),
                Some(event) = sources.readiness.recv() => self.pending.push_back(event),
                Some(asked) = sources.asked.recv() => self.asked(asked),
                Some(reloaded) = sources.reloaded.recv() => self.reloaded(reloaded),
                Some(forecast) = sources.forecasts.recv() => self.foreseen(&forecast),
                () = tokio::time::sleep_until(moment.into()) => {
                    self.pending.push_back(Event::Time);
                }
            }
        }
    }

    fn received(&mut self, received: Received) {
        match received {
            Received::Forward(signal) if signals::came_from_terminal(signal) => {
                // The command has it from the terminal. Without a command it is for us.
                if self.children.pid(Part::Command).is_none() {
                    self.pending.push_back(Event::Signal(signal));
                }
            }
            Received::Forward(Signal::HUP) if self.reloading.on_hangup == OnHangup::Reload => {
                let (answer, _) = tokio::sync::oneshot::channel();
                self.asked(Asked { request: Request::Reload, answer });
            }
            Received::Forward(Signal::USR2) if self.reloading.mode == Mode::Up => {
                let (answer, _) = tokio::sync::oneshot::channel();
                self.asked(Asked { request: Request::Upgrade, answer });
            }
            Received::Forward(signal) => self.pending.push_back(Event::Signal(signal)),
            Received::Child => {
                for reaped in self.children.reap() {
                    match reaped {
                        Reaped::Ours(part, how) => {
                            self.pending.push_back(Event::Ended(part, how));
                        }
                        Reaped::Orphan => tracing::debug!("reaped an orphan"),
                    }
                }
            }
        }
    }

    /// Lets the plan decide and does what it says; the exit code where that is to leave.
    fn apply(&mut self, event: Event) -> Option<u8> {
        log(event, self.plan.ends_components());
        self.note_failed_upgrade(event);
        self.note_renewal(event);
        for action in self.plan.handle(event, Instant::now()) {
            match action {
                Action::Start(part) => self.start(part),
                Action::Send(part, signal) => self.children.send(part, signal),
                Action::Promote => self.promote(),
                Action::Hold => self.hold(),
                Action::Release => self.release(),
                Action::Leave(code) => return Some(code),
            }
        }
        let renewing = self.plan.is_renewing();
        self.restarts.send_if_modified(|known| {
            std::mem::replace(&mut known.is_renewing, renewing) != renewing
        });
        None
    }

    fn start(&mut self, part: Part) {
        self.count(part);
        if part == Part::Agent
            && let Some(pid) = self.children.pid(Part::Command)
        {
            let pid = pid.as_raw_nonzero().get();
            environment::watch_command(&mut self.component, &self.loaded, &self.command_name, pid);
        }
        let start = match part {
            Part::Proxy | Part::Successor | Part::Predecessor | Part::Agent => &self.component,
            Part::Command => &self.command,
        };
        match self.children.start(part, start) {
            Ok((pid, line)) => {
                let pid = pid.as_raw_nonzero().get();
                tracing::info!(part = part.as_str(), child_pid = pid, "started");
                match (part, line) {
                    (Part::Agent, Some(line)) => self.agent_started(line),
                    (Part::Command, _) => self.command_started(),
                    (Part::Proxy | Part::Successor | Part::Predecessor | Part::Agent, line) => {
                        self.take_reins(part, line);
                    }
                }
            }
            Err(error) => {
                tracing::error!(part = part.as_str(), %error, "cannot start");
                let code = Ended::Code(Exit::Failure.code());
                self.pending.push_back(Event::Ended(part, code));
            }
        }
    }

    /// Counts a start that is not the first.
    fn count(&mut self, part: Part) {
        if self.started.insert(part) {
            return;
        }
        self.restarts.send_modify(|restarts| match part {
            Part::Proxy => restarts.proxy += 1,
            Part::Agent => restarts.agent += 1,
            Part::Command | Part::Successor | Part::Predecessor => {}
        });
    }
}

fn log(event: Event, expected: Expected) {
    match (event, expected) {
        (Event::Ended(part, Ended::Code(exit_code)), Expected::No) if exit_code != 0 => {
            tracing::warn!(part = part.as_str(), exit_code, "ended");
        }
        (Event::Ended(part, Ended::Signal(signal)), Expected::No) => {
            tracing::warn!(part = part.as_str(), signal, "ended by a signal");
        }
        (Event::Ended(part, how), _) => {
            tracing::info!(part = part.as_str(), exit_code = how.code(), "ended");
        }
        (Event::Signal(signal), _) if signal == Signal::WINCH => {}
        (Event::Signal(signal), _) => {
            tracing::info!(signal = signals::name(signal), "received a signal");
        }
        (Event::Ready, _) => tracing::debug!("the wait for the proxy is over"),
        (Event::Upgrade, _) => tracing::info!("starting a new proxy to take over"),
        (Event::Held, _) => tracing::debug!("new transactions wait, the open ones are finished"),
        (
            Event::Begin
            | Event::Live
            | Event::Serving
            | Event::Rejuvenate { .. }
            | Event::NotHeld
            | Event::Time,
            _,
        ) => {}
    }
}
