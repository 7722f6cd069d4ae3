//! `stent budget`: whether a fleet fits the connections of its database, before it is deployed.
//!
//! Owns: the text and the JSON of the plan. Refuses: the arithmetic (`stent_pool::fleet::plan`), and
//! asking a database: it is for continuous integration, where there is none.
//! Invariant: where the fleet does not fit, the exit code is 1 and the last line says what to change.

mod classes;
mod options;

use std::fmt::Write as _;

use serde_json::json;
use stent_pool::fleet::{Ask, Budget, Misfit, plan};

use crate::exit::Exit;
use options::{Format, Source};

pub(crate) use options::{Options, OptionsError, parse};

/// Prints the plan; [`Exit::Negative`] where it does not fit.
pub(crate) fn run(options: &Options) -> Exit {
    let planned = plan(&options.ask);
    let text = match options.format {
        Format::Text => text(options, &planned),
        Format::Json => as_json(options, &planned),
    };
    match (crate::say(&text) == Exit::Clean.code(), planned) {
        (true, Ok(_)) => Exit::Clean,
        (true, Err(_)) => Exit::Negative,
        (false, _) => Exit::Failure,
    }
}

fn text(options: &Options, planned: &Result<Budget, Misfit>) -> String {
    let Options { ask, source, .. } = options;
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(out, "{name:<34}{value}").expect("a string takes everything");
    };
    let limit = match source {
        Source::Given => ask.max_connections.to_string(),
        Source::Guessed(class, memory) => format!(
            "{} (a careful guess for {class}, {memory} GiB; SHOW max_connections says what it is)",
            ask.max_connections
        ),
    };
    line("max_connections", limit);
    line("reserved for superusers", ask.reserved.to_string());
    line("of other programs", ask.others.to_string());
    line("fleet_reserve", ask.reserve.to_string());
    if let Ok(budget) = planned {
        let Budget { usable, proxies, proxies_peak, share, share_peak, .. } = budget;
        line("usable by the fleet", usable.to_string());
        let tasks = format!("{proxies}, up to {proxies_peak} during a deploy");
        line("tasks (one connection each)", tasks);
        line("share of a task, all busy", format!("{share}, {share_peak} during a deploy"));
        line("fleet_minimum", ask.minimum.to_string());
        if let Some(peak) = budget.unbudgeted_peak {
            let fits = if peak <= *usable { "fits too" } else { "would not fit" };
            let size = ask.pool_size.unwrap_or_default();
            line("without a budget", format!("{peak} ({size} for each task): {fits}"));
        }
    }
    out + &match planned {
        Ok(_) => "it fits\n".to_owned(),
        Err(misfit) => format!("it does not fit: {misfit}\n  mend: {}\n", mend(ask, misfit)),
    }
}

fn as_json(options: &Options, planned: &Result<Budget, Misfit>) -> String {
    let Options { ask, source, .. } = options;
    let budget = planned.as_ref().ok();
    let misfit = planned.as_ref().err();
    let document = json!({
        "fits": planned.is_ok(),
        "max_connections": ask.max_connections,
        "max_connections_guessed": matches!(source, Source::Guessed(..)),
        "reserved": ask.reserved,
        "others": ask.others,
        "reserve": ask.reserve,
        "minimum": ask.minimum,
        "usable": budget.map(|budget| budget.usable),
        "tasks": budget.map(|budget| budget.proxies),
        "tasks_peak": budget.map(|budget| budget.proxies_peak),
        "share": budget.map(|budget| budget.share),
        "share_peak": budget.map(|budget| budget.share_peak),
        "unbudgeted_peak": budget.and_then(|budget| budget.unbudgeted_peak),
        "problem": misfit.map(ToString::to_string),
        "mend": misfit.map(|misfit| mend(ask, misfit)),
    });
    format!("{document}\n")
}

/// The sentence that says what to change.
fn mend(ask: &Ask, misfit: &Misfit) -> String {
    match misfit {
        Misfit::NothingLeft { kept, .. } => {
            format!("raise max_connections above {kept}, or lower --others or --reserve")
        }
        Misfit::Minimum { proxies_max, max_connections, minimum, .. } => {
            let minimum = match minimum {
                Some(minimum) => format!(", or set fleet_minimum {minimum}"),
                None => String::new(),
            };
            let over = if ask.overlap_percent > 100 {
                ", or deploy with less overlap (maximumPercent)"
            } else {
                ""
            };
            format!(
                "raise max_connections to {max_connections}, or run at most {proxies_max} tasks at \
                 a time in all services together{over}{minimum}"
            )
        }
    }
}
