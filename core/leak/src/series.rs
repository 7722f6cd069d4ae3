//! One life's readings at several resolutions, in fixed memory.
//!
//! Owns: rings of buckets. Each bucket keeps the *floor* of its time, the lowest value seen: what a
//! garbage collector could not take away. Level `k` has buckets [`FACTOR`] times as wide as
//! level `k - 1`, so that a bucket of some level is longer than any tooth of a saw.
//! Refuses: judging, and values out of time order.
//! Invariant: nothing is allocated after [`Series::new`]; a ring never holds more than
//! [`BUCKETS`], oldest out first; starts in a ring strictly increase.

/// Buckets in a ring.
pub(crate) const BUCKETS: usize = 64;
/// Resolutions. With a reading a second the coarsest bucket is 4.5 hours and its ring 12 days.
pub(crate) const LEVELS: usize = 8;
/// How much wider a bucket is than one of the level below.
pub(crate) const FACTOR: u64 = 4;

/// What is kept of the readings of one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// Start of the stretch, milliseconds.
    pub(crate) start_ms: u64,
    /// The lowest value seen in it.
    pub(crate) floor: f64,
    /// The highest value seen in it.
    pub(crate) ceiling: f64,
    /// The lowest heap size seen in it, where the heap is known.
    pub(crate) heap: Option<f64>,
    /// The newest value of the traffic counter, where there is one.
    pub(crate) traffic: Option<u64>,
}

/// One reading, as the series takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) at_ms: u64,
    pub(crate) value: f64,
    pub(crate) heap: Option<f64>,
    pub(crate) traffic: Option<u64>,
}

/// The readings of one life.
#[derive(Debug)]
pub(crate) struct Series {
    rings: [Ring; LEVELS],
    last_ms: Option<u64>,
}

impl Series {
    /// An empty series whose finest buckets are `base_ms` wide.
    pub(crate) fn new(base_ms: u64) -> Self {
        assert!(base_ms > 0, "a bucket needs a width");
        let mut width = base_ms;
        let rings = std::array::from_fn(|_| {
            let ring = Ring::new(width);
            width = width.saturating_mul(FACTOR);
            ring
        });
        Self { rings, last_ms: None }
    }

    /// What the rings hold beside the series itself, bytes.
    pub(crate) const fn footprint() -> usize {
        LEVELS * BUCKETS * size_of::<Bucket>()
    }

    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        for ring in &mut self.rings {
            ring.clear();
        }
        self.last_ms = None;
    }

    /// Takes a reading and says which levels have closed a bucket by it (bit `k` for level `k`).
    /// A reading that is older than the newest is refused: `None`.
    pub(crate) fn push(&mut self, point: Point) -> Option<u32> {
        if self.last_ms.is_some_and(|last| point.at_ms < last) {
            return None;
        }
        self.last_ms = Some(point.at_ms);
        let mut closed = 0;
        for (level, ring) in self.rings.iter_mut().enumerate() {
            if ring.push(point) {
                closed |= 1 << level;
            }
        }
        Some(closed)
    }

    /// The newest moment seen.
    pub(crate) fn last_ms(&self) -> Option<u64> {
        self.last_ms
    }

    /// Width of a bucket of `level`, milliseconds.
    pub(crate) fn width_ms(&self, level: usize) -> u64 {
        self.rings[level].width_ms
    }

    /// The closed buckets of the newest `count` widths of `level`, oldest first, in `into`.
    /// Returns how many there are: fewer than `count` where readings are missing.
    pub(crate) fn window(&self, level: usize, count: usize, into: &mut [Bucket; BUCKETS]) -> usize {
        assert!(count <= BUCKETS, "a window is never longer than the ring");
        let ring = &self.rings[level];
        let Some(newest) = ring.closed().last() else { return 0 };
        let span = ring.width_ms.saturating_mul(count as u64 - 1);
        let first_ms = newest.start_ms.saturating_sub(span);
        let mut length = 0;
        for bucket in ring.closed().filter(|bucket| bucket.start_ms >= first_ms) {
            into[length] = *bucket;
            length += 1;
        }
        debug_assert!(length <= count, "aligned buckets: no more than one a width");
        length
    }

    /// The closed buckets of `level` that begin between two moments, oldest first.
    pub(crate) fn between(
        &self,
        level: usize,
        from_ms: u64,
        until_ms: u64,
    ) -> impl Iterator<Item = &Bucket> {
        let inside = move |bucket: &&Bucket| (from_ms..until_ms).contains(&bucket.start_ms);
        self.rings[level].closed().filter(inside)
    }

    /// How many closed buckets of `level` there are.
    pub(crate) fn closed(&self, level: usize) -> usize {
        self.rings[level].len.saturating_sub(1)
    }

    /// The floor at a moment, at the finest resolution from `level` on that still has it.
    pub(crate) fn floor_at(&self, level: usize, at_ms: u64) -> Option<f64> {
        self.rings[level..].iter().find_map(|ring| {
            let start_ms = at_ms - at_ms % ring.width_ms;
            ring.closed().find(|bucket| bucket.start_ms == start_ms).map(|bucket| bucket.floor)
        })
    }

    /// The highest floor at this resolution or a coarser one, among buckets that lie wholly in
    /// `from_ms..until_ms` and those of this resolution that were forgotten.
    pub(crate) fn highest_floor(&self, level: usize, from_ms: u64, until_ms: u64) -> Option<f64> {
        self.rings[level..]
            .iter()
            .flat_map(|ring| ring.closed().map(|bucket| (ring.width_ms, bucket)))
            .filter(|(_, bucket)| bucket.start_ms >= from_ms)
            .filter(|(width, bucket)| bucket.start_ms.saturating_add(*width) <= until_ms)
            .map(|(_, bucket)| bucket.floor)
            .chain(self.rings[level].forgotten)
            .reduce(f64::max)
    }
}

