//! What the supervisor does next: events in, actions out, no process and no clock.
//!
//! ```text
//! Opening ──Ready──▶ Serving ──SIGTERM (up) │ command ended (run)──▶ Stopping ──all gone──▶ left
//!    └──SIGTERM │ proxy cannot start──────────────────────────────────▶┘
//! ```
//! Owns: the order of starts and stops, back-off, deadlines, and the exit code.
//! Refuses: to end a command because a component died, or the proxy while the command lives.
//! Invariant: a part is started only while it is not there, and `Leave` comes once, when none is.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::event::{Action, Ended, Event, Expected, Mode, Part};
use super::renewal::Renewal;
use crate::exit::Exit;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Not started yet.
    Unborn,
    Running {
        since: Instant,
    },
    /// It died; it is started again at that moment.
    Resting {
        until: Instant,
    },
    /// It ended and is not started again.
    Gone,
}

/// A component with its back-off.
#[derive(Clone, Copy, Debug)]
struct Component {
    life: Life,
    /// Deaths in a row.
    deaths: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Serving,
    /// Ends with this code; at the deadline what still runs is killed.
    Stopping {
        code: u8,
        deadline: Option<Instant>,
    },
}

/// The supervisor's decisions.
#[derive(Debug)]
pub(crate) struct Plan {
    mode: Mode,
    pub(super) shutdown_timeout: Option<Duration>,
    pub(super) phase: Phase,
    proxy: Component,
    /// The proxies beside it during an upgrade.
    pub(super) successor: Life,
    pub(super) predecessor: Life,
    agent: Component,
    pub(super) command: Life,
    /// When a command that was sent SIGTERM is killed.
    pub(super) command_deadline: Option<Instant>,
    /// A restart of the command.
    pub(super) renewal: Renewal,
    proxy_seen: ProxySeen,
}

/// Whether the proxy has ever answered: a proxy that ends before because of its configuration or its
/// port will not do better the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxySeen {
    Never,
    Alive,
}

/// Rest before the first new start; each further death in a row doubles it.
const REST_MIN: Duration = Duration::from_millis(100);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(5);
/// A component that lived for this long has no deaths in a row.
const STEADY: Duration = Duration::from_secs(10);
/// What the components may take once the command has gone, with which their work has.
const DRAIN_MAX: Duration = Duration::from_secs(5);

impl Plan {
    pub(crate) const fn new(mode: Mode, shutdown_timeout: Option<Duration>) -> Self {
        let unborn = Component { life: Life::Unborn, deaths: 0 };
        Self {
            mode,
            shutdown_timeout,
            phase: Phase::Opening,
            proxy: unborn,
            successor: Life::Unborn,
            predecessor: Life::Unborn,
            agent: unborn,
            command: Life::Unborn,
            command_deadline: None,
            renewal: Renewal::None,
            proxy_seen: ProxySeen::Never,
        }
    }

