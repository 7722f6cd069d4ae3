//! PostgreSQL's own side, asked by a task of its own.
//!
//! Owns: one connection, the question, and the newest answer. Through the proxy the connection is
//! a client like any other: it waits when the pool is exhausted, and only this task waits with it.
//! Refuses: prepared statements (simple query protocol: any pool mode will do).
//! Invariant: a round never waits for PostgreSQL; an answer older than [`STALE_INTERVALS`]
//! intervals is not given; a question that is late costs its connection.
//! Source: PostgreSQL documentation, "The Statistics Collector: pg_stat_activity".

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use secrecy::ExposeSecret;
use stent_contract::PostgresReading;
use stent_contract::reading::PostgresConnections;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

use crate::config::PostgresAccess;

/// Time for a question, and for opening a connection.
const TIME_BOX: Duration = Duration::from_secs(1);
/// The longest pause after failures in a row.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// An answer is kept for this many intervals.
const STALE_INTERVALS: u32 = 3;

/// One implicit transaction, so one checkout. At most 200 groups come back. The proxies of a fleet write
/// what they claim into the names of their control connections, another text each time: these are one
/// name.
const QUESTION: &str = "\
SELECT 'max', current_setting('max_connections'); \
SELECT 'group', coalesce(state, ''), coalesce(usename::text, ''), \
  CASE WHEN application_name LIKE 'stent/1 %' THEN 'stent fleet' \
  ELSE coalesce(application_name, '') END, count(*) \
  FROM pg_stat_activity WHERE backend_type = 'client backend' \
  GROUP BY 2, 3, 4 ORDER BY 5 DESC LIMIT 200; \
SELECT 'blocked', count(*) FROM pg_stat_activity \
  WHERE backend_type = 'client backend' AND wait_event_type = 'Lock'; \
SELECT 'oldest', pid, floor(extract(epoch FROM clock_timestamp() - state_change) * 1000)::bigint \
  FROM pg_stat_activity WHERE backend_type = 'client backend' \
  AND state LIKE 'idle in transaction%' ORDER BY state_change LIMIT 1";

/// Why there is no answer.
#[derive(Debug, Error)]
enum Error {
    /// PostgreSQL or the way to it.
    #[error("ask PostgreSQL for its activity: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// No answer in time: the pool may be exhausted.
    #[error("ask PostgreSQL for its activity: no answer within {TIME_BOX:?}")]
    Late,
    /// Rows of another form than asked for.
    #[error("understand PostgreSQL's answer: {0} is missing")]
    Incomplete(&'static str),
}

/// The newest answer, kept up to date by a task.
#[derive(Debug)]
pub(crate) struct PostgresWatch {
    newest: watch::Receiver<Option<(Instant, PostgresReading)>>,
    /// The process that the way to PostgreSQL leads through.
    through: watch::Sender<Option<u32>>,
    stale_after: Duration,
    task: JoinHandle<()>,
}

impl PostgresWatch {
    /// Starts asking. Must be called on the runtime.
    pub(crate) fn start(access: PostgresAccess, interval: Duration) -> Self {
        let (publish, newest) = watch::channel(None);
        let (through, passed) = watch::channel(None);
        let task = tokio::spawn(run(access, interval, publish, passed));
        let stale_after = interval.saturating_mul(STALE_INTERVALS).max(TIME_BOX * 2);
        Self { newest, through, stale_after, task }
    }

    /// The process that is the proxy. When it is another one the connection through the old one is
    /// given up: that process may be waiting for its last clients to leave. So it is when none was
    /// known: the connection may have been opened through one that was never heard of.
    pub(crate) fn leads_through(&self, pid: u32) {
        self.through.send_if_modified(|known| known.replace(pid) != Some(pid));
    }

