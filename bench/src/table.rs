//! Samples in a table: medians, and the median of the ratios taken round by round.
//!
//! Pure: samples in, Markdown out.

use std::fmt::Write as _;

use crate::idle::IdleCost;
use crate::meter::{Load, Sample};

/// The middle one of some figures; the lower of two middles.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// The table of all samples, one row a load and endpoint.
pub fn markdown(samples: &[Sample], idle: &[IdleCost]) -> String {
    let mut text = String::from(
        "| protocol, clients | endpoint | tps | proxy us a transaction | server us | tps, ratio to direct |\n\
         |---|---|---|---|---|---|\n",
    );
    for load in distinct(samples.iter().map(|sample| sample.load)) {
        for endpoint in distinct(samples.iter().map(|sample| sample.endpoint)) {
            let of = |name: &str| -> Vec<&Sample> {
                samples.iter().filter(|s| s.load == load && s.endpoint == name).collect()
            };
            row(&mut text, load, endpoint, &of(endpoint), &of("direct"));
        }
    }
    if !idle.is_empty() {
        text.push_str(
            "\n| idle clients | endpoint | bytes of resident memory a client |\n|---|---|---|\n",
        );
    }
    for cost in idle {
        let _ =
            writeln!(text, "| {} | {} | {:.0} |", cost.clients, cost.endpoint, cost.bytes_a_client);
    }
    text
}

fn row(text: &mut String, load: Load, endpoint: &str, own: &[&Sample], direct: &[&Sample]) {
    let middle = |of: fn(&Sample) -> f64| {
        median(&own.iter().map(|sample| of(sample)).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    let ratios: Vec<f64> = own.iter().zip(direct).map(|(a, b)| a.tps / b.tps).collect();
    let _ = writeln!(
        text,
        "| {} {} | {endpoint} | {:.0} | {:.1} | {:.1} | {:.2} |",
        load.protocol,
        load.clients,
        middle(|sample| sample.tps),
        middle(|sample| sample.proxy_us),
        middle(|sample| sample.server_us),
        median(&ratios).unwrap_or(0.0),
    );
}

fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
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

    #[test]
    fn the_median_is_a_figure_that_was_measured() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(1.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let load = Load { protocol: "simple", clients: 1 };
        let sample = |endpoint, tps| Sample {
            endpoint,
            load,
            transactions: 1,
            tps,
            proxy_us: 2.0,
            server_us: 3.0,
        };
        let samples = [
            sample("direct", 100.0),
            sample("stent", 50.0),
            sample("direct", 10.0),
            sample("stent", 9.0),
        ];
        let text = markdown(&samples, &[]);
        assert!(text.contains("| simple 1 | stent | 9 | 2.0 | 3.0 | 0.50 |"), "{text}");
    }
}
