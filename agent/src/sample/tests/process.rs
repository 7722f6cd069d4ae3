//! Processes: fixtures, this very process, and children that die.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use stent_contract::{DescriptorKinds, MemoryReading, ProcessReading, SocketCounts};
use stent_testkit::{TempDir, wait_until};

use super::super::proc::{Look, Process};
use super::super::skipped::Skips;
use super::super::target;
use super::super::unix_ms;
use super::fixture;

const ROOT: &str = "/";

fn read(process: &mut Process) -> Option<ProcessReading> {
    process.read(Instant::now(), unix_ms(), Look::Close, &mut Skips::default()).ok()
}

#[test]
fn every_figure_of_a_fixture_is_read() {
    let mut process = Process::open(&fixture("cgroup-v2"), 42).unwrap();
    let ticks = rustix::param::clock_ticks_per_second();
    let reading = process.read(Instant::now(), 5, Look::Close, &mut Skips::default()).unwrap();
    let kb = 1_024;
    assert_eq!(
        reading,
        ProcessReading {
            at_unix_ms: 5,
            pid: 42,
            command: "bun (worker) 1".to_owned(),
            started_unix_ms: 1_700_000_000_000 + 360_000 * 1_000 / ticks,
            memory: MemoryReading {
                rss_anon: 27_000 * kb,
                rss_file: 35_276 * kb,
                rss_shmem: 2_264 * kb,
                pss: Some(30_000 * kb),
                swap: 1_024 * kb,
                ..MemoryReading::default()
            },
            file_descriptors: Some(4),
            threads: Some(11),
            cpu_seconds: Some(400.0 / ticks as f64),
            // The fixture's descriptors are files and no links.
            descriptor_kinds: Some(DescriptorKinds::default()),
            sockets: Some(SocketCounts { in_use: 31, orphaned: 1, time_wait: 12 }),
            ..ProcessReading::default()
        }
    );
}

#[test]
fn what_cannot_be_read_is_none_and_never_zero() {
    let mut process = Process::open(&fixture("cgroup-v1"), 42).unwrap();
    let reading = read(&mut process).unwrap();
    assert_eq!((reading.memory.pss, reading.file_descriptors), (None, None));
}

#[test]
fn memory_that_is_touched_shows_as_anonymous() {
    let mut process = Process::open(Path::new(ROOT), std::process::id()).unwrap();
    let before = read(&mut process).unwrap();
    let held = std::hint::black_box(vec![1_u8; 64 << 20]);
    let after = read(&mut process).unwrap();
    drop(held);
    let grown = after.memory.rss_anon - before.memory.rss_anon;
    assert!(grown >= 60 << 20, "{grown} of 64 MiB");
    assert!(after.memory.pss.is_some(), "a process may read its own mappings");
    assert!(after.threads.unwrap() >= 1 && after.file_descriptors.unwrap() >= 3);
    assert!(after.started_unix_ms <= after.at_unix_ms + 2_000);
    assert_eq!(after.pid, std::process::id());
}

#[test]
fn open_files_are_counted() {
    let mut process = Process::open(Path::new(ROOT), std::process::id()).unwrap();
    let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    assert!(read(&mut process).unwrap().file_descriptors.unwrap() >= files.len() as u32);
}

#[test]
fn a_process_that_died_reads_as_none_as_a_zombie_and_after() {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let mut process = Process::open(Path::new(ROOT), child.id()).unwrap();
    assert!(read(&mut process).is_some());
    child.kill().unwrap();
    wait_until("the zombie reads as none", Duration::from_secs(10), || {
        read(&mut process).is_none()
    })
    .unwrap();
    child.wait().unwrap();
    assert!(read(&mut process).is_none());
}

#[test]
fn an_absent_process_cannot_be_opened() {
    assert!(Process::open(&fixture("cgroup-v2"), 43).is_err());
}

/// A copy of process 42 whose files may be changed.
fn copied() -> TempDir {
    let copy = TempDir::new("proc").unwrap();
    let (from, to) = (fixture("cgroup-none"), copy.path());
    std::fs::create_dir_all(to.join("proc/42")).unwrap();
    for file in ["proc/stat", "proc/meminfo", "proc/42/stat", "proc/42/status", "proc/42/cgroup"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    copy
}

#[test]
fn another_process_under_the_same_number_is_not_the_target() {
    let tree = copied();
    let mut watched = target::of_pid("api", 42, tree.path());
    let now = Instant::now();
    assert!(watched.read(now, 1).reading.is_some());
    let stat = tree.path().join("proc/42/stat");
    let text = std::fs::read_to_string(&stat).unwrap().replace(" 360000 ", " 990000 ");
    std::fs::write(&stat, text).unwrap();
    assert_eq!(watched.read(now, 2).reading, None);
    assert_eq!(watched.read(now, 3).reading, None, "nor in the rounds after");
}

#[test]
fn a_target_whose_command_was_started_again_is_followed_to_its_new_process() {
    let tree = copied();
    let mut watched = target::of_pid("api", 41, tree.path());
    let now = Instant::now();
    assert_eq!(watched.read(now, 1).reading, None, "the old one has ended");
    watched.follow(42, Some(1));
    assert_eq!(watched.read(now, 2).reading.map(|reading| reading.pid), Some(42));
    assert_eq!(watched.rejuvenations(), Some(1));
}

#[test]
fn without_a_cgroup_limit_the_machine_is_the_limit_and_its_use_the_charge() {
    let tree = copied();
    let target = target::of_pid("api", 42, tree.path()).read(Instant::now(), 1);
    assert_eq!(target.name, "api");
    assert_eq!(target.reading.unwrap().memory.limit, Some(8_192_000_000));
    assert_eq!(target.charged, 8_192_000_000 - 6_144_000_000);
}

#[test]
fn with_a_cgroup_limit_its_anonymous_memory_is_the_charge() {
    let target = target::of_pid("api", 42, &fixture("cgroup-v2")).read(Instant::now(), 1);
    let memory = target.reading.unwrap().memory;
    assert_eq!((memory.limit, target.charged), (Some(536_870_912), 90_000_000));
    assert_eq!((memory.cgroup_usage, memory.oom_kills), (Some(150_000_000), Some(3)));
}