    /// The newest answer that is not too old. Never waits.
    pub(crate) fn latest(&self) -> Option<PostgresReading> {
        let newest = self.newest.borrow();
        let (at, reading) = newest.as_ref()?;
        (at.elapsed() <= self.stale_after).then(|| reading.clone())
    }
}

impl Drop for PostgresWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    access: PostgresAccess,
    interval: Duration,
    publish: watch::Sender<Option<(Instant, PostgresReading)>>,
    mut passed: watch::Receiver<Option<u32>>,
) {
    let mut client = None;
    let mut failures = 0_u32;
    loop {
        let answer = ask(&access, client.take()).await;
        let pause = match answer {
            Ok((reading, kept)) => {
                if failures > 0 {
                    tracing::info!(failures, "PostgreSQL answers again");
                }
                failures = 0;
                client = Some(kept);
                publish.send_replace(Some((Instant::now(), reading)));
                interval
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(%error, "PostgreSQL does not answer the agent");
                }
                failures = failures.saturating_add(1);
                back_off(interval, failures)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Its sender lives as long as this task.
            Ok(()) = passed.changed() => client = None,
        }
    }
}

/// Doubles with each failure in a row, from the interval up to [`BACK_OFF_MAX`].
fn back_off(interval: Duration, failures: u32) -> Duration {
    let doubled = interval.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(BACK_OFF_MAX.max(interval))
}

async fn ask(
    access: &PostgresAccess,
    kept: Option<Client>,
) -> Result<(PostgresReading, Client), Error> {
    let client = match kept.filter(|client| !client.is_closed()) {
        Some(client) => client,
        None => within(connect(access)).await?,
    };
    let messages = within(async { Ok(client.simple_query(QUESTION).await?) }).await?;
    Ok((understand(&messages)?, client))
}

async fn within<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(TIME_BOX, work).await.unwrap_or(Err(Error::Late))
}

async fn connect(access: &PostgresAccess) -> Result<Client, Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(&access.host).port(access.port).user(&access.user).dbname(&access.database);
    config.application_name("stent-agent");
    if let Some(password) = &access.password {
        config.password(password.expose_secret());
    }
    let (client, connection) = config.connect(NoTls).await?;
    // Its error reaches the client too; it ends when the client is dropped.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

fn understand(messages: &[SimpleQueryMessage]) -> Result<PostgresReading, Error> {
    let mut reading = PostgresReading { at_unix_ms: unix_ms(), ..PostgresReading::default() };
    for message in messages {
        let SimpleQueryMessage::Row(row) = message else { continue };
        match row.get(0) {
            Some("max") => reading.max_connections = number(row, 1, "max_connections")?,
            Some("group") => reading.connections.push(PostgresConnections {
                state: text(row, 1),
                user: text(row, 2),
                application_name: text(row, 3),
                count: number(row, 4, "a count")?,
            }),
            Some("oldest") => {
                reading.idle_in_transaction_pid = number(row, 1, "a pid")?;
                let age: i64 = number(row, 2, "an age")?;
                reading.idle_in_transaction_max_ms = u64::try_from(age).unwrap_or(0);
            }
            Some("blocked") => reading.blocked = Some(number(row, 1, "a count")?),
            Some(_) | None => return Err(Error::Incomplete("the kind of a row")),
        }
    }
    if reading.max_connections == 0 {
        return Err(Error::Incomplete("max_connections"));
    }
    Ok(reading)
}

fn text(row: &SimpleQueryRow, index: usize) -> String {
    row.get(index).unwrap_or_default().to_owned()
}

fn number<T: std::str::FromStr>(
    row: &SimpleQueryRow,
    index: usize,
    what: &'static str,
) -> Result<T, Error> {
    row.get(index).and_then(|digits| digits.parse().ok()).ok_or(Error::Incomplete(what))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_never_undercut_the_interval() {
        let seconds = |interval, failures| back_off(Duration::from_secs(interval), failures);
        assert_eq!(seconds(2, 1), Duration::from_secs(2));
        assert_eq!(seconds(2, 3), Duration::from_secs(8));
        assert_eq!(seconds(2, 40), Duration::from_secs(60));
        assert_eq!(seconds(300, 40), Duration::from_secs(300));
    }
}
