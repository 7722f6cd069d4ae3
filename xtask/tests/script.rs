//! The script `./x` itself: its pages, its exit codes, and what the shell's linter says of it.
//!
//! Refuses: running its long commands; continuous integration does that by running `./x`.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use xtask::tree::root;

fn x(arguments: &[&str]) -> Output {
    let mut command = Command::new(root().join("x"));
    command.args(arguments).stdin(Stdio::null()).output().expect("./x can be started")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("./x ends by itself")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_every_command_and_succeeds() {
    let output = x(&["help"]);
    assert_eq!(code(&output), 0);
    let page = text(&output.stdout);
    for command in ["demo", "test", "check", "bench", "fuzz", "image", "help"] {
        assert!(page.contains(&format!("./x {command}")), "{command} is not on the page:\n{page}");
    }
}

#[test]
fn a_wrong_call_exits_with_2_and_prints_the_page_to_stderr() {
    for arguments in [&["nosuch"][..], &[], &["test", "--fast"], &["check", "twice"]] {
        let output = x(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(text(&output.stderr).contains("./x help"), "{arguments:?}");
    }
}

#[test]
fn it_runs_from_any_folder_and_in_any_locale() {
    let output = Command::new(root().join("x"))
        .arg("help")
        .current_dir(std::env::temp_dir())
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("CDPATH", "/")
        .output()
        .expect("./x can be started");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
}

#[test]
fn a_missing_tool_exits_with_3_and_says_the_one_line_to_run() {
    let output = Command::new("/bin/sh")
        .arg(root().join("x"))
        .arg("image")
        .env("PATH", folder_of_only_dirname())
        .output()
        .expect("a shell can be started");
    assert_eq!(code(&output), 3, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("Run: "), "{}", text(&output.stderr));
}

#[test]
fn the_shell_linter_is_content_with_every_script() {
    let output = Command::new("shellcheck").args(["x", ".ci/run"]).current_dir(root()).output();
    let output =
        output.expect("shellcheck is there: ./x test installs it, or apt-get install shellcheck");
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[test]
fn continuous_integration_runs_check_and_test_and_nothing_else() {
    let script = std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run is there");
    let steps: Vec<&str> = script.lines().filter(|line| line.starts_with("step ")).collect();
    assert_eq!(steps, ["step ./x check", "step ./x test"]);
}

/// A folder in which `dirname` is the only program: all that the script needs to find itself.
fn folder_of_only_dirname() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("only-dirname");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    let dirname = ["/usr/bin/dirname", "/bin/dirname"].into_iter().find(|p| Path::new(p).exists());
    let dirname = dirname.expect("dirname is in one of its two usual folders");
    std::os::unix::fs::symlink(dirname, folder.join("dirname")).expect("a link can be made");
    folder
}
