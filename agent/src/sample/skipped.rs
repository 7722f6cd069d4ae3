//! Readings, and parts of them, that were left out because what was read cannot be right.
//!
//! Owns: how many of each kind a target had. Refuses: what is merely absent: a process that has
//! ended, a file that this kernel does not have.
//! Invariant: as many counters as there are kinds, whatever is read; the first of each kind is a
//! warning, the later ones are counted in silence.

use std::collections::BTreeMap;

use stent_contract::Skipped;

use super::kernel_file::Flaw;
use crate::event;

/// What a figure is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// `status` or `stat`: the reading as a whole.
    Process,
    /// The processor time in `stat`.
    Cpu,
    /// `smaps_rollup`.
    Pss,
    /// `limits`.
    Limits,
    /// The folder of descriptors.
    Descriptors,
    /// The network namespace's sockets.
    Sockets,
    /// The memory cgroup.
    Cgroup,
    /// The cgroup's memory pressure.
    Pressure,
    /// `/proc/meminfo`.
    Machine,
    /// The search for a process by name.
    Search,
    /// The environment that names the build.
    Build,
    /// The target's own count of requests.
    Requests,
    /// The proxy's snapshot.
    Proxy,
    /// The wall clock.
    Clock,
}

impl Source {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Cpu => "cpu",
            Self::Pss => "pss",
            Self::Limits => "limits",
            Self::Descriptors => "descriptors",
            Self::Sockets => "sockets",
            Self::Cgroup => "cgroup",
            Self::Pressure => "pressure",
            Self::Machine => "machine",
            Self::Search => "search",
            Self::Build => "build",
            Self::Requests => "requests",
            Self::Proxy => "proxy",
            Self::Clock => "clock",
        }
    }
}

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It ended in the middle of a line.
    CutOff,
    /// It held something else.
    Malformed,
    /// It was not allowed to be read, or failed to be.
    Unreadable,
    /// It was smaller than before, and can only grow.
    WentBack,
    /// It was far ahead of where it was.
    JumpedAhead,
    /// There was more than is looked at.
    TooMany,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::CutOff => "cut_off",
            Self::Malformed => "malformed",
            Self::Unreadable => "unreadable",
            Self::WentBack => "went_back",
            Self::JumpedAhead => "jumped_ahead",
            Self::TooMany => "too_many",
        }
    }
}

/// The counters of one target, or of what concerns them all.
#[derive(Debug, Default)]
pub(crate) struct Skips {
    /// Empty for what concerns all targets.
    target: String,
    counts: BTreeMap<(Source, Reason), u64>,
}

impl Skips {
    /// Of a target of this name.
    pub(crate) fn of(target: &str) -> Self {
        Self { target: target.to_owned(), counts: BTreeMap::new() }
    }

    /// Whose they are.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// A file that gave no figure. One that is not there is nothing.
    pub(crate) fn flaw(&mut self, source: Source, flaw: &Flaw, file: &str) {
        let reason = match flaw {
            Flaw::Absent => return,
            Flaw::Unreadable(_) => Reason::Unreadable,
            Flaw::CutOff => Reason::CutOff,
            Flaw::Malformed(_) => Reason::Malformed,
        };
        self.count(source, reason, &format_args!("{file}: {flaw}"));
    }

    /// Anything else; `what` is told once.
    pub(crate) fn count(&mut self, source: Source, reason: Reason, what: &dyn std::fmt::Display) {
        let count = self.counts.entry((source, reason)).or_default();
        *count = count.saturating_add(1);
        let (target, source, reason) = (self.target.as_str(), source.as_str(), reason.as_str());
        event::ReadingSkipped { target, source, reason, what, times: *count }.emit();
    }

    /// What there is to tell.
    pub(crate) fn told(&self) -> impl Iterator<Item = Skipped> {
        self.counts.iter().map(|((source, reason), count)| Skipped {
            target: self.target.clone(),
            source: source.as_str().to_owned(),
            reason: reason.as_str().to_owned(),
            count: *count,
        })
    }
}
