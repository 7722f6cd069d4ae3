//! The README's part: the few figures that a reader asks for first, between two marks.
//!
//! Pure.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::Raw;
use super::table::{both, get, proxy, tps};
use crate::figure::{Figures, Values};

/// The line before the part.
pub const BEGIN: &str = "<!-- figures: generated from bench/results/raw.json -->";
/// The line after it.
pub const END: &str = "<!-- end of figures -->";

/// A row: what, cell, case, value, digits, the endpoint that ratios are to.
type Row =
    (&'static str, &'static str, &'static str, fn(&Values) -> Option<f64>, usize, &'static str);

const ROWS: [Row; 14] = [
    ("proxy CPU a transaction, simple, 16 clients, us", "tps", "simple/16", proxy, 1, PEER),
    ("the same, extended", "tps", "extended/16", proxy, 1, PEER),
    ("the same, prepared", "tps", "prepared/16", proxy, 1, PEER),
    ("proxy and server CPU, extended, 16 clients, us", "tps", "extended/16", both, 1, PEER),
    ("transactions a second, extended, 16 clients", "tps", "extended/16", tps, 0, PEER),
    ("the same, 64 clients", "tps", "extended/64", tps, 0, PEER),
    ("p99 at 2,000 a second, us", "latency", "simple/16", |v| get(v, "p99_us"), 0, PEER),
    ("TLS: proxy CPU a transaction, simple, us", "tls", "simple/16", proxy, 1, PEER),
    ("streaming a select: proxy CPU a megabyte, us", "streaming", "select", proxy, 0, PEER),
    ("a connection under trust: proxy CPU, us", "connect", "trust", proxy, 0, PEER),
    ("a connection with SCRAM: proxy CPU, us", "connect", "SCRAM", proxy, 0, PEER),
    ("system calls a transaction, 1 client", "syscalls", "simple/1", |v| get(v, "calls"), 2, PEER),
    (
        "resident bytes an idle client, of 10,000",
        "memory",
        "10000",
        |v| get(v, "idle_bytes"),
        0,
        PEER,
    ),
    ("500 clients, 20 servers: longest wait, ms", "storm", "20 ms queries", longest, 0, PEER),
];
const PEER: &str = "pgbouncer";
const COLUMNS: [&str; 6] = ["direct", "stent", "stent-all", PEER, "pgbouncer-64k", "pg_doorman"];

fn longest(values: &Values) -> Option<f64> {
    get(values, "longest_ms")
}

/// The part, without the marks.
pub(super) fn summary(raw: &Raw) -> String {
    let figures = Figures(&raw.figures);
    let columns: Vec<&str> = COLUMNS
        .into_iter()
        .filter(|name| raw.figures.iter().any(|figure| figure.endpoint == *name))
        .collect();
    let mut text =
        format!("| | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for (what, cell, case, of, digits, to) in ROWS {
        let cells: Vec<String> = columns
            .iter()
            .map(|name| match figures.median((cell, case), name, of) {
                None => "-".to_owned(),
                Some(value) => match figures.ratio((cell, case), (name, to), of) {
                    Some(ratio) if *name != to => format!("{value:.digits$} ({ratio:.2})"),
                    Some(_) | None => format!("{value:.digits$}"),
                },
            })
            .collect();
        if cells.iter().any(|cell| cell != "-") {
            let _ = writeln!(text, "| {what} | {} |", cells.join(" | "));
        }
    }
    let _ = writeln!(text, "\nIn brackets: the ratio to {PEER}. Made by `{}`.", raw.command);
    text
}

/// A README with another part between its marks.
pub fn spliced(readme: &str, part: &str) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("the README has no mark for figures")?;
    let (_, after) = rest.split_once(END).context("the README has no mark after its figures")?;
    Ok(format!("{before}{BEGIN}\n{part}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_is_put_between_the_marks_and_nothing_else_changes() {
        let readme = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = spliced(&readme, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(spliced(&new, "new\n").unwrap(), new);
        assert!(spliced("no marks", "new\n").is_err());
    }
}
