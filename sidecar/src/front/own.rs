//! The supervisor's own metrics, in Prometheus' text form.
//!
//! Invariant: names, labels and help come from the metric table.

use std::fmt::Write as _;

use stent_contract::{MetricId, MetricKind};
use tikv_jemalloc_ctl::{epoch, stats};

use super::Restarts;
use crate::http::Reply;

/// The page; a component is up where it answered this very request.
pub(crate) fn page(restarts: Restarts, proxy: Option<&Reply>, agent: Option<&Reply>) -> String {
    let mut page = String::new();
    let up = |reply: Option<&Reply>| if reply.is_some() { 1.0 } else { 0.0 };
    family(&mut page, MetricId::Up, &[(&["proxy"], up(proxy)), (&["agent"], up(agent))]);
    family(
        &mut page,
        MetricId::Restarts,
        &[(&["proxy"], restarts.proxy as f64), (&["agent"], restarts.agent as f64)],
    );
    let version = env!("CARGO_PKG_VERSION");
    family(&mut page, MetricId::BuildInfo, &[(&["supervisor", version], 1.0)]);
    heap(&mut page);
    page
}

fn heap(page: &mut String) {
    // jemalloc's figures are those of the last epoch; each failure leaves its metric out.
    if epoch::advance().is_err() {
        return;
    }
    for (id, bytes) in [
        (MetricId::HeapAllocated, stats::allocated::read()),
        (MetricId::HeapResident, stats::resident::read()),
    ] {
        if let Ok(bytes) = bytes {
            family(page, id, &[(&["supervisor"], bytes as f64)]);
        }
    }
}

/// One family: its two comments and its samples, each with its label values.
fn family(page: &mut String, id: MetricId, samples: &[(&[&str], f64)]) {
    let row = id.row();
    let kind = match row.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram(_) => "histogram",
    };
    let name = row.name;
    write!(page, "# HELP {name} {}\n# TYPE {name} {kind}\n", row.help)
        .expect("a string takes everything");
    for (values, value) in samples {
        assert_eq!(values.len(), row.labels.len(), "one value a label of {name}");
        let labels = row.labels.iter().zip(*values).map(|(label, value)| {
            assert!(!value.contains(['"', '\\', '\n']), "our own values need no escapes");
            format!("{label}=\"{value}\"")
        });
        let labels = labels.collect::<Vec<_>>().join(",");
        writeln!(page, "{name}{{{labels}}} {value}").expect("a string takes everything");
    }
}
