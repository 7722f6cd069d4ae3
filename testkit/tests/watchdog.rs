//! What happens to a PostgreSQL, a child and a folder when the process that owns them is killed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use stent_testkit::{Process, Signal, TempDir, proc, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// A program that holds a PostgreSQL: its guard, the server's process id, the server's folder.
fn holder() -> (Process, u32, PathBuf) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stent-test-postgres"));
    let mut holder = Process::spawn_with_stdin(&mut command).expect("the holder starts");
    let mut word = |key: &str| {
        holder
            .wait_for_match(key, SOON, |line| line.strip_prefix(key).map(str::to_owned))
            .expect("said")
    };
    let pid = word("pid ").parse().expect("a process id");
    let folder = PathBuf::from(word("folder "));
    assert!(proc::is_alive(pid) && folder.is_dir());
    (holder, pid, folder)
}

/// A program outside of every build folder has no template to copy, and makes its own cluster.
#[test]
fn a_holder_that_lies_in_no_build_folder_starts_postgresql_too() {
    let folder = TempDir::new("away").unwrap();
    let program = folder.path().join("holder");
    std::fs::copy(env!("CARGO_BIN_EXE_stent-test-postgres"), &program).unwrap();
    let mut holder = Process::spawn_with_stdin(&mut Command::new(&program)).unwrap();
    let mut word = |key: &str| {
        let line = |line: &str| line.strip_prefix(key).map(str::to_owned);
        holder.wait_for_match(key, SOON, line).unwrap()
    };
    let pid: u32 = word("pid ").parse().unwrap();
    let data = PathBuf::from(word("folder "));
    assert!(proc::is_alive(pid));
    holder.signal(Signal::KILL).unwrap();
    holder.wait(SOON).unwrap();
    expect_nothing_left(pid, &data);
}

fn expect_nothing_left(pid: u32, folder: &std::path::Path) {
    wait_until("the end of PostgreSQL", SOON, || !proc::is_alive(pid)).expect("it goes");
    wait_until("the end of its folder", SOON, || !folder.exists()).expect("it goes");
    let text = folder.to_str().expect("a plain name");
    wait_until("the end of the watchdog", SOON, || proc::with_command_line(text).is_empty())
        .expect("it ends");
}

#[test]
fn a_sigkill_of_the_owner_takes_postgresql_and_its_folder_away() {
    let (mut holder, pid, folder) = holder();
    holder.signal(Signal::KILL).unwrap();
    holder.wait(SOON).unwrap();
    expect_nothing_left(pid, &folder);
}

#[test]
fn a_ctrl_c_at_the_owner_takes_postgresql_and_its_folder_away() {
    let (mut holder, pid, folder) = holder();
    holder.signal(Signal::INT).unwrap();
    holder.wait(SOON).unwrap();
    expect_nothing_left(pid, &folder);
}

#[test]
fn a_paused_postgresql_goes_with_its_owner_too() {
    let (mut holder, pid, folder) = holder();
    let raw = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(raw, Signal::STOP).unwrap();
    holder.signal(Signal::KILL).unwrap();
    holder.wait(SOON).unwrap();
    expect_nothing_left(pid, &folder);
}

#[test]
fn the_end_of_its_input_ends_the_holder_and_everything_it_held() {
    let (mut holder, pid, folder) = holder();
    drop(holder.stdin());
    assert!(holder.wait(SOON).unwrap().success());
    assert!(!proc::is_alive(pid));
    assert!(!folder.exists());
}

#[test]
fn a_temporary_folder_goes_with_its_guard_and_its_contents() {
    let folder = TempDir::new("test").unwrap();
    let path = folder.path().to_owned();
    std::fs::create_dir(path.join("inner")).unwrap();
    std::fs::write(path.join("inner/file"), "x").unwrap();
    drop(folder);
    assert!(!path.exists());
}
