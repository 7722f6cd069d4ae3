//! What a server still owes: the book of a connection from which its cleanliness is read.
//!
//! Owns: the queue of replies to come, the transaction status, the skip-to-Sync rule after an
//! error in the extended protocol, and COPY. Refuses: sockets and payloads.
//! Invariant: [`Ledger::is_quiet`] is true only when the server has answered everything, stands
//! outside of any transaction and COPY, and expects no Sync: only then may another client have it.
//! Source: PostgreSQL documentation, "Message Flow" (sections Extended Query, COPY Operations).
//!
//! ```text
//!              extended message                 ErrorResponse
//!   in step ───────────────────▶ in step, unsynced ─────────▶ skipping
//!      ▲ Sync / ReadyForQuery         │ Sync                     │ Sync
//!      └──────────────────────────────┴──────────────────────────┘
//! ```

mod front;

use std::collections::VecDeque;

use crate::limits::OWED_MAX;
use crate::prepared::{Registration, Removal};
use crate::report::Severity;
use crate::report::reply::TransactionStatus;

/// One reply to come, in the order of the requests.
#[derive(Debug)]
pub enum Owed {
    /// Query: results, then ReadyForQuery.
    Query,
    /// FunctionCall: a result, then ReadyForQuery.
    Call,
    /// Sync: ReadyForQuery.
    Sync,
    /// Parse: ParseComplete. Carries what must be undone if it is never parsed.
    Parse(Option<Box<Registration>>),
    /// A Parse of the unnamed statement that goes to the server as this one of the book:
    /// ParseComplete.
    SharedParse(u64),
    /// The same that the server need not see: we say ParseComplete when its turn comes.
    KnownUnnamed(u64),
    /// A Parse of a name that is taken: an error, whatever its text. Carries the name.
    Taken(Box<[u8]>),
    /// Bind: BindComplete. Carries the number of its statement; 0 where that is not one of ours.
    Bind(u64),
    /// Describe: RowDescription or NoData. Carries the number of its statement; 0 for a portal.
    Describe(u64),
    /// The same of the unnamed statement, which is this one of the book.
    BindUnnamed(u64),
    /// The same of the unnamed statement, which is this one of the book.
    DescribeUnnamed(u64),
    /// Execute: CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// Close: CloseComplete.
    Close,
    /// A Parse of ours, to bring a statement to this server: its ParseComplete is swallowed.
    InjectedParse(u64),
    /// A Describe of ours, to learn the shape of a statement's rows: its answer is swallowed.
    InjectedDescribe(u64),
    /// A Close of ours, to evict a statement: its CloseComplete is swallowed.
    InjectedClose(u64),
    /// A Parse that the server need not see: we say ParseComplete when its turn comes.
    OwnParse(Box<Registration>),
    /// A Close that the server need not see: we say CloseComplete when its turn comes.
    OwnClose(Option<Box<Removal>>),
    /// A Query of ours in the place of a refused message: its error is the client's, its
    /// ReadyForQuery is swallowed, and the client's messages up to its Sync are not sent.
    Refusal,
    /// CopyDone or CopyFail sent before the server had asked for data: owes nothing.
    CopyEnd,
}

impl Owed {
    const fn ends_round(&self) -> bool {
        matches!(self, Self::Query | Self::Call | Self::Sync | Self::Refusal)
    }

    /// Whether the reply is ours to give.
    const fn is_own(&self) -> bool {
        matches!(self, Self::OwnParse(_) | Self::OwnClose(_) | Self::KnownUnnamed(_))
    }
}

/// What to do with a message from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It is the client's.
    Forward,
    /// It answers a request of ours.
    Swallow,
}

/// The server sent what nobody asked for: the connection is out of step and must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a message of type {:?} that no request is waiting for", char::from(*.tag))]
pub struct OutOfStep {
    /// The message's type.
    pub tag: u8,
}

