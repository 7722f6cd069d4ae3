//! What goes to a client that has asked for nothing more: notifications that wait for it, and the
//! ReadyForQuery that waits for its channels.
//!
//! Invariant: notifications go out where PostgreSQL would send them: outside a transaction,
//! between messages. A ReadyForQuery that was withheld is said, or the session ends.

use stent_wire::effects::Effects;
use stent_wire::report::reply::{TransactionStatus, put_ready_for_query};

use super::{End, Hearing, Moved, Phase, Session, Skip, Step};
use crate::config::PoolMode;
use crate::disconnects;
use crate::facts::silent_state;
use crate::link::Link;
use crate::notify::Handed;
use crate::traces::Loaded;

/// Whether a ReadyForQuery of the server's is still to be passed on: LISTEN has not returned
/// before the channel is listened on, UNLISTEN not before it is no longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    Said,
    Withheld,
}

impl Session {
    /// Whether the client is to hear of the end of its transaction only when its channels are
    /// where they belong.
    pub(super) fn withholds(&self, link: &Link) -> bool {
        let pooled = self.mode != PoolMode::Session;
        let effects = link.traces.effects();
        let ends = link.traces.loaded != Loaded::No && effects.any(Effects::UNDOES);
        pooled
            && (ends || effects.any(Effects::LISTEN))
            && link.ledger.is_quiet()
            && self.hearing == Hearing::Yes
    }

    /// Says the ReadyForQuery that was withheld, if one was.
    pub(super) fn say_ready(&mut self) {
        if self.ready == Ready::Withheld {
            self.ready = Ready::Said;
            if let Some(listening) = &self.listening {
                listening.mailbox.hand_over(&mut self.to_client);
            }
            put_ready_for_query(&mut self.to_client, TransactionStatus::Idle);
        }
    }

    /// Whether a ReadyForQuery that goes to the client now has notifications in front of it.
    pub(super) fn may_have_mail(&self, link: &Link) -> bool {
        self.listening.is_some() && link.ledger.status() == TransactionStatus::Idle
    }

    /// Appends what waits for the client to `out`, at a place where PostgreSQL would send it.
    pub(super) fn put_mail(&self, out: &mut Vec<u8>) -> Handed {
        match &self.listening {
            Some(listening) => listening.mailbox.hand_over(out),
            None => Handed::None,
        }
    }

    /// The client is silent outside a transaction: it gets what waits for it.
    pub(super) fn mail_at_rest(&mut self) -> Option<Step> {
        let listening = self.listening.as_ref()?;
        if self.skip == Skip::ToSync || !self.to_client.is_empty() {
            return None;
        }
        if let Some(report) = listening.mailbox.last_word() {
            let end = End {
                cause: disconnects::Cause::TooSlow,
                detail: report.detail.as_deref().unwrap_or_default().to_owned(),
            };
            return Some(self.leave_with(&report, end));
        }
        let mut mail = Vec::new();
        let handed = self.put_mail(&mut mail);
        self.to_client = mail;
        (handed == Handed::Some).then_some(Step::Again)
    }

    /// A server stays with its client for now.
    pub(super) fn rest_linked(&mut self, mut link: Box<Link>, up: Moved, down: Moved) -> Step {
        if link.ledger.awaits_client() {
            link.show(silent_state(link.ledger.status()));
        }
        if self.ready == Ready::Withheld && link.carry.is_empty() {
            self.say_ready();
            self.phase = Phase::Linked(link);
            return Step::Again;
        }
        if link.is_clean()
            && let Some(step) = self.mail_at_rest()
        {
            match &self.phase {
                Phase::Leaving(_) => self.give_back(link),
                Phase::Idle
                | Phase::Waiting
                | Phase::Preparing(_)
                | Phase::Linked(_)
                | Phase::Inspecting(_) => self.phase = Phase::Linked(link),
            }
            return step;
        }
        self.phase = Phase::Linked(link);
        match (up, down) {
            (Moved::Nothing, Moved::Nothing) => Step::Wait,
            _ => Step::Again,
        }
    }
}
