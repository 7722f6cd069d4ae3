//! The supervisor's deeds for a restart of the command before its memory limit.
//!
//! Owns: asking and telling: the proxy to hold, the agent which process is the command's. Refuses: deciding
//! (`rejuvenate` whether, `renewal` in which order).
//! Invariant: no restart without a line of the log before it and a count after it.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use stent_proxy::Held;
use tokio::sync::mpsc;

use super::Supervisor;
use super::event::{Ended, Event, Part};
use super::rejuvenate::{Decision, Forecast, decide};
use crate::config::Rejuvenation;
use crate::told;

/// How long open transactions may take to finish.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// How long a restart is put off where somebody has paused the proxy.
const PUT_OFF: Duration = Duration::from_secs(60);

/// What is kept for it.
pub(super) struct Renewals {
    policy: Option<Rejuvenation>,
    /// For what the proxy answers.
    events: mpsc::Sender<Event>,
    /// The agent's standard input.
    agent: Option<UnixStream>,
    started: Option<Instant>,
    count: u64,
    /// When it was put off.
    put_off: Option<Instant>,
    /// That it was too young was said of this life.
    youth: Youth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Youth {
    Unsaid,
    Said,
}

impl Renewals {
    pub(super) const fn new(policy: Option<Rejuvenation>, events: mpsc::Sender<Event>) -> Self {
        Self {
            policy,
            events,
            agent: None,
            started: None,
            count: 0,
            put_off: None,
            youth: Youth::Unsaid,
        }
    }
}

impl Supervisor<'_> {
    /// The agent says this of the command.
    pub(super) fn foreseen(&mut self, forecast: &Forecast) {
        let renewals = &mut self.renewals;
        let (Some(policy), Some(started)) = (renewals.policy, renewals.started) else { return };
        let pid = self.children.pid(Part::Command).map(|pid| pid.as_raw_nonzero().get());
        let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()) else { return };
        let age = started.elapsed();
        let (low_s, seconds_to_limit) = (forecast.low, forecast.seconds);
        let evidence = forecast.evidence.as_str();
        let say = |what: &str| {
            let age_s = age.as_secs();
            tracing::warn!(command_pid = pid, low_s, seconds_to_limit, age_s, evidence, "{what}");
        };
        match decide(policy, pid, age, forecast) {
            Decision::Leave => {}
            Decision::TooYoung if renewals.youth == Youth::Said => {}
            Decision::TooYoung => {
                renewals.youth = Youth::Said;
                say(
                    "rejuvenation: the command's memory limit is near, but it was started less than \
                     rejuvenate_interval ago",
                );
            }
            Decision::Restart if !self.plan.can_renew() => {}
            Decision::Restart if renewals.put_off.is_some_and(|at| at.elapsed() < PUT_OFF) => {}
            Decision::Restart => {
                say(
                    "rejuvenation: the command leaks and its memory limit is near: it is restarted",
                );
                self.pending.push_back(Event::Rejuvenate { lead: self.loaded.sibling_drain });
            }
        }
    }

    /// Has the proxy finish what is open, and keep the rest waiting.
    pub(super) fn hold(&self) {
        let (reins, events) = (self.reloading.reins(), self.renewals.events.clone());
        tokio::task::spawn_local(async move {
            let held = match reins {
                Some(reins) => reins.hold(HOLD_MAX).await,
                None => Held::AtRest, // no proxy, no transactions
            };
            let event = match held {
                Held::AtRest => Event::Held,
                Held::Busy => {
                    tracing::warn!(
                        waited_s = HOLD_MAX.as_secs(),
                        "rejuvenation: transactions are still open; those of the command are rolled \
                         back if it does not finish them"
                    );
                    Event::Held
                }
                Held::Refused => {
                    tracing::warn!("rejuvenation: put off, because somebody has paused the proxy");
                    Event::NotHeld
                }
            };
            // The supervisor may have left.
            let _ = events.send(event).await;
        });
    }

    /// Has the proxy keep nobody waiting any more.
    pub(super) fn release(&self) {
        if let Some(reins) = self.reloading.reins() {
            reins.release();
        }
    }

    /// The command has been started, for the first time or again.
    pub(super) fn command_started(&mut self) {
        let is_first = self.renewals.started.replace(Instant::now()).is_none();
        self.renewals.youth = Youth::Unsaid;
        if !is_first {
            self.renewals.count += 1;
            let restarts = self.renewals.count;
            tracing::warn!(restarts, "rejuvenation: the command has been restarted");
        }
        self.tell_agent();
    }

    /// The agent has been started.
    pub(super) fn agent_started(&mut self, line: UnixStream) {
        self.renewals.agent = Some(line);
        self.tell_agent();
    }

    fn tell_agent(&mut self) {
        let pid = self.children.pid(Part::Command).map(|pid| pid.as_raw_nonzero().get());
        let (Some(line), Some(pid)) = (&mut self.renewals.agent, pid) else { return };
        let count = self.renewals.policy.map(|_| self.renewals.count);
        let said = told::line(&self.command_name, pid, count);
        // It is read from the next round on; an agent that reads nothing has ended, or soon will.
        if let Err(error) = line.set_nonblocking(true).and_then(|()| line.write_all(&said)) {
            tracing::debug!(%error, "the agent cannot be told of the command's process");
        }
    }

    /// Takes note of an event before the plan does.
    pub(super) fn note_renewal(&mut self, event: Event) {
        if event == Event::NotHeld {
            self.renewals.put_off = Some(Instant::now());
        }
        if let Event::Ended(Part::Command, how) = event
            && self.plan.is_renewing()
        {
            let killed = how == Ended::Signal(9);
            tracing::info!(exit_code = how.code(), killed, "rejuvenation: the command has ended");
        }
    }
}
