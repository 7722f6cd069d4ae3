//! Finding a process by name, and finding it again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use stent_testkit::{Process, TempDir, wait_for};

use super::super::discover;
use super::super::skipped::Skips;
use super::super::target::{Watched, leave_to_others, watch_all};
use super::config;
use crate::config::Target;

/// A program with a name of its own that only sleeps.
struct Sleeper {
    name: String,
    program: PathBuf,
    _folder: TempDir,
}

impl Sleeper {
    fn new() -> Self {
        let folder = TempDir::new("named").unwrap();
        // The folder's random end makes the name unique; the kernel keeps 15 characters of it.
        let end: String = folder.path().to_string_lossy().chars().rev().take(8).collect();
        let name = format!("nap-{end}");
        let program = folder.path().join(&name);
        std::fs::copy("/bin/sleep", &program).unwrap();
        Self { name, program, _folder: folder }
    }

    fn spawn(&self) -> Process {
        Process::spawn(Command::new(&self.program).arg("600")).unwrap()
    }
}

fn find(name: &str) -> Option<u32> {
    discover::find(Path::new("/"), name, &[], &mut Skips::default()).map(|process| process.pid())
}

const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn a_process_is_found_by_name_and_the_oldest_of_several_wins() {
    let sleeper = Sleeper::new();
    assert_eq!(find(&sleeper.name), None);
    let first = sleeper.spawn();
    let found = wait_for("the process is found", DEADLINE, || find(&sleeper.name));
    assert_eq!(found.unwrap(), first.pid());
    let _second = sleeper.spawn();
    assert_eq!(find(&sleeper.name), Some(first.pid()));
}

#[test]
fn a_name_that_stands_twice_is_two_processes_with_a_name_each() {
    let sleeper = Sleeper::new();
    let mut config = config();
    config.targets = vec![Target::Name(sleeper.name.clone()), Target::Name(sleeper.name.clone())];
    let mut watched = watch_all(&config);
    let names: Vec<_> = watched.iter().map(|one| one.name().to_owned()).collect();
    assert_eq!(names, [sleeper.name.clone(), format!("{}-2", sleeper.name)]);
    let mut read = |now: Instant| {
        [0, 1].map(|at| {
            leave_to_others(&mut watched, at);
            let of = watched[at].read_in(now, 1, None);
            assert_eq!(of.program, sleeper.name);
            of.reading.map(|reading| reading.pid)
        })
    };
    let mut first = sleeper.spawn();
    wait_for("the first runs", DEADLINE, || find(&sleeper.name)).unwrap();
    let now = Instant::now();
    assert_eq!(read(now), [Some(first.pid()), None], "there is one only");
    let second = sleeper.spawn();
    let runs =
        || discover::find(Path::new("/"), &sleeper.name, &[first.pid()], &mut Skips::default());
    wait_for("the second runs", DEADLINE, runs).unwrap();
    let now = now + Duration::from_secs(6);
    assert_eq!(read(now), [Some(first.pid()), Some(second.pid())]);
    first.kill().unwrap();
    first.wait(DEADLINE).unwrap();
    let now = now + Duration::from_secs(6);
    assert_eq!(read(now), [None, Some(second.pid())], "its sibling is not taken for its next life");
}

#[test]
fn the_agent_never_finds_itself() {
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert_ne!(find(own.trim()), Some(std::process::id()));
}

#[test]
fn a_restarted_process_is_found_again_but_not_searched_for_in_each_round() {
    let sleeper = Sleeper::new();
    let mut watched = Watched::new(&Target::Name(sleeper.name.clone()), &config());
    let mut now = Instant::now();
    let mut read = |forward: u64| {
        now += Duration::from_secs(forward);
        watched.read(now, 1).reading.map(|reading| reading.pid)
    };
    assert_eq!(read(0), None);
    let mut first = sleeper.spawn();
    wait_for("the process runs", DEADLINE, || find(&sleeper.name)).unwrap();
    assert_eq!(read(1), None, "searched a second ago");
    assert_eq!(read(5), Some(first.pid()));
    first.kill().unwrap();
    first.wait(DEADLINE).unwrap();
    let second = sleeper.spawn();
    wait_for("the next one runs", DEADLINE, || find(&sleeper.name)).unwrap();
    assert_eq!(read(6), Some(second.pid()));
}
