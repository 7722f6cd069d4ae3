//! `stent run`: around a real command, without a database.

mod common;

use std::io::Write as _;

use common::running::{SOON, Stent, component, ended, find, kill, wait_until_gone};
use common::spawn;
use stent_testkit::{Process, Signal, proc, wait_for};

#[test]
fn the_exit_code_of_the_command_is_passed_on() {
    for code in [0, 37, 255] {
        let mut process = Stent::alone().run(&format!("exit {code}"));
        assert_eq!(ended(&mut process), Some(code), "{}", process.output());
    }
}

#[test]
fn a_command_that_a_signal_ended_gives_128_and_its_number() {
    let mut process = Stent::alone().run("kill -KILL $$");
    assert_eq!(ended(&mut process), Some(137), "{}", process.output());
}

#[test]
fn a_command_that_does_not_exist_gives_127_and_says_so() {
    let mut process = Stent::alone().start(&["run", "--", "/nonexistent/command"]);
    assert_eq!(ended(&mut process), Some(127));
    let message = "stent: run: cannot execute /nonexistent/command: No such file or directory";
    assert!(process.stderr().contains(message), "{}", process.stderr());
}

#[test]
fn a_command_that_cannot_be_executed_gives_126_and_says_so() {
    let mut process = Stent::alone().start(&["run", "--", "/etc/passwd"]);
    assert_eq!(ended(&mut process), Some(126));
    let message = "stent: run: cannot execute /etc/passwd: Permission denied";
    assert!(process.stderr().contains(message), "{}", process.stderr());
}

#[test]
fn arguments_and_standard_streams_are_the_commands() {
    let mut stent = Stent::alone();
    let script = "echo \"$0|$1|$2\"; cat; echo oops >&2";
    let arguments = ["run", "--", "sh", "-c", script, "a b", "--listen-port", "--"];
    let mut process = Process::spawn_with_stdin(stent.command.args(arguments)).expect("starts");
    process.stdin().expect("a pipe").write_all(b"from stdin\n").expect("written");
    assert_eq!(ended(&mut process), Some(0));
    assert_eq!(process.stdout(), "a b|--listen-port|--\nfrom stdin\n");
    assert!(process.stderr().lines().any(|line| line == "oops"));
}

