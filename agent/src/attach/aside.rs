//! A target steps aside before it is looked into: siblings get the time to take its newcomers over.
//!
//! Owns: which target that is, and until when it has to wait. Pure: `now` is an argument.
//! Refuses: telling anybody; `/readyz` reads it.
//! Invariant: one target at a time, and none where there are no siblings; a target that is not to be looked
//! into any more does not stay aside.

use std::time::{Duration, Instant};

use tracing::info;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// What siblings need; zero: there are none.
    lead: Duration,
    of: Option<Stepped>,
}

#[derive(Debug)]
struct Stepped {
    target: String,
    pid: u32,
    until: Instant,
}

impl Aside {
    /// With siblings that need so long; zero: without.
    pub(crate) fn new(lead: Duration) -> Self {
        Self { lead, of: None }
    }

    /// Whether the target may be looked into now. Where siblings come first, the first question begins
    /// their time.
    pub(crate) fn is_clear(&mut self, target: &str, pid: u32, now: Instant) -> bool {
        if self.lead.is_zero() {
            return true;
        }
        match &self.of {
            Some(of) if of.target == target && of.pid == pid => now >= of.until,
            Some(_) | None => {
                let seconds = self.lead.as_secs_f64();
                info!(target_name = target, pid, seconds, "attribution: the target steps aside");
                self.of = Some(Stepped { target: target.to_owned(), pid, until: now + self.lead });
                false
            }
        }
    }

    /// The target that is aside.
    pub(crate) fn target(&self) -> Option<&str> {
        self.of.as_ref().map(|of| of.target.as_str())
    }

    /// It is not any more, unless it is among those that are due.
    pub(crate) fn keep_due<'a>(&mut self, mut due: impl Iterator<Item = (&'a str, u32)>) {
        if let Some(of) = &self.of
            && !due.any(|(target, pid)| of.target == target && of.pid == pid)
        {
            self.of = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: Duration = Duration::from_secs(20);

    #[test]
    fn siblings_get_their_time_before_a_target_is_looked_into_and_it_stays_aside_meanwhile() {
        let (mut aside, now) = (Aside::new(LEAD), Instant::now());
        assert_eq!(aside.target(), None);
        assert!(!aside.is_clear("api", 7, now));
        assert!(!aside.is_clear("api", 7, now + LEAD / 2));
        assert_eq!(aside.target(), Some("api"));
        assert!(aside.is_clear("api", 7, now + LEAD));
        assert_eq!(aside.target(), Some("api"), "while it is looked into");
        aside.keep_due(std::iter::empty());
        assert_eq!(aside.target(), None);
    }

    #[test]
    fn without_siblings_nobody_steps_aside() {
        let mut aside = Aside::default();
        assert!(aside.is_clear("api", 7, Instant::now()));
        assert_eq!(aside.target(), None);
    }

    #[test]
    fn another_process_or_target_begins_its_own_time_and_one_that_is_well_again_ends_it() {
        let (mut aside, now) = (Aside::new(LEAD), Instant::now());
        aside.is_clear("api", 7, now);
        assert!(!aside.is_clear("api", 8, now + LEAD), "a new process has its own time");
        aside.keep_due([("api", 8), ("worker", 9)].into_iter());
        assert_eq!(aside.target(), Some("api"));
        aside.keep_due([("worker", 9)].into_iter());
        assert_eq!(aside.target(), None);
    }
}
