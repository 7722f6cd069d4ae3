//! Rounds: what one client says until it has heard ReadyForQuery.
//!
//! Owns: the choice, from a seed, such that the answer is determined: nobody waits for a lock, no
//! more clients than the pool has servers hold one, and nothing depends on what a proxy between two
//! connections cannot know (a statement used in a later round than the definitions that it was
//! parsed with).
//! Invariant: equal seeds give equal schedules where answers are equal.

use super::super::raw::{execute, message, query, sync};
use super::texts::{
    DEFINITIONS, ENDS, LOCAL_SETTINGS, SETTINGS, STATEMENTS, TIDIES, TYPES, Text, VALUES,
};

/// How many clients there are.
pub(super) const CLIENTS: usize = 4;
/// How many of them may hold a server between two rounds.
pub(super) const HOLDERS_MAX: usize = 1;

/// The last three quarters of so many rounds are calm.
const CALM_EVERY: u64 = 1_000;

/// What a client says, and how many ReadyForQuery it hears.
#[derive(Default)]
pub(super) struct Round {
    pub(super) client: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) readies: usize,
    /// For people.
    pub(super) story: Vec<String>,
}

/// What the schedule remembers of a client.
#[derive(Default)]
struct Client {
    status: Status,
    /// It has a role, or a temporary table: its server stays with it.
    role: bool,
    temp: bool,
    /// Its transaction has changed definitions: nobody else says anything.
    alone: bool,
    /// Its names with their parameters, and with which definitions and settings they were parsed.
    names: Vec<(String, usize, u64)>,
    unnamed: Option<(usize, u64)>,
    settings: u64,
    /// Its settings are not those that it began with.
    custom: bool,
}

/// A transaction's status.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Status {
    #[default]
    Idle,
    Open,
    Failed,
}