/// The book of one server connection. See the module's documentation.
#[derive(Debug)]
pub struct Ledger {
    owed: VecDeque<Owed>,
    undone: Vec<Owed>,
    status: TransactionStatus,
    unsynced: bool,
    skipping: bool,
    copy: Copy,
    /// A number of ReadyForQuery is no longer known: never quiet again.
    doubtful: bool,
    ended: bool,
    /// How many rounds have been sent, and how many of them are not answered yet. A round ends with
    /// a request that PostgreSQL answers by ReadyForQuery.
    rounds: u64,
    rounds_owed: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Copy {
    #[default]
    None,
    /// The server takes CopyData; Syncs sent meanwhile are ignored by it.
    In { syncs: u32 },
    /// Replication: both sides stream.
    Both,
}

impl Default for Ledger {
    /// The book of a server that has just said its first ReadyForQuery.
    fn default() -> Self {
        Self {
            owed: VecDeque::new(),
            undone: Vec::new(),
            status: TransactionStatus::Idle,
            unsynced: false,
            skipping: false,
            copy: Copy::None,
            doubtful: false,
            ended: false,
            rounds: 0,
            rounds_owed: 0,
        }
    }
}

impl Ledger {
    /// Whether the server may be lent to another client.
    pub fn is_quiet(&self) -> bool {
        self.is_settled() && self.status == TransactionStatus::Idle
    }

    /// Whether the server has nothing left to say to what it was sent, in a transaction or not.
    pub fn is_settled(&self) -> bool {
        self.owed.is_empty()
            && !self.unsynced
            && !self.skipping
            && !self.doubtful
            && !self.ended
            && self.copy == Copy::None
    }

    /// Whether the server waits for its client: nothing is owed, and no COPY data flows.
    pub fn awaits_client(&self) -> bool {
        self.owed.is_empty() || matches!(self.copy, Copy::In { .. })
    }

    /// Whether PostgreSQL ignores everything up to the next Sync.
    pub const fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Whether both sides talk at will, in a replication stream.
    pub fn streams_both_ways(&self) -> bool {
        self.copy == Copy::Both
    }

    /// Whether replies are outstanding up to the limit: read no further requests meanwhile.
    pub fn is_full(&self) -> bool {
        self.owed.len() >= OWED_MAX
    }

    /// The number of the round to which the next request belongs.
    pub const fn round(&self) -> u64 {
        self.rounds
    }

    /// Whether a round has been sent whole, and its answer is still on its way: what it changes is
    /// not certain. In front of COPY data there is nothing to wait for.
    pub fn is_undecided(&self, round: u64) -> bool {
        round < self.rounds && round >= self.first_unanswered() && self.owes_round()
    }

    /// Whether the answer to a whole round is on its way.
    pub fn owes_round(&self) -> bool {
        self.rounds_owed > 0 && !self.awaits_client()
    }

    /// The round that PostgreSQL answers next, and whose requests it skips after an error.
    pub fn first_unanswered(&self) -> u64 {
        assert!(self.rounds_owed <= self.rounds, "a round is answered once");
        self.rounds - self.rounds_owed
    }

    /// The transaction status as of the last ReadyForQuery.
    pub const fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Whether the server said its last word (a FATAL error).
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether CopyData, CopyDone and CopyFail are expected now; else PostgreSQL ignores them.
    pub fn takes_copy_data(&self) -> bool {
        self.copy != Copy::None || !self.owed.is_empty()
    }

    /// A Query or FunctionCall goes to the server.
    pub fn request(&mut self, owed: Owed) {
        assert!(matches!(owed, Owed::Query | Owed::Call | Owed::Refusal));
        self.note_interrupted_copy();
        if !self.skipping {
            self.owed.push_back(owed);
            self.round_sent();
            self.unsynced = false;
        }
        debug_assert!(!self.is_settled(), "a request is owed an answer, or is skipped");
    }

    /// A message of the extended protocol goes to the server (or is answered by us in its place).
    pub fn extended(&mut self, owed: Owed) {
        let simple = matches!(owed, Owed::Query | Owed::Call | Owed::Refusal);
        assert!(!simple && !matches!(owed, Owed::Sync | Owed::CopyEnd));
        self.note_interrupted_copy();
        if self.skipping {
            self.undone.push(owed);
            return;
        }
        self.owed.push_back(owed);
        self.unsynced = true;
    }

    /// A Sync goes to the server.
    pub fn sync(&mut self) {
        if let Copy::In { syncs } = &mut self.copy {
            *syncs = syncs.saturating_add(1);
            return;
        }
        self.owed.push_back(Owed::Sync);
        self.round_sent();
        self.skipping = false;
        self.unsynced = false;
        assert!(!self.is_settled(), "a Sync is owed its ReadyForQuery");
    }

    /// A CopyDone or CopyFail goes to the server.
    pub fn copy_end(&mut self) {
        match self.copy {
            Copy::In { .. } => self.copy = Copy::None,
            Copy::None if !self.owed.is_empty() && !self.skipping => {
                self.owed.push_back(Owed::CopyEnd);
            }
            Copy::None | Copy::Both => {}
        }
    }

