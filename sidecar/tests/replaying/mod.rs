//! `stent replay` as the tests run it: a history in, events and what it says out.
//!
//! Owns: the process. Refuses: histories, which are the tests' own.
//! Invariant: the binary under test is the one of this build.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Judges a trace from standard input.
pub(crate) fn replay(trace: &str, options: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stent"))
        .args(["replay", "-"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A refused trace is not read to its end.
    let _ = child.stdin.take().expect("it is piped").write_all(trace.as_bytes());
    child.wait_with_output().expect("it ends")
}

pub(crate) fn events(output: &Output) -> Vec<serde_json::Value> {
    assert!(output.status.success(), "{output:?}");
    let text = std::str::from_utf8(&output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
}

pub(crate) fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("a message is UTF-8")
}
