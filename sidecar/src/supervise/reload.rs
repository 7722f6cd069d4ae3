//! Another configuration, or another program, for what is supervised.
//!
//! Owns: reading the one, handing it to the proxy, and what children are started with from then on; and
//! what is said of the other, which `plan` decides. The
//! agent keeps its own until it is started again. Refuses: a second reload while one is under way.
//! Invariant: what the proxy has refused is in force nowhere.

use std::io::IsTerminal as _;
use std::os::unix::net::UnixStream;

use tokio::sync::mpsc;

use super::Supervisor;
use super::children::Start;
use super::environment::{self, Private};
use super::event::{Event, Mode, Part};
use crate::config::flags::Flags;
use crate::config::{Loaded, Role};
use crate::reload::{Answer, Asked, Reins, Report, Request, log_failure};

/// What is kept for a reload.
pub(super) struct Reloading<'a> {
    pub(super) flags: &'a Flags,
    pub(super) private: Private,
    /// For what the proxy asks.
    pub(super) asks: mpsc::Sender<Asked>,
    /// For the end of a reload; full while one is under way.
    pub(super) done: mpsc::Sender<Reloaded>,
    /// The line to the proxy, while it is there.
    reins: Option<Reins>,
    /// The line to the one that is to take over, and who wants to know how that ends.
    successor: Option<Reins>,
    upgrading: Option<Answer>,
    pub(super) mode: Mode,
    pub(super) on_hangup: OnHangup,
}

impl Reloading<'_> {
    /// The line to the proxy that serves newcomers, while it is there.
    pub(super) fn reins(&self) -> Option<Reins> {
        self.reins.clone()
    }
}

impl<'a> Reloading<'a> {
    pub(super) fn new(
        mode: Mode,
        flags: &'a Flags,
        private: Private,
        asks: mpsc::Sender<Asked>,
        done: mpsc::Sender<Reloaded>,
    ) -> Self {
        let (reins, successor, upgrading) = (None, None, None);
        let on_hangup = on_hangup(mode);
        Self { flags, private, asks, done, reins, successor, upgrading, mode, on_hangup }
    }
}

/// The end of a reload.
pub(super) struct Reloaded {
    fresh: Box<Loaded>,
    component: Start,
    result: Result<(), String>,
    answer: Answer,
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnHangup {
    /// A new configuration.
    Reload,
    /// What it means to others: the command's business, or the end of the terminal.
    Forward,
}

/// `stent up` reloads, unless it was started by hand: then the terminal's end is its end. To the
/// command of `stent run` the signal is forwarded like every other.
pub(super) fn on_hangup(mode: Mode) -> OnHangup {
    match mode {
        Mode::Up if !std::io::stdin().is_terminal() => OnHangup::Reload,
        Mode::Up | Mode::Run => OnHangup::Forward,
    }
}

impl Supervisor<'_> {
    /// The proxy has been started.
    pub(super) fn take_reins(&mut self, part: Part, line: Option<UnixStream>) {
        let Some(line) = line else { return };
        match Reins::new(line, self.reloading.asks.clone()) {
            Ok(reins) if part == Part::Successor => self.reloading.successor = Some(reins),
            Ok(reins) => self.reloading.reins = Some(reins),
            Err(error) => tracing::error!(%error, "the proxy cannot be told to reload"),
        }
    }

    /// Somebody asks for something.
    pub(super) fn asked(&mut self, Asked { request, answer }: Asked) {
        match request {
            Request::Reload => self.reload(answer),
            Request::Upgrade => self.upgrade(answer),
            Request::Serving => self.pending.push_back(Event::Serving),
        }
    }

    fn upgrade(&mut self, answer: Answer) {
        if let Err(why) = self.plan.can_upgrade() {
            tracing::warn!(why, "upgrade refused");
            let _ = answer.send(Err(why.to_owned()));
            return;
        }
        self.reloading.upgrading = Some(answer);
        self.pending.push_back(Event::Upgrade);
    }

    /// The successor serves newcomers.
    pub(super) fn promote(&mut self) {
        self.children.promote();
        self.reloading.reins = self.reloading.successor.take();
        let pid = self.children.pid(Part::Proxy).map_or(0, |pid| pid.as_raw_nonzero().get());
        tracing::info!(child_pid = pid, "upgraded: a new proxy serves newcomers");
        if let Some(answer) = self.reloading.upgrading.take() {
            let _ = answer.send(Ok(format!("upgraded: the new proxy has process id {pid}")));
        }
    }

    /// Whoever wants an upgrade hears that it has failed.
    pub(super) fn note_failed_upgrade(&mut self, event: Event) {
        let Event::Ended(Part::Successor, how) = event else { return };
        self.reloading.successor = None;
        if let Some(answer) = self.reloading.upgrading.take() {
            let code = how.code();
            let _ = answer.send(Err(format!(
                "the new proxy has ended with code {code}, as the log says; the old one goes on"
            )));
        }
    }

    fn reload(&self, answer: Answer) {
        let refuse = |answer: Answer, why: String| {
            log_failure(&why);
            let _ = answer.send(Err(why));
        };
        let Ok(done) = self.reloading.done.clone().try_reserve_owned() else {
            return refuse(answer, "another reload is under way".to_owned());
        };
        let fresh = crate::config::load(Role::Both, self.reloading.flags, &crate::environment());
        let fresh = match fresh {
            Ok(fresh) => Box::new(fresh),
            Err(problems) => return refuse(answer, problems.to_string()),
        };
        let component = environment::component(&fresh, &self.reloading.private);
        let reins = self.reloading.reins.clone();
        tokio::task::spawn_local(async move {
            let result = match reins {
                Some(reins) => reins.reload(component.set.clone()).await,
                // It is started with the new values.
                None => Ok(()),
            };
            done.send(Reloaded { fresh, component, result, answer });
        });
    }

    /// The proxy has said what it makes of it.
    pub(super) fn reloaded(&mut self, reloaded: Reloaded) {
        let Reloaded { fresh, component, result, answer } = reloaded;
        // Whoever has asked may have gone.
        let _ = answer.send(match result {
            Ok(()) => {
                let report = Report::of(&self.loaded, &fresh);
                crate::logging::change(fresh.logging.level, fresh.secrets());
                crate::component::warn(&fresh);
                report.emit();
                self.component = component;
                self.loaded = *fresh;
                Ok(report.to_string())
            }
            Err(why) => {
                log_failure(&why);
                Err(why)
            }
        });
    }
}