#[test]
fn the_command_is_led_to_the_proxy_and_sees_none_of_our_variables() {
    let mut stent = Stent::new(
        "postgres://ann:p%40ss@db.internal:5433/orders?sslmode=prefer&schema=s&host=127.0.0.1",
    );
    stent.command.envs([
        ("STENT_READY_TIMEOUT", "0"),
        ("STENT_DATABASE_URL", "postgres://ann:p%40ss@127.0.0.1:1/orders?sslmode=allow&schema=s"),
        ("PGHOSTADDR", "10.0.0.1"),
        ("PGSERVICE", "direct"),
        ("PGSSLMODE", "prefer"),
        ("OTHER", "stays"),
    ]);
    let mut process = stent.run("env");
    assert_eq!(ended(&mut process), Some(0), "{}", process.output());
    let stdout = process.stdout();
    let mut lines: Vec<&str> = stdout
        .lines()
        .filter(|line| ["PG", "STENT", "DATABASE", "OTHER"].iter().any(|p| line.starts_with(p)))
        .collect();
    lines.sort_unstable();
    let port = &stent.listen_port;
    let url = format!("postgres://ann:p%40ss@127.0.0.1:{port}/orders?schema=s&sslmode=disable");
    let expected = [
        format!("DATABASE_URL={url}"),
        "OTHER=stays".to_owned(),
        "PGDATABASE=orders".to_owned(),
        "PGHOST=127.0.0.1".to_owned(),
        "PGPASSWORD=p@ss".to_owned(),
        format!("PGPORT={port}"),
        "PGSSLMODE=disable".to_owned(),
        "PGUSER=ann".to_owned(),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn signals_are_forwarded_to_the_command() {
    let script = "
        for name in INT HUP QUIT USR1 USR2 WINCH; do trap \"echo got $name\" $name; done
        trap 'echo got TERM; exit 5' TERM
        echo armed
        while :; do sleep 0.02; done";
    let mut process = Stent::alone().run(script);
    process.wait_for_line("armed", SOON).expect("armed");
    for (signal, name) in [
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
        (Signal::TERM, "TERM"),
    ] {
        process.signal(signal).expect("sent");
        process.wait_for_line(&format!("got {name}"), SOON).expect("forwarded");
    }
    assert_eq!(ended(&mut process), Some(5));
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_at_shutdown_timeout() {
    let mut stent = Stent::alone();
    stent.command.env("STENT_SHUTDOWN_TIMEOUT", "0.3");
    let mut process = stent.run("trap '' TERM; echo armed; while :; do sleep 0.02; done");
    process.wait_for_line("armed", SOON).expect("armed");
    process.signal(Signal::TERM).expect("sent");
    assert_eq!(ended(&mut process), Some(137), "{}", process.output());
}

#[test]
fn orphans_of_the_command_are_adopted_and_reaped() {
    // A double fork: the process in between ends, and its child is nobody's.
    let script = "sh -c 'sh -c \"read line < $0\" & echo orphan $!' \"$FIFO\"; echo rest; cat";
    let folder = stent_testkit::TempDir::new("orphan").expect("a folder");
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
    assert!(made.success());
    let mut stent = Stent::alone();
    stent.command.env("FIFO", &fifo).args(["run", "--", "sh", "-c", script]);
    let mut process = Process::spawn_with_stdin(&mut stent.command).expect("starts");
    let orphan: u32 = process
        .wait_for_match("the orphan's id", SOON, |line| line.strip_prefix("orphan ")?.parse().ok())
        .expect("an orphan");
    let adopted = || proc::children(process.pid()).contains(&orphan).then_some(());
    wait_for("its adoption", SOON, adopted).expect("stent is its parent");
    std::fs::write(&fifo, "end\n").expect("the orphan is told to end");
    let reaped = || (!std::path::Path::new(&format!("/proc/{orphan}")).exists()).then_some(());
    wait_for("no zombie of it is left", SOON, reaped).expect("it is reaped");
    // The statuses of our own were not taken with it.
    drop(process.stdin());
    assert_eq!(ended(&mut process), Some(0), "{}", process.output());
}

#[test]
fn many_orphans_at_once_cost_the_command_no_status() {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sh -c 'true & true & true &'; done; exit 9";
    for _ in 0..5 {
        let mut process = Stent::alone().run(script);
        assert_eq!(ended(&mut process), Some(9), "{}", process.output());
    }
}

#[test]
fn a_component_that_is_killed_comes_back_and_the_command_goes_on() {
    let mut process = Stent::alone().run("echo running; cat /dev/zero > /dev/null");
    process.wait_for_line("running", SOON).expect("running");
    let command = proc::children(process.pid());
    for name in ["agent", "proxy"] {
        let pid = component(process.pid(), name);
        kill(pid, Signal::KILL);
        let again = || find(process.pid(), name).filter(|new| *new != pid);
        wait_for("a new one", SOON, again).expect("it is started again");
    }
    assert!(process.status().is_none());
    assert!(proc::children(process.pid()).iter().any(|pid| command.contains(pid)));
}

#[test]
fn all_end_with_the_supervisor_even_if_it_is_killed() {
    let mut process = Stent::alone().run("echo running; exec sleep 1000");
    process.wait_for_line("running", SOON).expect("running");
    component(process.pid(), "agent");
    let children = proc::children(process.pid());
    assert_eq!(children.len(), 3, "proxy, agent and command");
    // The supervisor alone: the guard's own kill would take its descendants along.
    process.signal(Signal::KILL).expect("killed");
    wait_until_gone(&children);
}

#[test]
fn a_port_in_use_gives_3_and_the_command_is_not_started() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("its address").port();
    let mut stent = Stent::alone();
    stent.command.env("STENT_LISTEN_PORT", port.to_string()).env("STENT_READY_TIMEOUT", "30");
    let mut process = stent.run("echo started");
    assert_eq!(ended(&mut process), Some(3), "{}", process.output());
    assert!(!process.stdout().contains("started"));
    assert!(process.stderr().contains("Address already in use"), "{}", process.stderr());
}

#[test]
fn run_without_a_command_is_a_usage_error() {
    let mut process = spawn(common::stent().args(["run", "--listen-port", "1"]));
    assert_eq!(ended(&mut process), Some(2));
    assert!(process.stderr().contains("run: no command to run"), "{}", process.stderr());
}

#[test]
fn a_python_command_is_led_to_the_module_that_serves_its_heap_and_keeps_its_own_path() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../heap/python");
    let folder = folder.canonicalize().expect("it is there");
    let mut stent = Stent::alone();
    stent
        .command
        .env("STENT_HEAP_PYTHON", &folder)
        .env("STENT_HEAP", "on")
        .env("PYTHONPATH", "/its/own")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let script =
        "import sys, threading\nprint(sys.path[1:3], [t.name for t in threading.enumerate()])";
    let mut process = stent.start(&["run", "--", "python3", "-c", script]);
    assert_eq!(ended(&mut process), Some(0), "{}", process.output());
    let path = folder.display();
    let expected = format!("['{path}', '/its/own'] ['MainThread', 'stent-heap']\n");
    assert_eq!(process.stdout(), expected);
}

#[test]
fn the_native_library_comes_first_in_what_is_preloaded_into_the_command() {
    let folder = stent_testkit::TempDir::new("preload").expect("a folder");
    let library = |name: &str| {
        let file = folder.path().join(name);
        let mut compiler = std::process::Command::new("cc");
        let made = compiler.args(["-shared", "-x", "c", "/dev/null", "-o"]).arg(&file).status();
        assert!(made.expect("cc is there: Rust links with it").success());
        file.display().to_string()
    };
    let (ours, theirs) = (library("ours.so"), library("theirs.so"));
    let mut stent = Stent::alone();
    stent.command.env("STENT_HEAP_NATIVE", &ours).env("LD_PRELOAD", &theirs);
    let mut process = stent.run("echo \"$LD_PRELOAD\"");
    assert_eq!(ended(&mut process), Some(0), "{}", process.output());
    assert_eq!(process.stdout(), format!("{ours}:{theirs}\n"));
}
