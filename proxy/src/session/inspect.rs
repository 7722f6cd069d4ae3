//! The state firewall, as a session sees it: no state of one client reaches another.
//!
//! Owns: noting what statements may do, asking PostgreSQL after a transaction that may have left
//! something, and what follows: the server goes back, or stays with its client (a pin).
//! Refuses: reading statements (`stent_wire::effects`) and the answer (`stent_wire::inspect`).
//! Invariant: a server leaves its client only with `traces.is_clean()`, or to be cleaned.

use std::sync::Arc;

use stent_wire::effects::Effects;
use stent_wire::frame::put_message;
use stent_wire::inspect::{Cause, Causes, Found, SETTINGS, question};
use stent_wire::params::{Params, REPORTED};
use stent_wire::report::SqlState;
use stent_wire::report::reply::{parse_data_row, put_parameter_status};

use super::listen::{Move, PATIENCE};
use super::{Phase, Session, Step};
use crate::config::PoolMode;
use crate::exchange::{self, ExchangeError};
use crate::firewall::Firewall;
use crate::link::{Link, Writing};
use crate::traces::Loaded;

/// How often a question is repeated that a late cancel request has hit.
const ATTEMPTS: usize = 3;

/// What becomes of a server whose transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes back.
    Release,
    /// It stays: its session is known to hold state.
    Stay,
    /// PostgreSQL must be asked.
    Ask,
}

/// A server with PostgreSQL's answer.
pub(super) struct Inspected {
    link: Box<Link>,
    effects: Effects,
    moved: Move,
    result: Result<Found, ExchangeError>,
}

/// Why a statement is not sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Forbidden {
    /// `forbidden_state` names what it would make.
    State(Cause),
    /// `pool_mode` is `statement`.
    Block,
}

impl Session {
    /// Enters what a statement may leave behind. `sql` may be cut short.
    pub(super) fn suspect(&self, link: &mut Link, sql: &[u8]) -> Result<(), Forbidden> {
        if self.mode == PoolMode::Session {
            return Ok(());
        }
        let effects = self.firewall.effects(sql);
        self.suspect_of(link, effects, sql)
    }

    /// Enters known effects.
    pub(super) fn suspect_of(
        &self,
        link: &mut Link,
        effects: Effects,
        sql: &[u8],
    ) -> Result<(), Forbidden> {
        if effects.is_none() {
            return Ok(());
        }
        let config = &self.broker.config;
        if self.mode == PoolMode::Statement && effects.any(Effects::BLOCK) {
            return Err(Forbidden::Block);
        }
        if let Some(cause) = config.forbidden_state.led_to_by(effects).iter().next() {
            return Err(Forbidden::State(cause));
        }
        note_effects(link, effects, sql);
        Ok(())
    }

    /// What becomes of a server that owes nothing.
    pub(super) fn verdict(&self, link: &Link) -> Verdict {
        let mut effects = link.traces.effects();
        effects.add(self.firewall.hidden_effects());
        let pinned = !link.traces.pins.is_empty();
        if effects.any(telling(link)) || self.must_move_back() || self.firewall.is_due() {
            return Verdict::Ask;
        }
        if pinned { Verdict::Stay } else { Verdict::Release }
    }

    /// Asks PostgreSQL.
    pub(super) fn ask(&mut self, mut link: Box<Link>) {
        // The question is a Query: it takes the unnamed statement away.
        self.keep_unnamed(&mut link);
        link.statements.unnamed.lent();
        let (mut effects, mut custom) = link.traces.take();
        effects.add(self.firewall.hidden_effects());
        if effects.any(Effects::DEFINES) {
            self.firewall.forget();
        } else if effects.any(Effects::UNKNOWN) {
            self.firewall.met_unknown();
        }
        for params in [&self.params, &self.own] {
            custom.extend(params.iter().map(|(name, _)| name.to_ascii_lowercase()));
        }
        custom.retain(|name| name.contains(&b'.') && is_plain(name));
        custom.sort_unstable();
        custom.dedup();
        self.stats.pins.lock().count_inspection();
        let (_, user) = self.broker.names(self.pool);
        let firewall = Arc::clone(&self.firewall);
        let timeout = self.broker.present().config.server_connect_timeout + PATIENCE;
        let sql = question(effects, &custom);
        let mut moved = self.begin_move();
        self.phase = Phase::Inspecting(Box::pin(async move {
            let answer = async {
                let mut found =
                    inspect(&mut link, &sql, user.as_bytes(), effects, &firewall).await?;
                moved.settle(&mut link, &mut found).await?;
                Ok(found)
            };
            let result = match tokio::time::timeout(timeout, answer).await {
                Ok(result) => result,
                Err(_) => {
                    link.writing = Writing::Failed;
                    Err(ExchangeError::OutOfStep("no answer in time".to_owned()))
                }
            };
            Inspected { link, effects, moved, result }
        }));
    }

    /// PostgreSQL has answered.
    pub(super) fn inspected(&mut self, inspected: Inspected) -> Step {
        let Inspected { mut link, effects, mut moved, result } = inspected;
        self.listening = moved.listening.take();
        self.to_client.append(&mut moved.heard);
        self.take_heard(&mut link);
        self.say_ready();
        let found = match result {
            Ok(found) => found,
            Err(ExchangeError::Refused(_)) if link.is_clean() => {
                let mut causes = link.traces.pins;
                causes.add(Cause::Unknown);
                return self.pin(link, causes);
            }
            Err(_) if !effects.any(telling(&link)) && link.traces.pins.is_empty() => {
                // Only the catalog was read: the client has lost nothing.
                self.broker.release_lost(self.id, link);
                return self.after_release();
            }
            Err(error) => return self.server_lost(link, error.to_string()),
        };
        if effects.any(SETTINGS) {
            link.applied = Arc::new(Params::default());
            self.carry_settings(&found);
        }
        let causes = found.causes;
        if causes.is_empty() {
            link.traces.acquit();
            self.give_back(link);
            return self.after_release();
        }
        self.pin(link, causes)
    }

