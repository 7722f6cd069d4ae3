//! The limits that Stent has set itself, and how far it is from each.
//!
//! Pure. Refuses: being silent about one that is not kept, or that this run did not measure.

use std::fmt::Write as _;

use super::table::{both, get, proxy, tps};
use crate::cells::workers;
use crate::figure::{Figures, Values};

/// A limit.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What is limited.
    pub what: String,
    /// The limit.
    pub limit: f64,
    /// Which side of it is good.
    pub kept: Kept,
    /// What was measured, worst first: value and where.
    pub measured: Option<(f64, String)>,
}

/// Which side of a limit is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// At the limit or below.
    AtMost,
    /// At the limit or above.
    AtLeast,
}

impl Limit {
    /// Whether it is kept; `None` if it was not measured.
    pub fn is_kept(&self) -> Option<bool> {
        self.measured.as_ref().map(|(value, _)| match self.kept {
            Kept::AtMost => *value <= self.limit,
            Kept::AtLeast => *value >= self.limit,
        })
    }
}

const PEER: &str = "pgbouncer";
const OWN: &str = "stent";
const CACHE: &str = "stent-all";
const WIDE: &str = "pgbouncer-64k";
const DIRECT: &str = "direct";
const DOORMAN: &str = "pg_doorman";
/// Bytes of an idle client.
const IDLE_BYTES: f64 = 1_536.0;
const SINGLE: [&str; 3] = ["simple/1", "extended/1", "prepared/1"];
const EXTENDED: [&str; 3] = ["extended/1", "extended/16", "extended/64"];
const CONNECTS: [&str; 2] = ["trust", "SCRAM"];
const STREAMS: [&str; 3] = ["select", "copy out", "copy in"];

/// All of them.
pub fn limits(figures: Figures<'_>) -> Vec<Limit> {
    let mut all = of_a_transaction(figures);
    all.extend(of_the_rest(figures));
    all.extend(of_the_cache(figures));
    all.extend(of_workers(figures));
    all
}

/// What a second worker adds, where it has a core for itself, and what it costs.
fn of_workers(figures: Figures<'_>) -> [Limit; 2] {
    let ratio = |[one, two]: [&str; 2], of: fn(&Values) -> Option<f64>| {
        let ratio = figures.ratio_of_cases(workers::CELL, (two, one), OWN, of)?;
        Some((ratio, two.to_owned()))
    };
    let of_one = "of two workers, ratio to one";
    [
        at_least(&format!("transactions a second {of_one}"), 1.7, ratio(workers::SLOW, tps)),
        at_most(&format!("CPU a transaction {of_one}"), 1.1, ratio(workers::SLOW, proxy)),
    ]
}

fn of_a_transaction(figures: Figures<'_>) -> Vec<Limit> {
    let calls = |values: &Values| get(values, "calls");
    let p99 = |values: &Values| get(values, "p99_us");
    let own = (OWN, PEER);
    vec![
        at_most(
            "system calls a transaction at 1 client, ratio to PgBouncer",
            1.05,
            highest(figures, "syscalls", &SINGLE, own, calls),
        ),
        at_most(
            "proxy CPU a transaction, ratio to PgBouncer, worst cell",
            1.0,
            highest(figures, "tps", &figures.cases("tps"), own, proxy),
        ),
        at_most("the same, geometric mean", 0.92, geometric_mean(figures, own)),
        at_most(
            "p99 at 2,000 a second, ratio to PgBouncer",
            1.0,
            highest(figures, "latency", &figures.cases("latency"), own, p99),
        ),
        at_most(
            "TLS CPU a transaction, ratio to PgBouncer",
            1.0,
            highest(figures, "tls", &figures.cases("tls"), own, proxy),
        ),
    ]
}

fn of_the_rest(figures: Figures<'_>) -> Vec<Limit> {
    vec![
        at_most(
            "streaming CPU a megabyte, ratio to PgBouncer with pkt_buf 64 KiB",
            0.9,
            highest(figures, "streaming", &STREAMS, (OWN, WIDE), proxy),
        ),
        at_most(
            "CPU a connection, trust and SCRAM, ratio to PgBouncer",
            1.0,
            highest(figures, "connect", &CONNECTS, (OWN, PEER), proxy),
        ),
        at_most("resident bytes an idle client", IDLE_BYTES, idle(figures)),
    ]
}

/// Of a statement that costs little to plan, and of one that costs more to plan than to run.
fn of_the_cache(figures: Figures<'_>) -> Vec<Limit> {
    let shapes = [
        ("tps", "statement_cache = all, one row by its key"),
        ("join", "statement_cache = all, a join of three tables"),
    ];
    shapes.into_iter().flat_map(|(cell, name)| of_the_cache_by_shape(figures, cell, name)).collect()
}

fn of_the_cache_by_shape(figures: Figures<'_>, cell: &str, name: &str) -> Vec<Limit> {
    let (all, busy) = (&EXTENDED, &["extended/16"]);
    let cpu = format!("{name}: CPU of proxy and server an extended transaction");
    let throughput = format!("{name}: transactions a second at 16 clients");
    let to = |what: &str, other: &str| format!("{what}, ratio to {other}");
    vec![
        at_most(&to(&cpu, "PgBouncer"), 0.6, highest(figures, cell, all, (CACHE, PEER), both)),
        at_most(&to(&cpu, "pg_doorman"), 1.0, highest(figures, cell, all, (CACHE, DOORMAN), both)),
        at_least(
            &to(&throughput, "a direct connection"),
            1.0,
            lowest(figures, cell, busy, (CACHE, DIRECT), tps),
        ),
        at_least(
            &to(&throughput, "pg_doorman"),
            1.0,
            lowest(figures, cell, busy, (CACHE, DOORMAN), tps),
        ),
    ]
}

