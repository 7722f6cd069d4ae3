//! Finding a process by name, and finding it again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use stent_testkit::{Process, TempDir, wait_for};

use super::super::discover;
use super::super::skipped::Skips;
use super::super::target::Watched;
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
    discover::find(Path::new("/"), name, &mut Skips::default()).map(|process| process.pid())
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
