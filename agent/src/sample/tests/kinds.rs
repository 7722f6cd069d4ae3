//! What is dear to read: descriptors by kind, sockets, of few targets and seldom.

use std::path::Path;
use std::time::{Duration, Instant};

use stent_contract::snapshot::TargetSnapshot;
use stent_contract::{DescriptorKinds, EcsTask, Resource, VerdictLevel};
use stent_testkit::TempDir;

use super::super::build;
use super::super::kinds::{descriptor_kinds, sockets};
use super::super::target::{look_closely, watch_all};
use super::{config, fixture};
use crate::config::{Config, Target};

#[test]
fn descriptors_are_told_apart_by_what_they_lead_to() {
    let folder = TempDir::new("kinds").unwrap();
    std::fs::create_dir(folder.path().join("fd")).unwrap();
    let links = [
        "/dev/null",
        "/srv/app/data.db (deleted)",
        "socket:[812]",
        "socket:[813]",
        "socket:[814]",
        "pipe:[7]",
        "anon_inode:[eventpoll]",
        "anon_inode:[eventfd]",
        "net:[4026531840]",
    ];
    for (number, link) in links.iter().enumerate() {
        let path = folder.path().join("fd").join(number.to_string());
        std::os::unix::fs::symlink(link, path).unwrap();
    }
    let kinds = DescriptorKinds { files: 2, sockets: 3, pipes: 1, events: 2, others: 1 };
    assert_eq!(descriptor_kinds(folder.path()).unwrap(), Some(kinds));
}

#[test]
fn the_kinds_of_this_very_process_are_those_that_it_opens() {
    let of_this = || descriptor_kinds(Path::new("/proc/self")).unwrap().unwrap();
    let before = of_this();
    let listeners: Vec<_> =
        (0..5).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let pipes: Vec<_> = (0..3).map(|_| std::io::pipe().unwrap()).collect();
    let after = of_this();
    // Other tests of this program may open some at the same time, and close none of ours.
    assert!(after.sockets >= listeners.len() as u32 && after.pipes >= 2 * pipes.len() as u32);
    assert!(after.files + after.sockets + after.pipes > before.files.min(1));
    let sockets = sockets(Path::new("/proc/self")).unwrap();
    assert!(sockets.in_use >= listeners.len() as u32, "{sockets:?}");
}

#[test]
fn sockets_whose_file_is_cut_off_or_says_something_else_are_not_known() {
    let folder = TempDir::new("sockets").unwrap();
    std::fs::create_dir(folder.path().join("net")).unwrap();
    let path = folder.path().join("net/sockstat");
    let text = std::fs::read_to_string(fixture("cgroup-v2").join("proc/42/net/sockstat")).unwrap();
    std::fs::write(&path, &text).unwrap();
    let whole = sockets(folder.path()).unwrap();
    assert_eq!(whole.in_use, 27, "this one has no IPv6");
    for cut in 0..text.len() {
        std::fs::write(&path, &text[..cut]).unwrap();
        let read = sockets(folder.path());
        assert!(read.is_err() || read.is_ok_and(|read| read == whole), "cut at {cut}");
    }
}

#[test]
fn the_build_is_one_variable_of_the_environment_and_nothing_else_of_it_is_kept() {
    let folder = TempDir::new("build").unwrap();
    let read = |environment: &[u8]| {
        std::fs::write(folder.path().join("environ"), environment).unwrap();
        build::of(folder.path(), "BUILD")
    };
    let whole = b"A=1\0BUILDER=no\0PASSWORD=secret\0BUILD=v2.1-9f3c\0\xff=\xfe\0";
    assert_eq!(read(whole).unwrap().as_deref(), Some("v2.1-9f3c"));
    assert_eq!(read(b"A=1\0BUILD=\0").unwrap(), None);
    assert_eq!(read(b"").unwrap(), None);
    let long = [b"BUILD=".as_slice(), &[b'x'; 200]].concat();
    for garbage in [long.as_slice(), b"BUILD=a b\0", b"BUILD=\xff\0"] {
        assert!(read(garbage).is_err(), "{garbage:?}");
    }
}

#[test]
fn a_reading_has_the_build_of_its_process_and_else_the_tasks_revision() {
    let tree = TempDir::new("revision").unwrap();
    let from = fixture("cgroup-v2");
    std::fs::create_dir_all(tree.path().join("proc/42")).unwrap();
    for file in ["proc/stat", "proc/meminfo", "proc/42/stat", "proc/42/status"] {
        std::fs::copy(from.join(file), tree.path().join(file)).unwrap();
    }
    let mut config = config();
    config.root = tree.path().to_owned();
    config.targets = vec![Target::Pid { name: "api".to_owned(), pid: 42 }];
    config.build_variable = Some("BUILD".to_owned());
    let task =
        EcsTask { family: "orders".to_owned(), revision: "42".to_owned(), ..EcsTask::default() };
    let of = |task: Option<&EcsTask>| {
        let mut watched = watch_all(&config).remove(0);
        watched.read_in(Instant::now(), 1, task).reading.unwrap().revision
    };
    assert_eq!(of(None), None);
    assert_eq!(of(Some(&task)).as_deref(), Some("orders:42"));
    std::fs::write(tree.path().join("proc/42/environ"), "BUILD=v7\0").unwrap();
    assert_eq!(of(Some(&task)).as_deref(), Some("v7"));
    config.build_variable = None;
    let mut watched = watch_all(&config).remove(0);
    let unasked = watched.read_in(Instant::now(), 1, Some(&task)).reading.unwrap().revision;
    assert_eq!(unasked.as_deref(), Some("orders:42"), "nobody asked for it");
}

fn of_six() -> Config {
    let mut config = config();
    config.root = fixture("cgroup-v2");
    config.targets = (0..6).map(|n| Target::Pid { name: format!("t{n}"), pid: 42 }).collect();
    config
}

fn suspected(name: &str) -> TargetSnapshot {
    let verdict = crate::tests_support::verdict(name, Resource::Descriptors);
    TargetSnapshot {
        name: name.to_owned(),
        reading: None,
        memory: Some(crate::tests_support::verdict(name, Resource::Memory)),
        attribution: None,
        descriptors: Some(stent_contract::Verdict { level: VerdictLevel::Suspect, ..verdict }),
        threads: None,
        rejuvenations: None,
    }
}

#[test]
fn of_many_targets_four_are_looked_at_closely_and_those_under_suspicion_first() {
    let mut watched = watch_all(&of_six());
    let now = Instant::now();
    let mut close = |judged: &[TargetSnapshot], at: Instant| {
        look_closely(&mut watched, judged);
        let dear = watched.iter_mut().map(|one| {
            let reading = one.read(at, 1).reading.unwrap();
            assert_eq!(reading.memory.pss.is_some(), reading.descriptor_kinds.is_some());
            reading.memory.pss.is_some()
        });
        dear.collect::<Vec<_>>()
    };
    assert_eq!(close(&[], now), [true, true, true, true, false, false]);
    // At once, not a minute later; and it makes room again.
    let second = now + Duration::from_secs(1);
    assert_eq!(close(&[suspected("t5")], second), [true, true, true, false, false, true]);
    assert_eq!(close(&[], second), [true, true, true, true, false, false]);
}
