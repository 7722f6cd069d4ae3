//! Which of two means a target is looked into by, where it offers its runtime's and its native heap.
//!
//! Owns: the decision. Refuses: reading. Pure.
//! Invariant: a target that offers anything is looked into, and what found nothing is not tried again while
//! there is another means.

use stent_contract::{AttributionMeans, LeakClass};

use super::guard::{Refusal, Way};

/// Decides. `own`: what the guard says of its runtime. `native`: the heap of a preloaded jemalloc, where it is
/// served. `in_vain`: the means by which the same process was looked into last, where nothing was named.
pub(crate) fn choose(
    class: LeakClass,
    own: Result<Way, Refusal>,
    native: Option<Way>,
    in_vain: Option<AttributionMeans>,
) -> Result<Way, Refusal> {
    let (own, native) = match (own, native) {
        (own, None) => return own,
        (Err(_), Some(native)) => return Ok(native),
        (Ok(own), Some(native)) => (own, native),
    };
    // What stays flat is the runtime's heap: there is nothing to be found in it.
    let (first, second) = match class {
        LeakClass::NativeLeak => (native, own),
        LeakClass::None
        | LeakClass::Leak
        | LeakClass::WarmUp
        | LeakClass::CacheFilling
        | LeakClass::AllocatorRetention
        | LeakClass::Fragmentation
        | LeakClass::PageCache
        | LeakClass::Traffic
        | LeakClass::DescriptorLeak
        | LeakClass::ThreadLeak
        | LeakClass::HeldTransaction => (own, native),
    };
    let tried = in_vain.is_some_and(|means| is_means_of(&first, means));
    Ok(if tried { second } else { first })
}

fn is_means_of(way: &Way, means: AttributionMeans) -> bool {
    match way {
        Way::Node { .. } => means == AttributionMeans::V8Sampling,
        Way::Bun { .. } => means == AttributionMeans::JscSnapshot,
        Way::Heap { .. } => {
            [AttributionMeans::Tracemalloc, AttributionMeans::JemallocProfile].contains(&means)
        }
        Way::Native { .. } => means == AttributionMeans::NativeProfile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_own_means_are_for_leaks_the_native_ones_for_native_leaks_and_for_want_of_others()
     {
        use AttributionMeans::{JemallocProfile, NativeProfile, Tracemalloc, V8Sampling};
        use LeakClass::{Leak, NativeLeak};
        let unknown = || Err(Refusal::Unknown("server".to_owned()));
        let (node, heap) = (Way::Node { port: 9229 }, Way::Heap { pid_inside: 1 });
        let native = Way::Native { pid_inside: 1 };
        for (class, own, offered, in_vain, expected) in [
            (Leak, Ok(&node), Some(&native), None, Ok(&node)),
            (NativeLeak, Ok(&node), Some(&native), None, Ok(&native)),
            (NativeLeak, Ok(&node), None, None, Ok(&node)),
            (Leak, unknown(), Some(&native), None, Ok(&native)),
            (Leak, unknown(), None, None, unknown()),
            (Leak, Err(Refusal::BunClosed), Some(&native), None, Ok(&native)),
            // What found nothing gives way to the other, and comes back after it.
            (Leak, Ok(&node), Some(&native), Some(V8Sampling), Ok(&native)),
            (Leak, Ok(&node), Some(&native), Some(NativeProfile), Ok(&node)),
            (Leak, Ok(&heap), Some(&native), Some(Tracemalloc), Ok(&native)),
            (Leak, Ok(&heap), Some(&native), Some(JemallocProfile), Ok(&native)),
            (NativeLeak, Ok(&heap), Some(&native), Some(NativeProfile), Ok(&heap)),
            (NativeLeak, Ok(&node), Some(&native), Some(AttributionMeans::None), Ok(&native)),
            (Leak, unknown(), Some(&native), Some(NativeProfile), Ok(&native)),
        ] {
            let told = format!("{class:?} {own:?} {offered:?} {in_vain:?}");
            let chosen = choose(class, own.cloned(), offered.cloned(), in_vain);
            assert_eq!(chosen, expected.cloned(), "{told}");
        }
    }
}
