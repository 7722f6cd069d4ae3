//! The fault matrix: what clients see of a fault of the database, behind each endpoint.
//!
//! Owns: the turns (round, row, endpoint), the load, the figures. Refuses: judging; the report does.
//! Invariant: every cell has a fresh endpoint, a fresh bank and the same load; the bank is audited
//! after each.

pub mod bank;
pub mod bystanders;
mod cell;
pub mod client;
pub mod gauge;
mod names;
mod network;
mod night;
mod place;
pub mod row;
pub mod worker;

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::endpoint::Kind;
use crate::figure::Figure;
use crate::lab::Lab;
use row::Row;

/// The kind of cell in raw figures.
pub const CELL: &str = "faults";

/// Clients that move money.
pub const WORKERS: usize = 24;

/// Endpoints that are measured unless others are asked for.
pub const USUAL: [Kind; 4] = [Kind::Direct, Kind::Stent, Kind::PgBouncer, Kind::PgDoorman];

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rows.
    pub rows: Vec<Row>,
    /// Endpoints that are here.
    pub kinds: Vec<Kind>,
    /// How often.
    pub rounds: u32,
}

impl Plan {
    /// From options: names with commas between them, empty for all.
    pub fn of(rows: &str, endpoints: &str, rounds: u32, lab: &Lab) -> Result<Self> {
        let names = |text: &str| -> Vec<String> {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        let rows: Result<Vec<Row>> = names(rows)
            .iter()
            .map(|name| {
                let known = Row::ALL.map(Row::option);
                Row::named(name).with_context(|| format!("no row {name}: there are {known:?}"))
            })
            .collect();
        let mut rows = rows?;
        if rows.is_empty() {
            rows = Row::ALL.to_vec();
        }
        let asked: Result<Vec<Kind>> = names(endpoints)
            .iter()
            .map(|name| Kind::named(name).with_context(|| format!("no endpoint {name}")))
            .collect();
        let mut kinds = asked?;
        if kinds.is_empty() {
            for kind in USUAL {
                if kind.version(lab)?.is_some() {
                    kinds.push(kind);
                }
            }
        }
        Ok(Self { rows, kinds, rounds })
    }

    /// Versions of endpoints, by name.
    pub fn versions(kinds: &[Kind], lab: &Lab) -> Result<BTreeMap<String, String>> {
        let mut versions = BTreeMap::new();
        for kind in kinds {
            let version = kind.version(lab)?;
            let version = version.with_context(|| format!("{} is not here", kind.name()))?;
            versions.insert(kind.name().to_owned(), version);
        }
        Ok(versions)
    }
}

/// A run so far.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// A figure a cell.
    pub figures: Vec<Figure>,
    /// Settings of the endpoints.
    pub settings: BTreeMap<String, Vec<String>>,
}

/// Plays every row at every endpoint, round by round; `kept` is called after each cell.
pub fn run(lab: &mut Lab, plan: &Plan, mut kept: impl FnMut(&Done) -> Result<()>) -> Result<Done> {
    let mut done = Done::default();
    for round in 1..=plan.rounds {
        for row in &plan.rows {
            for kind in plan.kinds.iter().filter(|kind| row.suits(**kind)) {
                eprintln!("faults: {} at {} ({round})", row.name(), kind.name());
                let (values, settings) = cell::play(lab, *row, *kind)
                    .with_context(|| format!("{} at {}", row.name(), kind.name()))?;
                done.settings.entry(kind.name().to_owned()).or_insert(settings);
                done.figures.push(Figure {
                    cell: CELL.to_owned(),
                    case: row.name().to_owned(),
                    endpoint: kind.name().to_owned(),
                    round,
                    others: 0.0,
                    values,
                });
                kept(&done)?;
            }
        }
    }
    Ok(done)
}
