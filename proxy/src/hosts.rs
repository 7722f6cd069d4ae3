//! Several places where the database may be, and which of them is wanted.
//!
//! Owns: the order in which they are tried, and whether what was found there is what is wanted
//! (libpq's `target_session_attrs`). Refuses: the login itself (`connect`).
//! Invariant: a place that has just failed is tried last, not never; a login that PostgreSQL refuses
//! for the user's sake is not tried elsewhere.
//! Source: PostgreSQL documentation, libpq, "Specifying Multiple Hosts" (34.1.1.3).

use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_pool::{PoolId, ServerId};
use stent_wire::report::SqlState;
use stent_wire::report::reply::parse_data_row;

use crate::broker::{Broker, Start};
use crate::config::{Endpoint, SessionAttrs};
use crate::connect::{OpenError, Opened, login};
use crate::exchange;
use crate::link::Link;
use crate::shared::Lock;

/// How long a place is tried after the others because it failed.
const SHUNNED_FOR: Duration = Duration::from_secs(30);

/// What a server is asked that has not said it at its login: PostgreSQL below 14.
const QUESTION: &[u8] = b"select pg_catalog.pg_is_in_recovery(), \
    pg_catalog.current_setting('transaction_read_only')";

/// When places failed, by their number. As many as there are in the configuration.
#[derive(Debug, Default)]
pub(crate) struct Failed(Lock<Vec<Option<Instant>>>);

impl Failed {
    /// The numbers of `count` places in the order in which they are to be tried.
    fn order(&self, count: usize, now: Instant) -> Vec<usize> {
        let failed = self.0.lock();
        let shunned = |at: usize| {
            let since = failed.get(at).copied().flatten();
            since.is_some_and(|since| now.saturating_duration_since(since) < SHUNNED_FOR)
        };
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&at| shunned(at));
        order
    }

    fn note(&self, at: usize, failed: Option<Instant>) {
        let mut all = self.0.lock();
        if all.len() <= at {
            all.resize(at + 1, None);
        }
        all[at] = failed;
    }
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nature {
    /// It is in recovery.
    pub(crate) standby: bool,
    /// Transactions are read-only by default.
    pub(crate) read_only: bool,
}

impl SessionAttrs {
    /// Whether a server of that nature is wanted. With `prefer-standby`, on the first round.
    const fn accepts(self, nature: Nature) -> bool {
        let writes = !nature.standby && !nature.read_only;
        match self {
            Self::Any => true,
            Self::ReadWrite => writes,
            Self::ReadOnly => !writes,
            Self::Primary => !nature.standby,
            Self::Standby | Self::PreferStandby => nature.standby,
        }
    }
}

/// Opens a connection for a pool at the first place that has what is wanted; each has
/// `server_connect_timeout`.
pub(crate) async fn open(
    broker: &Arc<Broker>,
    pool: PoolId,
    server: ServerId,
    start: Start,
) -> Result<Opened, OpenError> {
    let upstream = &broker.present().config.upstream;
    let wanted = upstream.target_session_attrs;
    let places: Vec<Endpoint> = upstream.endpoints().collect();
    // In a box: whoever may have to open a server is mostly given one that is open.
    let first = Box::pin(round(broker, pool, server, &start, (&places, wanted))).await;
    match first {
        Err(OpenError::Unwanted { .. }) if wanted == SessionAttrs::PreferStandby => {
            Box::pin(round(broker, pool, server, &start, (&places, SessionAttrs::Any))).await
        }
        first => first,
    }
}