    /// A message came from the server; `first` is the first byte of its body, if it has one.
    pub fn backend(&mut self, tag: u8, first: Option<u8>) -> Result<Pass, OutOfStep> {
        while matches!(self.owed.front(), Some(Owed::CopyEnd)) {
            self.owed.pop_front();
        }
        match tag {
            b'Z' => self.ready(first),
            b'1' => self.complete(tag),
            b'2' | b'3' | b'n' | b's' => self.complete(tag),
            b'C' | b'I' => self.command_complete(tag),
            b'T' => Ok(self.row_description()),
            b't' if matches!(self.owed.front(), Some(Owed::InjectedDescribe(_))) => {
                Ok(Pass::Swallow)
            }
            b'G' => self.copy_in_begins(),
            b'W' => {
                self.copy = Copy::Both;
                Ok(Pass::Forward)
            }
            // The client was told when it parsed the statement itself.
            b'N' if matches!(self.owed.front(), Some(Owed::InjectedParse(_))) => Ok(Pass::Swallow),
            b'A' | b'N' | b'S' | b'K' | b'R' | b'v' => Ok(Pass::Forward),
            b'd' | b'c' if self.copy == Copy::Both => Ok(Pass::Forward),
            _ if self.owed.is_empty() && !self.doubtful => Err(OutOfStep { tag }),
            _ => Ok(Pass::Forward),
        }
    }

    /// An ErrorResponse came.
    pub fn error(&mut self, severity: Severity) {
        if severity.ends_session() {
            self.ended = true;
        }
        if let Copy::In { syncs } = self.copy {
            // Whether the server read those Syncs before or after it failed cannot be known.
            self.doubtful |= syncs > 0;
            self.copy = Copy::None;
        }
        if matches!(
            self.owed.front(),
            None | Some(Owed::Query | Owed::Call | Owed::Sync | Owed::Refusal)
        ) {
            return;
        }
        while let Some(front) = self.owed.front() {
            if matches!(front, Owed::Sync) {
                return;
            }
            let skipped = self.owed.pop_front().expect("the front was there a line above");
            self.rounds_owed -= u64::from(skipped.ends_round());
            self.undone.push(skipped);
        }
        assert!(self.owed.is_empty(), "everything up to the Sync to come is skipped");
        self.skipping = true;
    }

    /// Appends the replies that are ours to give and whose turn has come.
    pub fn own_replies(&mut self, out: &mut Vec<u8>) {
        while self.owes_own_reply() {
            let tag = match self.owed.pop_front() {
                Some(Owed::OwnParse(_) | Owed::KnownUnnamed(_)) => b'1',
                _ => b'3',
            };
            out.extend_from_slice(&[tag, 0, 0, 0, 4]);
        }
    }

    /// Whether what the server says next is about a Query of ours in the place of a refused message.
    pub fn refuses(&self) -> bool {
        matches!(self.owed.front(), Some(Owed::Refusal))
    }

    /// Whether the server has been asked what a statement's rows look like.
    pub fn owes_inspection(&self) -> bool {
        self.owed.iter().any(|owed| matches!(owed, Owed::InjectedDescribe(_)))
    }

    /// Whether the server owes nothing but what we give in its place.
    pub fn owes_only_own(&self) -> bool {
        self.owed.iter().all(Owed::is_own)
    }

    /// Whether the client will be told the shape of a result.
    pub fn describes(&self) -> bool {
        self.owed.iter().any(|owed| matches!(owed, Owed::Describe(_) | Owed::DescribeUnnamed(_)))
    }

    /// Whether the server is to execute a statement of ours under one of our names.
    pub fn binds_named(&self) -> bool {
        let named = |owed: &Owed| matches!(owed, Owed::Bind(id) | Owed::Describe(id) if *id > 0);
        let unnamed = |owed: &Owed| matches!(owed, Owed::BindUnnamed(_) | Owed::DescribeUnnamed(_));
        self.owed.iter().any(|owed| named(owed) || unnamed(owed))
    }

    /// Whether one Sync, and nothing behind it, ends what is owed.
    pub fn ends_in_one_sync(&self) -> bool {
        let syncs = self.owed.iter().filter(|owed| matches!(owed, Owed::Sync)).count();
        syncs == 1 && matches!(self.owed.back(), Some(Owed::Sync))
    }

    /// Whether the next reply is ours to give.
    pub fn owes_own_reply(&self) -> bool {
        self.owed.front().is_some_and(Owed::is_own)
    }

