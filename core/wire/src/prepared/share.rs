//! Unnamed statements as statements of the book: parsed once on a server, for all its clients.
//!
//! Owns: whether the Parse of an unnamed statement may be answered from what a server knows, and
//! what became of it. Refuses: judging what a client's session is like (its shell does: [`Terms`]).
//! Invariant: a Parse that is answered here is one that PostgreSQL would have accepted, and would
//! have read as it read the statement that the server knows.
//!
//! That is so where (1) the text means the same whenever it is read (`constant`), (2) settings are
//! equal (`reading`) and nothing in this transaction has changed them, (3) no definition was
//! changed since, by whomever through this proxy, nor in this transaction by any way, and (4) it is
//! known that PostgreSQL takes statements: no transaction has failed, or may have failed by then.

use std::sync::Arc;

use super::server::Known;
use super::translate::put_parse;
use super::{Reading, Standing, Statement, Statements, Translation, Way, Worth};
use crate::frame::{Frame, cstr};
use crate::ledger::Owed;
use crate::limits::SHARED_TEXT_MAX;
use crate::report::reply::TransactionStatus;
use crate::splice::Splice;

/// What a client's session says of the texts that it sends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The settings in force.
    pub reading: Reading,
    /// Whether they, and the definitions, are those of the beginning of the transaction.
    pub bent: Bent,
    /// What becomes of an unnamed Parse.
    pub unnamed: UnnamedAs,
}

/// Whether what is parsed now may differ from what others would parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bent {
    /// It may not.
    No,
    /// It may: a setting, a definition or a temporary table may be this transaction's own.
    Yes,
}

/// What becomes of an unnamed Parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnamedAs {
    /// It goes as it is.
    Itself,
    /// It goes as it is, although the cache is there: that is counted.
    Bypass(Outcome),
    /// It may be one of the book.
    Shared,
}

impl Terms {
    /// Nothing is shared but what has a name.
    pub const NAMED: Self =
        Self { reading: Reading::PLAIN, bent: Bent::No, unnamed: UnnamedAs::Itself };
}

/// What became of an unnamed Parse where there is a cache for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server knew the statement.
    Hit,
    /// It was brought to the server, and stays.
    Miss,
    /// Its text was not seen before.
    First,
    /// Its text, or what it calls, is not the same each time that it is parsed.
    Text,
    /// The session is not as others are: settings, definitions or state of its own.
    Session,
    /// Answers were on their way, or the transaction has failed.
    Uncertain,
    /// It was parsed anew to compare the times.
    Sample,
    /// The kept plan was slower.
    Off,
}

impl Outcome {
    /// All of them, in the order of the counts.
    pub const ALL: [Self; 8] = [
        Self::Hit,
        Self::Miss,
        Self::First,
        Self::Text,
        Self::Session,
        Self::Uncertain,
        Self::Sample,
        Self::Off,
    ];

    /// As metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::First => "first",
            Self::Text => "text",
            Self::Session => "session",
            Self::Uncertain => "uncertain",
            Self::Sample => "sample",
            Self::Off => "off",
        }
    }
}

/// How often each outcome was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    outcomes: [u64; Outcome::ALL.len()],
    /// How often a statement was switched off because its kept plan was slower.
    pub switched_off: u64,
}

impl Counts {
    /// How often this one was.
    pub const fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    fn add(&mut self, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
    }
}

/// An unnamed statement that is one of the book, and how its executions go.
#[derive(Clone, Debug)]
pub struct Timed {
    /// The statement.
    pub statement: Arc<Statement>,
    /// How.
    pub way: Way,
}

/// Whose time is measured up to the next ReadyForQuery.
#[derive(Clone, Debug, Default)]
pub enum Timing {
    /// Nothing was parsed unnamed.
    #[default]
    None,
    /// One statement's.
    One(Timed),
    /// Nobody's: several were parsed, or one of which nothing is kept.
    Nobody,
}

impl Timing {
    fn add(&mut self, next: Option<Timed>) {
        *self = match (&*self, next) {
            (Self::None, Some(timed)) => Self::One(timed),
            (Self::None | Self::One(_) | Self::Nobody, _) => Self::Nobody,
        };
    }
}