async fn round(
    broker: &Arc<Broker>,
    pool: PoolId,
    server: ServerId,
    start: &Start,
    (places, wanted): (&[Endpoint], SessionAttrs),
) -> Result<Opened, OpenError> {
    let mut last = None;
    for at in broker.failed_places.order(places.len(), Instant::now()) {
        let place = &places[at];
        let opened = within(broker, pool, server, start.clone(), place).await;
        let opened = match opened {
            Ok(opened) if wanted == SessionAttrs::Any => Ok(opened),
            Ok(opened) => fitting(opened, place, wanted).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(opened) => {
                broker.failed_places.note(at, None);
                return Ok(opened);
            }
            Err(error) if is_of_the_place(&error) => {
                broker.failed_places.note(at, Some(Instant::now()));
                last = Some(graver(last, error));
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.expect("there is one place at least"))
}

/// What is told where all fail: rather that a server is there and unwanted than that another is not.
fn graver(before: Option<OpenError>, now: OpenError) -> OpenError {
    match before {
        Some(before @ OpenError::Unwanted { .. }) => before,
        Some(_) | None => now,
    }
}

async fn within(
    broker: &Arc<Broker>,
    pool: PoolId,
    server: ServerId,
    start: Start,
    place: &Endpoint,
) -> Result<Opened, OpenError> {
    let timeout = broker.present().config.server_connect_timeout;
    match tokio::time::timeout(timeout, login(broker, pool, server, start, place)).await {
        Ok(result) => result,
        Err(_) => {
            Err(OpenError::Timeout { target: place.to_string(), seconds: timeout.as_secs_f64() })
        }
    }
}

/// Whether another place may do better.
fn is_of_the_place(error: &OpenError) -> bool {
    match error {
        OpenError::Connect { .. }
        | OpenError::Timeout { .. }
        | OpenError::Tls { .. }
        | OpenError::Protocol { .. }
        | OpenError::Misplaced { .. }
        | OpenError::Unwanted { .. } => true,
        OpenError::Refused(report) => report.code == SqlState::CANNOT_CONNECT_NOW,
        OpenError::Proof { .. } | OpenError::Password { .. } => false,
    }
}

async fn fitting(
    mut opened: Opened,
    place: &Endpoint,
    wanted: SessionAttrs,
) -> Result<Opened, OpenError> {
    let nature = match opened.nature {
        Some(nature) => nature,
        None => asked(&mut opened.link, place).await?,
    };
    if wanted.accepts(nature) {
        return Ok(opened);
    }
    let is = if nature.standby {
        "a standby"
    } else if nature.read_only {
        "read-only"
    } else {
        "a primary that takes writes"
    };
    Err(OpenError::Unwanted { target: place.to_string(), is, wanted: wanted.as_str() })
}

async fn asked(link: &mut Link, place: &Endpoint) -> Result<Nature, OpenError> {
    let failed = |why: String| OpenError::Protocol { target: place.to_string(), why };
    let answer =
        exchange::query(link, QUESTION).await.map_err(|error| failed(error.to_string()))?;
    let row = answer.rows.first().and_then(|row| parse_data_row(row));
    let value = |at: usize| row.as_ref().and_then(|row| row.get(at).copied().flatten());
    match (value(0), value(1)) {
        (Some(standby), Some(read_only)) => {
            Ok(Nature { standby: standby == b"t", read_only: read_only == b"on" })
        }
        _ => Err(failed("it does not say whether it takes writes".to_owned())),
    }
}

/// What a server's own parameters say of it; `None`: nothing (PostgreSQL below 14).
pub(crate) fn nature_of(parameters: &[(Vec<u8>, Vec<u8>)]) -> Option<Nature> {
    let on = |wanted: &[u8]| {
        let found = parameters.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value == b"on")
    };
    let (standby, read_only) = (on(b"in_hot_standby")?, on(b"default_transaction_read_only")?);
    Some(Nature { standby, read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_what_libpq_says() {
        let primary = Nature { standby: false, read_only: false };
        let frozen = Nature { standby: false, read_only: true };
        let standby = Nature { standby: true, read_only: false };
        for (wanted, accepted) in [
            (SessionAttrs::Any, [true, true, true]),
            (SessionAttrs::ReadWrite, [true, false, false]),
            (SessionAttrs::ReadOnly, [false, true, true]),
            (SessionAttrs::Primary, [true, true, false]),
            (SessionAttrs::Standby, [false, false, true]),
            (SessionAttrs::PreferStandby, [false, false, true]),
        ] {
            let accepts = [primary, frozen, standby].map(|nature| wanted.accepts(nature));
            assert_eq!(accepts, accepted, "{wanted:?}");
        }
    }

    #[test]
    fn who_has_just_failed_is_tried_last_and_in_time_first_again() {
        let (failed, now) = (Failed::default(), Instant::now());
        assert_eq!(failed.order(3, now), [0, 1, 2]);
        failed.note(0, Some(now));
        assert_eq!(failed.order(3, now), [1, 2, 0]);
        failed.note(1, Some(now));
        failed.note(2, Some(now));
        assert_eq!(failed.order(3, now), [0, 1, 2], "all have");
        failed.note(1, None);
        assert_eq!(failed.order(3, now), [1, 0, 2]);
        assert_eq!(failed.order(3, now + SHUNNED_FOR), [0, 1, 2]);
    }
}
