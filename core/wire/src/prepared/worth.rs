//! Whether keeping a statement pays: its executions from the kept plan against those parsed anew.
//!
//! A statement that is kept may be executed by a generic plan, which does not know the values of
//! its parameters. Every so often one execution is a sample: it is parsed anew, as without a cache.
//! Owns: the times of the last executions of both kinds, and switching the statement off where the
//! kept plan is clearly slower; after a while it is tried again.
//! Refuses: clocks. Writers on several threads may lose each other's samples, nothing else.
//! Invariant: no decision on fewer than the named numbers of times, and none on a mean: medians.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Every so many uses one is a sample.
pub const SAMPLE_EVERY: u64 = 64;
/// The same of a statement that is so quick that its kept plan could not be clearly slower: what the
/// samples cost would be all that they find.
const QUICK_SAMPLE_EVERY: u64 = 1_024;
const _: () =
    assert!(QUICK_SAMPLE_EVERY.is_multiple_of(SAMPLE_EVERY), "one of them is the other too");
/// How many times of each kind are kept.
const RING: usize = 16;
/// How many of each kind there must be before they are compared.
const KEPT_MIN: u64 = 8;
const ANEW_MIN: u64 = 3;
/// The kept plan is clearly slower from this ratio on ...
const RATIO: u32 = 2;
/// ... where it also costs this much more, in microseconds.
const MARGIN_US: u32 = 500;
/// Where the medians say so it is a suspicion, and uses go both ways in turn: so many pairs of
/// neighbours are compared, which a machine that is busy slows both alike ...
const PAIRS: u32 = 16;
/// ... and so many of them must say it too. By chance, where neither way is slower, one of a thousand
/// suspicions ends so at the most.
const SURE_FROM: u32 = 14;
/// Every so many uses one is a sample while there is a suspicion.
const SUSPECTED_EVERY: u64 = 2;
/// How long a statement that was switched off is parsed anew each time.
pub const RETRY_AFTER: Duration = Duration::from_secs(300);

/// Whether a statement was used since texts were last swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Used,
    Unused,
}

/// How one execution of a statement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the statement that the server keeps.
    Kept,
    /// Parsed anew.
    Anew,
}

/// Whether a statement is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    On,
    /// It was slower so: it is parsed anew for a while.
    Off,
    /// It cannot be: PostgreSQL says something at its Parse that a kept statement would not say.
    Never,
}

impl Standing {
    /// As the console shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "cached",
            Self::Off => "switched off",
            Self::Never => "never cached",
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::On => 0,
            Self::Off => 1,
            Self::Never => 2,
        }
    }
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The statement is parsed anew from here on.
    SwitchedOff,
    /// It is kept again.
    SwitchedOn,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Worth {
    uses: AtomicU64,
    /// How many there were when texts were last swept.
    swept: AtomicU64,
    hits: AtomicU64,
    kept: Ring,
    anew: Ring,
    standing: AtomicU32,
    /// How many pairs are still to be compared: none, unless there is a suspicion.
    pairs: AtomicU32,
    /// How many of those that were compared have found the kept plan slower.
    slower: AtomicU32,
    /// When it was switched off, in milliseconds of the shell's clock.
    off_since: AtomicU64,
}

impl Worth {
    /// One more use is about to begin: how it should go.
    pub(super) fn next(&self) -> Way {
        let uses = self.uses.load(Relaxed) + 1;
        self.uses.store(uses, Relaxed);
        let sample = if self.pairs.load(Relaxed) > 0 {
            uses.is_multiple_of(SUSPECTED_EVERY)
        } else {
            uses.is_multiple_of(SAMPLE_EVERY)
                && (uses.is_multiple_of(QUICK_SAMPLE_EVERY) || !self.is_quick())
        };
        if sample || self.standing() != Standing::On { Way::Anew } else { Way::Kept }
    }

    /// Whether its kept plan takes less than what it would have to take longer than another.
    fn is_quick(&self) -> bool {
        self.kept.count() >= KEPT_MIN && self.kept.median().is_some_and(|us| us < MARGIN_US)
    }

    /// Texts are swept: whether this one was used since the last time.
    pub(super) fn sweep(&self) -> Since {
        let uses = self.uses.load(Relaxed);
        let before = self.swept.swap(uses, Relaxed);
        assert!(before <= uses, "uses are only added");
        if before < uses { Since::Used } else { Since::Unused }
    }

    /// The server knew the statement.
    pub(super) fn hit(&self) {
        self.hits.store(self.hits.load(Relaxed) + 1, Relaxed);
    }

    /// PostgreSQL says something at its Parse that a kept statement would not say.
    pub fn refuse(&self) {
        self.standing.store(Standing::Never.number(), Relaxed);
    }

