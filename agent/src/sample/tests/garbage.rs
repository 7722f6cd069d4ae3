//! What is cut off, unreadable or absurd: a reading less, never a wrong one, and it is counted.
//!
//! Rows of a CSV and the pages: `sidecar/tests/garbage.rs`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use stent_testkit::TempDir;

use super::super::cgroup::Cgroup;
use super::super::moment::Clocks;
use super::super::proc::{Look, Process};
use super::super::skipped::Skips;
use super::super::target::{self, Watched};
use super::fixture;
use crate::config::Target;
use crate::heap_source::RuntimeReading;

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
        process.read(Instant::now(), 1, Look::Close, &mut Skips::default()).unwrap().memory
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
    let group = Cgroup::of(tree.path(), 42).unwrap().unwrap();
    let mut skips = Skips::default();
    let whole = group.read(&mut skips);
    assert_eq!(skips.told().next(), None);
    assert!(whole.usage.is_some() && whole.anon.is_some() && whole.oom_kills.is_some());
    let files = ["memory.current", "memory.stat", "memory.events"];
    for name in files {
        for path in everywhere(tree.path(), name) {
            let text = std::fs::read_to_string(&path).unwrap();
            for cut in 0..text.len() {
                std::fs::write(&path, &text[..cut]).unwrap();
                let read = group.read(&mut skips);
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
    let counts: Vec<_> = skips.told().map(|skipped| (skipped.source, skipped.reason)).collect();
    assert_eq!(counts, [("cgroup".to_owned(), "cut_off".to_owned())]);
    let unlimited = Cgroup::of(tree.path(), 42).unwrap().unwrap();
    let mut skips = Skips::default();
    assert_eq!(unlimited.read(&mut skips).limit, None);
    assert_eq!(skips.told().next(), None, "`max` is no garbage");
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
fn a_way_to_the_cgroup_that_is_cut_off_leads_to_no_other_group() {
    let tree = copied("cgroup-v2");
    let path = tree.path().join("proc/42/cgroup");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut watched = target::of_pid("api", 42, tree.path());
    let mut now = Instant::now();
    let whole = watched.read(now, 1).reading.unwrap().memory;
    // An empty one is what a kernel without cgroups has.
    for cut in 1..text.len() {
        std::fs::write(&path, &text[..cut]).unwrap();
        assert!(Cgroup::of(tree.path(), 42).is_err(), "cut at {cut}");
        now += Duration::from_secs(60);
        assert_eq!(watched.read(now, 1).reading.unwrap().memory, whole, "the one known stays");
    }
    let cuts = text.len() as u64 - 1;
    assert_eq!(counted(&watched), [("cgroup".to_owned(), "cut_off".to_owned(), cuts)]);
}

#[test]
fn a_limit_that_is_cut_off_is_no_smaller_limit() {
    let tree = copied("cgroup-v2");
    let whole = Cgroup::of(tree.path(), 42).unwrap();
    for path in everywhere(tree.path(), "memory.max") {
        let text = std::fs::read_to_string(&path).unwrap();
        for cut in 0..text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            assert!(Cgroup::of(tree.path(), 42).is_err(), "{} cut at {cut}", path.display());
        }
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(Cgroup::of(tree.path(), 42).unwrap(), whole);
}

#[test]
fn a_reading_that_is_left_out_costs_a_target_given_by_name_only_itself() {
    let tree = copied("cgroup-v2");
    std::fs::write(tree.path().join("proc/42/comm"), "api\n").unwrap();
    let mut watched = named("api", tree.path());
    let now = Instant::now();
    assert!(watched.read(now, 1).reading.is_some());
    let path = tree.path().join("proc/42/status");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 3]).unwrap();
    assert_eq!(watched.read(now, 2).reading, None);
    std::fs::write(&path, &text).unwrap();
    // In the very next reading, not after the next search.
    assert!(watched.read(now, 3).reading.is_some());
    assert_eq!(counted(&watched), [("process".to_owned(), "cut_off".to_owned(), 1)]);
}

#[test]
fn counters_that_go_back_are_left_out_once_and_counted() {
    let tree = copied("cgroup-v2");
    let path = tree.path().join("proc/42/stat");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut watched = target::of_pid("api", 42, tree.path());
    let mut times = Vec::new();
    for user in ["250", "240", "240", "260"] {
        std::fs::write(&path, text.replace(" 250 150 ", &format!(" {user} 150 "))).unwrap();
        let reading = watched.read(Instant::now(), 1).reading.unwrap();
        times.push(reading.cpu_seconds.is_some());
        assert!(reading.memory.rss_anon > 0, "nothing else is lost");
    }
    assert_eq!(times, [true, false, true, true]);
    let mut requests = Vec::new();
    for served in [900, 5, 6] {
        let mut reading = watched.read(Instant::now(), 1).reading.unwrap();
        watched.hear(&mut reading, RuntimeReading { heap: Some(1), requests: Some(served) });
        requests.push(reading.requests);
    }
    assert_eq!(requests, [Some(900), None, Some(6)]);
    let back = || "went_back".to_owned();
    let expected = [("cpu".to_owned(), back(), 1), ("requests".to_owned(), back(), 1)];
    assert_eq!(counted(&watched), expected);
}

#[test]
fn a_wall_clock_set_by_a_day_leaves_the_steady_one_alone_and_is_counted() {
    const DAY_MS: u64 = 86_400_000;
    let (start, start_ms) = (Instant::now(), 1_700_000_000_000);
    let mut clocks = Clocks::new(start, start_ms);
    let mut skips = Skips::default();
    // A day ahead, back again, a day back; and seconds that a time server takes.
    let set = [0, 400, DAY_MS as i64, 0, -(DAY_MS as i64), -(DAY_MS as i64) + 9_000];
    for (second, set_ms) in (0..).zip(set) {
        let now = start + Duration::from_secs(second);
        let unix_ms = (start_ms + second * 1_000).saturating_add_signed(set_ms);
        let moment = clocks.read(now, unix_ms, &mut skips);
        assert_eq!(moment.steady_ms, start_ms + second * 1_000);
        assert_eq!(moment.unix_ms, unix_ms);
    }
    let told: Vec<_> = skips.told().map(|skipped| (skipped.reason, skipped.count)).collect();
    assert_eq!(told, [("went_back".to_owned(), 2), ("jumped_ahead".to_owned(), 1)]);
}

/// A target given by its name.
fn named(name: &str, root: &Path) -> Watched {
    let mut config = super::config();
    config.root = root.to_owned();
    Watched::new(&Target::Name(name.to_owned()), &config)
}

/// Source, reason and number of what was left out.
fn counted(watched: &Watched) -> Vec<(String, String, u64)> {
    watched.skipped().map(|skipped| (skipped.source, skipped.reason, skipped.count)).collect()
}

const OTHERS: std::ops::Range<u32> = 200_000..210_000;

/// Ten thousand processes beside process 42, of seven kinds; one more can be read by nobody.
fn crowd(tree: &Path) {
    std::fs::write(tree.join("proc/42/comm"), "api\n").unwrap();
    for kind in 0..7 {
        let folder = tree.join(format!("worker-{kind}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("stat"), "garbage").unwrap();
        std::fs::write(folder.join("comm"), format!("worker-{kind}\n")).unwrap();
        std::os::unix::fs::symlink("/usr/bin/worker", folder.join("exe")).unwrap();
    }
    // Links, for they are made a hundred times as fast as folders with files.
    for pid in OTHERS {
        let kind = tree.join(format!("worker-{}", pid % 8));
        std::os::unix::fs::symlink(kind, tree.join("proc").join(pid.to_string())).unwrap();
    }
}

/// Reads by this thread so far. Source: proc_pid_io(5).
fn reads() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").expect("the kernel counts reads");
    let line = text.lines().find_map(|line| line.strip_prefix("syscr: "));
    line.expect("it counts them by thread").parse().unwrap()
}

/// Descriptors of this program that lead into a tree.
fn open_in(tree: &Path) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.starts_with(tree)).count()
}

