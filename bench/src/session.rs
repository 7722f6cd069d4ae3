//! A session of measuring: the lab, the plan, and what has come of it so far.
//!
//! Invariant: endpoints are measured in turn within each round; a measurement that others disturbed
//! is repeated, and what is kept of one says how much they took.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::endpoint::{Kind, Running, Setup};
use crate::figure::{Figure, OTHERS_MAX, Values};
use crate::lab::Lab;
use crate::meter::{Meter, Watched};
use crate::plan::{Asked, Plan};

/// The session.
pub struct Session {
    /// Where it is measured.
    pub lab: Lab,
    /// What is to be measured.
    pub plan: Plan,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Settings of the endpoints, by name and what was special.
    pub settings: BTreeMap<String, Vec<String>>,
    /// Versions of the endpoints, by name.
    pub versions: BTreeMap<String, String>,
    /// What is worth knowing beside the figures.
    pub notes: BTreeMap<String, String>,
    kinds: Vec<Kind>,
    /// Repetitions that are left, so that a machine that is never quiet ends it too.
    retries_left: u32,
}

/// Repetitions in all are so many times those of one measurement.
const RETRIES: u32 = 25;

/// What a measurement did.
pub struct Work {
    /// Transactions, connections, megabytes: what CPU is told for.
    pub units: f64,
    /// Further figures.
    pub values: Values,
}

/// A case of a cell.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The kind of cell.
    pub cell: &'a str,
    /// The case.
    pub case: &'a str,
    /// The round, from 1.
    pub round: u32,
}

impl Session {
    /// Finds out which endpoints are here.
    pub fn open(lab: Lab, plan: Plan) -> Result<Self> {
        let mut versions = BTreeMap::new();
        let mut kinds = Vec::new();
        for kind in &plan.kinds {
            match kind.version(&lab)? {
                Some(version) => {
                    versions.insert(kind.name().to_owned(), version);
                    kinds.push(*kind);
                }
                None if plan.asked == Asked::ByName => bail!("{} is not here", kind.name()),
                None => eprintln!("bench: {} is not here: not measured", kind.name()),
            }
        }
        let retries_left = plan.retries * RETRIES;
        Ok(Self {
            lab,
            plan,
            figures: Vec::new(),
            settings: BTreeMap::new(),
            versions,
            notes: BTreeMap::new(),
            kinds,
            retries_left,
        })
    }

    /// Those of the plan's endpoints that are here and that a cell is for.
    pub fn kinds(&self, suits: impl Fn(Kind) -> bool) -> Vec<Kind> {
        self.kinds.iter().copied().filter(|kind| suits(*kind)).collect()
    }

    /// Starts an endpoint and keeps its settings.
    pub fn start(&mut self, kind: Kind, setup: Setup) -> Result<Running> {
        let running = Running::start(kind, setup, &self.lab)?;
        let key = format!("{} ({:?}, TLS {:?})", kind.name(), setup.auth, setup.tls);
        self.settings.entry(key).or_insert_with(|| running.settings().to_vec());
        Ok(running)
    }

    /// Measures: CPU of proxy and server a unit of work, and what the work itself found.
    pub fn measure(
        &mut self,
        case: Case<'_>,
        endpoint: &Running,
        mut work: impl FnMut(&Lab, &Running) -> Result<Work>,
    ) -> Result<()> {
        let postmaster = self.lab.postgres.pid().context("PostgreSQL runs")?;
        let watched = Watched { proxy: endpoint.pid(), postmaster };
        let mut best: Option<Figure> = None;
        let mut retries = self.plan.retries.min(self.retries_left);
        loop {
            let meter = Meter::start(watched)?;
            let done = work(&self.lab, endpoint)
                .with_context(|| format!("{} {} of {}", case.cell, case.case, endpoint.name()))?;
            let spent = meter.stop()?;
            let mut values = done.values;
            values.insert("proxy_us".to_owned(), spent.proxy_us / done.units);
            values.insert("server_us".to_owned(), spent.server_us / done.units);
            values.insert("units".to_owned(), done.units);
            values.insert("seconds".to_owned(), spent.seconds);
            let figure = Self::figure(case, endpoint.kind(), spent.others, values);
            if best.as_ref().is_none_or(|best| figure.others < best.others) {
                best = Some(figure);
            }
            if spent.others <= OTHERS_MAX || retries == 0 {
                break;
            }
            retries -= 1;
            self.retries_left -= 1;
        }
        self.figures.extend(best);
        Ok(())
    }

    /// Keeps what was measured in another way.
    pub fn keep(&mut self, case: Case<'_>, kind: Kind, values: Values) {
        self.figures.push(Self::figure(case, kind, 0.0, values));
    }

    fn figure(case: Case<'_>, kind: Kind, others: f64, values: Values) -> Figure {
        Figure {
            cell: case.cell.to_owned(),
            case: case.case.to_owned(),
            endpoint: kind.name().to_owned(),
            round: case.round,
            others: (others * 1e4).round() / 1e4,
            values: values.into_iter().map(|(name, value)| (name, rounded(value))).collect(),
        }
    }
}

/// To six digits: more are noise, and make the raw figures long.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(5.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_six_digits() {
        assert_eq!(rounded(123_456_789.0), 123_457_000.0);
        assert_eq!(rounded(0.012_345_678), 0.012_345_7);
        assert_eq!(rounded(0.0), 0.0);
        assert_eq!(rounded(f64::NAN), 0.0);
    }
}
