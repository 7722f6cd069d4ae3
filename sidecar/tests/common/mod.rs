//! What several tests of this crate need.
//!
//! Invariant: nothing here reads the environment of the test process into a configuration.

// Each test binary uses its own part of this module.
#![allow(dead_code, reason = "shared by several test binaries")]

pub(crate) mod http;
pub(crate) mod running;

use std::ffi::OsString;
use std::process::Command;

use expect_test::Expect;
use stent::config::flags::Flags;
use stent::config::problem::Problems;
use stent::config::raw::{ConfigFile, Variables};
use stent::config::{Loaded, Role, load_with};
use stent_testkit::{Process, free_port};

/// A database URL that names everything.
pub(crate) const URL: &str = "postgres://ann:canary-5d1f@db.internal:5433/orders";

/// What a configuration is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written<'a> {
    pub(crate) file: &'a str,
    pub(crate) variables: &'a [(&'a str, &'a str)],
    pub(crate) flags: &'a [&'a str],
}

impl Written<'_> {
    /// Resolves it for `stent up`, with [`URL`] as `DATABASE_URL` unless there is another.
    pub(crate) fn load(&self) -> Result<Loaded, Problems> {
        self.load_as(Role::Both)
    }

    pub(crate) fn load_as(&self, role: Role) -> Result<Loaded, Problems> {
        self.load_from(role, &[("DATABASE_URL", URL)])
    }

    /// Resolves it with no database but what is written.
    pub(crate) fn load_bare(&self) -> Result<Loaded, Problems> {
        self.load_from(Role::Both, &[])
    }

    fn load_from(&self, role: Role, base: &[(&str, &str)]) -> Result<Loaded, Problems> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), OsString::from(value));
        let variables: Variables = base.iter().chain(self.variables).map(pair).collect();
        let file = ConfigFile { path: "stent.toml".to_owned(), text: self.file.into() };
        let flags = Flags::parse(self.flags.iter().map(|flag| (*flag).to_owned()));
        load_with(role, &flags, &variables, Some(&file), Problems::default())
    }

    /// The problems, as they are printed.
    pub(crate) fn problems(&self) -> String {
        self.load().expect_err("this configuration is refused").to_string()
    }
}

/// Asserts what is said of a file.
#[track_caller]
pub(crate) fn file(text: &str, expected: Expect) {
    expected.assert_eq(&Written { file: text, ..Written::default() }.problems());
}

/// Asserts what is said of a variable.
#[track_caller]
pub(crate) fn variable(name: &str, value: &str, expected: Expect) {
    let written = Written { variables: &[(name, value)], ..Written::default() };
    expected.assert_eq(&written.problems());
}

/// Asserts what is said of flags.
#[track_caller]
pub(crate) fn flags(flags: &[&str], expected: Expect) {
    expected.assert_eq(&Written { flags, ..Written::default() }.problems());
}

/// The real binary, with none of the variables that would configure it.
pub(crate) fn stent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stent"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("STENT_") || text.starts_with("PG") || text == "DATABASE_URL" {
            command.env_remove(&name);
        }
    }
    command.env("STENT_CONFIG", "");
    command
}

/// A free port, as text.
pub(crate) fn port() -> String {
    free_port().expect("a free port").to_string()
}

/// Starts a command whose output is read.
pub(crate) fn spawn(command: &mut Command) -> Process {
    Process::spawn(command).expect("the binary starts")
}
