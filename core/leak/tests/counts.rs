//! What the detector of descriptors and threads says of counts that are known to leak or not.
//!
//! Owns: the courses of counts. Refuses: memory (that is `memory`'s).

use std::time::Duration;

use stent_contract::{DescriptorKinds, LeakClass, ProcessReading, Resource, Verdict, VerdictLevel};
use stent_leak::{CountDetector, CountSample, Counted, explain_count};

const START_MS: u64 = 1_700_000_000_000;

/// Counts at each second, and the first moment of a leak.
struct Heard {
    last: Verdict,
    leak_s: Option<u64>,
}

fn hear(
    counted: Counted,
    seconds: u64,
    limit: Option<u64>,
    count: impl Fn(u64, &mut fastrand::Rng) -> u32,
) -> Heard {
    let mut random = fastrand::Rng::with_seed(11);
    let mut detector = CountDetector::new("api", counted, Duration::from_secs(1));
    let (mut leak_s, mut last) = (None, None);
    for second in 0..seconds {
        let at_unix_ms = START_MS + second * 1_000;
        detector.observe(&CountSample {
            at_unix_ms,
            pid: 7,
            started_unix_ms: START_MS,
            count: count(second, &mut random),
            limit,
            transactions: None,
        });
        if detector.level(at_unix_ms) == VerdictLevel::Leak {
            leak_s.get_or_insert(second);
        }
        last = Some(detector.verdict(at_unix_ms));
    }
    assert!(detector.footprint() <= 64 * 1024, "a target's week in 64 KiB");
    Heard { last: last.expect("there was a second"), leak_s }
}

#[test]
fn a_descriptor_left_open_now_and_then_is_a_leak_long_before_the_limit() {
    // One in three seconds stays open, and requests hold up to 20 for a moment.
    let heard = hear(Counted::Descriptors, 2_600, Some(1_024), |second, random| {
        40 + second as u32 / 3 + random.u32(0..20)
    });
    let leak_s = heard.leak_s.expect("it is found");
    assert!(leak_s < 2_400, "the limit is reached after 2900 s: {leak_s}");
    assert_eq!(heard.last.resource, Resource::Descriptors);
    assert_eq!(heard.last.class, LeakClass::DescriptorLeak);
    assert!((1_000.0..1_400.0).contains(&heard.last.growth_per_hour), "1200 an hour");
    let left = heard.last.seconds_to_limit.expect("there is a limit");
    assert!((200.0..500.0).contains(&left), "about 300 s are left: {left}");
    let kinds = DescriptorKinds { files: 40, sockets: 700, pipes: 2, events: 9, others: 0 };
    let reading =
        ProcessReading { pid: 7, descriptor_kinds: Some(kinds), ..ProcessReading::default() };
    let diagnosis = explain_count(&heard.last, Some(&reading)).expect("a leak is explained");
    assert!(diagnosis.causes[0].next_step.contains("/proc/7/fd"));
    assert!(diagnosis.causes[0].text.ends_with("; 700 of 751 are sockets"));
    let unread = explain_count(&heard.last, None).expect("a leak is explained");
    assert!(unread.causes[0].next_step.contains("/proc/PID/fd"));
    let keys: Vec<&str> = heard.last.evidence.iter().map(|entry| entry.key.as_str()).collect();
    assert!(keys.contains(&"floor_growth_count"), "{keys:?}");
}

#[test]
fn a_thread_each_second_is_a_leak_without_a_known_limit() {
    let heard = hear(Counted::Threads, 1_800, None, |second, _| 12 + second as u32);
    assert!(heard.leak_s.is_some());
    assert_eq!((heard.last.resource, heard.last.class), (Resource::Threads, LeakClass::ThreadLeak));
    assert_eq!(heard.last.seconds_to_limit, None);
}

#[test]
fn a_pool_that_fills_to_its_size_is_no_leak() {
    let heard = hear(Counted::Descriptors, 2_400, Some(1_024), |second, random| {
        40 + (second / 4).min(60) as u32 + random.u32(0..8)
    });
    assert_eq!(heard.leak_s, None);
}

#[test]
fn workers_up_to_their_number_are_no_leak() {
    let heard =
        hear(Counted::Threads, 2_400, Some(30_000), |second, _| 8 + (second / 2).min(32) as u32);
    assert_eq!(heard.leak_s, None);
}

#[test]
fn connections_that_come_and_go_with_the_load_are_no_leak() {
    let heard = hear(Counted::Descriptors, 3_000, Some(4_096), |second, random| {
        let load = (second as f64 / 200.0).sin().abs();
        60 + (load * 400.0) as u32 + random.u32(0..40)
    });
    assert_eq!(heard.leak_s, None);
}
