//! Memory that a storm has needed and nobody needs any more.
//!
//! Owns: when it is given back: so often, on each worker its own, and what all share on the first.
//! Refuses: what of it is too much; each owner says that of its own.
//! Invariant: giving back changes no content, and costs no more than looking over what is there.

use std::sync::Arc;
use std::time::Duration;

use stent_pool::Home;

use crate::broker::Broker;
use crate::{scratch, stash};

/// How long a storm's memory is kept: another may follow at once.
const EVERY: Duration = Duration::from_secs(10);

/// Places that are kept free whatever is needed.
const KEPT: usize = 4;

/// Runs for ever, on each worker.
pub(crate) async fn give_back(broker: Arc<Broker>, home: Home) {
    loop {
        tokio::time::sleep(EVERY).await;
        scratch::give_back();
        stash::give_back();
        broker.give_back_dues();
        if home == Home(0) {
            broker.inner().give_back();
        }
    }
}

/// Whether a table of so many places has more than its content is likely to need soon.
pub(crate) const fn is_too_much(places: usize, taken: usize) -> bool {
    places > enough(taken)
}

/// How many places a table keeps.
pub(crate) const fn enough(taken: usize) -> usize {
    2 * taken + KEPT
}
