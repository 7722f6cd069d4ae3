//! Files of the kernel that are cut off, unreadable or absurd: a reading less, never a wrong one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use stent_testkit::TempDir;

use super::super::cgroup::Cgroup;
use super::super::proc::Process;
use super::super::target;
use super::fixture;

/// A copy of a fixture tree that may be changed.
fn copied(name: &str) -> TempDir {
    let copy = TempDir::new("garbage").unwrap();
    copy_tree(&fixture(name), copy.path());
    copy
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy_tree(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_status_or_stat_cut_off_anywhere_gives_no_reading_and_a_whole_one_gives_it_again() {
    let tree = copied("cgroup-v2");
    let mut watched = target::of_pid("api", 42, tree.path());
    let whole = watched.read(Instant::now(), 1).reading;
    assert!(whole.is_some());
    for file in ["status", "stat"] {
        let path = tree.path().join("proc/42").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        for cut in 0..text.len() {
            if text[..cut].ends_with('\n') {
                continue; // whole lines: tested below
            }
            std::fs::write(&path, &text[..cut]).unwrap();
            assert_eq!(watched.read(Instant::now(), 1).reading, None, "{file} cut at {cut}");
        }
        std::fs::write(&path, text).unwrap();
        assert_eq!(watched.read(Instant::now(), 1).reading, whole, "after {file}");
    }
}

#[test]
fn a_status_that_ends_before_the_memory_is_no_reading_of_zero() {
    let tree = copied("cgroup-v2");
    let path = tree.path().join("proc/42/status");
    let text = std::fs::read_to_string(&path).unwrap();
    let head = &text[..text.find("RssAnon:").unwrap()];
    std::fs::write(&path, head).unwrap();
    assert_eq!(target::of_pid("api", 42, tree.path()).read(Instant::now(), 1).reading, None);
}

#[test]
fn smaps_that_may_not_be_read_or_is_cut_off_costs_its_figure_only() {
    let tree = copied("cgroup-v2");
    let path = tree.path().join("proc/42/smaps_rollup");
    let read = || {
        let mut process = Process::open(tree.path(), 42).unwrap();
        process.read(Instant::now(), 1).unwrap().memory
    };
    let whole = read();
    assert!(whole.pss.is_some());
    let text = std::fs::read_to_string(&path).unwrap();
    let figure = text.find("Pss:").unwrap() + "Pss:    3".len();
    std::fs::write(&path, &text[..figure]).unwrap();
    assert_eq!((read().pss, read().rss_anon), (None, whole.rss_anon));
    // A folder cannot be read as a file by anybody, not even by root.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!((read().pss, read().rss_anon), (None, whole.rss_anon));
}

#[test]
fn a_cgroup_whose_files_are_cut_off_or_say_max_has_no_figure_rather_than_a_smaller_one() {
    let tree = copied("cgroup-v2");
    let group = Cgroup::of(tree.path(), 42).unwrap();
    let whole = group.read();
    assert!(whole.usage.is_some() && whole.anon.is_some() && whole.oom_kills.is_some());
    let files = ["memory.current", "memory.stat", "memory.events"];
    for name in files {
        for path in everywhere(tree.path(), name) {
            let text = std::fs::read_to_string(&path).unwrap();
            for cut in 0..text.len() {
                std::fs::write(&path, &text[..cut]).unwrap();
                let read = group.read();
                for (before, now) in [
                    (whole.usage, read.usage),
                    (whole.anon, read.anon),
                    (whole.oom_kills, read.oom_kills),
                ] {
                    assert!(now.is_none() || now == before, "{name} cut at {cut}: {read:?}");
                }
            }
            std::fs::write(&path, text).unwrap();
        }
    }
    for path in everywhere(tree.path(), "memory.max") {
        std::fs::write(path, "max\n").unwrap();
    }
    assert_eq!(Cgroup::of(tree.path(), 42).unwrap().read().limit, None);
}

/// The files of a name in a tree.
fn everywhere(tree: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(tree).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everywhere(&path, name));
        } else if path.file_name().is_some_and(|file| file == name) {
            found.push(path);
        }
    }
    found
}

#[test]
fn ten_thousand_processes_beside_the_target_change_nothing_for_it() {
    let tree = copied("cgroup-v2");
    for pid in 1_000..11_000 {
        let folder = tree.path().join("proc").join(pid.to_string());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("stat"), "garbage").unwrap();
    }
    let mut watched = target::of_pid("api", 42, tree.path());
    let alone = target::of_pid("api", 42, &fixture("cgroup-v2")).read(Instant::now(), 1);
    assert_eq!(watched.read(Instant::now(), 1).reading, alone.reading);
    assert_eq!(target::of_pid("other", 5_000, tree.path()).read(Instant::now(), 1).reading, None);
}
