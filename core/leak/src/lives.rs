//! What is remembered of a target's earlier lives.
//!
//! Owns: the newest [`LIVES_MAX`] lives: how long, how high, and how they ended. A restart empties
//! the memory of the process; without this it would also empty ours, and a leak that redeploys
//! keep hiding would never be seen.
//! Refuses: lives of another target. Invariant: fixed memory, oldest out first.

/// Lives remembered.
pub(crate) const LIVES_MAX: usize = 8;

/// The most that one life says about the next: a leak that hides is found in the third life, not
/// in the second.
pub(crate) const ODDS_MAX: f64 = 2.0;

/// A life that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Life {
    /// How long it was watched.
    pub(crate) watched_ms: u64,
    /// The highest floor it stood at. Bytes.
    pub(crate) highest_floor: f64,
    /// How it ended.
    pub(crate) ending: Ending,
}

impl Life {
    /// Whether it was not growing after at least this time.
    pub(crate) fn settled_for(&self, watched_ms: u64) -> bool {
        self.ending == Ending::Settled && self.watched_ms >= watched_ms
    }
}

/// The state in which a life ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    /// Its memory was not growing.
    Settled,
    /// It was growing to its end.
    Growing {
        /// How fast, bytes an hour.
        bytes_per_hour: f64,
        /// What its shape adds to the odds of a leak (natural logarithm), 0 to [`ODDS_MAX`].
        odds: f64,
    },
    /// It was too short, or still warming up.
    Unknown,
}

/// A level that is known from the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plateau {
    /// Bytes.
    pub(crate) level: f64,
    /// Who stood there.
    pub(crate) of: Past,
}

/// Whose past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// An earlier life of the present revision.
    Life,
    /// The revision before.
    Revision,
    /// Another process of the same program that runs at the same time, or an earlier life of it.
    Sibling,
}

/// The newest lives, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    lives: [Option<Life>; LIVES_MAX],
    /// A life of the revision before.
    before: Option<Life>,
}

impl Lives {
    pub(crate) fn push(&mut self, life: Life) {
        assert!(life.highest_floor.is_finite(), "a floor is a number of bytes");
        self.lives.rotate_left(1);
        self.lives[LIVES_MAX - 1] = Some(life);
        debug_assert!(self.lives.iter().flatten().count() <= LIVES_MAX);
    }

    /// Takes a settled life of the revision before.
    pub(crate) fn come_after(&mut self, life: Life) {
        assert!(life.highest_floor.is_finite(), "a floor is a number of bytes");
        self.before = Some(life);
    }

    /// What comes next is of another revision. Where this one settled is remembered of it, and where the
    /// one before did if this one never has; that it grew is forgotten: what grew is its own code's.
    pub(crate) fn change_revision(&mut self) {
        let before = self.longest_settled().or(self.before);
        *self = Self { before, ..Self::default() };
        assert!(self.growing_in_a_row().0 == 0, "a revision begins without a past of its own");
    }

    /// The settled life of this revision that was watched longest.
    pub(crate) fn longest_settled(&self) -> Option<Life> {
        let settled = self.lives.iter().flatten().filter(|life| life.ending == Ending::Settled);
        settled.max_by_key(|life| life.watched_ms).copied()
    }

    /// The level at which an earlier, settled life stood that was watched for at least
    /// `watched_ms`: growth below it is the way to a known plateau.
    pub(crate) fn known_plateau(&self, watched_ms: u64) -> Option<Plateau> {
        let own = self.lives.iter().flatten().map(|life| (life, Past::Life));
        let known = own.chain(self.before.iter().map(|life| (life, Past::Revision)));
        known
            .filter(|(life, _)| life.settled_for(watched_ms))
            .map(|(life, of)| Plateau { level: life.highest_floor, of })
            .reduce(|highest, other| if other.level > highest.level { other } else { highest })
    }

    /// The same of the lives of this revision, for a sibling.
    pub(crate) fn known_to_siblings(&self, watched_ms: u64) -> Option<f64> {
        let settled = self.lives.iter().flatten().filter(|life| life.settled_for(watched_ms));
        settled.map(|life| life.highest_floor).reduce(f64::max)
    }

    /// How many of the newest lives in a row ended growing, and what they add to the odds.
    pub(crate) fn growing_in_a_row(&self) -> (usize, f64) {
        let (mut count, mut sum) = (0, 0.0);
        for life in self.lives.iter().rev().flatten() {
            match life.ending {
                Ending::Growing { odds, .. } => {
                    count += 1;
                    sum += odds.clamp(0.0, ODDS_MAX);
                }
                Ending::Unknown => {}
                Ending::Settled => break,
            }
        }
        assert!(count <= LIVES_MAX && sum >= 0.0, "odds of at most {LIVES_MAX} lives");
        (count, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(highest_floor: f64, ending: Ending) -> Life {
        Life { watched_ms: 60_000, highest_floor, ending }
    }

    #[test]
    fn only_the_newest_lives_are_kept() {
        let mut lives = Lives::default();
        lives.push(life(900.0, Ending::Settled));
        for _ in 0..LIVES_MAX {
            lives.push(life(100.0, Ending::Settled));
        }
        let known = Plateau { level: 100.0, of: Past::Life };
        assert_eq!(lives.known_plateau(60_000), Some(known));
        assert_eq!(lives.known_plateau(60_001), None, "none was watched that long");
    }

    #[test]
    fn another_revision_keeps_the_level_of_the_one_before_and_none_of_its_growth() {
        let mut lives = Lives::default();
        lives.push(life(70.0, Ending::Settled));
        lives.push(life(300.0, Ending::Growing { bytes_per_hour: 9.0, odds: 1.0 }));
        lives.change_revision();
        let before = Some(Plateau { level: 70.0, of: Past::Revision });
        assert_eq!((lives.known_plateau(60_000), lives.growing_in_a_row().0), (before, 0));
        // One that only grew leaves the level of the one before it.
        lives.push(life(900.0, Ending::Growing { bytes_per_hour: 9.0, odds: 1.0 }));
        lives.change_revision();
        assert_eq!((lives.known_plateau(60_000), lives.growing_in_a_row().0), (before, 0));
        lives.push(life(80.0, Ending::Settled));
        let own = Some(Plateau { level: 80.0, of: Past::Life });
        assert_eq!(lives.known_plateau(60_000), own);
    }

    #[test]
    fn a_settled_life_ends_the_row_of_growing_ones() {
        let mut lives = Lives::default();
        let growing = |odds| life(1.0, Ending::Growing { bytes_per_hour: 9.0, odds });
        lives.push(growing(1.0));
        lives.push(life(1.0, Ending::Settled));
        lives.push(growing(0.5));
        lives.push(life(1.0, Ending::Unknown));
        lives.push(growing(9.0));
        assert_eq!(lives.growing_in_a_row(), (2, 0.5 + ODDS_MAX));
    }
}
