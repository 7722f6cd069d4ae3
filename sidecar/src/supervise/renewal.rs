//! The plan's part that restarts the command before its memory limit.
//!
//! ```text
//! None ──wanted──▶ Announced ──siblings have it──▶ Holding ──at rest, or late──▶ Ending ──ended──▶ None
//!   ▲                                                │ refused                      │ (started again)
//!   └────────────────────────────────────────────────┘◀──── a signal ends all ──────┘
//! ```
//! Owns: the order of a restart: siblings, open transactions, SIGTERM, a new start. Refuses: whether one is
//! wanted (`rejuvenate`).
//! Invariant: whoever was made to wait is let go: at a moment after SIGTERM, or with what ended the restart.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::event::{Action, Part};
use super::plan::{Life, Phase, Plan};

/// After SIGTERM, new transactions wait for this much longer: a command that ends by it at once begins none,
/// and one that finishes its requests first can.
const RELEASE_AFTER: Duration = Duration::from_millis(200);

/// A restart that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// None is.
    None,
    /// `/readyz` sends newcomers to siblings until then.
    Announced { until: Instant },
    /// Open transactions finish, new ones wait.
    Holding,
    /// SIGTERM was sent; at that moment new transactions wait no longer.
    Ending { release: Option<Instant> },
}

impl Renewal {
    /// When something is to be done next.
    pub(super) const fn moment(self) -> Option<Instant> {
        match self {
            Self::Announced { until } => Some(until),
            Self::Ending { release } => release,
            Self::None | Self::Holding => None,
        }
    }

    /// Whether new transactions wait.
    const fn holds(self) -> bool {
        match self {
            Self::Holding => true,
            Self::Ending { release } => release.is_some(),
            Self::None | Self::Announced { .. } => false,
        }
    }
}

impl Plan {
    /// Whether a restart is under way.
    pub(crate) fn is_renewing(&self) -> bool {
        self.renewal != Renewal::None
    }

    /// Whether the command may be restarted now: nothing else is under way.
    pub(crate) fn can_renew(&self) -> bool {
        let upgrade = [self.successor, self.predecessor];
        self.phase == Phase::Serving
            && matches!(self.command, Life::Running { .. })
            && self.command_deadline.is_none()
            && !self.is_renewing()
            && upgrade.iter().all(|life| !matches!(life, Life::Running { .. }))
    }

    pub(super) fn renew(&mut self, lead: Duration, now: Instant, actions: &mut Vec<Action>) {
        if !self.can_renew() {
            return;
        }
        self.renewal = Renewal::Announced { until: now + lead };
        self.renewal_time(now, actions);
    }

    /// A moment has come.
    pub(super) fn renewal_time(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.renewal {
            Renewal::Announced { until } if until <= now => {
                self.renewal = Renewal::Holding;
                actions.push(Action::Hold);
            }
            Renewal::Ending { release: Some(at) } if at <= now => {
                self.renewal = Renewal::Ending { release: None };
                actions.push(Action::Release);
            }
            Renewal::None
            | Renewal::Announced { .. }
            | Renewal::Holding
            | Renewal::Ending { .. } => {}
        }
    }

    /// No transaction is open, or those that are had their time.
    pub(super) fn held(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.renewal != Renewal::Holding {
            return; // called off meanwhile
        }
        self.renewal = Renewal::Ending { release: Some(now + RELEASE_AFTER) };
        self.command_deadline = self.shutdown_timeout.map(|limit| now + limit);
        actions.push(Action::Send(Part::Command, Signal::TERM));
    }

    /// Something else goes before. Whoever waits is let go.
    pub(super) fn call_off_renewal(&mut self, actions: &mut Vec<Action>) {
        if std::mem::replace(&mut self.renewal, Renewal::None).holds() {
            actions.push(Action::Release);
        }
    }

    /// The proxy did not hold, and holds nobody.
    pub(super) fn not_held(&mut self) {
        if self.renewal == Renewal::Holding {
            self.renewal = Renewal::None;
        }
    }

    /// Whether the end of the command was a part of its restart, which goes on then.
    pub(super) fn goes_on(&mut self, now: Instant, actions: &mut Vec<Action>) -> bool {
        let was_asked = matches!(self.renewal, Renewal::Ending { .. });
        self.call_off_renewal(actions);
        if was_asked {
            self.command_deadline = None;
            self.start(Part::Command, now, actions);
        }
        was_asked
    }
}
