//! What the admin console can show.
//!
//! Owns: the list of SHOW commands. A new one is a line of [`SHOWS`] and a function that makes its
//! table.
//! Invariant: making a table changes nothing.

use std::sync::Arc;
use std::time::Instant;

use stent_wire::report::Report;

use super::command::{CHANGES, unknown, upper};
use super::table::{Table, text};
use super::{
    classes, config, connections, databases, ends, fleet, holders, lists, mem, pools, statements,
    stats, users,
};
use crate::broker::Broker;

/// What tables are made from.
pub(crate) struct View<'a> {
    pub(crate) broker: &'a Arc<Broker>,
    pub(crate) now: Instant,
}

/// A command.
pub(crate) struct Show {
    /// The word after SHOW.
    name: &'static str,
    /// What it shows, for SHOW HELP.
    about: &'static str,
    /// Makes the table.
    pub(crate) table: fn(&View<'_>) -> Table,
}

/// Every command.
const SHOWS: &[Show] = &[
    Show {
        name: "CLASSES",
        about: "with queue_classes, who waits in each class, and what it got",
        table: classes::table,
    },
    Show {
        name: "CLIENTS",
        about: "connections with clients: what each does, since when, and its server",
        table: connections::clients,
    },
    Show { name: "CONFIG", about: "the configuration in force, key by key", table: config::table },
    Show {
        name: "DATABASES",
        about: "servers, clients and limits of each database, and whether it is paused",
        table: databases::table,
    },
    Show {
        name: "DISCONNECTS",
        about: "connections that have ended, by side and cause",
        table: ends::table,
    },
    Show {
        name: "FLEET",
        about: "the proxies that share PostgreSQL's connections, with fleet_budget",
        table: fleet::table,
    },
    Show { name: "HELP", about: "this list", table: help },
    Show {
        name: "HOLDERS",
        about: "who has the servers, longest first, and the last statement",
        table: holders::table,
    },
    Show { name: "LISTS", about: "how many there are of everything", table: lists::table },
    Show { name: "MEM", about: "memory by what it is for, in bytes", table: mem::table },
    Show { name: "POOLS", about: "clients and servers of each pool", table: pools::table },
    Show {
        name: "SERVERS",
        about: "connections with PostgreSQL: what each does, since when, and for whom",
        table: connections::servers,
    },
    Show {
        name: "STATEMENTS",
        about: "the busiest unnamed statements that servers keep, with statement_cache = all",
        table: statements::table,
    },
    Show {
        name: "STATS",
        about: "what each database's pools have done: totals and averages of the last minutes",
        table: stats::stats,
    },
    Show { name: "STATS_AVERAGES", about: "the averages of SHOW STATS", table: stats::averages },
    Show { name: "STATS_TOTALS", about: "the totals of SHOW STATS", table: stats::totals },
    Show { name: "TOTALS", about: "SHOW STATS of all databases together", table: stats::all },
    Show { name: "USERS", about: "servers, clients and limits of each user", table: users::table },
    Show { name: "VERSION", about: "the version of Stent", table: version },
];

/// The table that words after SHOW mean.
pub(super) fn named(rest: &str) -> Result<&'static Show, Report> {
    let mut words = rest.split_ascii_whitespace();
    let (name, more) = (words.next().unwrap_or("HELP"), words.next());
    let show = SHOWS.iter().find(|show| show.name.eq_ignore_ascii_case(name));
    match (show, more) {
        (Some(show), None) => Ok(show),
        (Some(show), Some(_)) => Err(unknown(format!("SHOW {} takes nothing more", show.name))),
        (None, _) => Err(unknown(format!("there is no SHOW {}", upper(name)))),
    }
}

/// Their names.
pub(super) fn list() -> String {
    SHOWS.iter().map(|show| show.name).collect::<Vec<_>>().join(", ")
}

fn help(_: &View<'_>) -> Table {
    let mut table = Table::new(const { &[text("command"), text("shows")] });
    for show in SHOWS {
        table.push(vec![format!("SHOW {}", show.name).into(), show.about.into()]);
    }
    for (command, about) in CHANGES {
        table.push(vec![command.into(), about.into()]);
    }
    table
}

fn version(_: &View<'_>) -> Table {
    let mut table = Table::new(const { &[text("version")] });
    table.push(vec![concat!("Stent ", env!("CARGO_PKG_VERSION")).into()]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_in_any_case() {
        assert_eq!(named(" pools ").unwrap().name, "POOLS");
        assert_eq!(named("").unwrap().name, "HELP");
    }

    #[test]
    fn the_list_is_in_the_order_of_the_alphabet() {
        assert!(SHOWS.is_sorted_by_key(|show| show.name));
    }
}
