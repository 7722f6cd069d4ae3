//! What a detector watches: memory, open descriptors or threads.
//!
//! Owns: what differs between them: the grain, what is small, and the words. Refuses: the machinery,
//! which is the same for all. Invariant: figures of memory are bytes, all others are counts.

use stent_contract::{LeakClass, Resource};

use crate::text;

/// A page of memory: the least that memory moves by. Bytes.
const PAGE: f64 = 4_096.0;
/// A process is at least so large in comparisons of growth with what was there before: small ones
/// double on a whim. Bytes.
const MEMORY_SMALL: f64 = 48.0 * 1024.0 * 1024.0;
/// The same of descriptors: a runtime opens a few dozen, a pool of connections as many again.
const DESCRIPTORS_SMALL: f64 = 256.0;
/// The same of threads: runtimes keep one or a few for each processor.
const THREADS_SMALL: f64 = 64.0;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    Memory,
    Descriptors,
    Threads,
}

impl Quantity {
    /// Distances below this are no error of a shape.
    pub(crate) const fn grain(self) -> f64 {
        match self {
            Self::Memory => PAGE,
            Self::Descriptors | Self::Threads => 0.5,
        }
    }

    /// What a process has at least, where growth is compared with it.
    pub(crate) const fn small(self) -> f64 {
        match self {
            Self::Memory => MEMORY_SMALL,
            Self::Descriptors => DESCRIPTORS_SMALL,
            Self::Threads => THREADS_SMALL,
        }
    }

    /// What fills evenly is larger than `g` times what was there before with `(1 + g)` to the minus
    /// this power. Counts multiply more easily than memory: a job opens a thousand files.
    pub(crate) const fn size_power(self) -> f64 {
        match self {
            Self::Memory => 2.5,
            Self::Descriptors | Self::Threads => 1.0,
        }
    }

    pub(crate) const fn resource(self) -> Resource {
        match self {
            Self::Memory => Resource::Memory,
            Self::Descriptors => Resource::Descriptors,
            Self::Threads => Resource::Threads,
        }
    }

    /// The class of growth without a bound, by the class that memory would have.
    pub(crate) const fn class(self, class: LeakClass) -> LeakClass {
        match (self, class) {
            (Self::Descriptors, LeakClass::Leak | LeakClass::NativeLeak) => {
                LeakClass::DescriptorLeak
            }
            (Self::Threads, LeakClass::Leak | LeakClass::NativeLeak) => LeakClass::ThreadLeak,
            (Self::Memory | Self::Descriptors | Self::Threads, class) => class,
        }
    }

    /// The unit of figures in the keys of evidence.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Memory => "bytes",
            Self::Descriptors | Self::Threads => "count",
        }
    }

    /// What rises, in a sentence.
    pub(crate) const fn subject(self) -> &'static str {
        match self {
            Self::Memory => "the floor of anonymous memory",
            Self::Descriptors => "the lowest number of open descriptors",
            Self::Threads => "the lowest number of threads",
        }
    }

    /// What has a limit, in a sentence.
    pub(crate) const fn of_what(self) -> &'static str {
        match self {
            Self::Memory => " of anonymous memory",
            Self::Descriptors => " descriptors",
            Self::Threads => " threads",
        }
    }

    /// A figure as a person reads it.
    pub(crate) fn amount(self, value: f64) -> String {
        match self {
            Self::Memory => text::bytes(value),
            Self::Descriptors | Self::Threads if value.abs() >= 99.5 => format!("{value:.0}"),
            Self::Descriptors | Self::Threads => {
                let text = format!("{value:.1}");
                text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_without_a_unit_and_small_ones_with_one_digit() {
        let written = [0.0, 3.25, 12.0, 1_234.4].map(|value| Quantity::Threads.amount(value));
        assert_eq!(written, ["0", "3.2", "12", "1234"]);
        assert_eq!(Quantity::Memory.amount(1_234.4), "1.23 kB");
    }

    #[test]
    fn only_growth_without_a_bound_has_a_class_of_its_own() {
        assert_eq!(Quantity::Descriptors.class(LeakClass::Leak), LeakClass::DescriptorLeak);
        assert_eq!(Quantity::Threads.class(LeakClass::Leak), LeakClass::ThreadLeak);
        assert_eq!(Quantity::Threads.class(LeakClass::Traffic), LeakClass::Traffic);
        assert_eq!(Quantity::Memory.class(LeakClass::NativeLeak), LeakClass::NativeLeak);
    }
}
