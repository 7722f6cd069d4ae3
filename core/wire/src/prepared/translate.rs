//! Rewrites Parse, Bind, Describe and Close between a client's names and a server's.
//!
//! Owns: the one place where the maps of client and server and the ledger change together.
//! Invariant: the server sees only names of the form `_stent_<number>`, each for one text for
//! ever; a client can neither reach such a name by guessing it nor see a statement that it has
//! not prepared.

use std::sync::Arc;

use super::names::{DECOY, ServerName, is_ours};
use super::pending::Pending;
use super::server::{Fit, Known};
use super::{
    Bent, ClientStatements, OnServer, Registration, Removal, ServerStatements, Statement, Terms,
    Texts, Timing,
};
use crate::frame::{Frame, cstr, put_message};
use crate::ledger::{Ledger, Owed};
use crate::report::reply::TransactionStatus;
use crate::splice::Splice;

/// The books that a translation reads and writes.
pub struct Statements<'a> {
    /// All texts.
    pub texts: &'a mut Texts,
    /// The client's names.
    pub client: &'a mut ClientStatements,
    /// The server's statements.
    pub server: &'a mut ServerStatements,
    /// What the server owes.
    pub ledger: &'a mut Ledger,
    /// How the client's texts are read now.
    pub terms: Terms,
}

/// What became of a message.
#[derive(Debug)]
pub enum Translation {
    /// What must go on has been given to the splice; the statement, where it is a named one.
    Done(Option<Arc<Statement>>),
    /// The names are not whole yet: call again with more bytes.
    Incomplete,
    /// What the names mean depends on an answer that is on its way: call again when it has come.
    Undecided,
    /// The statement's rows have another shape than its client was told: PostgreSQL would refuse.
    Stale,
    /// The client keeps more names than it may.
    TooManyNames,
}

