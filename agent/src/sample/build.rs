//! Which build a process is: one variable of its environment.
//!
//! Owns: finding the one that was asked for. Refuses: every other: environments hold passwords.
//! Invariant: what comes out is short, printable text, and the rest is forgotten at once.
//! Source: proc_pid_environ(5): the environment at the start, `NAME=value` with a NUL after each.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::kernel_file::Flaw;

/// The longest environment that is read.
const ENVIRONMENT_MAX: u64 = 1024 * 1024;
/// The longest name of a build.
const BUILD_MAX: usize = 128;

/// The value of the variable `name` of the process in this folder. `None`: it has none.
pub(super) fn of(process: &Path, name: &str) -> Result<Option<String>, Flaw> {
    let mut environment = Vec::new();
    let file = File::open(process.join("environ")).map_err(Flaw::of)?;
    file.take(ENVIRONMENT_MAX).read_to_end(&mut environment).map_err(Flaw::of)?;
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let printable = value.iter().all(|byte| byte.is_ascii_graphic());
    match std::str::from_utf8(value) {
        Ok(text) if printable && text.len() <= BUILD_MAX => Ok(Some(text.to_owned())),
        Ok(_) | Err(_) => Err(Flaw::Malformed("no short name of a build")),
    }
}