    /// The server stays with its client.
    fn pin(&mut self, mut link: Box<Link>, causes: Causes) -> Step {
        let before = std::mem::replace(&mut link.traces.pins, causes);
        let mut new = Causes::NONE;
        causes.iter().filter(|cause| !before.has(*cause)).for_each(|cause| new.add(cause));
        link.facts.set_pins(causes);
        if !new.is_empty() {
            let statement = link.traces.fingerprint();
            self.stats.pins.lock().count(new, &statement);
            let (database, user) = self.broker.names(self.pool);
            let causes: Vec<&str> = new.iter().map(Cause::as_str).collect();
            let pid = link.facts.backend_pid;
            let event = crate::events::Pinned {
                database: &database,
                user: &user,
                causes: &causes.join(","),
                statement: &statement,
                backend_pid: pid,
            };
            event.emit();
        }
        self.take(link);
        Step::Again
    }

    /// The settings that the session was found to have become the client's: its next server gets
    /// them too. What it brought at its start-up and has set back is in force again.
    fn carry_settings(&mut self, found: &Found) {
        let mut params = Params::default();
        let has = |name: &[u8]| {
            let found = found.settings.iter().find(|(of, _)| of.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_slice())
        };
        let mut kept = true;
        // In the order of before, so that nothing differs where nothing has changed.
        for (name, _) in self.params.iter() {
            if let Some(value) = has(name).or_else(|| self.own.get(name)) {
                kept &= params.set(name, value).is_ok();
            }
        }
        let rest = found.settings.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        for (name, value) in self.own.iter().chain(rest) {
            if params.get(name).is_none() {
                kept &= params.set(name, has(name).unwrap_or(value)).is_ok();
            }
        }
        if !kept {
            tracing::warn!("a client has more settings than can be carried along");
        }
        if params == *self.params {
            return;
        }
        for name in REPORTED {
            let now = params.get(name.as_bytes());
            if let Some(value) = now.filter(|now| self.params.get(name.as_bytes()) != Some(*now)) {
                put_parameter_status(&mut self.to_client, name.as_bytes(), value);
            }
        }
        self.params = Arc::new(params);
        self.reading = None;
        let params = Arc::clone(&self.params);
        self.broker.learn_params(self.id, params);
    }
}

/// The effects that make PostgreSQL's last answer about a session void. Where it holds nothing,
/// there is nothing to be taken away.
fn telling(link: &Link) -> Effects {
    let holds = !link.traces.pins.is_empty() || link.traces.loaded != Loaded::No;
    if holds { Effects::MAKES.union(Effects::UNDOES) } else { Effects::MAKES }
}

/// Asks, and where it is due reads the catalog too.
async fn inspect(
    link: &mut Link,
    sql: &[u8],
    user: &[u8],
    effects: Effects,
    firewall: &Firewall,
) -> Result<Found, ExchangeError> {
    let mut attempt = 1;
    let answer = loop {
        match exchange::query(link, sql).await {
            Err(ExchangeError::Refused(report))
                if report.code == SqlState::QUERY_CANCELED && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            answer => break answer?,
        }
    };
    let mut found = Found::default();
    for row in answer.rows.iter().filter_map(|row| parse_data_row(row)) {
        found.row(&row, user);
    }
    if effects.any(Effects::LOAD) || link.traces.pins.has(Cause::Load) {
        found.causes.add(Cause::Load);
    }
    if firewall.is_due() {
        match firewall.learn(link).await {
            Ok(()) | Err(ExchangeError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.$".contains(byte))
}

/// Appends a Query that fails in PostgreSQL's own way, transaction and all.
pub(super) fn put_refusal(out: &mut Vec<u8>, why: Forbidden) {
    let (message, hint) = match why {
        Forbidden::State(Cause::Listen) => (
            "session state of the kind listen is forbidden by forbidden_state".to_owned(),
            "Listen on a connection to PostgreSQL itself, or through a pool that allows it.",
        ),
        Forbidden::State(cause) => (
            format!("session state of the kind {} is forbidden by forbidden_state", cause.as_str()),
            "It would keep a server connection with this client. Use the transaction''s own form \
             (SET LOCAL, pg_advisory_xact_lock), or a pool with pool_mode = session.",
        ),
        Forbidden::Block => (
            "transaction blocks are not allowed with pool_mode = statement".to_owned(),
            "Send single statements, or use a pool with pool_mode = transaction.",
        ),
    };
    put_message(out, b'Q', |out| {
        let sql = format!(
            "DO LANGUAGE plpgsql $stent$BEGIN RAISE EXCEPTION USING \
             ERRCODE = '0A000', MESSAGE = '{message}', HINT = '{hint}'; END$stent$"
        );
        out.extend_from_slice(sql.as_bytes());
        out.push(0);
    });
}

/// Enters what a statement that is about to go may leave behind, or take away.
pub(super) fn note_effects(link: &mut Link, effects: Effects, sql: &[u8]) {
    link.traces.note(effects, sql);
    if effects.any(Effects::UNDOES) {
        link.statements.may_forget(&link.ledger);
    }
}
