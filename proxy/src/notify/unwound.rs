//! What the task of a listening connection leaves behind that panics.
//!
//! Owns: another task in its place, after a pause, and the clients' warning that they may have missed
//! something. Refuses: the connection's server, which `broker::Keeper` gives back.
//! Invariant: a hub that clients need has a task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;
use std::time::Duration;

use stent_pool::Condition;

use super::Hub;
use super::connection::run;
use crate::broker::Broker;
use crate::clients::Outcome;

/// What panics at once again must not take all of a core.
const PAUSE: Duration = Duration::from_secs(1);

/// Kept in the task.
pub(super) struct Watch {
    broker: Arc<Broker>,
    hub: Arc<Hub>,
}

impl Watch {
    pub(super) fn of(broker: &Arc<Broker>, hub: &Arc<Hub>) -> Self {
        Self { broker: Arc::clone(broker), hub: Arc::clone(hub) }
    }

    fn begin_anew(&self) {
        let Self { broker, hub } = self;
        hub.interrupted();
        broker.withdraw_ear(hub.ear);
        let outcome = hub.state.lock().outcome.take();
        if let Some(Outcome::Granted(link)) = outcome {
            broker.release_ear(link, Condition::Broken);
        }
        let (broker, hub) = (Arc::clone(broker), Arc::clone(hub));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(PAUSE).await;
            run(broker, hub).await;
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if panicking() {
            // The panic hook has said what there is to say.
            let _ = catch_unwind(AssertUnwindSafe(|| self.begin_anew()));
        }
    }
}
