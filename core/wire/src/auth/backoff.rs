//! How long the answer to a failed login waits.
//!
//! Owns: failures by the address that they came from and by the user that they named.
//! Refuses: waiting (the caller does), and touching a login that succeeds: nobody can lock out anybody
//! by failing in another's name or from another's network.
//! Invariant: bounded; where there is no room the failures that are longest past are forgotten.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustc_hash::FxHasher;

/// The wait after a first failure. It doubles with each further one.
pub const WAIT_MIN: Duration = Duration::from_millis(100);

/// The longest wait.
pub const WAIT_MAX: Duration = Duration::from_secs(5);

/// For so much time without a failure one is forgiven.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// The most addresses and users whose failures are remembered.
pub const SUBJECTS_MAX: usize = 4_096;

/// Doublings after which the wait has passed [`WAIT_MAX`], and failures behind which none is counted.
const COUNT_MAX: u32 = 10;

/// Where clients come from, as far as they are told apart: whoever has one IPv6 address has a whole
/// network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The unix socket.
    Local,
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first half of an IPv6 address.
    V6([u8; 8]),
}

/// Failures, remembered.
#[derive(Debug, Default)]
pub struct Backoff {
    streaks: BTreeMap<Subject, Streak>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    From(Source),
    /// By a sum of the name: two users that share one share their waits, which harms neither.
    As(u64),
}

#[derive(Clone, Copy, Debug)]
struct Streak {
    count: u32,
    last: Instant,
}

impl Source {
    /// Where a client comes from; `None` is the unix socket.
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V4(address)) => Self::V4(address.octets()),
            Some(IpAddr::V6(address)) => {
                let octets = address.octets();
                Self::V6(*octets.first_chunk().expect("16 bytes hold 8"))
            }
        }
    }

    /// Whether it is this very machine.
    pub const fn is_local(self) -> bool {
        match self {
            Self::Local => true,
            Self::V4([first, ..]) => first == 127,
            // Of ::/64 only ::1 can be somebody's.
            Self::V6(network) => u64::from_be_bytes(network) == 0,
        }
    }
}

impl Backoff {
    /// A login failed; returns how long its answer is to wait.
    pub fn failed(&mut self, from: Source, user: &str, now: Instant) -> Duration {
        let mut sum = FxHasher::default();
        sum.write(user.as_bytes());
        let of_source = self.count(Subject::From(from), now);
        let of_user = self.count(Subject::As(sum.finish()), now);
        let wait = wait_after(of_source.max(of_user));
        assert!((WAIT_MIN..=WAIT_MAX).contains(&wait), "a wait has its bounds");
        wait
    }

    /// How many addresses and users are remembered.
    pub fn len(&self) -> usize {
        self.streaks.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.streaks.is_empty()
    }

    fn count(&mut self, subject: Subject, now: Instant) -> u32 {
        if !self.streaks.contains_key(&subject) && self.streaks.len() >= SUBJECTS_MAX {
            let oldest = self.streaks.iter().min_by_key(|(_, streak)| streak.last);
            if let Some(oldest) = oldest.map(|(subject, _)| *subject) {
                self.streaks.remove(&oldest);
            }
        }
        let streak = self.streaks.entry(subject).or_insert(Streak { count: 0, last: now });
        let quiet = now.saturating_duration_since(streak.last);
        let forgiven = quiet.as_millis() / FORGIVEN_AFTER.as_millis();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        streak.count = (streak.count.saturating_sub(forgiven) + 1).min(COUNT_MAX);
        streak.last = now;
        let count = streak.count;
        assert!(self.streaks.len() <= SUBJECTS_MAX, "the limit holds");
        count
    }
}

fn wait_after(failures: u32) -> Duration {
    assert!((1..=COUNT_MAX).contains(&failures), "there was one");
    (WAIT_MIN * 2_u32.pow(failures - 1)).min(WAIT_MAX)
}
