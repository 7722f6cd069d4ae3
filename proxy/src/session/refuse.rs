//! Telling a client that its request gets no server, without costing it its connection.
//!
//! Invariant: after a refused Query the client gets ReadyForQuery at once; after a refused message
//! of the extended protocol everything up to its Sync is dropped and the Sync is answered.

use std::num::NonZeroU32;
use std::time::Duration;

use stent_pool::{Cap, PoolId, Refusal};
use stent_wire::frame::{Sender, frame_at};
use stent_wire::report::reply::{TransactionStatus, put_ready_for_query};
use stent_wire::report::{Report, SqlState};

use super::{Carried, Fate, Phase, Session, Skip};
use crate::broker::Broker;
use crate::stash;

/// How many holders an error names.
const HOLDERS_NAMED_MAX: usize = 10;

impl Session {
    /// Answers the request that waits in `carry` with an error.
    pub(super) fn refuse(&mut self, report: &Report) {
        self.phase = Phase::Idle;
        report.put(&mut self.to_client);
        let frame = frame_at(&self.carry, 0, Sender::Frontend);
        match frame {
            Ok(Some(frame)) if matches!(frame.tag, b'Q' | b'F') => {
                put_ready_for_query(&mut self.to_client, TransactionStatus::Idle);
                self.carry.drain(..frame.all.end);
                if self.carry.is_empty() {
                    stash::empty(&mut self.carry);
                }
                self.rest = frame.missing;
                self.fate = Fate::Drop;
            }
            _ => self.skip = Skip::ToSync,
        }
        self.carried = Carried::Unread;
    }
}

/// The answer to a client that cancelled its own wait.
pub(super) fn cancelled() -> Report {
    Report::error(SqlState::QUERY_CANCELED, "canceling statement due to user request")
        .with_detail("The statement was still waiting for a server connection.")
}

impl Broker {
    /// Why a request of this pool gets no server, in words that help at night.
    pub(crate) fn refusal_report(&self, pool: PoolId, refusal: Refusal) -> Report {
        match refusal {
            Refusal::WaitTimeout => self.wait_timeout_report(pool),
            Refusal::QueueFull => {
                Report::error(SqlState::TOO_MANY_CONNECTIONS, "the pool's queue is full")
                    .with_detail(self.holders_detail(pool))
            }
            Refusal::Overloaded { forecast } => self.overloaded_report(pool, forecast),
            Refusal::OpenFailed => match self.inner().why_closed(pool) {
                Some(error) => error.report(),
                None => Report::error(
                    SqlState::CANNOT_CONNECT,
                    "no connection to PostgreSQL could be opened",
                ),
            },
        }
    }

    fn wait_timeout_report(&self, pool: PoolId) -> Report {
        let seconds = self.present().config.query_wait_timeout.unwrap_or_default().as_secs_f64();
        let message =
            format!("no server connection became free within query_wait_timeout ({seconds} s)");
        let mut detail = self.holders_detail(pool);
        if let Some(error) = self.inner().why_closed(pool) {
            detail.push_str(&format!(" The last attempt to open one failed: {error}."));
        }
        let hint = format!(
            "End the transactions that hold the servers, or raise {} if all of them are at work.",
            self.bound_of(pool).0
        );
        Report::error(SqlState::TOO_MANY_CONNECTIONS, message).with_detail(detail).with_hint(hint)
    }

    /// At the pace of the pool the client would wait in vain: it is told before it has waited.
    fn overloaded_report(&self, pool: PoolId, forecast: Duration) -> Report {
        let seconds = self.present().config.query_wait_timeout.unwrap_or_default().as_secs_f64();
        let message = format!(
            "no server connection will become free within query_wait_timeout ({seconds} s)"
        );
        let detail = format!(
            "As fast as this pool serves at present, this request would wait {:.1} s or more. {}",
            forecast.as_secs_f64(),
            self.holders_detail(pool)
        );
        let hint = format!(
            "Try again later; shorten what the holders do, or raise {} if PostgreSQL has room for it.",
            self.bound_of(pool).0
        );
        Report::error(SqlState::TOO_MANY_CONNECTIONS, message).with_detail(detail).with_hint(hint)
    }

    /// What bounds a pool at present, by the name under which it can be raised; and how much it is,
    /// where that is not the pool's own size.
    fn bound_of(&self, pool: PoolId) -> (&'static str, Option<u32>) {
        let (database, user) = self.names(pool);
        let inner = self.inner();
        let (limits, held) = (inner.pools.limits(), inner.pools.held());
        let most = |most: Option<NonZeroU32>| most.map(NonZeroU32::get);
        match inner.pools.cap_reached(pool) {
            None => match limits.size_rule(&database, &user) {
                Some(rule) if rule.pool_size.is_some() => ("its pool_size in pool_limits", None),
                Some(_) | None => ("default_pool_size", None),
            },
            Some(Cap::User) => ("max_user_connections", most(limits.max_user_connections)),
            Some(Cap::Database) => ("max_db_connections", most(limits.max_db_connections)),
            Some(Cap::All) => match most(limits.max_server_connections) {
                Some(most) if held >= most => ("max_server_connections", Some(most)),
                Some(_) | None => ("the share of fleet_budget", Some(held)),
            },
        }
    }

    /// Who has the servers of a pool, longest first, in one line; where a cap over several pools keeps
    /// it from growing, who has those below that cap.
    fn holders_detail(&self, pool: PoolId) -> String {
        let (database, user) = self.names(pool);
        let census = self.inner().pools.census(pool, std::time::Instant::now());
        let cap = self.inner().pools.cap_reached(pool);
        let holders = self.holders_of(pool, cap);
        let mut text = format!(
            "Pool {database}/{user}: {} of {} servers are held, {} clients are waiting.",
            census.lent, census.size_max, census.waiting
        );
        if let (name, Some(most)) = self.bound_of(pool) {
            text.push_str(&format!(" No more can be opened: {name} ({most}) is reached."));
        }
        for holder in holders.iter().take(HOLDERS_NAMED_MAX) {
            let state = holder.state.in_words();
            let (its_database, its_user) = (&holder.database, &holder.user);
            let elsewhere = **its_database != *database || **its_user != *user;
            let pool =
                if elsewhere { format!(", pool {its_database}/{its_user}") } else { String::new() };
            text.push_str(&format!(
                " Held by {} (application_name {:?}, backend pid {}{pool}) for {:.1} s, {state} for \
                 {:.1} s, last statement: {}.",
                holder.client_addr,
                holder.application_name,
                holder.backend_pid,
                holder.held_ms as f64 / 1e3,
                holder.state_ms as f64 / 1e3,
                holder.last_statement,
            ));
        }
        if holders.len() > HOLDERS_NAMED_MAX {
            text.push_str(&format!(" And {} more.", holders.len() - HOLDERS_NAMED_MAX));
        }
        text
    }
}
