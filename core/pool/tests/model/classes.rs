//! The model's own books of what each class got.
//!
//! Invariant: a class is counted as it is in force at that moment.

use std::time::{Duration, Instant};

use stent_pool::{Class, Pools, Refusal};

use crate::model::{Model, number};

impl Model {
    pub(crate) fn book_grant(&mut self, class: Class) {
        let class = self.class_in_force(class);
        self.served[usize::from(class.0)] += 1;
    }

    pub(crate) fn book_refusal(&mut self, class: Class, refusal: Refusal) {
        let class = self.class_in_force(class);
        match refusal {
            Refusal::WaitTimeout | Refusal::Overloaded { .. } => {
                self.timeouts[usize::from(class.0)] += 1;
            }
            Refusal::OpenFailed | Refusal::QueueFull => {}
        }
    }

    /// The pools count each class as the model does.
    pub(crate) fn compare_classes(&self, pools: &Pools, now: Instant) {
        let weights = &self.limits.class_weights;
        let counted = pools.classes(now);
        assert_eq!(counted.len(), if weights.len() < 2 { 0 } else { weights.len() });
        for (at, census) in counted.iter().enumerate() {
            assert_eq!(usize::from(census.class.0), at, "in the order of their numbers");
            assert_eq!(census.weight, weights[at]);
            let of_it = |class| self.class_in_force(class) == census.class;
            let waiting = || self.waiters.iter().filter(|waiter| of_it(waiter.class));
            assert_eq!(census.waiting, number(waiting().count()));
            let longest = waiting().map(|waiter| now - waiter.since).max();
            assert_eq!(census.maxwait, longest.unwrap_or(Duration::ZERO));
            let told = (census.served, census.timeouts);
            assert_eq!(told, (self.served[at], self.timeouts[at]), "of class {at}");
        }
    }
}
