//! The agent: readings, verdicts and their publication.
//!
//! Owns: one current-thread runtime's worth of tasks: the [`round`] loop, which reads and judges
//! once an interval; the [`http`] pages; and the publishers, each in a task or thread of its own.
//! Refuses: reading configuration, and touching what it watches, but for [`attach`], which is off
//! unless it was enabled. The proxy goes on without the agent.
//! Invariant: nothing that is far away (PostgreSQL, the proxy, CloudWatch, a reader of the pages)
//! can delay a round.

mod attach;
mod attach_heap;
pub mod config;
mod error;
mod event;
mod fetch;
mod heap_source;
mod http;
mod judge;
mod listen;
mod publish;
mod round;
mod sample;
#[cfg(test)]
mod tests_support;
mod told;

use std::future::Future;

pub use attach_heap::{HeapSocket, Pace, attribute};
pub use config::Config;
pub use error::Error;
pub use fetch::{PageUrl, PageUrlError};
pub use heap_source::{HeapMetrics, Selector, SelectorError};
pub use told::{NEWS_MAX, Told};

use tokio::sync::mpsc;

use crate::round::Watch;
use crate::sample::Sampler;

/// Runs the agent until `shutdown` completes; then sends what it has, for at most two seconds.
///
/// To be called on a tokio runtime with time and IO enabled; a current-thread one will do. Fails
/// only at the start: an address that cannot be listened on.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    run_told(config, None, shutdown).await
}

/// The same, told more than to end. See [`Told`].
pub async fn run_told(
    config: Config,
    told: Option<mpsc::Receiver<Told>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let sampler = Sampler::new(&config, told);
    let watch = Watch::start(config, Box::new(std::io::stdout()))?;
    watch.run(sampler, shutdown).await;
    Ok(())
}