/// See the module's documentation.
pub(super) struct Schedule {
    random: u64,
    clients: [Client; CLIENTS],
    definitions: u64,
    names: u64,
    rounds: u64,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: seed, clients: Default::default(), definitions: 0, names: 0, rounds: 0 }
    }

    /// SplitMix64.
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn holds(&self, at: usize) -> bool {
        let client = &self.clients[at];
        client.status != Status::Idle || client.role || client.temp
    }

    fn others_hold(&self, at: usize) -> usize {
        (0..CLIENTS).filter(|other| *other != at && self.holds(*other)).count()
    }

    fn others_open(&self, at: usize) -> bool {
        let open = |other: usize| self.clients[other].status != Status::Idle;
        (0..CLIENTS).any(|other| other != at && open(other))
    }

    /// The next round.
    pub(super) fn next(&mut self) -> Round {
        let alone = self.clients.iter().position(|client| client.alone);
        let at = alone.unwrap_or_else(|| self.below(CLIENTS));
        let mut round = Round { client: at, ..Round::default() };
        self.rounds += 1;
        // In calm times nothing changes, and what is kept is used.
        let calm = self.is_calm();
        let failed = self.clients[at].status == Status::Failed;
        if self.rounds.is_multiple_of(50) && (0..CLIENTS).all(|client| !self.holds(client)) {
            // Else results grow with the number of rounds.
            let tidy = self.below(TIDIES.len());
            self.query(&mut round, TIDIES[tidy]);
            return round;
        }
        match self.below(100) {
            0..8 => self.transaction(&mut round),
            8..60 if failed => self.transaction(&mut round),
            8..20 if calm && self.clients[at].custom => self.set_back(&mut round),
            8..20 if calm => {}
            8..13 => self.define(&mut round),
            13..20 => self.set(&mut round),
            20..24 => self.simple(&mut round),
            24..32 => self.named(&mut round),
            32..38 => self.in_two_rounds(&mut round),
            38..46 => self.pipeline(&mut round),
            46..49 if !calm => self.forget(&mut round),
            49..52 if !calm || self.holds(at) => self.hold(&mut round),
            _ => self.unnamed(&mut round),
        }
        if round.readies == 0 {
            self.unnamed(&mut round);
        }
        round
    }

    fn is_calm(&self) -> bool {
        self.rounds % CALM_EVERY >= CALM_EVERY / 4
    }

    /// What the client heard last.
    pub(super) fn heard(&mut self, at: usize, status: Status, failed: bool) {
        let client = &mut self.clients[at];
        client.status = status;
        client.alone &= status != Status::Idle;
        if failed {
            // Which of its statements PostgreSQL has taken is not followed here.
            client.unnamed = None;
            client.names.clear();
        }
    }

    /// Whether the client's settings or definitions may have changed by a rollback.
    fn changed(&mut self, at: usize) {
        self.clients[at].settings += 1;
    }

    fn stamp(&self, at: usize) -> u64 {
        self.definitions << 32 | self.clients[at].settings
    }

    fn transaction(&mut self, round: &mut Round) {
        let at = round.client;
        let (status, repeatable) = (self.clients[at].status, self.one_in(4));
        let sql = match status {
            Status::Idle if self.others_hold(at) >= HOLDERS_MAX => return,
            Status::Idle if repeatable => "begin isolation level repeatable read",
            Status::Idle => "begin",
            Status::Open | Status::Failed => {
                self.changed(at);
                ENDS[self.below(ENDS.len())]
            }
        };
        self.say(round, sql, 0);
    }

    fn define(&mut self, round: &mut Round) {
        let at = round.client;
        if self.others_open(at) {
            return;
        }
        self.definitions += 1;
        self.clients[at].alone = self.clients[at].status != Status::Idle;
        let sql = DEFINITIONS[self.below(DEFINITIONS.len())];
        let simple = sql.contains("; ") || self.one_in(2);
        if simple { self.query(round, sql) } else { self.say(round, sql, 0) }
    }

    fn set(&mut self, round: &mut Round) {
        let at = round.client;
        self.changed(at);
        self.clients[at].custom = true;
        let (status, local) = (self.clients[at].status, self.one_in(2));
        let sql = match status {
            Status::Open if local => LOCAL_SETTINGS[self.below(LOCAL_SETTINGS.len())],
            // Else no two clients would ever have the same.
            _ if local => "reset all",
            Status::Idle | Status::Open | Status::Failed => SETTINGS[self.below(SETTINGS.len())],
        };
        if self.one_in(2) { self.query(round, sql) } else { self.say(round, sql, 0) }
    }

    fn set_back(&mut self, round: &mut Round) {
        let at = round.client;
        self.changed(at);
        self.clients[at].custom = self.clients[at].status != Status::Idle;
        self.query(round, "reset all");
    }

    fn simple(&mut self, round: &mut Round) {
        let (sql, parameters) = self.statement(round.client);
        if parameters == 0 {
            self.query(round, sql);
        }
    }

    /// A role or a temporary table, and its end.
    fn hold(&mut self, round: &mut Round) {
        let at = round.client;
        if self.clients[at].status != Status::Idle {
            return;
        }
        self.changed(at);
        let sql = match (self.clients[at].role, self.clients[at].temp) {
            (true, _) => "reset role",
            (_, true) => "discard temp",
            _ if self.others_hold(at) >= HOLDERS_MAX => return,
            _ if self.one_in(2) => "set role guest",
            _ => "create temp table t (a int, b text default 'temp')",
        };
        self.clients[at].role = sql == "set role guest";
        self.clients[at].temp = sql.starts_with("create");
        self.definitions += 1;
        self.query(round, sql);
    }

    /// Parse, Bind and Execute in one round, in the ways of drivers.
    fn unnamed(&mut self, round: &mut Round) {
        let text = self.statement(round.client);
        self.parse(round, "", text);
        self.run(round, "", text.1);
        self.sync(round);
    }

    /// Parse in one round, Bind in the next.
    fn in_two_rounds(&mut self, round: &mut Round) {
        let (at, stamp) = (round.client, self.stamp(round.client));
        match self.clients[at].unnamed {
            Some((parameters, parsed)) if parsed == stamp => self.run(round, "", parameters),
            _ => {
                let text = self.statement(round.client);
                self.parse(round, "", text);
                if self.one_in(2) {
                    self.describe(round, b'S', "");
                }
            }
        }
        self.sync(round);
    }

    /// Several statements in one round, or several rounds in one go.
    fn pipeline(&mut self, round: &mut Round) {
        for _ in 0..2 + self.below(3) {
            let text = self.statement(round.client);
            self.parse(round, "", text);
            self.run(round, "", text.1);
            if self.one_in(3) {
                self.sync(round);
            }
        }
        self.sync(round);
    }

    fn named(&mut self, round: &mut Round) {
        let (at, stamp) = (round.client, self.stamp(round.client));
        self.clients[at].names.retain(|(.., parsed)| *parsed == stamp);
        let known = self.clients[at].names.len();
        if known > 0 && self.one_in(2) {
            let which = self.below(known);
            let (name, parameters, _) = self.clients[at].names[which].clone();
            self.run(round, &name, parameters);
        } else {
            let text = self.statement(round.client);
            self.names += 1;
            let name = format!("s{}", self.names);
            self.parse(round, &name, text);
            self.run(round, &name, text.1);
            self.clients[at].names.push((name, text.1, stamp));
        }
        self.sync(round);
    }

    fn forget(&mut self, round: &mut Round) {
        let at = round.client;
        if self.one_in(2) {
            round.story.push("Close ''".to_owned());
            round.bytes.extend(message(b'C', b"S\0"));
            self.clients[at].unnamed = None;
            self.sync(round);
        } else {
            self.clients[at].names.clear();
            self.query(round, "deallocate all");
        }
    }

    fn statement(&mut self, at: usize) -> Text {
        // Some come often.
        let few = self.one_in(2);
        let which = if few { self.below(8) * 6 } else { self.below(STATEMENTS.len()) };
        let (sql, parameters) = STATEMENTS[which];
        // Rows that an open transaction has changed would be waited for.
        let waits = sql.starts_with("update") || sql.starts_with("delete");
        // What is no SQL may be the DDL of a later version: what is kept is parsed anew behind it.
        let unsettles = sql == "selec" && self.is_calm();
        if waits && self.others_open(at) || unsettles { ("select 1", 0) } else { (sql, parameters) }
    }

    /// A statement by the extended protocol, all in one round.
    fn say(&mut self, round: &mut Round, sql: &'static str, parameters: usize) {
        self.parse(round, "", (sql, parameters));
        self.run(round, "", parameters);
        self.sync(round);
    }

    fn query(&mut self, round: &mut Round, sql: &str) {
        round.story.push(format!("Query {sql:?}"));
        round.bytes.extend(query(sql));
        round.readies += 1;
        self.clients[round.client].unnamed = None;
    }

    fn parse(&mut self, round: &mut Round, name: &str, (sql, parameters): Text) {
        let mut body = format!("{name}\0{sql}\0").into_bytes();
        let declared = if self.one_in(12) { TYPES[self.below(TYPES.len())] } else { None };
        let types: Vec<u32> = declared.into_iter().cycle().take(parameters).collect();
        let types = if declared.is_some() { types } else { Vec::new() };
        body.extend((types.len() as u16).to_be_bytes());
        types.iter().for_each(|of| body.extend(of.to_be_bytes()));
        round.story.push(format!("Parse {name:?} {sql:?} {types:?}"));
        round.bytes.extend(message(b'P', &body));
        if name.is_empty() {
            let stamp = self.stamp(round.client);
            self.clients[round.client].unnamed = Some((parameters, stamp));
        }
    }

    /// Bind and Execute, described or not.
    fn run(&mut self, round: &mut Round, name: &str, parameters: usize) {
        if self.one_in(3) {
            self.describe(round, b'S', name);
        }
        let given = if self.one_in(40) { parameters + 1 } else { parameters };
        // Most are numbers, so that most statements succeed.
        let values: Vec<_> = (0..given)
            .map(|_| {
                let limit = if self.one_in(3) { VALUES.len() } else { 5 };
                VALUES[self.below(limit)]
            })
            .collect();
        let mut body = format!("\0{name}\0").into_bytes();
        body.extend([0, 0]);
        body.extend((values.len() as u16).to_be_bytes());
        for value in &values {
            match value {
                Some(text) => {
                    body.extend((text.len() as u32).to_be_bytes());
                    body.extend(text.as_bytes());
                }
                None => body.extend(u32::MAX.to_be_bytes()),
            }
        }
        let binary = self.one_in(5);
        body.extend(if binary { &[0, 1, 0, 1][..] } else { &[0, 0] });
        round
            .story
            .push(format!("Bind {name:?} {values:?}{}", if binary { " binary" } else { "" }));
        round.bytes.extend(message(b'B', &body));
        if !self.one_in(3) {
            self.describe(round, b'P', "");
        }
        self.flush(round);
        if self.one_in(6) {
            // In pieces: PortalSuspended, then the rest.
            round.story.push("Execute 1 row".to_owned());
            round.bytes.extend(message(b'E', b"\0\0\0\0\x01"));
            self.flush(round);
        }
        round.story.push("Execute".to_owned());
        round.bytes.extend(execute());
        self.flush(round);
    }

    /// Now and then what was said is wanted at once.
    fn flush(&mut self, round: &mut Round) {
        if self.one_in(12) {
            round.story.push("Flush".to_owned());
            round.bytes.extend(message(b'H', b""));
        }
    }

    fn describe(&self, round: &mut Round, kind: u8, name: &str) {
        round.story.push(format!("Describe {} {name:?}", char::from(kind)));
        round.bytes.extend(message(b'D', &[&[kind], name.as_bytes(), b"\0"].concat()));
    }

    fn sync(&self, round: &mut Round) {
        round.story.push("Sync".to_owned());
        round.bytes.extend(sync());
        round.readies += 1;
    }
}
