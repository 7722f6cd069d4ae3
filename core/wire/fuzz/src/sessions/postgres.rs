//! A model of one PostgreSQL session, as far as prepared statements and transactions go.
//!
//! Owns: statements, portals, the transaction status and the skip-to-Sync rule, each as
//! PostgreSQL's own message loop has them. Refuses: everything that a session's data would need.
//! Invariant: a message is answered from what this session was sent before it, and nothing else.
//! Source: PostgreSQL, `src/backend/tcop/postgres.c` (`exec_parse_message`, `exec_bind_message`,
//! `exec_describe_statement_message`, `exec_execute_message`).

use std::collections::HashMap;

use stent_wire::frame::{Frame, Sender, cstr, frame_at, put_message};

/// One session.
#[derive(Default)]
pub(super) struct Postgres {
    statements: HashMap<Vec<u8>, Vec<u8>>,
    unnamed: Option<Vec<u8>>,
    portals: HashMap<Vec<u8>, Vec<u8>>,
    status: Status,
    skipping: bool,
    /// Whether the unnamed statement is one that a proxy may forget: it does not know whether a
    /// request that would have replaced it was skipped or failed.
    in_doubt: bool,
    /// Bytes that it has not read yet.
    pub(super) inbox: Vec<u8>,
    /// What it has said.
    pub(super) said: Vec<u8>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Status {
    #[default]
    Idle,
    Open,
    Failed,
}

/// An SQLSTATE.
type Failure = &'static str;

impl Postgres {
    /// Works off one message, if one is there.
    pub(super) fn step(&mut self) -> bool {
        let Some(frame) =
            frame_at(&self.inbox, 0, Sender::Frontend).expect("only known messages go to a server")
        else {
            assert!(self.inbox.is_empty(), "messages go to a server whole");
            return false;
        };
        let Frame { tag, all, body, .. } = frame;
        let body = self.inbox[body].to_vec();
        self.inbox.drain(all);
        self.message(tag, &body);
        true
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        if self.skipping && tag != b'S' {
            self.note_doubt(tag);
            return;
        }
        let done = match tag {
            b'Q' => return self.query(&body[..body.len() - 1]),
            b'P' => self.parse(body),
            b'B' => self.bind(body),
            b'D' => self.describe(body),
            b'E' => self.execute(body),
            b'C' => {
                let (name, _) = cstr(&body[1..]).expect("a name");
                match (body[0], name) {
                    (b'S', b"") => {
                        self.unnamed = None;
                        self.in_doubt = false;
                    }
                    (b'S', name) => drop(self.statements.remove(name)),
                    (_, name) => drop(self.portals.remove(name)),
                }
                self.say(b'3', b"");
                Ok(())
            }
            b'H' => Ok(()),
            b'S' => {
                self.skipping = false;
                if self.status == Status::Idle {
                    self.portals.clear();
                }
                return self.ready();
            }
            other => panic!("a message of type {other} went to a server"),
        };
        if let Err(code) = done {
            self.note_doubt(tag);
            self.fail(code);
            self.skipping = true;
        }
    }

    /// Whether a use of the unnamed statement has one certain outcome.
    pub(super) fn knows_unnamed(&self) -> bool {
        self.skipping || !self.in_doubt
    }

    fn note_doubt(&mut self, tag: u8) {
        self.in_doubt |= matches!(tag, b'P' | b'Q' | b'C');
    }

    fn query(&mut self, sql: &[u8]) {
        self.in_doubt = false;
        self.unnamed = None;
        if let Err(code) = self.may(sql).and_then(|()| self.run(sql)) {
            self.fail(code);
        }
        if self.status == Status::Idle {
            self.portals.clear();
        }
        self.ready();
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (name, tail) = cstr(body).expect("a name");
        let (sql, _) = cstr(tail).expect("a text");
        if name.is_empty() {
            self.unnamed = None;
        }
        if sql.starts_with(b"bad") {
            return Err("42601");
        }
        self.may(sql)?;
        if name.is_empty() {
            self.unnamed = Some(sql.to_vec());
            self.in_doubt = false;
        } else if self.statements.contains_key(name) {
            return Err("42P05");
        } else {
            self.statements.insert(name.to_vec(), sql.to_vec());
        }
        self.say(b'1', b"");
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<Vec<u8>, Failure> {
        let known = if name.is_empty() { self.unnamed.as_ref() } else { self.statements.get(name) };
        known.cloned().ok_or("26000")
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (portal, rest) = cstr(body).expect("a portal");
        let (name, _) = cstr(rest).expect("a name");
        let sql = self.statement(name)?;
        self.may(&sql)?;
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err("42P03");
        }
        self.portals.insert(portal.to_vec(), sql);
        self.say(b'2', b"");
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (name, _) = cstr(&body[1..]).expect("a name");
        let is_statement = body[0] == b'S';
        let sql = match is_statement {
            true => self.statement(name)?,
            false => self.portals.get(name).cloned().ok_or("34000")?,
        };
        let has_rows = sql.starts_with(b"select") || sql.starts_with(b"fail");
        // PostgreSQL describes what has no rows even then. A proxy that must bring it to the server
        // first cannot: a statement that ends no transaction is refused here in any case.
        self.may(&sql)?;
        if is_statement {
            self.say(b't', &[0, 0]);
        }
        match has_rows {
            true => self.say(b'T', &sql),
            false => self.say(b'n', b""),
        }
        Ok(())
    }

    fn execute(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (portal, _) = cstr(body).expect("a portal");
        let sql = self.portals.get(portal).cloned().ok_or("34000")?;
        self.may(&sql)?;
        self.run(&sql)
    }

    /// In a failed transaction only its end is taken.
    fn may(&self, sql: &[u8]) -> Result<(), Failure> {
        // An empty text has nothing that could be refused.
        let ends = sql == b"commit" || sql == b"rollback" || sql.is_empty();
        if self.status == Status::Failed && !ends { Err("25P02") } else { Ok(()) }
    }

    fn run(&mut self, sql: &[u8]) -> Result<(), Failure> {
        match sql {
            b"begin" => self.status = Status::Open,
            b"commit" | b"rollback" => {
                self.status = Status::Idle;
                self.portals.clear();
            }
            b"deallocate all" => {
                self.statements.clear();
                self.say(b'C', b"DEALLOCATE ALL\0");
                return Ok(());
            }
            sql if sql.starts_with(b"fail") => return Err("22012"),
            sql if sql.starts_with(b"bad") => return Err("42601"),
            sql => self.say(b'D', sql),
        }
        self.say(b'C', b"DONE\0");
        Ok(())
    }

    fn fail(&mut self, code: Failure) {
        if self.status != Status::Idle {
            self.status = Status::Failed;
        }
        self.portals.clear();
        let fields = [b"SERROR\0VERROR\0C", code.as_bytes(), b"\0Mno\0\0"].concat();
        self.say(b'E', &fields);
    }

    fn ready(&mut self) {
        let status = match self.status {
            Status::Idle => b'I',
            Status::Open => b'T',
            Status::Failed => b'E',
        };
        self.say(b'Z', &[status]);
    }

    fn say(&mut self, tag: u8, body: &[u8]) {
        put_message(&mut self.said, tag, |out| out.extend_from_slice(body));
    }
}
