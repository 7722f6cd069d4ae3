//! What the present client's statements may have left on a server, and what was found there.
//!
//! Invariant: a server without traces holds no session state of the client that gives it back.

use stent_wire::effects::{Effects, custom_settings};
use stent_wire::fingerprint::fingerprint;
use stent_wire::inspect::{Cause, Causes};

/// How much of a statement is kept.
const STATEMENT_KEPT: usize = 400;
/// How long its fingerprint may be.
const FINGERPRINT_MAX: usize = 200;
/// The most custom settings that are asked for by name.
const CUSTOM_MAX: usize = 64;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// What may have happened since PostgreSQL was last asked.
    effects: Effects,
    /// What was sent since the end of the last transaction.
    passing: Effects,
    /// The beginning of the first statement that raised the suspicion.
    statement: Vec<u8>,
    /// Custom settings that statements have named.
    custom: Vec<Vec<u8>>,
    /// What PostgreSQL said to be there.
    pub(crate) pins: Causes,
    /// Whether the server listens on its client's channels, for the client to find them there.
    pub(crate) loaded: Loaded,
}

/// See [`Traces::loaded`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// It was given none.
    #[default]
    No,
    /// It was. Through the listening connection of this number, where that had them all then, a
    /// second copy of what the client notifies comes.
    Yes(Option<u64>),
}

impl Traces {
    /// A statement goes to the server.
    pub(crate) fn note(&mut self, effects: Effects, sql: &[u8]) {
        if effects.is_none() {
            return;
        }
        if effects.any(Effects::MAKES) && !self.effects.any(Effects::MAKES) {
            self.statement.clear();
            self.statement.extend_from_slice(&sql[..sql.len().min(STATEMENT_KEPT)]);
        }
        self.effects.add(effects);
        self.passing.add(effects);
        if effects.any(Effects::SETTING) {
            for name in custom_settings(sql) {
                if self.custom.len() < CUSTOM_MAX && !self.custom.contains(&name) {
                    self.custom.push(name);
                }
            }
        }
    }

    /// What may have happened.
    pub(crate) const fn effects(&self) -> Effects {
        self.effects
    }

    /// Whether a text that is parsed now may mean something else than to other clients with the same
    /// settings.
    pub(crate) fn bends(&self) -> bool {
        const CAUSES: [Cause; 5] =
            [Cause::TempTable, Cause::Role, Cause::Setting, Cause::Load, Cause::Unknown];
        self.passing.any(Effects::BENDS)
            || !self.pins.is_empty() && CAUSES.into_iter().any(|cause| self.pins.has(cause))
    }

    /// What was sent since the end of the last transaction.
    pub(crate) const fn passing(&self) -> Effects {
        self.passing
    }

    /// A transaction has ended, and nothing was sent behind it.
    pub(crate) const fn ended(&mut self) {
        self.passing = Effects::NONE;
    }

    /// Whether the server may be given away as it is.
    pub(crate) const fn is_clean(&self) -> bool {
        let loaded = matches!(self.loaded, Loaded::Yes(_));
        self.pins.is_empty() && !loaded && !self.effects.any(Effects::MAKES)
    }

    /// Takes what is to be asked about; PostgreSQL's answer comes in its place.
    pub(crate) fn take(&mut self) -> (Effects, Vec<Vec<u8>>) {
        (std::mem::take(&mut self.effects), std::mem::take(&mut self.custom))
    }

    /// The statement that raised the suspicion, its literals replaced.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.statement, FINGERPRINT_MAX)
    }

    /// What was asked about is not there.
    pub(crate) fn acquit(&mut self) {
        *self = Self { loaded: self.loaded, ..Self::default() };
    }

    /// The server was set back to what it was after its login.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
