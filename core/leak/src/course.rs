//! The course that lives of one target have in common, by age.
//!
//! Owns: the mean course of earlier lives that went alike, and the present life beside it. What a
//! life of twenty minutes grows by is little beside its noise; noise differs from life to life, and
//! the growth does not.
//! Refuses: judging, and lives that were not seen from their beginning: their age is not known.
//! Invariant: fixed memory; a life that goes unlike the others begins a new course, so that growth
//! of one life is never taken for that of all.

use crate::rise::POINTS_MIN;
use crate::series::{BUCKETS, Bucket, Point};
use crate::stats::{self, Scratch};

/// A mean over this many lives: older ones fade.
const FADE_LIVES: u32 = 6;
/// Two courses are alike where the slope of one is at least this share of the other's.
const LIKE_SHARE: f64 = 0.35;
/// A life may be older than the others got by this share of their age.
const OLDER_SHARE: f64 = 0.125;

/// What lives had in common at one age.
#[derive(Clone, Copy, Debug, Default)]
struct Common {
    /// How many reached it.
    lives: u32,
    /// How much the floor rose since the age before.
    step: f64,
    /// How far readings rose above it.
    height: f64,
    /// How much the heap rose, where every life knew it.
    heap: Option<f64>,
    /// Requests since the age before, likewise.
    passed: Option<f64>,
}

/// The present life and the mean of those before.
#[derive(Debug)]
pub(crate) struct Course {
    /// The width that it begins with, milliseconds.
    base_ms: u64,
    /// Width of a bucket, milliseconds: doubled where a life gets too old for it.
    width_ms: u64,
    born_ms: u64,
    /// Buckets of the present life by age; the newest is still open.
    present: Box<[Option<Bucket>; BUCKETS]>,
    newest: Option<usize>,
    common: Box<[Common; BUCKETS]>,
    lives: u32,
}

impl Course {
    pub(crate) fn new(base_ms: u64) -> Self {
        assert!(base_ms > 0, "a bucket needs a width");
        Self {
            base_ms,
            width_ms: base_ms,
            born_ms: 0,
            present: Box::new([None; BUCKETS]),
            newest: None,
            common: Box::new([Common::default(); BUCKETS]),
            lives: 0,
        }
    }

    /// What it holds beside itself, bytes.
    pub(crate) const fn footprint() -> usize {
        BUCKETS * (size_of::<Option<Bucket>>() + size_of::<Common>())
    }

    pub(crate) fn width_ms(&self) -> u64 {
        self.width_ms
    }

    /// How long the lives before were that it has in common, milliseconds.
    pub(crate) fn common_ms(&self) -> u64 {
        self.width_ms * self.common.iter().filter(|common| common.lives > 0).count() as u64
    }

    /// Takes a reading of the present life, no older than the one before. Whether it closed a
    /// bucket.
    pub(crate) fn push(&mut self, point: Point) -> bool {
        if self.newest.is_none() {
            self.born_ms = point.at_ms;
        }
        let age_ms = point.at_ms.saturating_sub(self.born_ms);
        while age_ms / self.width_ms >= BUCKETS as u64 {
            self.widen();
        }
        let index = (age_ms / self.width_ms) as usize;
        assert!(index < BUCKETS, "wide enough for its age");
        if let Some(bucket) = &mut self.present[index] {
            bucket.absorb(point);
            return false;
        }
        let start_ms = self.born_ms + index as u64 * self.width_ms;
        self.present[index] = Some(Bucket::first(start_ms, point));
        self.newest = Some(index);
        index > 0
    }

    /// The floors of the present life between two moments, in `into`, and how many there are: `None`
    /// where it was not watched then.
    pub(crate) fn floors(
        &self,
        from_ms: u64,
        until_ms: u64,
        into: &mut [f64; BUCKETS],
    ) -> Option<usize> {
        let newest = self.newest?;
        let index = |at_ms: u64| at_ms.checked_sub(self.born_ms).map(|age| age / self.width_ms);
        let (first, last) = (index(from_ms)? as usize, index(until_ms)? as usize);
        if last > newest || first > last {
            return None;
        }
        let mut count = 0;
        for bucket in self.present[first..=last].iter().flatten() {
            into[count] = bucket.floor;
            count += 1;
        }
        Some(count)
    }

    /// Doubles the width: two buckets become one.
    fn widen(&mut self) {
        self.width_ms = self.width_ms.saturating_mul(2);
        for index in 0..BUCKETS {
            let pair = (2 * index, 2 * index + 1);
            let inside = pair.1 < BUCKETS;
            self.present[index] =
                if inside { joined(self.present[pair.0], self.present[pair.1]) } else { None };
            let before =
                if index > 0 && inside { self.common[pair.0 - 1] } else { Common::default() };
            self.common[index] = if inside {
                self.common[pair.0].after(&before, &self.common[pair.1])
            } else {
                Common::default()
            };
        }
        self.newest = self.newest.map(|newest| newest / 2);
    }

