//! Waiting for a condition, with a deadline and with words for the failure.
//!
//! Refuses: sleeping for a fixed time in the hope that something has happened by then.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks at a condition: short beside a test, long beside a system call.
const POLL: Duration = Duration::from_millis(10);

/// Looks at `condition` until it holds, for `deadline` at the most. `what` names it in the error.
pub fn wait_until(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    wait_for(what, deadline, || condition().then_some(()))
}

/// Calls `look` until it finds something, for `deadline` at the most. `what` names it in the error.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("waited {deadline:?} in vain for: {what}");
        }
        std::thread::sleep(POLL);
    }
}

/// [`wait_until`] for a tokio runtime: the other tasks of the thread go on meanwhile.
pub async fn wait_until_async<F>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> F,
) -> Result<()>
where
    F: Future<Output = bool>,
{
    let end = Instant::now() + deadline;
    while !condition().await {
        if Instant::now() >= end {
            bail!("waited {deadline:?} in vain for: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