/// The newest buckets of one width. The last one is still open.
#[derive(Debug)]
struct Ring {
    width_ms: u64,
    buckets: Box<[Bucket; BUCKETS]>,
    /// Where the oldest stands.
    head: usize,
    len: usize,
    /// The highest floor among buckets that had to make way.
    forgotten: Option<f64>,
}

impl Ring {
    fn new(width_ms: u64) -> Self {
        Self {
            width_ms,
            buckets: Box::new([Bucket::default(); BUCKETS]),
            head: 0,
            len: 0,
            forgotten: None,
        }
    }

    fn clear(&mut self) {
        self.head = 0;
        self.len = 0;
        self.forgotten = None;
    }

    /// Takes a reading; true where it closed a bucket.
    fn push(&mut self, point: Point) -> bool {
        let start_ms = point.at_ms - point.at_ms % self.width_ms;
        if self.len > 0 {
            let newest = (self.head + self.len - 1) % BUCKETS;
            let bucket = &mut self.buckets[newest];
            assert!(start_ms >= bucket.start_ms, "readings come in time order");
            if bucket.start_ms == start_ms {
                bucket.absorb(point);
                return false;
            }
        }
        if self.len == BUCKETS {
            let floor = self.buckets[self.head].floor;
            self.forgotten = Some(self.forgotten.map_or(floor, |highest| highest.max(floor)));
            self.head = (self.head + 1) % BUCKETS;
            self.len -= 1;
        }
        let slot = (self.head + self.len) % BUCKETS;
        self.buckets[slot] = Bucket::first(start_ms, point);
        self.len += 1;
        assert!(self.len <= BUCKETS, "a ring is bounded");
        self.len > 1
    }

    /// Closed buckets, oldest first: all but the newest.
    fn closed(&self) -> impl Iterator<Item = &Bucket> {
        (0..self.len.saturating_sub(1)).map(|index| &self.buckets[(self.head + index) % BUCKETS])
    }
}

impl Bucket {
    /// The bucket from `start_ms` on with its first reading.
    pub(crate) fn first(start_ms: u64, point: Point) -> Self {
        let Point { value, heap, traffic, .. } = point;
        Self { start_ms, floor: value, ceiling: value, heap, traffic }
    }

    /// Takes a reading of its time.
    pub(crate) fn absorb(&mut self, point: Point) {
        self.join(&Self::first(self.start_ms, point));
    }

    /// Takes the bucket after it.
    pub(crate) fn join(&mut self, next: &Self) {
        self.floor = self.floor.min(next.floor);
        self.ceiling = self.ceiling.max(next.ceiling);
        self.heap = match (self.heap, next.heap) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => new.or(old),
        };
        self.traffic = next.traffic.or(self.traffic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at_ms: u64, value: f64) -> Point {
        Point { at_ms, value, heap: None, traffic: None }
    }

    #[test]
    fn a_bucket_keeps_the_lowest_reading_of_its_time() {
        let mut series = Series::new(1_000);
        for (second, value) in [9.0, 3.0, 7.0, 8.0, 5.0].into_iter().enumerate() {
            series.push(point(second as u64 * 1_000, value));
        }
        let mut window = [Bucket::default(); BUCKETS];
        assert_eq!(series.window(1, 8, &mut window), 1, "the first four seconds are closed");
        assert_eq!(window[0].floor, 3.0);
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_bucket_first() {
        let mut series = Series::new(1_000);
        for second in 0..200u64 {
            series.push(point(second * 1_000, second as f64));
        }
        let mut window = [Bucket::default(); BUCKETS];
        let length = series.window(0, BUCKETS, &mut window);
        assert_eq!(length, BUCKETS - 1, "the open bucket takes one place");
        assert_eq!((window[0].floor, window[length - 1].floor), (136.0, 198.0));
    }

    #[test]
    fn a_reading_from_the_past_is_refused() {
        let mut series = Series::new(1_000);
        assert!(series.push(point(5_000, 1.0)).is_some());
        assert!(series.push(point(4_000, 1.0)).is_none());
        assert_eq!(series.last_ms(), Some(5_000));
    }

    #[test]
    fn a_gap_makes_a_window_shorter_and_never_wider() {
        let mut series = Series::new(1_000);
        for second in (0..20u64).chain(50..60) {
            series.push(point(second * 1_000, 1.0));
        }
        let mut window = [Bucket::default(); BUCKETS];
        assert_eq!(series.window(0, 24, &mut window), 9);
        assert_eq!(window[0].start_ms, 50_000);
    }
}
