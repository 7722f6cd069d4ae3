//! What is to be measured: kinds of cells, cases, endpoints, rounds.
//!
//! Pure. Refuses: names that nothing has.

use anyhow::{Context, Result, ensure};

use crate::endpoint::Kind;

/// The kinds of cells, in the order in which they are measured.
pub const CELLS: [&str; 10] = [
    "tps",
    "join",
    "latency",
    "tls",
    "streaming",
    "connect",
    "syscalls",
    "memory",
    "storm",
    "workers",
];

/// The three protocols, as pgbench names them.
pub const PROTOCOLS: [&str; 3] = ["simple", "extended", "prepared"];

/// What is measured unless something else is asked for.
const USUAL: [Kind; 6] = [
    Kind::Direct,
    Kind::Stent,
    Kind::StentAll,
    Kind::PgBouncer,
    Kind::PgBouncer64k,
    Kind::PgDoorman,
];

/// A plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Kinds of cells.
    pub cells: Vec<String>,
    /// A case must begin with one of these; any if there are none.
    pub only: Vec<String>,
    /// Endpoints that are measured, if they are here.
    pub kinds: Vec<Kind>,
    /// Whether these were asked for: one that is not here is an error then.
    pub asked: Asked,
    /// Rounds of what is measured in rounds.
    pub rounds: u32,
    /// Seconds of a measurement of throughput; others are derived.
    pub seconds: f64,
    /// How often a disturbed measurement is repeated.
    pub retries: u32,
    /// Numbers of idle clients.
    pub idle: Vec<u32>,
}

/// Who chose the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nobody.
    Usual,
    /// The one who gave the options.
    ByName,
}

impl Plan {
    /// From options: names with commas between them, empty for all.
    pub fn of(cells: &str, only: &str, endpoints: &str) -> Result<Self> {
        let list = |text: &str| -> Vec<String> {
            text.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let mut cells = list(cells);
        for cell in &cells {
            ensure!(CELLS.contains(&cell.as_str()), "no cell {cell}: there are {CELLS:?}");
        }
        if cells.is_empty() {
            cells = CELLS.map(str::to_owned).to_vec();
        }
        let named: Result<Vec<Kind>> = list(endpoints)
            .iter()
            .map(|name| {
                let names = Kind::ALL.map(Kind::name);
                Kind::named(name)
                    .with_context(|| format!("no endpoint {name}: there are {names:?}"))
            })
            .collect();
        let mut kinds = named?;
        let asked = if kinds.is_empty() { Asked::Usual } else { Asked::ByName };
        if kinds.is_empty() {
            kinds = USUAL.to_vec();
        }
        Ok(Self {
            cells,
            only: list(only),
            kinds,
            asked,
            rounds: 3,
            seconds: 3.0,
            retries: 2,
            idle: vec![1_000, 5_000, 10_000],
        })
    }

    /// Whether a kind of cell is measured.
    pub fn has(&self, cell: &str) -> bool {
        self.cells.iter().any(|known| known == cell)
    }

    /// Whether a case is.
    pub fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| case.starts_with(only.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_options_everything_usual_is_measured() {
        let plan = Plan::of("", "", "").unwrap();
        assert_eq!(plan.cells, CELLS);
        assert_eq!((plan.kinds.len(), plan.asked), (USUAL.len(), Asked::Usual));
        assert!(plan.has("storm") && plan.wants("simple/16"));
    }

    #[test]
    fn a_name_that_nothing_has_is_refused() {
        assert!(Plan::of("tsp", "", "").unwrap_err().to_string().contains("no cell tsp"));
        assert!(Plan::of("", "", "pgpool").unwrap_err().to_string().contains("no endpoint pgpool"));
    }

    #[test]
    fn cases_are_chosen_by_how_they_begin() {
        let plan = Plan::of("tps, storm", "simple/1,prepared", "stent").unwrap();
        assert!(plan.has("tps") && !plan.has("tls"));
        assert!(plan.wants("simple/16") && plan.wants("prepared/64") && !plan.wants("extended/1"));
        assert_eq!(plan.kinds, [Kind::Stent]);
    }
}