    /// The requests that the server skipped, oldest first: their effects must be undone.
    pub fn take_undone(&mut self) -> impl DoubleEndedIterator<Item = Owed> + '_ {
        self.undone.drain(..)
    }

    /// Whether there is anything in [`Ledger::take_undone`].
    pub fn has_undone(&self) -> bool {
        !self.undone.is_empty()
    }

    /// What the server answers next.
    fn next_of_server(&self) -> Option<&Owed> {
        self.owed.iter().find(|owed| !owed.is_own())
    }

    fn round_sent(&mut self) {
        self.rounds += 1;
        self.rounds_owed += 1;
    }

    fn ready(&mut self, status: Option<u8>) -> Result<Pass, OutOfStep> {
        let answered = self.owed.pop_front();
        self.rounds_owed -= u64::from(answered.as_ref().is_some_and(Owed::ends_round));
        let pass = match answered {
            Some(Owed::Query | Owed::Call | Owed::Sync) => Pass::Forward,
            Some(Owed::Refusal) => Pass::Swallow,
            None if self.doubtful => Pass::Forward,
            _ => return Err(OutOfStep { tag: b'Z' }),
        };
        let status = status.and_then(TransactionStatus::parse);
        self.status = status.ok_or(OutOfStep { tag: b'Z' })?;
        Ok(pass)
    }

    /// A reply that answers exactly one kind of extended request.
    fn complete(&mut self, tag: u8) -> Result<Pass, OutOfStep> {
        let front = self.owed.front();
        let pass = match (tag, front) {
            (b'1', Some(Owed::InjectedParse(_)))
            | (b'3', Some(Owed::InjectedClose(_)))
            | (b'n', Some(Owed::InjectedDescribe(_))) => Pass::Swallow,
            (b'1', Some(Owed::Parse(_)))
            | (b'1', Some(Owed::Taken(_) | Owed::SharedParse(_)))
            | (b'2', Some(Owed::Bind(_) | Owed::BindUnnamed(_)))
            | (b'3', Some(Owed::Close))
            | (b'n', Some(Owed::Describe(_) | Owed::DescribeUnnamed(_)))
            | (b's', Some(Owed::Execute)) => Pass::Forward,
            _ => return Err(OutOfStep { tag }),
        };
        self.owed.pop_front();
        Ok(pass)
    }

    fn command_complete(&mut self, tag: u8) -> Result<Pass, OutOfStep> {
        match self.owed.front() {
            Some(Owed::Execute) => {
                self.owed.pop_front();
            }
            Some(Owed::Query | Owed::Refusal) => {}
            _ if self.doubtful || self.copy == Copy::Both => {}
            _ => return Err(OutOfStep { tag }),
        }
        if matches!(self.copy, Copy::In { .. }) {
            self.copy = Copy::None;
        }
        Ok(Pass::Forward)
    }

    fn row_description(&mut self) -> Pass {
        match self.owed.front() {
            Some(Owed::Describe(_) | Owed::DescribeUnnamed(_)) => {
                self.owed.pop_front();
                Pass::Forward
            }
            Some(Owed::InjectedDescribe(_)) => {
                self.owed.pop_front();
                Pass::Swallow
            }
            _ => Pass::Forward,
        }
    }

    /// CopyInResponse: the server ignores every Sync that it reads before CopyDone or CopyFail.
    fn copy_in_begins(&mut self) -> Result<Pass, OutOfStep> {
        if !matches!(self.owed.front(), Some(Owed::Query | Owed::Execute)) {
            return Err(OutOfStep { tag: b'G' });
        }
        let end = self.owed.iter().position(|owed| matches!(owed, Owed::CopyEnd));
        let until = end.unwrap_or(self.owed.len());
        let mut at = 0;
        self.owed.retain(|owed| {
            let ignored = at < until && matches!(owed, Owed::Sync);
            let keep = !(ignored || Some(at) == end);
            self.rounds_owed -= u64::from(ignored);
            at += 1;
            keep
        });
        self.copy = if end.is_some() { Copy::None } else { Copy::In { syncs: 0 } };
        assert!(!self.owed.is_empty(), "the COPY itself is still owed its end");
        Ok(Pass::Forward)
    }

    /// A request in the middle of COPY data: the server fails the COPY and loses the request.
    fn note_interrupted_copy(&mut self) {
        if matches!(self.copy, Copy::In { .. }) {
            self.doubtful = true;
        }
    }
}

mod room;
#[cfg(test)]
mod tests;
