//! Unnamed statements that servers keep, as a session sees them.
//!
//! Owns: saying under which settings a client's texts are read and whether its session is as others
//! are, measuring executions, and noticing what a kept statement would not say again.
//! Refuses: deciding (`stent_wire::prepared`).
//! Invariant: where there is doubt the Parse goes as the client sent it.

use stent_wire::effects::Effects;
use stent_wire::frame::cstr;
use stent_wire::prepared::{Bent, Change, Outcome, Reading, Terms, Timed, Timing, UnnamedAs};

use super::Session;
use super::inspect::note_effects;
use super::upward::books;
use crate::clock;
use crate::config::StatementCache;
use crate::events::PlanSwitched;
use crate::link::Link;

/// What a statement may do and yet be kept: it does it each time that it is executed.
const KEEPABLE: Effects = Effects::BLOCK
    .union(Effects::LOCK)
    .union(Effects::LISTEN)
    .union(Effects::CURSOR)
    .union(Effects::SEQUENCE);

impl Session {
    /// How the client's texts are read now.
    pub(super) fn terms(&mut self, link: &Link) -> Terms {
        let reading = self.reading();
        let bent = if link.traces.bends() { Bent::Yes } else { Bent::No };
        let unnamed = match self.broker.config.kept_statements() {
            StatementCache::Off | StatementCache::Named => UnnamedAs::Itself,
            // A kept statement has just drawn an error that may not be the client's own.
            StatementCache::All if self.repeats > 0 => UnnamedAs::Itself,
            StatementCache::All if self.unnamed.and(KEEPABLE) != self.unnamed => {
                UnnamedAs::Bypass(Outcome::Text)
            }
            StatementCache::All if self.firewall.hidden_effects().any(Effects::HIDES) => {
                UnnamedAs::Bypass(Outcome::Session)
            }
            StatementCache::All => UnnamedAs::Shared,
        };
        Terms { reading, bent, unnamed }
    }

    /// The same where nothing is parsed.
    pub(super) fn plain_terms(&mut self) -> Terms {
        Terms { reading: self.reading(), ..Terms::NAMED }
    }

    fn reading(&mut self) -> Reading {
        if let Some(known) = self.reading {
            return known;
        }
        let reading = self.broker.texts.lock().reading(&self.params);
        self.reading = Some(reading);
        reading
    }

    /// What an unnamed statement does: known of one that is in the book.
    pub(super) fn effects_of(&mut self, tail: &[u8], sql: &[u8]) -> Effects {
        if self.broker.config.kept_statements() == StatementCache::All {
            let reading = self.reading();
            let texts = self.broker.texts.lock();
            if let Some(known) = texts.find(reading, tail) {
                return self.firewall.effects_of(known);
            }
        }
        self.firewall.effects_again(sql)
    }

    /// The unnamed statement is bound, perhaps in another transaction than it was parsed in, perhaps
    /// on another server.
    pub(super) fn suspect_unnamed(&mut self, link: &mut Link, tag: u8, body: &[u8], terms: Terms) {
        let news = self.unnamed.and(link.traces.effects()) != self.unnamed
            || self.unnamed.and(link.traces.passing()) != self.unnamed;
        if tag != b'B' || !news {
            return;
        }
        let Some((name, _)) = cstr(body).and_then(|(_, rest)| cstr(rest)) else { return };
        if name.is_empty() {
            let mut texts = self.broker.texts.lock();
            let sql = books(&mut texts, &mut self.names, link, terms).unnamed_sql().to_vec();
            drop(texts);
            note_effects(link, self.unnamed, &sql);
        }
    }

    /// A notice came: where it is about parsing or planning, a kept statement would not say it.
    pub(super) fn notice_down(&self, link: &mut Link) {
        let Some(id) = link.ledger.front_prepared() else { return };
        link.statements.commented(id);
        let statement = link.statements.unnamed.shared_statement();
        if let Some(statement) = statement.filter(|statement| statement.id() == id)
            && let Some(worth) = statement.known_worth()
        {
            worth.refuse();
        }
    }

    /// The server has answered: how long did that take?
    pub(super) fn measured(&self, link: &mut Link) {
        let Timing::One(timed) = std::mem::take(&mut link.statements.timing) else { return };
        let Timed { statement, way } = timed;
        let Some(worth) = statement.known_worth() else { return };
        // The server is at work since the request was sent.
        let Some(checkout) = link.facts.checkout() else { return };
        let now = clock::now();
        let took = now.saturating_duration_since(checkout.state_since);
        let change = worth.observe(way, took, now.saturating_duration_since(self.broker.started));
        match change {
            Change::None => {}
            Change::SwitchedOff | Change::SwitchedOn => {
                if change == Change::SwitchedOff {
                    self.broker.texts.lock().counts.switched_off += 1;
                }
                let (database, user) = self.broker.names(self.pool);
                let event = PlanSwitched {
                    database: &database,
                    user: &user,
                    statement: &statement,
                    change,
                };
                event.emit();
            }
        }
    }
}