    /// An execution has taken this long, and has ended at this time of the shell's clock.
    pub fn observe(&self, way: Way, took: Duration, now: Duration) -> Change {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        match way {
            Way::Kept => self.kept.put(took),
            Way::Anew => self.anew.put(took),
        }
        match self.standing() {
            Standing::Never => Change::None,
            Standing::On if way == Way::Anew && self.is_surely_slower(took) => {
                self.off_since.store(now, Relaxed);
                self.standing.store(Standing::Off.number(), Relaxed);
                Change::SwitchedOff
            }
            Standing::On => Change::None,
            Standing::Off => {
                let since = self.off_since.load(Relaxed);
                if u128::from(now.saturating_sub(since)) < RETRY_AFTER.as_millis() {
                    return Change::None;
                }
                self.kept.clear();
                self.standing.store(Standing::On.number(), Relaxed);
                Change::SwitchedOn
            }
        }
    }

    /// Whether the kept plan has now been slower often enough.
    fn is_surely_slower(&self, newest: u32) -> bool {
        let pairs = self.pairs.load(Relaxed);
        if pairs == 0 {
            if self.is_slower(newest) {
                self.slower.store(0, Relaxed);
                self.pairs.store(PAIRS, Relaxed);
            }
            return false;
        }
        let found = self.kept.last().is_some_and(|kept| clearly(kept, newest));
        let slower = self.slower.load(Relaxed) + u32::from(found);
        self.slower.store(slower, Relaxed);
        // What can no longer be sure ends at once.
        let open = pairs - 1;
        let sure = slower >= SURE_FROM;
        self.pairs.store(if sure || slower + open < SURE_FROM { 0 } else { open }, Relaxed);
        sure
    }

    /// Whether the kept plan is clearly slower: than the others usually are, and than the one that
    /// was just seen, so that a time when everything is slow does not count against it.
    fn is_slower(&self, newest: u32) -> bool {
        if self.kept.count() < KEPT_MIN || self.anew.count() < ANEW_MIN {
            return false;
        }
        let (Some(kept), Some(anew)) = (self.kept.median(), self.anew.median()) else {
            return false;
        };
        const { assert!(KEPT_MIN + ANEW_MIN <= 2 * RING as u64, "enough times are kept") };
        clearly(kept, anew.max(newest))
    }

    /// Whether it is kept.
    pub fn standing(&self) -> Standing {
        match self.standing.load(Relaxed) {
            0 => Standing::On,
            1 => Standing::Off,
            _ => Standing::Never,
        }
    }

    /// How often it was used.
    pub fn uses(&self) -> u64 {
        self.uses.load(Relaxed)
    }

    /// How often the server knew it.
    pub fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }

    /// The median time of the last executions of a kind, in microseconds.
    pub fn median_us(&self, way: Way) -> Option<u32> {
        match way {
            Way::Kept => self.kept.median(),
            Way::Anew => self.anew.median(),
        }
    }
}

/// Whether a time of the kept plan is clearly longer than one without it.
const fn clearly(kept: u32, anew: u32) -> bool {
    kept >= anew.saturating_mul(RATIO) && kept - anew >= MARGIN_US
}

/// The last times.
#[derive(Debug, Default)]
struct Ring {
    times: [AtomicU32; RING],
    count: AtomicU64,
}

impl Ring {
    fn put(&self, time: u32) {
        let count = self.count.load(Relaxed);
        self.times[(count % RING as u64) as usize].store(time, Relaxed);
        self.count.store(count + 1, Relaxed);
    }

    fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    fn last(&self) -> Option<u32> {
        let at = self.count().checked_sub(1)?;
        Some(self.times[(at % RING as u64) as usize].load(Relaxed))
    }

    fn clear(&self) {
        self.count.store(0, Relaxed);
    }