impl Statements<'_> {
    /// A Parse. The frame must be whole unless the name is empty.
    pub fn parse(&mut self, chunk: &[u8], frame: &Frame, splice: &mut Splice<'_>) -> Translation {
        let body = &chunk[frame.body.clone()];
        let Some((name, tail)) = cstr(body) else {
            return self.pass(frame, splice, Owed::Parse(None));
        };
        if name.is_empty() {
            return self.parse_unnamed(tail, frame, splice);
        }
        if !frame.is_whole() {
            return Translation::Incomplete;
        }
        if cstr(tail).is_none() {
            // Not a Parse message: PostgreSQL refuses it better than we could.
            return self.pass(frame, splice, Owed::Parse(None));
        }
        if self.is_undecided(name) {
            return Translation::Undecided;
        }
        if let Some(taken) = self.client.get(name).cloned() {
            // Parsed under a name that the server has and nobody uses, the text draws what
            // PostgreSQL has to say against it, or its own 42P05, with all that an error does to the
            // transaction. No client's statement is at stake.
            if self.server.is_undecided(DECOY, self.ledger) {
                return Translation::Undecided;
            }
            self.bring_decoy(splice);
            self.ledger.extended(Owed::Taken(name.into()));
            put_parse(splice.edit(), DECOY, tail);
            return Translation::Done(Some(taken));
        }
        if !self.client.has_room() {
            return Translation::TooManyNames;
        }
        let statement = self.texts.intern(self.terms.reading, tail);
        if self.server.is_undecided(statement.id(), self.ledger) {
            return Translation::Undecided;
        }
        let now = self.texts.tick();
        self.client.insert(name, Arc::clone(&statement), now);
        self.register(name, &statement, splice);
        Translation::Done(Some(statement))
    }

    /// A Bind. Its two names must be there; the parameters may still be on their way.
    pub fn bind(&mut self, chunk: &[u8], frame: &Frame, splice: &mut Splice<'_>) -> Translation {
        let body = &chunk[frame.body.clone()];
        let names = cstr(body).and_then(|(portal, rest)| Some((portal, cstr(rest)?)));
        let Some((portal, (name, _))) = names else {
            return self.cut_short(frame, splice, Owed::Bind(0));
        };
        if self.is_undecided(name) {
            return Translation::Undecided;
        }
        if name.is_empty() {
            if let Some(id) = self.shared_here() {
                self.ledger.extended(Owed::BindUnnamed(id));
                put_bind(frame, portal, name, &ServerName::numbered(id), splice);
                return Translation::Done(None);
            }
            self.bring_unnamed(splice);
        }
        let statement = self.meant(name);
        if statement.is_none() && !is_ours(name) {
            return self.pass(frame, splice, Owed::Bind(0));
        }
        self.client.bound(name);
        if let Some(statement) = &statement
            && let Err(why_not) = self.bring_fitting(name, statement, splice)
        {
            return why_not;
        }
        self.ledger.extended(Owed::Bind(id(statement.as_deref())));
        assert!(self.ledger.has_undone() || !self.ledger.is_settled(), "a Bind is on the book");
        let server_name = ServerName::of(statement.as_deref(), name);
        put_bind(frame, portal, name, &server_name, splice);
        Translation::Done(statement)
    }

    /// A Describe, whole.
    pub fn describe(
        &mut self,
        chunk: &[u8],
        frame: &Frame,
        splice: &mut Splice<'_>,
    ) -> Translation {
        if chunk[frame.body.clone()].starts_with(b"S\0") {
            if self.is_undecided(b"") {
                return Translation::Undecided;
            }
            if let Some(id) = self.shared_here() {
                self.ledger.extended(Owed::DescribeUnnamed(id));
                put_statement(splice.edit(), b'D', ServerName::numbered(id).bytes());
                return Translation::Done(None);
            }
            self.bring_unnamed(splice);
        }
        let Some(name) = statement_name(&chunk[frame.body.clone()]) else {
            return self.cut_short(frame, splice, Owed::Describe(0));
        };
        if self.is_undecided(name) {
            return Translation::Undecided;
        }
        let statement = self.meant(name);
        if statement.is_none() && !is_ours(name) {
            return self.pass(frame, splice, Owed::Describe(0));
        }
        if let Some(statement) = &statement
            && let Err(why_not) = self.bring_fitting(name, statement, splice)
        {
            return why_not;
        }
        self.ledger.extended(Owed::Describe(id(statement.as_deref())));
        let server_name = ServerName::of(statement.as_deref(), name);
        put_statement(splice.edit(), b'D', server_name.bytes());
        Translation::Done(statement)
    }

    /// A Close, whole. The server keeps the statement: other clients may use the same text.
    pub fn close(&mut self, chunk: &[u8], frame: &Frame, splice: &mut Splice<'_>) -> Translation {
        if chunk[frame.body.clone()].starts_with(b"S\0") {
            self.drop_unnamed();
        }
        let Some(name) = statement_name(&chunk[frame.body.clone()]) else {
            return self.cut_short(frame, splice, Owed::Close);
        };
        if self.is_undecided(name) {
            return Translation::Undecided;
        }
        let removed = self.client.remove(name);
        if removed.is_none() && !is_ours(name) {
            return self.pass(frame, splice, Owed::Close);
        }
        self.server.pending.note(Pending::name(name), self.ledger);
        let removal = removed.map(|statement| Box::new(Removal { name: name.into(), statement }));
        self.ledger.extended(Owed::OwnClose(removal));
        Translation::Done(None)
    }

    /// The server said that it has forgotten every statement (DEALLOCATE ALL, DISCARD ALL).
    pub fn deallocated_all(&mut self) {
        self.client.clear();
        self.server.clear();
    }

    fn drop_unnamed(&mut self) {
        drop_unnamed(self.client, self.server, self.ledger);
    }

    /// Whether what a name means, or the statement behind it, depends on an answer to come.
    fn is_undecided(&mut self, name: &[u8]) -> bool {
        if name.is_empty() {
            let shared = self.server.unnamed.shared_id();
            return self.server.unnamed.is_undecided(self.ledger)
                || shared.is_some_and(|id| self.server.is_undecided(id, self.ledger));
        }
        let statement = self.client.get(name);
        self.server.pending.is_undecided(Pending::name(name), self.ledger)
            || statement.is_some_and(|known| self.server.is_undecided(known.id(), self.ledger))
    }

    /// The server leaves the client: its unnamed statement stays the client's.
    pub fn keep_unnamed(&mut self) {
        if self.server.unnamed.is_foreign() {
            return;
        }
        self.server.timing = Timing::None;
        if let Some(shared) = self.server.unnamed.take_shared() {
            self.client.unnamed = Some(shared);
            return;
        }
        let tail = self.server.unnamed.tail();
        if tail.is_empty() {
            self.client.unnamed = None;
        } else if self.client.unnamed.as_ref().is_none_or(|known| known.tail() != tail) {
            self.client.unnamed = Some(self.texts.intern(self.terms.reading, tail));
        }
    }

    /// The statement that a client means by a name. Where the client's settings have changed since
    /// its Parse and this server does not know the statement, it is read as it would be now: a
    /// server keeps no statement that was read otherwise than its number says.
    fn meant(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let statement = self.client.get(name)?;
        let reading = self.terms.reading;
        if statement.reading() == reading || self.terms.bent == Bent::Yes {
            return Some(Arc::clone(statement));
        }
        let statement = Arc::clone(statement);
        if self.server.touch(statement.id()) == Known::Yes
            && !self.server.is_private(statement.id())
        {
            return Some(statement);
        }
        let now = self.texts.intern(reading, statement.tail());
        self.client.reread(name, Arc::clone(&now));
        Some(now)
    }

    /// Makes the server's unnamed statement this client's.
    fn bring_unnamed(&mut self, splice: &mut Splice<'_>) {
        if !self.server.unnamed.is_foreign() {
            return;
        }
        match self.client.unnamed.clone() {
            Some(statement) => {
                self.server.unnamed.parsed(statement.tail(), self.ledger);
                self.ledger.extended(Owed::InjectedParse(0));
                put_message(splice.edit(), b'P', |out| {
                    out.push(0);
                    out.extend_from_slice(statement.tail());
                });
            }
            None => {
                self.server.unnamed.dropped(self.ledger);
                self.ledger.extended(Owed::InjectedClose(0));
                put_statement(splice.edit(), b'C', b"");
            }
        }
    }

    /// Sends a new name's Parse to the server, or answers it where the server knows the text.
    fn register(&mut self, name: &[u8], statement: &Arc<Statement>, splice: &mut Splice<'_>) {
        let registration = |on_server| {
            Box::new(Registration {
                name: name.into(),
                statement: Arc::clone(statement),
                on_server,
            })
        };
        self.server.pending.note(Pending::name(name), self.ledger);
        // Whether a transaction has failed, or will have by then, is PostgreSQL's to say.
        // In an open one there may have been DDL that the server's plan does not know.
        let certain = self.ledger.status() == TransactionStatus::Idle
            && !self.ledger.owes_round()
            && self.terms.bent == Bent::No;
        let id = statement.id();
        let known = self.server.touch(id);
        let certain = certain && !self.server.is_older(id, self.texts.last_redefined());
        if known == Known::Yes && certain {
            self.ledger.extended(Owed::OwnParse(registration(OnServer::Known)));
            return;
        }
        if known == Known::Yes {
            self.server.remove(id);
            self.close_ours(id, splice);
        }
        self.make_room_for(id, splice);
        self.ledger.extended(Owed::Parse(Some(registration(OnServer::Sent))));
        put_parse(splice.edit(), id, statement.tail());
    }

    /// Brings a statement to the server, if its rows have the shape there that the client was told.
    fn bring_fitting(
        &mut self,
        name: &[u8],
        statement: &Arc<Statement>,
        splice: &mut Splice<'_>,
    ) -> Result<(), Translation> {
        match self.fits(name, statement, splice) {
            Fit::Yes => self.bring(statement, splice),
            Fit::Unknown => return Err(Translation::Undecided),
            Fit::No => return Err(Translation::Stale),
        }
        Ok(())
    }

    /// Whether the rows on this server have the shape that the client was told. Where that is not
    /// known the server is asked.
    fn fits(&mut self, name: &[u8], statement: &Arc<Statement>, splice: &mut Splice<'_>) -> Fit {
        let Some(told) = self.client.told(name) else { return Fit::Yes };
        if self.ledger.is_skipping() {
            return Fit::Yes;
        }
        if self.ledger.owes_inspection() {
            return Fit::Unknown;
        }
        let id = statement.id();
        let fit = self.server.fits(id, told);
        if fit == Fit::Unknown {
            self.bring(statement, splice);
            self.ledger.extended(Owed::InjectedDescribe(id));
            put_statement(splice.edit(), b'D', ServerName::numbered(id).bytes());
            put_message(splice.edit(), b'H', |_| {});
        }
        fit
    }

    /// Brings a statement to the server if it is not there.
    fn bring(&mut self, statement: &Arc<Statement>, splice: &mut Splice<'_>) {
        assert!(!statement.tail().is_empty(), "a statement has at least its terminators");
        let (id, bent) = (statement.id(), self.terms.bent);
        if self.server.touch(id) == Known::Yes {
            if bent == Bent::Yes || !self.server.is_private(id) {
                return;
            }
            // It was parsed as only some client's transaction read it.
            self.server.remove(id);
            self.close_ours(id, splice);
        }
        self.make_room_for(id, splice);
        self.ledger.extended(Owed::InjectedParse(id));
        put_parse(splice.edit(), id, statement.tail());
    }

    /// Makes sure that the server has the decoy. PostgreSQL takes an empty text always.
    fn bring_decoy(&mut self, splice: &mut Splice<'_>) {
        if self.server.touch(DECOY) == Known::No {
            self.make_room_for(DECOY, splice);
            self.ledger.extended(Owed::InjectedParse(DECOY));
            put_parse(splice.edit(), DECOY, b"\0\0\0");
        }
    }

    /// Has the server close a statement that we have named.
    pub(super) fn close_ours(&mut self, id: u64, splice: &mut Splice<'_>) {
        self.ledger.extended(Owed::InjectedClose(id));
        put_statement(splice.edit(), b'C', ServerName::numbered(id).bytes());
    }

    pub(super) fn make_room_for(&mut self, id: u64, splice: &mut Splice<'_>) {
        self.server.pending.note(id, self.ledger);
        if self.server.take_stale(id) {
            self.close_ours(id, splice);
        }
        // What is parsed as only this client reads it is good for nobody else.
        let now = if self.terms.bent == Bent::Yes { 0 } else { self.texts.tick() };
        for evicted in self.server.insert(id, now) {
            self.server.pending.note(evicted, self.ledger);
            self.close_ours(evicted, splice);
        }
    }

    /// A message whose names are not all there: wait for them, or let PostgreSQL refuse it.
    fn cut_short(&mut self, frame: &Frame, splice: &mut Splice<'_>, owed: Owed) -> Translation {
        if frame.is_whole() { self.pass(frame, splice, owed) } else { Translation::Incomplete }
    }

    fn pass(&mut self, frame: &Frame, splice: &mut Splice<'_>, owed: Owed) -> Translation {
        self.ledger.extended(owed);
        splice.keep(frame.all.clone());
        Translation::Done(None)
    }
}

