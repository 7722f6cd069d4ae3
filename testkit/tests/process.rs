//! The process guard: output, deadlines, signals, and nobody left behind.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use stent_testkit::{Process, Signal, free_port, proc, wait_until, wait_until_async};

const SOON: Duration = Duration::from_secs(30);

fn shell(script: &str) -> Process {
    Process::spawn(Command::new("sh").args(["-c", script])).expect("a shell starts")
}

#[test]
fn a_line_of_either_stream_can_be_waited_for() {
    let mut process = shell("echo first; echo second >&2; exec sleep 60");
    assert_eq!(process.wait_for_line("fir", SOON).unwrap(), "first");
    assert_eq!(process.wait_for_line("sec", SOON).unwrap(), "second");
    assert_eq!(process.stdout(), "first\n");
    assert_eq!(process.stderr(), "second\n");
}

#[test]
fn a_child_that_ends_without_the_line_is_reported_with_its_output() {
    let mut process = shell("echo cannot find it >&2; exit 3");
    let text = format!("{:#}", process.wait_for_line("ready", SOON).unwrap_err());
    assert!(text.contains("cannot find it"), "{text}");
    assert!(text.contains("ended without"), "{text}");
    assert_eq!(process.wait(SOON).unwrap().code(), Some(3));
}

#[test]
fn much_output_neither_blocks_the_child_nor_fills_memory() {
    let mut process = shell("seq 1 60000; echo end");
    process.wait_for_line("end", SOON).unwrap();
    assert!(process.wait(SOON).unwrap().success());
    let kept = process.stdout().lines().count();
    assert!((10_000..=20_000).contains(&kept), "{kept} lines are kept");
}

#[test]
fn a_line_without_end_is_kept_in_pieces() {
    let mut process = shell("head -c 100000 /dev/zero | tr '\\0' x; echo; echo end");
    process.wait_for_line("end", SOON).unwrap();
    assert!(process.stdout().lines().all(|line| line.len() <= 16 * 1024));
}

#[test]
fn standard_input_is_given_on_request() {
    let mut process = Process::spawn_with_stdin(Command::new("cat").arg("-")).unwrap();
    let mut stdin = process.stdin().unwrap();
    writeln!(stdin, "hello").unwrap();
    process.wait_for_line("hello", SOON).unwrap();
    drop(stdin);
    assert!(process.wait(SOON).unwrap().success());
}

#[test]
fn a_signal_reaches_the_child() {
    let mut process = shell("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done");
    process.wait_for_line("up", SOON).unwrap();
    assert_eq!(process.terminate(SOON).unwrap().code(), Some(5));
    process.signal(Signal::TERM).unwrap();
}

#[test]
fn dropping_it_ends_descendants_even_in_other_groups() {
    // `set -m` gives each background job a group of its own.
    let mut process = shell("set -m; sh -c 'sleep 60; :' & echo up; wait");
    process.wait_for_line("up", SOON).unwrap();
    let parent = process.pid();
    wait_until("a grandchild", SOON, || proc::descendants(parent).len() == 2).unwrap();
    let below = proc::descendants(parent);
    drop(process);
    for pid in below {
        wait_until("its end", SOON, || !proc::is_alive(pid)).unwrap();
    }
    assert!(!proc::is_alive(parent));
}

#[test]
fn an_absent_program_is_an_error_with_its_name() {
    let error = Process::spawn(&mut Command::new("/no/such/program")).unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/program"));
}

#[test]
fn a_process_can_be_measured() {
    let start = |script: &str| {
        let mut command = Command::new("sh");
        let mut process = Process::spawn_with_stdin(command.args(["-c", script])).unwrap();
        process.wait_for_line("up", SOON).unwrap();
        process
    };
    let plain = start("echo up; read line");
    let opening = start("exec 8</dev/null 9</dev/null; echo up; read line");
    let memory = proc::memory(plain.pid()).unwrap();
    assert!(memory.anon > 0 && memory.resident() >= memory.anon, "{memory:?}");
    let count = |process: &Process| proc::descriptor_count(process.pid()).unwrap();
    assert_eq!(count(&opening), count(&plain) + 2);
    assert!(proc::children(std::process::id()).contains(&plain.pid()));
    assert_eq!(proc::command(plain.pid()).unwrap(), "sh");
}

#[test]
fn a_free_port_can_be_bound() {
    let port = free_port().unwrap();
    std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[test]
fn a_condition_that_never_holds_is_an_error_that_names_it() {
    let error = wait_until("the impossible", Duration::from_millis(30), || false).unwrap_err();
    assert!(error.to_string().contains("the impossible"), "{error}");
}

#[tokio::test]
async fn the_asynchronous_wait_lets_other_tasks_run() {
    let task = tokio::spawn(tokio::time::sleep(Duration::from_millis(30)));
    let ended = || std::future::ready(task.is_finished());
    wait_until_async("the task", SOON, ended).await.unwrap();
}
