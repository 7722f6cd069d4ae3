//! `./x demo`: the first scenario twice, healthy and leaking, with a live line a second.
//!
//! Invariant: it succeeds only if Stent gave the right answer to both, and leaves nothing running.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use anyhow::Result;
use stent_alarms::observe::Observer;

use crate::report;
use crate::run::{self, Tick};
use crate::scenario::Scenario;

/// The scenario that is shown.
const SHOWN: &str = "vitality-two-leaks";
/// How much faster the alarms' minutes pass: 12 makes five seconds of one.
const ALARM_SPEED: u32 = 12;
/// How long the leaking run goes on after everything was found, so that alarms show too.
const LINGER: Duration = Duration::from_secs(12);
const SEED: u64 = 7;

/// What becomes of the leaking run at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is stopped.
    No,
    /// It stays until Ctrl-C, to be looked at.
    UntilInterrupted,
}

/// Whether the answers were right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Both were.
    Right,
    /// One was not.
    Wrong,
}

/// Runs the demo; `say` gets each line.
pub async fn demo(keep: Keep, mut say: impl FnMut(&str)) -> Result<Answer> {
    let scenario = Scenario::named(SHOWN)?;
    say(&format!("{}\n", scenario.title));
    say("1. The healthy API behind Stent");
    let twin = run::twin(&scenario, SEED, |tick| say(&report::line(tick))).await?;
    say(&format!("\n{}", report::twin(&twin)));
    say(&format!(
        "2. The same API leaking: a transaction forgotten every {:.0} s and {} bytes kept of each \
         request, from second {:.0} on",
        1.0 / scenario.leak.transactions_per_second.get(),
        scenario.leak.retained_bytes_per_request,
        scenario.leak.after_seconds.get(),
    ));
    let speed = NonZeroU32::new(ALARM_SPEED).expect("twelve is not zero");
    let mut observer = Observer::new(speed);
    let began = Instant::now();
    let on_tick = |tick: &Tick<'_>| {
        observer.observe(began.elapsed(), tick.snapshot);
        say(&report::line(tick));
    };
    let (outcome, rig) = run::leaking(&scenario, SEED, LINGER, on_tick).await?;
    say("");
    say(&report::leaking(&outcome, &scenario.expect, &observer.firing()));
    say("Where to look while it runs");
    for page in ["snapshot", "metrics", "readyz"] {
        say(&format!("  http://{}/{page}", rig.admin));
    }
    say(&format!("  the API: http://{}/members, the pool: {}", rig.app, rig.proxy));
    if keep == Keep::UntilInterrupted {
        say("It goes on until Ctrl-C.");
        tokio::signal::ctrl_c().await?;
    } else {
        say("  (all of it ends with the demo; `stent-scenarios demo --keep` leaves it up)");
    }
    rig.stop()?;
    let right = twin.faults.is_empty() && outcome.is_right();
    Ok(if right { Answer::Right } else { Answer::Wrong })
}