    /// The one door: takes an event, returns what is to be done, in this order.
    pub(crate) fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Begin => {
                self.start(Part::Proxy, now, &mut actions);
                if self.mode == Mode::Up {
                    self.start(Part::Agent, now, &mut actions);
                }
            }
            Event::Live => self.proxy_seen = ProxySeen::Alive,
            Event::Ready => self.ready(now, &mut actions),
            Event::Ended(part, how) => self.ended(part, how, now, &mut actions),
            Event::Upgrade => self.upgrade(now, &mut actions),
            Event::Serving => self.serving(&mut actions),
            Event::Signal(signal) => self.signal(signal, now, &mut actions),
            Event::Rejuvenate { lead } => self.renew(lead, now, &mut actions),
            Event::Held => self.held(now, &mut actions),
            Event::NotHeld => self.not_held(),
            Event::Time => self.time(now, &mut actions),
        }
        if let Phase::Stopping { code, .. } = self.phase
            && [self.proxy.life, self.successor, self.predecessor, self.agent.life, self.command]
                .iter()
                .all(|life| !matches!(life, Life::Running { .. }))
        {
            actions.push(Action::Leave(code));
        }
        actions
    }

    /// When [`Event::Time`] is wanted.
    pub(crate) fn next_moment(&self) -> Option<Instant> {
        let rest = |life: Life| match life {
            Life::Resting { until } => Some(until),
            Life::Unborn | Life::Running { .. } | Life::Gone => None,
        };
        let stopping = match self.phase {
            Phase::Stopping { deadline, .. } => deadline,
            Phase::Opening | Phase::Serving => None,
        };
        let moments = [
            rest(self.proxy.life),
            rest(self.agent.life),
            stopping,
            self.command_deadline,
            self.renewal.moment(),
        ];
        moments.into_iter().flatten().min()
    }

    /// Whether the end of a component is no news.
    pub(crate) fn ends_components(&self) -> Expected {
        match self.phase {
            Phase::Stopping { .. } => Expected::Yes,
            Phase::Opening | Phase::Serving => Expected::No,
        }
    }

    fn life(&mut self, part: Part) -> &mut Life {
        match part {
            Part::Proxy => &mut self.proxy.life,
            Part::Successor => &mut self.successor,
            Part::Predecessor => &mut self.predecessor,
            Part::Agent => &mut self.agent.life,
            Part::Command => &mut self.command,
        }
    }

    pub(super) fn start(&mut self, part: Part, now: Instant, actions: &mut Vec<Action>) {
        let life = self.life(part);
        assert!(!matches!(life, Life::Running { .. }), "{part:?} is started while it runs");
        *life = Life::Running { since: now };
        actions.push(Action::Start(part));
    }

    /// Why there can be no upgrade now, if there cannot.
    pub(crate) const fn can_upgrade(&self) -> Result<(), &'static str> {
        match (self.phase, self.proxy.life, self.successor, self.predecessor) {
            (Phase::Stopping { .. }, ..) => Err("stent is ending"),
            (_, _, Life::Running { .. }, _) => Err("another upgrade is under way"),
            (_, _, _, Life::Running { .. }) => {
                Err("the proxy before the last upgrade still serves its clients")
            }
            (_, Life::Running { .. }, ..) => Ok(()),
            (_, Life::Unborn | Life::Resting { .. } | Life::Gone, ..) => {
                Err("the proxy does not run: there is nothing to take over")
            }
        }
    }

    fn upgrade(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.can_upgrade().is_ok() {
            self.start(Part::Successor, now, actions);
        }
    }

    /// Of a proxy that takes over this is the moment at which it has.
    fn serving(&mut self, actions: &mut Vec<Action>) {
        let Life::Running { .. } = self.successor else { return };
        self.predecessor = self.proxy.life;
        self.proxy = Component { life: self.successor, deaths: 0 };
        self.successor = Life::Unborn;
        actions.push(Action::Promote);
    }

    fn ready(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.phase != Phase::Opening {
            return;
        }
        self.phase = Phase::Serving;
        if self.mode == Mode::Run {
            // The agent watches the command, so the command comes first.
            self.start(Part::Command, now, actions);
            self.start(Part::Agent, now, actions);
        }
    }

    fn ended(&mut self, part: Part, how: Ended, now: Instant, actions: &mut Vec<Action>) {
        let was = std::mem::replace(self.life(part), Life::Gone);
        let Life::Running { since } = was else {
            panic!("{part:?} ended while it was not there");
        };
        if matches!(self.phase, Phase::Stopping { .. }) {
            return;
        }
        let component = match part {
            // A successor that ends before it serves has taken nothing over; where there is nothing
            // left to take over from, the proxy is started again.
            Part::Successor if self.proxy.life == Life::Gone => &mut self.proxy,
            Part::Successor | Part::Predecessor => return,
            // Its successor may have its sockets by now: two that start would be in each other's way.
            Part::Proxy if matches!(self.successor, Life::Running { .. }) => return,
            Part::Proxy => &mut self.proxy,
            Part::Agent => &mut self.agent,
            Part::Command if self.goes_on(now, actions) => return,
            Part::Command => {
                self.command_deadline = None;
                return self.stop(how.code(), now + DRAIN_MAX, actions);
            }
        };
        let hopeless = [Exit::Usage.code(), Exit::Listen.code()];
        if part == Part::Proxy
            && self.proxy_seen == ProxySeen::Never
            && self.phase == Phase::Opening
            && hopeless.contains(&how.code())
        {
            return self.stop(how.code(), now + DRAIN_MAX, actions);
        }
        if now.duration_since(since) >= STEADY {
            component.deaths = 0;
        }
        let rest = REST_MIN.saturating_mul(1 << component.deaths.min(10)).min(REST_MAX);
        component.deaths = component.deaths.saturating_add(1);
        component.life = Life::Resting { until: now + rest };
    }

    fn signal(&mut self, signal: Signal, now: Instant, actions: &mut Vec<Action>) {
        let ends = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&signal);
        if ends {
            self.call_off_renewal(actions);
        }
        if matches!(self.phase, Phase::Stopping { .. }) {
            if ends {
                self.kill(actions);
            }
        } else if matches!(self.command, Life::Running { .. }) {
            actions.push(Action::Send(Part::Command, signal));
            if signal == Signal::TERM && self.command_deadline.is_none() {
                self.command_deadline = self.shutdown_timeout.map(|limit| now + limit);
            }
        } else if ends {
            let code = match self.mode {
                Mode::Up => Exit::Clean.code(),
                // The command never ran, and 0 would say that it had done its work.
                Mode::Run => Ended::Signal(signal_number(signal)).code(),
            };
            self.stop_within(code, self.shutdown_timeout.map(|limit| now + limit), actions);
        }
    }

    fn time(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.renewal_time(now, actions);
        for part in [Part::Proxy, Part::Agent] {
            if let Life::Resting { until } = *self.life(part)
                && until <= now
            {
                self.start(part, now, actions);
            }
        }
        if self.command_deadline.is_some_and(|deadline| deadline <= now) {
            self.command_deadline = None;
            actions.push(Action::Send(Part::Command, Signal::KILL));
        }
        if let Phase::Stopping { code, deadline: Some(deadline) } = self.phase
            && deadline <= now
        {
            self.kill(actions);
            // Who had to be killed did not end in good order, unless the code says worse already.
            let code = if code == Exit::Clean.code() && self.mode == Mode::Up {
                Exit::Failure.code()
            } else {
                code
            };
            self.phase = Phase::Stopping { code, deadline: None };
        }
    }

    fn stop(&mut self, code: u8, deadline: Instant, actions: &mut Vec<Action>) {
        self.stop_within(code, Some(deadline), actions);
    }

    /// From here nothing is started any more.
    fn stop_within(&mut self, code: u8, deadline: Option<Instant>, actions: &mut Vec<Action>) {
        assert!(!matches!(self.phase, Phase::Stopping { .. }), "stopping twice");
        self.phase = Phase::Stopping { code, deadline };
        for part in [Part::Proxy, Part::Successor, Part::Predecessor, Part::Agent] {
            let life = self.life(part);
            match life {
                Life::Running { .. } => actions.push(Action::Send(part, Signal::TERM)),
                Life::Unborn | Life::Resting { .. } | Life::Gone => *life = Life::Gone,
            }
        }
    }

    fn kill(&mut self, actions: &mut Vec<Action>) {
        let all = [Part::Proxy, Part::Successor, Part::Predecessor, Part::Agent, Part::Command];
        for part in all {
            if matches!(self.life(part), Life::Running { .. }) {
                actions.push(Action::Send(part, Signal::KILL));
            }
        }
    }
}

/// The number of a signal; all that are handled here are small.
fn signal_number(signal: Signal) -> u8 {
    u8::try_from(signal.as_raw()).unwrap_or(0)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "renewal_tests.rs"]
mod renewal_tests;
