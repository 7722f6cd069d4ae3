//! Cgroups of both versions, from fixture trees.

use stent_contract::{MemoryPressure, PressureReading};

use super::super::cgroup::{Cgroup, CgroupReading, Machine};
use super::super::skipped::Skips;
use super::fixture;

fn read(name: &str) -> CgroupReading {
    let mut skips = Skips::default();
    let group = Cgroup::of(&fixture(name), 42).unwrap();
    let reading = group.expect("the fixture has a memory cgroup").read(&mut skips);
    assert_eq!(skips.told().next(), None, "nothing is wrong with it");
    reading
}

#[test]
fn in_version_2_the_smallest_limit_on_the_way_up_holds() {
    assert_eq!(
        read("cgroup-v2"),
        CgroupReading {
            usage: Some(150_000_000),
            anon: Some(90_000_000),
            swap: Some(4_096_000),
            pressure: Some(PressureReading {
                some: MemoryPressure { share: 0.125, total_seconds: 3.5 },
                full: MemoryPressure { share: 0.0625, total_seconds: 1.25 },
            }),
            limit: Some(536_870_912),
            oom_kills: Some(3),
        }
    );
}

#[test]
fn in_a_version_1_container_the_mount_is_its_own_group() {
    assert_eq!(
        read("cgroup-v1"),
        CgroupReading {
            usage: Some(180_000_000),
            anon: Some(80_000_000),
            swap: Some(2_048_000),
            pressure: None,
            limit: Some(268_435_456),
            oom_kills: Some(1),
        }
    );
}

#[test]
fn only_version_2_tells_for_how_long_tasks_stood_still_for_want_of_memory() {
    let tells = |name: &str| Cgroup::of(&fixture(name), 42).unwrap().unwrap().tells_pressure();
    assert!(tells("cgroup-v2") && !tells("cgroup-v1"));
}

#[test]
fn in_version_1_the_largest_page_aligned_number_is_no_limit() {
    let reading = read("cgroup-v1-nested");
    assert_eq!(reading.limit, Some(402_653_184), "the parent's, not the unlimited leaf's");
    assert_eq!((reading.usage, reading.anon), (Some(1_000), Some(600)));
}

#[test]
fn a_process_without_a_memory_cgroup_has_none() {
    assert_eq!(Cgroup::of(&fixture("cgroup-none"), 42).unwrap(), None);
    assert_eq!(Cgroup::of(&fixture("cgroup-v2"), 43).unwrap(), None, "no such process");
}

#[test]
fn the_machine_is_read_in_bytes() {
    let machine = Machine::read(&fixture("cgroup-v2")).unwrap().unwrap();
    assert_eq!((machine.total, machine.available), (8_192_000_000, 6_144_000_000));
}

#[test]
fn this_very_process_has_memory_and_a_machine_around_it() {
    let root = std::path::Path::new("/");
    let machine = Machine::read(root).unwrap().unwrap();
    assert!(machine.total >= machine.available && machine.available > 0);
    // Not every system has a memory cgroup; where there is one, it charges what we use.
    if let Some(cgroup) = Cgroup::of(root, std::process::id()).unwrap() {
        assert!(cgroup.read(&mut Skips::default()).usage.unwrap() > 0);
    }
}
