//! What was measured, as it is kept: one record a measurement, and the middle ones of them.
//!
//! Pure. Invariant: a disturbed measurement counts only where there is no undisturbed one; which
//! it is follows from its record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Above this share of the machine taken by others, a measurement is disturbed.
pub const OTHERS_MAX: f64 = 0.08;

/// Named values.
pub type Values = BTreeMap<String, f64>;

/// One measurement of one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What kind: `tps`, `latency` and so on.
    pub cell: String,
    /// Which of them: `simple/16`.
    pub case: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// The round, from 1.
    pub round: u32,
    /// Share of the machine's processors taken by none of proxy, server and load.
    pub others: f64,
    /// What came of it.
    pub values: Values,
}

impl Figure {
    /// Whether others took so much that it does not count.
    pub fn is_disturbed(&self) -> bool {
        self.others > OTHERS_MAX
    }
}

/// Values from pairs.
pub fn values<const N: usize>(pairs: [(&str, f64); N]) -> Values {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The middle one of some figures; the lower of two middles.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// The value below which a share of `sorted` lies; nearest rank.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// Jain's index of fairness: 1 where all have the same, 1/n where one has everything.
pub fn jain(shares: &[f64]) -> Option<f64> {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    (squares > 0.0).then(|| sum * sum / (shares.len() as f64 * squares))
}

/// Questions about many figures.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a>(pub &'a [Figure]);

impl<'a> Figures<'a> {
    /// The median of a value over the undisturbed rounds; without one, of the least disturbed.
    pub fn median(
        &self,
        (cell, case): (&str, &str),
        endpoint: &str,
        of: impl Fn(&Values) -> Option<f64>,
    ) -> Option<f64> {
        let own = self.of(cell, case, endpoint).into_iter();
        middle(own.filter_map(|figure| Some((of(&figure.values)?, figure.others))).collect())
    }

    /// The median of the ratios of two endpoints, taken round by round, over the rounds in which
    /// neither was disturbed; without one, of the least disturbed.
    pub fn ratio(
        &self,
        (cell, case): (&str, &str),
        (endpoint, to): (&str, &str),
        of: impl Fn(&Values) -> Option<f64>,
    ) -> Option<f64> {
        ratio_by_round(&self.of(cell, case, endpoint), &self.of(cell, case, to), of)
    }

    /// The median of the ratios of two cases of an endpoint, taken as [`Figures::ratio`] does.
    pub fn ratio_of_cases(
        &self,
        cell: &str,
        (case, to): (&str, &str),
        endpoint: &str,
        of: impl Fn(&Values) -> Option<f64>,
    ) -> Option<f64> {
        ratio_by_round(&self.of(cell, case, endpoint), &self.of(cell, to, endpoint), of)
    }

    /// Cases of a kind of cell, in the order in which they were measured.
    pub fn cases(&self, cell: &str) -> Vec<&'a str> {
        distinct(self.0.iter().filter(|f| f.cell == cell).map(|figure| figure.case.as_str()))
    }

    /// Endpoints of a kind of cell, in the order in which they were measured.
    pub fn endpoints(&self, cell: &str) -> Vec<&'a str> {
        distinct(self.0.iter().filter(|f| f.cell == cell).map(|figure| figure.endpoint.as_str()))
    }

    fn of(&self, cell: &str, case: &str, endpoint: &str) -> Vec<&'a Figure> {
        let wanted = |f: &&Figure| f.cell == cell && f.case == case && f.endpoint == endpoint;
        self.0.iter().filter(wanted).collect()
    }
}

fn ratio_by_round(
    these: &[&Figure],
    those: &[&Figure],
    of: impl Fn(&Values) -> Option<f64>,
) -> Option<f64> {
    let ratios = these.iter().filter_map(|own| {
        let peer = those.iter().find(|peer| peer.round == own.round)?;
        let ratio = of(&own.values)? / of(&peer.values)?;
        ratio.is_finite().then_some((ratio, own.others.max(peer.others)))
    });
    middle(ratios.collect())
}

/// The median of values with their disturbance.
fn middle(figures: Vec<(f64, f64)>) -> Option<f64> {
    let quiet = figures.iter().filter(|(_, others)| *others <= OTHERS_MAX);
    let quiet: Vec<f64> = quiet.map(|(value, _)| *value).collect();
    let least = || figures.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(value, _)| *value);
    median(&quiet).or_else(least)
}

fn distinct<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(endpoint: &str, round: u32, others: f64, value: f64) -> Figure {
        Figure {
            cell: "tps".to_owned(),
            case: "simple/1".to_owned(),
            endpoint: endpoint.to_owned(),
            round,
            others,
            values: values([("us", value)]),
        }
    }

    #[test]
    fn the_median_is_a_figure_that_was_measured() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(1.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(50.0));
        assert_eq!(percentile(&sorted, 0.99), Some(99.0));
        assert_eq!(percentile(&sorted[..1], 0.99), Some(1.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn fairness_is_1_where_all_have_the_same_and_one_nth_where_one_has_all() {
        assert_eq!(jain(&[2.0, 2.0, 2.0]), Some(1.0));
        assert_eq!(jain(&[4.0, 0.0, 0.0, 0.0]), Some(0.25));
        assert_eq!(jain(&[0.0]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let figures = [
            figure("a", 1, 0.0, 50.0),
            figure("b", 1, 0.0, 100.0),
            figure("a", 2, 0.0, 9.0),
            figure("b", 2, 0.0, 10.0),
        ];
        let ratio = Figures(&figures)
            .ratio(("tps", "simple/1"), ("a", "b"), |values| values.get("us").copied());
        assert_eq!(ratio, Some(0.5), "the lower of 0.5 and 0.9, and not 9 through 10");
    }

    #[test]
    fn a_disturbed_round_counts_only_where_there_is_no_other() {
        let loud = OTHERS_MAX + 0.01;
        let figures = [
            figure("a", 1, loud, 70.0),
            figure("a", 3, loud + 0.1, 90.0),
            figure("a", 2, 0.0, 50.0),
        ];
        let median = |figures: &[Figure]| {
            Figures(figures).median(("tps", "simple/1"), "a", |values| values.get("us").copied())
        };
        assert_eq!(median(&figures), Some(50.0));
        assert_eq!(median(&figures[..2]), Some(70.0), "the less disturbed of two");
    }
}