    fn median(&self) -> Option<u32> {
        let held = self.count().min(RING as u64) as usize;
        let mut times: [u32; RING] = std::array::from_fn(|at| self.times[at].load(Relaxed));
        let times = &mut times[..held];
        times.sort_unstable();
        times.get(held / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    fn observe(worth: &Worth, way: Way, took_us: u32, times: u32, now_s: u64) -> Vec<Change> {
        let now = Duration::from_secs(now_s);
        let changes = (0..times).map(|_| worth.observe(way, US * took_us, now));
        changes.filter(|change| *change != Change::None).collect()
    }

    #[test]
    fn one_use_of_many_is_a_sample() {
        let worth = Worth::default();
        let anew = (0..SAMPLE_EVERY * 10).filter(|_| worth.next() == Way::Anew).count();
        assert_eq!(anew, 10);
        assert_eq!(worth.uses(), SAMPLE_EVERY * 10);
    }

    #[test]
    fn a_statement_that_is_quick_is_sampled_seldom_until_it_is_not() {
        let worth = Worth::default();
        observe(&worth, Way::Kept, MARGIN_US - 1, 16, 0);
        let samples = |uses: u64| (0..uses).filter(|_| worth.next() == Way::Anew).count();
        assert_eq!(samples(QUICK_SAMPLE_EVERY * 3), 3);
        observe(&worth, Way::Kept, MARGIN_US, 16, 0);
        assert_eq!(samples(SAMPLE_EVERY * 3), 3);
    }

    #[test]
    fn a_quick_statement_whose_plan_turns_bad_is_switched_off() {
        let worth = Worth::default();
        let run = |kept: u32, uses: u32| {
            let changes = (0..uses).flat_map(|_| {
                let way = worth.next();
                let took = if way == Way::Kept { kept } else { 300 };
                observe(&worth, way, took, 1, 0)
            });
            changes.collect::<Vec<_>>()
        };
        assert!(run(100, 10_000).is_empty());
        assert_eq!(run(20_000, 500), [Change::SwitchedOff]);
    }

    #[test]
    fn a_kept_plan_that_is_clearly_slower_is_switched_off_and_tried_again() {
        let worth = Worth::default();
        assert!(observe(&worth, Way::Anew, 300, 3, 0).is_empty());
        assert!(observe(&worth, Way::Kept, 20_000, 8, 1).is_empty());
        assert!(observe(&worth, Way::Anew, 20_000, 1, 1).is_empty(), "everything is slow");
        assert!(observe(&worth, Way::Anew, 300, SURE_FROM, 1).is_empty(), "not often enough yet");
        assert_eq!(observe(&worth, Way::Anew, 300, 1, 1), [Change::SwitchedOff]);
        assert_eq!((worth.standing(), worth.next()), (Standing::Off, Way::Anew));
        assert!(observe(&worth, Way::Anew, 300, 100, 300).is_empty());
        assert_eq!(observe(&worth, Way::Anew, 300, 1, 301), [Change::SwitchedOn]);
        assert_eq!(worth.next(), Way::Kept);
        assert!(observe(&worth, Way::Kept, 20_000, 8, 302).is_empty());
        assert_eq!(observe(&worth, Way::Anew, 300, SURE_FROM + 1, 302), [Change::SwitchedOff]);
    }

    #[test]
    fn outliers_small_differences_and_few_times_change_nothing() {
        for (anew, kept, times) in
            [(300, 200, 100), (10, 400, 100), (1_000, 1_900, 100), (1, 9_999, 7)]
        {
            let worth = Worth::default();
            observe(&worth, Way::Anew, anew, 3, 0);
            assert!(observe(&worth, Way::Kept, kept, times, 1).is_empty(), "{anew} {kept}");
            assert!(observe(&worth, Way::Anew, anew, 1, 1).is_empty(), "{anew} {kept}");
        }
        let worth = Worth::default();
        observe(&worth, Way::Anew, 300, 3, 0);
        for _ in 0..10 {
            assert!(observe(&worth, Way::Kept, 90_000, 3, 0).is_empty());
            assert!(observe(&worth, Way::Kept, 200, 13, 0).is_empty());
            assert!(observe(&worth, Way::Anew, 300, 1, 0).is_empty());
        }
    }

    #[test]
    fn a_machine_that_stalls_for_a_moment_switches_nothing_off() {
        let worth = Worth::default();
        observe(&worth, Way::Anew, 300, 3, 0);
        for _ in 0..100 {
            // Sixteen slow ones, a sample that is not, and what follows is as ever.
            assert!(observe(&worth, Way::Kept, 20_000, 16, 0).is_empty());
            assert!(observe(&worth, Way::Anew, 300, 1, 0).is_empty());
            assert!(observe(&worth, Way::Kept, 200, 16, 0).is_empty());
            assert!(observe(&worth, Way::Anew, 300, 1, 0).is_empty());
        }
    }

    #[test]
    fn a_machine_that_is_busy_for_long_switches_nothing_off() {
        // Times that differ by a factor of ten and more, by the same chance whichever way.
        let mut random = 1_u64;
        let mut time = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            300 << ((random >> 33) % 6)
        };
        let worth = Worth::default();
        for second in 0..200_000 {
            let way = worth.next();
            let changes = observe(&worth, way, time(), 1, second / 1_000);
            assert!(changes.is_empty(), "use {second}");
        }
    }

    #[test]
    fn a_suspicion_is_looked_into_at_once() {
        let worth = Worth::default();
        observe(&worth, Way::Anew, 300, 3, 0);
        observe(&worth, Way::Kept, 20_000, 16, 0);
        observe(&worth, Way::Anew, 300, 1, 0);
        let samples = (0..SAMPLE_EVERY).filter(|_| worth.next() == Way::Anew).count();
        assert_eq!(samples as u64, SAMPLE_EVERY / SUSPECTED_EVERY);
    }

    #[test]
    fn what_postgresql_comments_on_is_never_kept() {
        let worth = Worth::default();
        worth.refuse();
        observe(&worth, Way::Anew, 1, 100, 10_000);
        assert_eq!((worth.standing(), worth.next()), (Standing::Never, Way::Anew));
    }
}