fn at_most(what: &str, limit: f64, measured: Option<(f64, String)>) -> Limit {
    Limit { what: what.to_owned(), limit, kept: Kept::AtMost, measured }
}

fn at_least(what: &str, limit: f64, measured: Option<(f64, String)>) -> Limit {
    Limit { what: what.to_owned(), limit, kept: Kept::AtLeast, measured }
}

/// The table of them, as a section.
pub(super) fn section(figures: Figures<'_>) -> String {
    let mut text = String::from(
        "\n## Limits\n\n| | limit | measured | where | kept |\n|---|---|---|---|---|\n",
    );
    for limit in limits(figures) {
        let sign = match limit.kept {
            Kept::AtMost => "at most",
            Kept::AtLeast => "at least",
        };
        let digits = if limit.limit > 10.0 { 0 } else { 2 };
        let (value, place) = match &limit.measured {
            Some((value, place)) => (format!("{value:.digits$}"), place.as_str()),
            None => ("not measured".to_owned(), ""),
        };
        let kept = match limit.is_kept() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "-",
        };
        let Limit { what, limit, .. } = &limit;
        let _ = writeln!(text, "| {what} | {sign} {limit:.digits$} | {value} | {place} | {kept} |");
    }
    text
}

/// The highest of the ratios of some cases, and its case.
fn highest(
    figures: Figures<'_>,
    cell: &str,
    cases: &[&str],
    pair: (&str, &str),
    of: impl Fn(&Values) -> Option<f64> + Copy,
) -> Option<(f64, String)> {
    ratios(figures, cell, cases, pair, of).into_iter().max_by(|a, b| a.0.total_cmp(&b.0))
}

/// The lowest of them.
fn lowest(
    figures: Figures<'_>,
    cell: &str,
    cases: &[&str],
    pair: (&str, &str),
    of: impl Fn(&Values) -> Option<f64> + Copy,
) -> Option<(f64, String)> {
    ratios(figures, cell, cases, pair, of).into_iter().min_by(|a, b| a.0.total_cmp(&b.0))
}

fn ratios(
    figures: Figures<'_>,
    cell: &str,
    cases: &[&str],
    pair: (&str, &str),
    of: impl Fn(&Values) -> Option<f64> + Copy,
) -> Vec<(f64, String)> {
    let with_case =
        |case: &&str| Some((figures.ratio((cell, case), pair, of)?, (*case).to_owned()));
    cases.iter().filter_map(with_case).collect()
}

fn geometric_mean(figures: Figures<'_>, pair: (&str, &str)) -> Option<(f64, String)> {
    let cases = figures.cases("tps");
    let logs: Vec<f64> = cases
        .iter()
        .filter_map(|case| figures.ratio(("tps", case), pair, proxy))
        .map(f64::ln)
        .collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    (!logs.is_empty()).then(|| (mean.exp(), format!("{} cells", logs.len())))
}

/// The most of an idle client of ours, without TLS, at any time of its life.
fn idle(figures: Figures<'_>) -> Option<(f64, String)> {
    let stages = ["idle_bytes", "after_query_bytes", "after_result_bytes"];
    let cases = figures.cases("memory").into_iter().filter(|case| !case.starts_with("TLS"));
    cases
        .flat_map(|case| stages.map(|stage| (case, stage)))
        .filter_map(|(case, stage)| {
            let bytes = figures.median(("memory", case), OWN, |values| get(values, stage))?;
            let stage = stage.trim_end_matches("_bytes").replace('_', " ");
            Some((bytes, format!("{case} clients, {stage}")))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Figure, values};

    fn figure(case: &str, endpoint: &str, proxy_us: f64) -> Figure {
        Figure {
            cell: "tps".to_owned(),
            case: case.to_owned(),
            endpoint: endpoint.to_owned(),
            round: 1,
            others: 0.0,
            values: values([("proxy_us", proxy_us), ("server_us", 50.0), ("tps", 9.0)]),
        }
    }

    fn limit(figures: &[Figure], what: &str) -> Limit {
        limits(Figures(figures)).into_iter().find(|limit| limit.what.starts_with(what)).unwrap()
    }

    #[test]
    fn the_worst_cell_decides() {
        let figures = [
            figure("simple/1", OWN, 9.0),
            figure("simple/1", PEER, 10.0),
            figure("simple/16", OWN, 12.0),
            figure("simple/16", PEER, 10.0),
        ];
        let worst = limit(&figures, "proxy CPU a transaction");
        assert_eq!(worst.measured, Some((1.2, "simple/16".to_owned())));
        assert_eq!(worst.is_kept(), Some(false));
        let (mean, _) = limit(&figures, "the same, geometric mean").measured.unwrap();
        assert!((mean - (0.9_f64 * 1.2).sqrt()).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn what_was_not_measured_is_neither_kept_nor_broken() {
        let figures = [figure("simple/1", OWN, 9.0)];
        assert!(limits(Figures(&figures)).iter().all(|limit| limit.is_kept().is_none()));
        assert!(section(Figures(&figures)).contains("| not measured |  | - |"));
    }

    #[test]
    fn of_a_throughput_the_lowest_counts() {
        let own = [figure("extended/16", CACHE, 9.0), figure("extended/16", "direct", 0.0)];
        let least = limit(&own, "statement_cache = all, one row by its key: transactions");
        assert_eq!(least.measured, Some((1.0, "extended/16".to_owned())));
        assert_eq!(least.is_kept(), Some(true));
    }
}
