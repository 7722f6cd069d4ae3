//! The rule by which everybody's share follows from what everybody publishes.
//!
//! First the minimums, then what is asked for, then the rest evenly: a proxy with nothing to do
//! keeps room for a burst, until another needs the place.
//! Invariant: the same claims and the same room give the same shares, whoever works them out.

use super::claim::Claim;
use super::fill::{Part, fill};

/// All claims of a reading, in order of identity.
pub(super) struct Fleet {
    claims: Vec<Claim>,
    /// Where our own is.
    own: usize,
}

impl Fleet {
    pub(super) fn new(own: Claim, others: Vec<Claim>) -> Self {
        let mut claims = others;
        let at = claims.partition_point(|claim| claim.id < own.id);
        claims.insert(at, own);
        assert!(claims.is_sorted_by_key(|claim| claim.id), "the order is everybody's");
        Self { claims, own: at }
    }

    /// What each is to have of so many places, in the order of the claims.
    pub(super) fn targets(&self, room: i64) -> Vec<u32> {
        let room = u64::try_from(room).unwrap_or(0);
        let wishes: [fn(&Claim) -> u32; 3] =
            [|claim| claim.minimum, |claim| claim.demand, |claim| claim.most];
        wishes.iter().fold(vec![0; self.claims.len()], |given, wish| {
            let parts = given.iter().zip(&self.claims);
            let parts: Vec<Part> = parts
                .map(|(&floor, claim)| Part { floor, cap: wish(claim).min(claim.most).max(floor) })
                .collect();
            fill(room, &parts)
        })
    }

    /// Our own of a list in that order.
    pub(super) fn own(&self, list: &[u32]) -> u32 {
        assert_eq!(list.len(), self.claims.len(), "one for each");
        list[self.own]
    }

    /// Our part of the places that are free now, were all to grow towards their targets at once.
    /// `free`: the room beside the weights of the others; `used`: what we use of it.
    pub(super) fn growth(&self, free: i64, used: u32, targets: &[u32]) -> u32 {
        let free = u64::try_from(free - i64::from(used)).unwrap_or(0);
        let weight = |at: usize, claim: &Claim| if at == self.own { used } else { claim.weight() };
        let weights = self.claims.iter().enumerate().map(|(at, claim)| weight(at, claim));
        let parts: Vec<Part> = weights
            .zip(targets)
            .map(|(floor, &target)| Part { floor, cap: target.max(floor) })
            .collect();
        let held: u64 = parts.iter().map(|part| u64::from(part.floor)).sum();
        let given = fill(held + free, &parts)[self.own];
        assert!(given >= used, "growth never shrinks");
        given - used
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::claim::{COUNT_MAX, FleetId};
    use super::*;

    fn claim(id: u64, used: u32, demand: u32) -> Claim {
        let silence = Duration::from_secs(4);
        let id = FleetId::new(id);
        Claim { id, used, claimed: used, demand, minimum: 2, most: COUNT_MAX, silence }
    }

    fn fleet(own: Claim, others: &[Claim]) -> Fleet {
        Fleet::new(own, others.to_vec())
    }

    #[test]
    fn minimums_come_first_then_demand_and_the_rest_is_shared_evenly() {
        let fleet = fleet(claim(2, 0, 20), &[claim(1, 0, 0), claim(3, 0, 0), claim(4, 0, 50)]);
        assert_eq!(fleet.targets(3), [1, 1, 1, 0]);
        assert_eq!(fleet.targets(8), [2, 2, 2, 2]);
        assert_eq!(fleet.targets(20), [2, 8, 2, 8]);
        assert_eq!(fleet.targets(60), [2, 20, 2, 36]);
        assert_eq!(fleet.targets(100), [15, 20, 15, 50]);
        assert_eq!(fleet.targets(-5), [0, 0, 0, 0]);
    }

    #[test]
    fn free_places_go_to_those_with_least_first() {
        let fleet = fleet(claim(2, 0, 20), &[claim(1, 16, 20), claim(3, 4, 20)]);
        let targets = fleet.targets(60);
        assert_eq!(targets, [20, 20, 20]);
        assert_eq!(fleet.growth(8, 0, &targets), 6);
        assert_eq!(fleet.growth(0, 0, &targets), 0);
        assert_eq!(fleet.growth(-7, 0, &targets), 0);
    }
}
