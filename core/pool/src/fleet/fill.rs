//! Water filling: the one rule by which places are divided.
//!
//! Invariant: nobody gets less than its floor or more than its cap, the sum never exceeds the total,
//! and a place stays over only where everybody has reached its cap.

/// One who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What it has in any case.
    pub(super) floor: u32,
    /// The most that it takes.
    pub(super) cap: u32,
}

/// Divides `total` places: the lowest are raised first, up to their caps. Places that do not make a
/// whole level go to the first in the order of `parts`.
pub(super) fn fill(total: u64, parts: &[Part]) -> Vec<u32> {
    let floors: u64 = parts.iter().map(|part| u64::from(part.floor)).sum();
    assert!(floors <= total, "floors are granted before the rest is divided");
    assert!(parts.iter().all(|part| part.floor <= part.cap), "a floor is below its cap");
    let level = level(total, parts);
    let mut given: Vec<u32> = parts.iter().map(|part| at(level, part)).collect();
    let mut over = total - sum(level, parts);
    for (given, part) in given.iter_mut().zip(parts) {
        if over > 0 && *given == level && level < part.cap {
            *given += 1;
            over -= 1;
        }
    }
    let sum: u64 = given.iter().copied().map(u64::from).sum();
    assert!(sum <= total, "no more is divided than there is");
    given
}

fn at(level: u32, part: &Part) -> u32 {
    level.clamp(part.floor, part.cap)
}

fn sum(level: u32, parts: &[Part]) -> u64 {
    parts.iter().map(|part| u64::from(at(level, part))).sum()
}

/// The highest level that can be paid for.
fn level(total: u64, parts: &[Part]) -> u32 {
    let highest = parts.iter().map(|part| part.cap).max().unwrap_or(0);
    let payable = u32::try_from(total).unwrap_or(u32::MAX);
    let (mut low, mut high) = (0, highest.min(payable));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if sum(middle, parts) <= total {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn divide(total: u64, parts: &[(u32, u32)]) -> Vec<u32> {
        let parts: Vec<Part> = parts.iter().map(|&(floor, cap)| Part { floor, cap }).collect();
        fill(total, &parts)
    }

    #[test]
    fn the_lowest_are_raised_first_and_what_is_over_goes_in_order() {
        assert_eq!(divide(10, &[(0, 9), (0, 9), (0, 9)]), [4, 3, 3]);
        assert_eq!(divide(10, &[(6, 9), (0, 1), (0, 9)]), [6, 1, 3]);
        assert_eq!(divide(100, &[(1, 2), (3, 5)]), [2, 5]);
        assert_eq!(divide(0, &[(0, 3)]), [0]);
        assert_eq!(divide(7, &[]), [0; 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_left_over_while_somebody_could_take_it(
            caps in proptest::collection::vec((0u32..20, 0u32..40), 0..20),
            more in 0u64..400,
        ) {
            let parts: Vec<Part> =
                caps.iter().map(|&(floor, above)| Part { floor, cap: floor + above }).collect();
            let total = more + parts.iter().map(|part| u64::from(part.floor)).sum::<u64>();
            let given = fill(total, &parts);
            let sum: u64 = given.iter().copied().map(u64::from).sum();
            let all_full = given.iter().zip(&parts).all(|(given, part)| *given == part.cap);
            prop_assert!(sum == total || all_full, "{given:?} of {parts:?}");
            for (a, part) in given.iter().zip(&parts) {
                prop_assert!((part.floor..=part.cap).contains(a));
                // Whoever is two below another has reached its cap, or the other its floor.
                let unfair = given.iter().zip(&parts).any(|(b, other)| {
                    *a + 1 < *b && *a < part.cap && *b > other.floor
                });
                prop_assert!(!unfair, "{given:?} of {parts:?}");
            }
        }
    }
}
