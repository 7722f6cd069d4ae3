//! One struct per observable event: the log line and the counter together.
//!
//! Invariant: no secret is in any of them; a text that came from the network was cut before.

use std::fmt::Display;

use stent_contract::Explanation;
use tracing::{debug, info, warn};

use crate::publish::counts::{Counts, Outcome};

/// The agent has started.
pub(crate) struct Started<'a> {
    pub(crate) admin: Option<&'a str>,
    pub(crate) targets: usize,
    /// What it runs on.
    pub(crate) host: &'a str,
}

impl Started<'_> {
    /// Logs it.
    pub(crate) fn emit(&self) {
        let Self { admin, targets, host } = self;
        info!(admin, targets, host, "the agent watches");
    }
}

/// What is wrong has another first cause than before, or nothing is wrong any more.
pub(crate) struct Explained<'a> {
    pub(crate) explanation: Option<&'a Explanation>,
}

impl Explained<'_> {
    /// Logs it.
    pub(crate) fn emit(&self) {
        let Some(Explanation { summary, causes, .. }) = self.explanation else {
            info!("nothing is wrong any more");
            return;
        };
        let first = causes.first();
        let cause = first.map(|cause| cause.kind.as_str());
        let confidence = first.map(|cause| cause.confidence);
        let next_step = first.map(|cause| cause.next_step.as_str());
        warn!(cause, confidence, next_step, "{summary}");
    }
}

/// The agent has ended in order.
pub(crate) struct Ended;

impl Ended {
    /// Logs it.
    pub(crate) fn emit(&self) {
        info!("the agent has shut down");
    }
}

/// A publisher could not send; its points wait.
pub(crate) struct PublishFailed<'a> {
    pub(crate) publisher: &'static str,
    /// In a row.
    pub(crate) failures: u32,
    pub(crate) waiting: usize,
    pub(crate) why: &'a str,
}

impl PublishFailed<'_> {
    /// Logs it: the first time, and then seldom, for an outage lasts.
    pub(crate) fn emit(&self) {
        let Self { publisher, failures, waiting, why } = self;
        if failures.is_power_of_two() {
            warn!(publisher, failures, waiting, why, "cannot publish; the points wait");
        } else {
            debug!(publisher, failures, waiting, why, "cannot publish; the points wait");
        }
    }
}

/// A publisher sends again.
pub(crate) struct PublishResumed {
    pub(crate) publisher: &'static str,
    pub(crate) failures: u32,
    pub(crate) waiting: usize,
}

impl PublishResumed {
    /// Logs it.
    pub(crate) fn emit(&self) {
        let Self { publisher, failures, waiting } = self;
        info!(publisher, failures, waiting, "publishing again");
    }
}

/// Points were given up for want of room or time.
pub(crate) struct PointsDropped {
    pub(crate) publisher: &'static str,
    pub(crate) points: usize,
}

impl PointsDropped {
    /// Logs and counts them.
    pub(crate) fn emit(&self, counts: &Counts) {
        counts.add(Outcome::Dropped, self.points);
        if self.points > 0 {
            warn!(publisher = self.publisher, points = self.points, "points were dropped");
        }
    }
}

/// The far side will never take this point.
pub(crate) struct PointRefused<'a> {
    pub(crate) publisher: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) why: &'a str,
}

impl PointRefused<'_> {
    /// Logs and counts it.
    pub(crate) fn emit(&self, counts: &Counts) {
        counts.add(Outcome::Failed, 1);
        warn!(
            publisher = self.publisher,
            metric = self.metric,
            why = self.why,
            "a point was refused"
        );
    }
}

/// Lines of the embedded metric format could not be written.
pub(crate) struct WriteFailed<'a> {
    pub(crate) publisher: &'static str,
    pub(crate) points: usize,
    pub(crate) error: &'a dyn Display,
}

impl WriteFailed<'_> {
    /// Logs and counts them.
    pub(crate) fn emit(&self, counts: &Counts) {
        counts.add(Outcome::Failed, self.points);
        let Self { publisher, points, error } = self;
        warn!(publisher, points, %error, "cannot write metrics");
    }
}

/// A reading, or a part of one, was left out because what was read cannot be right.
pub(crate) struct ReadingSkipped<'a> {
    /// Empty for what concerns all targets.
    pub(crate) target: &'a str,
    pub(crate) source: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) what: &'a dyn Display,
    /// So far.
    pub(crate) times: u64,
}

impl ReadingSkipped<'_> {
    /// Logs it: the first of each kind for people, the others for those who look for them.
    pub(crate) fn emit(&self) {
        let Self { target, source, reason, what, times } = self;
        if *times == 1 {
            warn!(target, source, reason, %what, "left out of the readings; counted from now on");
        } else {
            debug!(target, source, reason, %what, times, "left out of the readings");
        }
    }
}

/// The memory cgroup of a target was found, or is another one than before.
pub(crate) struct CgroupFound<'a> {
    pub(crate) target: &'a str,
    pub(crate) tells_pressure: bool,
}

impl CgroupFound<'_> {
    /// Says what cannot be known of it.
    pub(crate) fn emit(&self) {
        if self.tells_pressure {
            debug!(target = self.target, "its cgroup says how it is pressed for memory");
        } else {
            info!(
                target = self.target,
                "its cgroup does not say how it is pressed for memory: version 1, or a kernel \
                 without PSI"
            );
        }
    }
}

/// A target runs another revision than before.
pub(crate) struct RevisionChanged<'a> {
    pub(crate) target: &'a str,
    pub(crate) before: &'a str,
    pub(crate) newest: &'a str,
}

impl RevisionChanged<'_> {
    /// Logs it: what is known of the one before counts as such from here on.
    pub(crate) fn emit(&self) {
        let Self { target, before, newest } = self;
        info!(target, before, newest, "another revision runs");
    }
}
