//! What the program around the proxy can tell it while it runs, and ask of it.
//!
//! Owns: the two channels. Refuses: reading configuration; a new one comes ready-made.
//! Invariant: each order and each wish has one answer, and both channels are bounded.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::broker::Broker;
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

/// Runs as long as orders may come.
pub(crate) async fn obey(broker: Arc<Broker>, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Reload(config, answer) => {
                // Whoever has gone does not want to know.
                let _ = answer.send(broker.reload(*config));
            }
        }
    }
}