impl Statements<'_> {
    /// A Parse of the unnamed statement.
    pub(super) fn parse_unnamed(
        &mut self,
        tail: &[u8],
        frame: &Frame,
        splice: &mut Splice<'_>,
    ) -> Translation {
        let tail = if frame.is_whole() { tail } else { b"" };
        let found = match self.terms.unnamed {
            UnnamedAs::Itself => None,
            UnnamedAs::Bypass(outcome) => Some(Err((outcome, None))),
            UnnamedAs::Shared if self.ledger.is_skipping() => None,
            UnnamedAs::Shared => Some(self.shared(tail)),
        };
        match found {
            Some(Ok(statement)) => return self.parse_shared(statement, splice),
            Some(Err((outcome, timed))) => {
                self.texts.counts.add(outcome);
                self.server.timing.add(timed);
            }
            None => {}
        }
        self.server.unnamed.parsed(tail, self.ledger);
        self.ledger.extended(Owed::Parse(None));
        splice.keep(frame.all.clone());
        Translation::Done(None)
    }

    /// The statement of the book that is meant, or why it is none.
    fn shared(&mut self, tail: &[u8]) -> Result<Arc<Statement>, (Outcome, Option<Timed>)> {
        let statement = self.shareable(tail).map_err(|outcome| (outcome, None))?;
        let Some(worth) = statement.worth() else { return Err((Outcome::Text, None)) };
        if worth.next() == Way::Kept {
            return Ok(statement);
        }
        let outcome = match worth.standing() {
            Standing::On => Outcome::Sample,
            Standing::Off => Outcome::Off,
            Standing::Never => Outcome::Text,
        };
        Err((outcome, Some(Timed { statement, way: Way::Anew })))
    }

    fn shareable(&mut self, tail: &[u8]) -> Result<Arc<Statement>, Outcome> {
        let whole = cstr(tail).is_some_and(|(_, types)| types.len() >= 2);
        if !whole || tail.len() > SHARED_TEXT_MAX {
            return Err(Outcome::Text);
        }
        // Whether a transaction has failed, or will have by then, is PostgreSQL's to say.
        if self.ledger.owes_round() || self.ledger.status() == TransactionStatus::Failed {
            return Err(Outcome::Uncertain);
        }
        if self.terms.reading == Reading::OTHER || self.terms.bent == Bent::Yes {
            return Err(Outcome::Session);
        }
        self.texts.intern_seen(self.terms.reading, tail).ok_or(Outcome::First)
    }

    /// The Parse of one of the book: answered here where the server knows it, else sent under its
    /// name.
    fn parse_shared(&mut self, statement: Arc<Statement>, splice: &mut Splice<'_>) -> Translation {
        let id = statement.id();
        let known = self.server.touch(id);
        let fresh = known == Known::Yes && !self.server.is_older(id, self.texts.last_redefined());
        let way = if fresh { Way::Kept } else { Way::Anew };
        if fresh {
            self.texts.counts.add(Outcome::Hit);
            statement.known_worth().into_iter().for_each(Worth::hit);
            self.ledger.extended(Owed::KnownUnnamed(id));
        } else {
            self.texts.counts.add(Outcome::Miss);
            if known == Known::Yes {
                self.server.remove(id);
                self.close_ours(id, splice);
            }
            self.make_room_for(id, splice);
            self.ledger.extended(Owed::SharedParse(id));
            put_parse(splice.edit(), id, statement.tail());
        }
        self.server.timing.add(Some(Timed { statement: Arc::clone(&statement), way }));
        self.server.unnamed.shared(statement, self.ledger);
        assert!(self.server.unnamed.shared_id() == Some(id), "the client's unnamed one is this");
        Translation::Done(None)
    }

    /// The text of the client's unnamed statement, as far as it is known.
    pub fn unnamed_sql(&self) -> &[u8] {
        match &self.client.unnamed {
            Some(statement) if self.server.unnamed.is_foreign() => statement.sql(),
            Some(_) | None => self.server.unnamed.sql(),
        }
    }

    /// The number of the client's unnamed statement, where it is one of the book and this server
    /// knows it. One that this server has lost since goes back to being unnamed.
    pub(super) fn shared_here(&mut self) -> Option<u64> {
        let id = self.server.unnamed.shared_id()?;
        if self.server.touch(id) == Known::Yes {
            return Some(id);
        }
        self.client.unnamed = self.server.unnamed.take_shared();
        self.server.unnamed.lent();
        None
    }
}
