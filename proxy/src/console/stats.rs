//! `SHOW STATS` and its parts `STATS_TOTALS`, `STATS_AVERAGES` and `TOTALS`, with PgBouncer's columns.
//!
//! A row is a database; of the poolers that share it only this one is told. Times are microseconds.
//! Averages are of the last one to two minutes. The time of a server counts when its client gives it back.
//! Source: PgBouncer, doc/usage.md ("SHOW STATS") and src/stats.c.

use std::collections::BTreeMap;
use std::time::Duration;

use super::show::View;
use super::table::{Column, Table, Value, text, whole};
use crate::totals::{Figure, Totals};

const STATS: &[Column] = &[
    text("database"),
    whole("total_server_assignment_count"),
    whole("total_xact_count"),
    whole("total_query_count"),
    whole("total_received"),
    whole("total_sent"),
    whole("total_xact_time"),
    whole("total_query_time"),
    whole("total_wait_time"),
    whole("total_client_parse_count"),
    whole("total_server_parse_count"),
    whole("total_bind_count"),
    whole("total_client_login_count"),
    whole("avg_server_assignment_count"),
    whole("avg_xact_count"),
    whole("avg_query_count"),
    whole("avg_recv"),
    whole("avg_sent"),
    whole("avg_xact_time"),
    whole("avg_query_time"),
    whole("avg_wait_time"),
    whole("avg_client_parse_count"),
    whole("avg_server_parse_count"),
    whole("avg_bind_count"),
    whole("avg_client_login_count"),
];
const TOTALS: &[Column] = &[
    text("database"),
    whole("server_assignment_count"),
    whole("xact_count"),
    whole("query_count"),
    whole("bytes_received"),
    whole("bytes_sent"),
    whole("xact_time"),
    whole("query_time"),
    whole("wait_time"),
    whole("client_parse_count"),
    whole("server_parse_count"),
    whole("bind_count"),
    whole("client_login_count"),
];
const AVERAGES: &[Column] = &[
    text("database"),
    whole("server_assignment_count"),
    whole("xact_count"),
    whole("query_count"),
    whole("bytes_received"),
    whole("bytes_sent"),
    whole("xact_time"),
    whole("query_time"),
    whole("wait_time"),
    whole("avg_client_parse_count"),
    whole("avg_server_parse_count"),
    whole("avg_bind_count"),
    whole("client_login_count"),
];
/// The figures in SHOW TOTALS, in their order.
const NAMES: [&str; Figure::ALL.len()] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
    "client_login_count",
];

/// Totals since the start, what of them is of late, and how long that is.
#[derive(Clone, Copy, Default)]
struct Sums {
    totals: Totals,
    lately: Totals,
    over: Duration,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.totals = self.totals + other.totals;
        self.lately = self.lately + other.lately;
        self.over = other.over;
    }

    fn averages(self) -> Totals {
        self.lately.average(self.over)
    }
}

/// `SHOW STATS`.
pub(super) fn stats(view: &View<'_>) -> Table {
    by_database(view, STATS, |sums| [figures(sums.totals), figures(sums.averages())].concat())
}

/// `SHOW STATS_TOTALS`.
pub(super) fn totals(view: &View<'_>) -> Table {
    by_database(view, TOTALS, |sums| figures(sums.totals))
}

/// `SHOW STATS_AVERAGES`.
pub(super) fn averages(view: &View<'_>) -> Table {
    by_database(view, AVERAGES, |sums| figures(sums.averages()))
}

/// `SHOW TOTALS`: all databases together.
pub(super) fn all(view: &View<'_>) -> Table {
    let mut sums = Sums::default();
    sums_of(view).into_values().for_each(|of_one| sums.add(of_one));
    let mut table = Table::new(const { &[text("name"), whole("value")] });
    for (prefix, totals) in [("total_", sums.totals), ("avg_", sums.averages())] {
        for (figure, name) in Figure::ALL.into_iter().zip(NAMES) {
            table.push(vec![format!("{prefix}{name}").into(), totals.get(figure).into()]);
        }
    }
    table
}

fn by_database(
    view: &View<'_>,
    columns: &'static [Column],
    values: impl Fn(Sums) -> Vec<Value>,
) -> Table {
    let mut table = Table::new(columns);
    for (database, sums) in sums_of(view) {
        let mut row = vec![Value::from(database)];
        row.extend(values(sums));
        table.push(row);
    }
    table
}

fn figures(totals: Totals) -> Vec<Value> {
    Figure::ALL.map(|figure| totals.get(figure).into()).to_vec()
}

fn sums_of(view: &View<'_>) -> BTreeMap<String, Sums> {
    let inner = view.broker.inner();
    let mut databases = BTreeMap::<String, Sums>::new();
    for (pool, database, _) in inner.pools.pools() {
        let entry = &inner.entries[pool.index()];
        let totals = Totals::of(entry, &inner.pools.census(pool, view.now));
        let (lately, over) = inner.periods.lately(pool.index(), totals, view.now);
        databases.entry(database.to_owned()).or_default().add(Sums { totals, lately, over });
    }
    databases
}