    /// Ends the present life and adds it to what lives have in common. `whole`: it was seen from
    /// its beginning.
    pub(crate) fn end_life(&mut self, whole: Whole, scratch: &mut Scratch) {
        let closed = self.newest.unwrap_or(0);
        if whole == Whole::Yes && closed >= POINTS_MIN {
            if self.lives > 0 && !self.goes_alike(closed, scratch) {
                self.common.fill(Common::default());
                self.lives = 0;
            }
            for index in 0..closed {
                let before = index.checked_sub(1).and_then(|before| self.present[before]);
                if let Some(bucket) = self.present[index] {
                    self.common[index].add(&bucket, before.as_ref(), index);
                }
            }
            self.lives = (self.lives + 1).min(FADE_LIVES);
        }
        self.present.fill(None);
        self.newest = None;
        debug_assert!(self.common.iter().all(|common| common.lives <= FADE_LIVES));
    }

    /// Forgets what lives had in common, and how old they got, between two lives.
    pub(crate) fn forget(&mut self) {
        assert!(self.newest.is_none(), "no life is being watched");
        self.common.fill(Common::default());
        self.lives = 0;
        self.width_ms = self.base_ms;
    }

    /// How many ages at least half of the lives reached.
    fn length(&self) -> usize {
        let enough = self.lives.div_ceil(2).max(1);
        self.common.iter().take_while(|common| common.lives >= enough).count()
    }

    /// Whether the present life goes as those before, as far as they can be compared.
    fn goes_alike(&self, closed: usize, scratch: &mut Scratch) -> bool {
        let length = self.length();
        let (mut age, mut own, mut others) = ([0.0; BUCKETS], [0.0; BUCKETS], [0.0; BUCKETS]);
        let (mut count, mut level) = (0, 0.0);
        for index in 0..closed.min(length) {
            level += self.common[index].step;
            let Some(bucket) = self.present[index] else { continue };
            (age[count], own[count], others[count]) = (index as f64, bucket.floor, level);
            count += 1;
        }
        let mut slope = |floor: &[f64; BUCKETS]| {
            stats::theil_sen(&age[..count], &floor[..count], scratch).unwrap_or(0.0)
        };
        let (own, others) = (slope(&own), slope(&others));
        let (least, most) = (own.min(others), own.max(others));
        most <= 0.0 || least >= LIKE_SHARE * most
    }

    /// The whole course of the lives, the present one among them as far as it came, at its level:
    /// buckets in `into`. Returns how many, and of how many lives beside the present. `None` where
    /// the present one is not half as old as the others got, is older than they, or goes another
    /// way.
    pub(crate) fn window(
        &self,
        into: &mut [Bucket; BUCKETS],
        scratch: &mut Scratch,
    ) -> Option<(usize, u32)> {
        let (closed, length) = (self.newest.unwrap_or(0), self.length());
        let oldest = length + (OLDER_SHARE * length as f64) as usize;
        if length < POINTS_MIN || closed * 2 < length || closed > oldest {
            return None;
        }
        if !self.goes_alike(closed, scratch) {
            return None;
        }
        let lives = self.common[..length].iter().map(|common| common.lives).min()?;
        let first = Common { heap: Some(0.0), passed: Some(0.0), ..Common::default() };
        let mut sum = first;
        let (mut count, mut apart, mut heap_apart) = (0, 0.0, 0.0);
        for (common, present) in
            self.common[..length].iter().zip(&self.present[..closed.min(length)])
        {
            sum = sum.on(common);
            let Some(bucket) = present else { continue };
            apart += bucket.floor - sum.step;
            heap_apart += bucket.heap.zip(sum.heap).map_or(0.0, |(own, others)| own - others);
            count += 1;
        }
        // The others' course begins at nothing: it is moved to the level of the present life.
        let (apart, heap_apart) = (apart / f64::from(count), heap_apart / f64::from(count));
        let share = 1.0 / (f64::from(lives) + 1.0);
        sum = first;
        for (index, common) in self.common[..length].iter().enumerate() {
            sum = sum.on(common);
            let others = sum.step + apart;
            let own =
                self.present[index].filter(|_| index < closed).map_or(others, |own| own.floor);
            let floor = others + share * (own - others);
            into[index] = Bucket {
                start_ms: self.born_ms + index as u64 * self.width_ms,
                floor,
                ceiling: floor + sum.height,
                heap: sum.heap.map(|heap| heap + heap_apart),
                traffic: sum.passed.map(|passed| passed as u64),
            };
        }
        Some((length, lives))
    }
}

/// Whether a life was seen from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Yes,
    No,
}

