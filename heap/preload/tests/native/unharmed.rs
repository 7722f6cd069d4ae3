//! Programs of every kind run under the library as they run without it.
//!
//! Invariant: output, errors and exit code are compared whole: the library says nothing and changes nothing.

use std::process::{Command, Output};

use stent_testkit::Process;

use crate::rig::{DEADLINE, Program, library, preloaded};

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let mut process = Process::spawn(command).expect("the program can be started");
    let status = process.wait(DEADLINE).expect("it ends by itself");
    (status.code(), process.output())
}

#[test]
fn every_way_to_get_memory_signals_threads_and_a_daemons_descriptors_are_as_in_the_manual() {
    let program = Program::compile("every_way.c", &["-O1", "-fno-builtin", "-w"]);
    assert_eq!(ended(&mut Command::new(program.path())), (Some(7), "whole\n".to_owned()));
    assert_eq!(ended(&mut preloaded(program.path())), (Some(7), "whole\n".to_owned()));
}

#[test]
fn shells_with_many_forks_python_and_node_say_and_end_as_they_do_without() {
    let forks = "i=0; while [ $i -lt 40 ]; do x=$(echo a; (true)); (exit 3); i=$((i+1)); done; echo $x; exit 5";
    let python = "import os, signal, threading\n\
        seen = []\nsignal.signal(signal.SIGUSR1, lambda *a: seen.append(1))\nos.kill(os.getpid(), signal.SIGUSR1)\n\
        t = threading.Thread(target=lambda: seen.append(2)); t.start(); t.join()\n\
        child = os.fork()\nif child == 0: os._exit(9)\n\
        print(seen, threading.active_count(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n\
        raise SystemExit(6)";
    let node = "process.on('SIGUSR2', () => { console.log('usr2'); process.exit(4); });\
        const w = new (require('worker_threads').Worker)('1', { eval: true });\
        w.on('exit', () => process.kill(process.pid, 'SIGUSR2')); setTimeout(() => {}, 80000);";
    for (program, words, expected) in [
        ("sh", ["-c", "true"], (Some(0), "")),
        ("sh", ["-c", forks], (Some(5), "a\n")),
        ("python3", ["-c", python], (Some(6), "[1, 2] 1 9\n")),
        ("node", ["-e", node], (Some(4), "usr2\n")),
    ] {
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(ended(Command::new(program).args(words)), expected, "{program} without");
        assert_eq!(ended(preloaded(program).args(words)), expected, "{program}");
    }
}

#[test]
fn a_program_ends_by_a_signal_that_it_does_not_handle() {
    let mut command = preloaded("sh");
    let Output { status, .. } =
        command.args(["-c", "kill -TERM $$"]).output().expect("sh is there");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}

#[test]
fn the_library_exports_memory_and_nothing_else() {
    let listed = Command::new("nm").args(["-D", "--defined-only"]).arg(library()).output();
    let listed = listed.expect("nm is there: it comes with the linker");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "_rjem_malloc_conf",
            "aligned_alloc",
            "calloc",
            "free",
            "free_aligned_sized",
            "free_sized",
            "malloc",
            "malloc_usable_size",
            "memalign",
            "posix_memalign",
            "pvalloc",
            "realloc",
            "reallocarray",
            "valloc",
        ]
    );
}
