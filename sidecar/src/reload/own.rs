//! The lone proxy reads its own configuration anew.
//!
//! Invariant: one reload at a time; what asks meanwhile waits.

use stent_proxy::{Order, Wish};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::{Asked, Report, Request, listen, log_failure};
use crate::config::flags::Flags;
use crate::config::{Loaded, Role};

/// The most requests that wait.
const WAITING_MAX: usize = 4;

/// What is kept for a reload.
struct Keeper {
    flags: Flags,
    loaded: Loaded,
    orders: mpsc::Sender<Order>,
}

/// Runs as long as the proxy serves newcomers.
pub(crate) async fn keep(
    flags: Flags,
    loaded: Loaded,
    orders: mpsc::Sender<Order>,
    mut wishes: mpsc::Receiver<Wish>,
) {
    let (asks, mut asked) = mpsc::channel(WAITING_MAX);
    let _control = listen(&loaded, asks);
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return tracing::error!(%error, "cannot handle SIGHUP"),
    };
    let mut keeper = Keeper { flags, loaded, orders };
    loop {
        let orders = keeper.orders.clone();
        let (said, answer) = tokio::select! {
            // Another process has taken over: what is asked of this configuration is asked there.
            () = orders.closed() => return,
            _ = hangups.recv() => (keeper.reload().await, None),
            Some(wish) = wishes.recv() => match wish {
                Wish::Reload(answer) => (keeper.reload().await, Some(answer)),
                Wish::Serving => continue,
            },
            Some(Asked { request, answer }) = asked.recv() => match request {
                Request::Reload => (keeper.reload().await, Some(answer)),
                Request::Upgrade | Request::Serving => {
                    let said = "nobody supervises this proxy: start its successor yourself, with \
                                stent proxy --takeover";
                    let _ = answer.send(Err(said.to_owned()));
                    continue;
                }
            },
        };
        if let Err(why) = &said {
            log_failure(why);
        }
        if let Some(answer) = answer {
            // Whoever has gone does not want to know.
            let _ = answer.send(said);
        }
    }
}

impl Keeper {
    async fn reload(&mut self) -> Result<String, String> {
        let fresh = crate::config::load(Role::Proxy, &self.flags, &crate::environment());
        let fresh = fresh.map_err(|problems| problems.to_string())?;
        put_into_force(&fresh, &self.orders).await?;
        let report = Report::of(&self.loaded, &fresh);
        self.loaded = fresh;
        report.emit();
        Ok(report.to_string())
    }
}

/// Gives the proxy in this process another configuration, and the log its level.
pub(super) async fn put_into_force(
    fresh: &Loaded,
    orders: &mpsc::Sender<Order>,
) -> Result<(), String> {
    let config = fresh.proxy.clone().expect("the proxy's role has a proxy");
    let (answer, answered) = oneshot::channel();
    let ends = |_| "the proxy is ending".to_owned();
    orders
        .send(Order::Reload(Box::new(config), answer))
        .await
        .map_err(|error| ends(error.to_string()))?;
    let done = answered.await.map_err(|error| ends(error.to_string()))?;
    done.map_err(|error| crate::component::chain(&error))?;
    crate::logging::change(fresh.logging.level, fresh.secrets());
    crate::component::warn(fresh);
    Ok(())
}