impl Common {
    /// Adds a life's bucket of this age.
    fn add(&mut self, bucket: &Bucket, before: Option<&Bucket>, index: usize) {
        let before = if index == 0 { Some(bucket) } else { before };
        let Some(before) = before else { return };
        let known = self.lives > 0;
        let share = 1.0 / f64::from((self.lives + 1).min(FADE_LIVES));
        let mean = |old: f64, new: f64| old + share * (new - old);
        self.step = mean(self.step, bucket.floor - before.floor);
        self.height = mean(self.height, bucket.ceiling - bucket.floor);
        let both = |old: Option<f64>, new: Option<f64>| match (old, new) {
            (Some(old), Some(new)) => Some(mean(old, new)),
            (None, new) if !known => new,
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        let heap = bucket.heap.zip(before.heap).map(|(now, then)| now - then);
        let passed = bucket.traffic.zip(before.traffic);
        let passed = passed.map(|(now, then)| now.saturating_sub(then) as f64);
        (self.heap, self.passed) = (both(self.heap, heap), both(self.passed, passed));
        self.lives = (self.lives + 1).min(FADE_LIVES);
    }

    /// The first of a pair that becomes one, after the last of the pair before.
    fn after(&self, before: &Self, second: &Self) -> Self {
        Self {
            lives: self.lives.min(second.lives),
            step: before.step + self.step,
            height: self.height.max(second.height),
            heap: self.heap.map(|heap| before.heap.unwrap_or(0.0) + heap),
            passed: self.passed.map(|passed| before.passed.unwrap_or(0.0) + passed),
        }
    }

    /// A sum with the next age on it.
    fn on(&self, next: &Self) -> Self {
        Self {
            lives: next.lives,
            step: self.step + next.step,
            height: next.height,
            heap: self.heap.zip(next.heap).map(|(sum, step)| sum + step),
            passed: self.passed.zip(next.passed).map(|(sum, step)| sum + step),
        }
    }
}

fn joined(first: Option<Bucket>, second: Option<Bucket>) -> Option<Bucket> {
    match (first, second) {
        (Some(mut first), Some(second)) => {
            first.join(&second);
            Some(first)
        }
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(course: &mut Course, scratch: &mut Scratch, seconds: u64, floor: impl Fn(u64) -> f64) {
        for at in 0..seconds {
            let value = floor(at);
            course.push(Point { at_ms: at * 1_000, value, heap: None, traffic: Some(at * 3) });
        }
        course.end_life(Whole::Yes, scratch);
    }

    /// The course that `floor` has together with what was lived before, and of how many lives.
    fn seen(course: &mut Course, floor: impl Fn(u64) -> f64) -> Option<(Vec<Bucket>, u32)> {
        for at in 0..50 {
            let (value, traffic) = (floor(at), Some(at * 3));
            course.push(Point { at_ms: at * 1_000, value, heap: None, traffic });
        }
        let mut window = [Bucket::default(); BUCKETS];
        let (length, lives) = course.window(&mut window, &mut Scratch::new())?;
        Some((window[..length].to_vec(), lives))
    }

    #[test]
    fn what_differs_from_life_to_life_is_evened_out_at_the_level_of_the_present_one() {
        let (mut course, mut scratch) = (Course::new(1_000), Scratch::new());
        let wave = |at: u64| if at.is_multiple_of(2) { 8.0 } else { -8.0 };
        live(&mut course, &mut scratch, 51, |at| 900.0 + 3.0 * at as f64 + wave(at));
        let (window, lives) = seen(&mut course, |at| 500.0 + 3.0 * at as f64 - wave(at)).unwrap();
        assert_eq!((window.len(), lives), (50, 1));
        for (at, bucket) in window.iter().enumerate().take(49) {
            assert!((bucket.floor - 500.0 - 3.0 * at as f64).abs() < 1.0, "{at}: {bucket:?}");
            assert_eq!(bucket.traffic, Some(3 * at as u64));
        }
    }

    #[test]
    fn a_life_that_goes_unlike_the_others_begins_a_new_course() {
        let (mut course, mut scratch) = (Course::new(1_000), Scratch::new());
        for _ in 0..4 {
            live(&mut course, &mut scratch, 51, |_| 100.0);
        }
        assert!(seen(&mut course, |at| 100.0 + at as f64).is_none(), "it is unlike");
        course.end_life(Whole::Yes, &mut scratch);
        let (_, lives) = seen(&mut course, |at| 100.0 + at as f64).unwrap();
        assert_eq!(lives, 1, "the flat ones are forgotten");
    }

    #[test]
    fn a_life_older_than_the_ring_doubles_the_width_and_keeps_the_growth() {
        let (mut course, mut scratch) = (Course::new(1_000), Scratch::new());
        for _ in 0..2 {
            live(&mut course, &mut scratch, 50, |at| 100.0 + at as f64);
        }
        for at in 0..70_u64 {
            let value = 100.0 + at as f64;
            course.push(Point { at_ms: at * 1_000, value, heap: None, traffic: None });
        }
        assert_eq!((course.width_ms(), course.newest), (2_000, Some(34)));
        let rises = course.common[1..20].iter().all(|common| common.step == 2.0);
        assert!(rises, "{:?}", &course.common[..24]);
    }

    #[test]
    fn a_life_that_was_not_seen_from_its_beginning_is_left_out() {
        let (mut course, mut scratch) = (Course::new(1_000), Scratch::new());
        for at in 0..50_u64 {
            course.push(Point { at_ms: at * 1_000, value: 1.0, heap: None, traffic: None });
        }
        course.end_life(Whole::No, &mut scratch);
        assert!(seen(&mut course, |_| 1.0).is_none());
    }
}