/// A Query goes to the server, or the unnamed statement is closed: there is none any more.
pub fn drop_unnamed(client: &mut ClientStatements, server: &mut ServerStatements, ledger: &Ledger) {
    if !ledger.is_skipping() {
        server.unnamed.dropped(ledger);
        client.unnamed = None;
    }
}

/// The statement name of a Describe or Close, `None` for a portal or a malformed body.
fn statement_name(body: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = body.split_first()?;
    let (name, _) = cstr(rest)?;
    (*kind == b'S' && !name.is_empty()).then_some(name)
}

/// Its number; 0 for what is not one of ours.
fn id(statement: Option<&Statement>) -> u64 {
    statement.map_or(0, Statement::id)
}

/// Appends a Bind under another name: its values are copied from the chunk.
fn put_bind(
    frame: &Frame,
    portal: &[u8],
    name: &[u8],
    server_name: &ServerName,
    splice: &mut Splice<'_>,
) {
    let server_name = server_name.bytes();
    let values = frame.body.start + portal.len() + 1 + name.len() + 1;
    let len = frame.len() - 1 - name.len() + server_name.len();
    let out = splice.edit();
    out.push(b'B');
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.extend_from_slice(portal);
    out.push(0);
    out.extend_from_slice(server_name);
    out.push(0);
    splice.copy(values..frame.body.end);
}

pub(super) fn put_parse(out: &mut Vec<u8>, id: u64, tail: &[u8]) {
    put_message(out, b'P', |out| {
        out.extend_from_slice(ServerName::numbered(id).bytes());
        out.push(0);
        out.extend_from_slice(tail);
    });
}

fn put_statement(out: &mut Vec<u8>, tag: u8, name: &[u8]) {
    put_message(out, tag, |out| {
        out.push(b'S');
        out.extend_from_slice(name);
        out.push(0);
    });
}
