//! Times of rows whose clock was set back.
//!
//! Owns: telling a row that is out of order from a clock that was set: one is alone, the other goes
//! on from where it is. Refuses: a clock that was set forward, which looks like a pause.
//! Invariant: what comes out never goes back.

/// Rows in a row that go on from an earlier time make it the time.
const SET_ROWS: u32 = 3;

/// Makes times of one clock of those of a clock that is set.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// What is added to the times of rows, milliseconds.
    ahead_ms: u64,
    /// The newest of rows that went back, and how many there were.
    back: Option<(u64, u32)>,
    /// How often it was set back.
    pub(super) set_back: u64,
}

impl Clock {
    /// The time of a row in the order of time; `None`: it goes back, and is left out. `newest_ms` is
    /// what came out last.
    pub(super) fn steady(&mut self, at_ms: u64, newest_ms: Option<u64>) -> Option<u64> {
        let newest_ms = newest_ms.unwrap_or_default();
        let steady_ms = at_ms.saturating_add(self.ahead_ms);
        if steady_ms >= newest_ms {
            self.back = None;
            return Some(steady_ms);
        }
        let before = self.back.filter(|(before_ms, _)| *before_ms < at_ms);
        let rows = before.map_or(1, |(_, rows)| rows + 1);
        self.back = Some((at_ms, rows));
        let (before_ms, _) = before.filter(|_| rows >= SET_ROWS)?;
        // It goes on after the last row that was taken, a step later.
        let steady_ms = newest_ms.saturating_add(at_ms - before_ms);
        self.ahead_ms = steady_ms.saturating_sub(at_ms);
        self.back = None;
        self.set_back = self.set_back.saturating_add(1);
        Some(steady_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(times: &[u64]) -> Vec<Option<u64>> {
        let mut clock = Clock::default();
        let mut newest = None;
        let taken = times.iter().map(|at_ms| {
            let taken = clock.steady(*at_ms, newest);
            newest = taken.or(newest);
            taken
        });
        taken.collect()
    }

    #[test]
    fn rows_out_of_order_are_left_out() {
        let taken = steady(&[10, 20, 15, 30, 12, 14, 40]);
        assert_eq!(taken, [Some(10), Some(20), None, Some(30), None, None, Some(40)]);
    }

    #[test]
    fn a_clock_that_was_set_back_goes_on_after_two_rows() {
        let taken = steady(&[1_000, 1_010, 100, 110, 120, 130, 1_020]);
        let (lost, gone_on) = ([None, None], [Some(1_020), Some(1_030), Some(1_920)]);
        assert_eq!(taken[2..], [&lost[..], &gone_on[..]].concat());
    }
}