#[test]
fn among_ten_thousand_processes_a_name_is_found_and_the_round_costs_what_it_does_alone() {
    let tree = copied("cgroup-v2");
    let now = Instant::now();
    crowd(tree.path());
    let others = u64::from(OTHERS.end - OTHERS.start);
    let mut watched = named("api", tree.path());
    let round = |watched: &mut Watched, at: u64| {
        let before = reads();
        let reading = watched.read(now, at).reading;
        (reading.map(|reading| reading.pid), reads() - before)
    };
    let (found, search) = round(&mut watched, 1);
    assert_eq!(found, Some(42));
    assert!(search <= others + 100, "a read for each process and no more: {search}");
    assert_eq!(open_in(tree.path()), 2, "the status and the stat of process 42");
    // Many rounds later nothing is open that was not, and none of them searched.
    let first = round(&mut watched, 2);
    let many: Vec<_> = (3..100).map(|at| round(&mut watched, at)).collect();
    assert!(many.iter().all(|round| *round == first), "{first:?} {many:?}");
    assert_eq!(open_in(tree.path()), 2);
    // The same without the others.
    drop(watched);
    let tree = copied("cgroup-v2");
    std::fs::write(tree.path().join("proc/42/comm"), "api\n").unwrap();
    let mut watched = named("api", tree.path());
    round(&mut watched, 1);
    assert_eq!(round(&mut watched, 2), first);
}

#[test]
fn a_name_that_none_of_ten_thousand_has_is_searched_for_seldom_and_leaves_nothing_open() {
    let tree = copied("cgroup-v2");
    crowd(tree.path());
    let mut watched = named("absent", tree.path());
    let now = Instant::now();
    assert_eq!(watched.read(now, 1).reading, None);
    let before = reads();
    for second in 1..5 {
        assert_eq!(watched.read(now + Duration::from_secs(second), 1).reading, None);
    }
    let own = reads();
    assert!(own - before <= 5, "no search within five seconds: {}", own - before);
    assert_eq!(open_in(tree.path()), 0);
    assert_eq!(counted(&watched), [], "what may not be read has another name");
}

#[test]
fn garbage_in_the_stat_of_others_and_of_a_namesake_changes_nothing_for_the_target() {
    let tree = copied("cgroup-v2");
    crowd(tree.path());
    // A namesake whose start cannot be read is counted, and not taken.
    for (file, text) in [("comm", "api\n"), ("stat", "garbage"), ("status", "garbage")] {
        let folder = tree.path().join("proc/300000");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }
    let mut watched = named("api", tree.path());
    let alone = target::of_pid("api", 42, &fixture("cgroup-v2")).read(Instant::now(), 1);
    assert_eq!(watched.read(Instant::now(), 1).reading, alone.reading);
    assert_eq!(counted(&watched), [("process".to_owned(), "cut_off".to_owned(), 1)]);
}
