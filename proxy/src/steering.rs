//! What the program around the proxy can tell it while it runs, and ask of it.
//!
//! Owns: the two channels. Refuses: reading configuration; a new one comes ready-made.
//! Invariant: each order and each wish has one answer, and both channels are bounded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::broker::{Broker, Scope};
use crate::config::Config;
use crate::error::Error;

/// The most orders, or wishes, on their way.
pub const ON_THE_WAY_MAX: usize = 8;

/// Something that the proxy is told.
#[derive(Debug)]
pub enum Order {
    /// Another configuration. It is put into force as a whole, but for what is fixed for the life of
    /// the proxy (addresses, workers, the pool mode, what statements servers keep), or not at all.
    Reload(Box<Config>, oneshot::Sender<Result<(), Error>>),
    /// PAUSE of all databases: transactions that are open finish, and whoever wants another server waits. The
    /// answer comes when no server is left, or at the end of this time; then it is for
    /// [`Order::Release`] to end the pause.
    Hold(Duration, oneshot::Sender<Held>),
    /// The end of that pause.
    Release,
}

/// What has become of [`Order::Hold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// No transaction is open.
    AtRest,
    /// Some still are. New ones wait all the same.
    Busy,
    /// Somebody else has paused the proxy: nothing was done, and there is nothing to release.
    Refused,
}

/// Something that the proxy tells the program around it.
#[derive(Debug)]
pub enum Wish {
    /// Somebody on the admin console wants the configuration to be read anew. The answer is what is
    /// said to them: what has changed, or why nothing has.
    Reload(oneshot::Sender<Result<String, String>>),
    /// It serves clients from here on. Where it was to take over it has.
    Serving,
}

/// The proxy's ends of the channels.
#[derive(Debug)]
pub struct Steering {
    /// What it is told.
    pub orders: mpsc::Receiver<Order>,
    /// Whom it asks.
    pub wishes: mpsc::Sender<Wish>,
}

/// By whom a pause is, in the log.
const SUPERVISOR: &str = "the supervisor";
/// How often it is looked whether a pause is done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs as long as orders may come.
pub(crate) async fn obey(broker: Arc<Broker>, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Hold(limit, answer) => match broker.pause(&Scope::All, SUPERVISOR) {
                // Beside this loop: a release must find it.
                Ok(()) => {
                    drop(tokio::task::spawn_local(rest(Arc::clone(&broker), limit, answer)));
                }
                Err(error) => {
                    tracing::debug!(%error, "not held");
                    let _ = answer.send(Held::Refused);
                }
            },
            Order::Release => {
                // An operator may have resumed before us.
                if let Err(error) = broker.resume(&Scope::All, SUPERVISOR) {
                    tracing::debug!(%error, "nothing to release");
                }
            }
            Order::Reload(config, answer) => {
                // Whoever has gone does not want to know.
                let _ = answer.send(broker.reload(*config));
            }
        }
    }
}

/// Answers when no server is left, or late.
async fn rest(broker: Arc<Broker>, limit: Duration, answer: oneshot::Sender<Held>) {
    let until = Instant::now() + limit;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let held = loop {
        looks.tick().await;
        match (broker.is_at_rest(&Scope::All), Instant::now() >= until) {
            (true, _) => break Held::AtRest,
            (false, true) => break Held::Busy,
            (false, false) => {}
        }
    };
    let _ = answer.send(held);
}
