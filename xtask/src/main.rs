//! `cargo xtask`: the repository's own commands.
//!
//! Owns: their names and exit codes: 0 done, 1 a rule is broken or a write failed, 2 no such
//! command.

use std::process::ExitCode;

use anyhow::Result;
use xtask::rules::RULES;
use xtask::tree::{self, Tree};
use xtask::{finding, generated, lines};

const USAGE: &str = "\
cargo xtask gen      write the generated files (alarms, dashboards, reference pages)
cargo xtask lines    lines, tests and assertions of each crate
cargo xtask rules    check the repository's rules (the tests do the same)
";

fn main() -> Result<ExitCode> {
    let command = std::env::args().nth(1);
    match command.as_deref() {
        Some("gen") => generate(),
        Some("lines") => {
            print!("{}", lines::table(&lines::count(&Tree::read(&tree::root())?)));
            Ok(ExitCode::SUCCESS)
        }
        Some("rules") => check_rules(),
        Some(_) | None => {
            eprint!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

fn generate() -> Result<ExitCode> {
    let changed = generated::write(&tree::root())?;
    if changed.is_empty() {
        println!("everything generated is fresh");
    }
    for line in changed {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn check_rules() -> Result<ExitCode> {
    let tree = Tree::read(&tree::root())?;
    let findings: Vec<_> = RULES.iter().flat_map(|rule| (rule.check)(&tree)).collect();
    print!("{}", finding::report(&findings));
    println!("{} rules, {} findings", RULES.len(), findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
