//! Waiting for the proxy: alive first, then ready.
//!
//! Invariant: `Ready` is sent once, at `limit` at the latest where there is one.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::event::Event;
use crate::config::address::Address;
use crate::http;

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// Time for one of them.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

/// Asks until the proxy is ready or `limit` is over.
pub(crate) async fn watch(proxy: Address, limit: Option<Duration>, events: mpsc::Sender<Event>) {
    let waited = async {
        let mut live = false;
        loop {
            if let Ok(reply) = http::get(&proxy, "/readyz", QUESTION_LIMIT).await {
                if !std::mem::replace(&mut live, true) && events.send(Event::Live).await.is_err() {
                    return;
                }
                if reply.status.is_success() {
                    return;
                }
            }
            sleep(PAUSE).await;
        }
    };
    let started = Instant::now();
    match limit {
        None => waited.await,
        Some(Duration::ZERO) => {}
        Some(limit) => {
            if tokio::time::timeout(limit, waited).await.is_err() {
                tracing::warn!(
                    waited_s = started.elapsed().as_secs_f64(),
                    "the proxy does not reach its database yet; the command is started all the same"
                );
            }
        }
    }
    // The supervisor has left where nobody takes it.
    let _ = events.send(Event::Ready).await;
}
