//! The same schedule to PostgreSQL itself and to a proxy that keeps unnamed statements: byte for
//! byte the same answers.
//!
//! Several clients, one after the other, say what a seed chooses (`schedule`): statements of the
//! extended and the simple protocol, DDL, SET, transactions, errors. Each has a connection of its
//! own to one database and one through the proxy to a copy of it, where the pool has fewer servers
//! than there are clients.
//! `DIFFERENTIAL_STEPS` is the number of rounds, `SEED` the seed.
//! Invariant: what differs is what PostgreSQL does not promise (see `compare`).

mod compare;
mod schedule;
mod texts;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;

use stent_proxy::config::StatementCache;
use stent_testkit::Postgres;

use self::compare::comparable;
use self::schedule::{CLIENTS, Round, Schedule, Status};
use super::raw::{Message, Raw, startup};
use super::support::Proxy;

/// How many rounds there are where nobody says.
const STEPS: u64 = 6_000;
/// How many of the last rounds are told where an answer differs.
const TOLD: usize = 14;

#[test]
fn what_comes_through_the_cache_is_what_postgresql_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let steps = number("DIFFERENTIAL_STEPS").unwrap_or(STEPS);
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed} DIFFERENTIAL_STEPS={steps}");
    let pg = Postgres::start().unwrap();
    pg.sql("create role guest").unwrap();
    for database in ["itself", "behind"] {
        pg.sql(&format!("create database {database}")).unwrap();
        pg.query_in(database, texts::SETUP).unwrap();
    }
    let proxy = Proxy::start(&pg, |config| {
        config.statement_cache = StatementCache::All;
        config.default_pool_size = NonZeroU32::new(2).unwrap();
        config.max_prepared_statements = 100;
    });
    let mut world = World {
        itself: std::array::from_fn(|_| login(pg.port(), "itself")),
        behind: std::array::from_fn(|_| login(proxy.port, "behind")),
        told: VecDeque::new(),
    };
    let mut schedule = Schedule::new(seed);
    for step in 0..steps {
        let round = schedule.next();
        let at = round.client;
        let (status, failed) = world.play(round, step, seed);
        schedule.heard(at, status, failed);
    }
    let page = proxy.get("/metrics").1;
    let count = |outcome: &str| {
        let start = format!("stent_statement_cache_total{{outcome=\"{outcome}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|value| value.parse::<u64>().ok()).unwrap_or_default()
    };
    println!(
        "{}",
        page.lines().filter(|line| line.contains("statement_cache")).collect::<Vec<_>>().join("\n")
    );
    assert!(count("hit") > steps / 4, "the cache was met: {} hits", count("hit"));
}

struct World {
    itself: [Side; CLIENTS],
    behind: [Side; CLIENTS],
    told: VecDeque<String>,
}

impl Drop for World {
    /// The last rounds, where the test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.told.iter().for_each(|round| println!("{round}"));
        }
    }
}

impl World {
    /// Plays a round on both sides.
    fn play(&mut self, round: Round, step: u64, seed: u64) -> (Status, bool) {
        let Round { client, bytes, readies, story } = round;
        let story = format!("{step}: client {client}: {}", story.join(", "));
        self.told.push_back(story.clone());
        let expected = self.itself[client].hear(&bytes, readies);
        let tags: String = expected.iter().map(|(tag, _)| char::from(*tag)).collect();
        self.told.pop_back();
        self.told.push_back(format!("{story}\n      -> {tags}"));
        if self.told.len() > TOLD {
            self.told.pop_front();
        }
        let said = self.behind[client].hear(&bytes, readies);
        let (mut wanted, mut got) = (comparable(&expected), comparable(&said));
        wanted.push(format!("{:?}", self.itself[client].parameters));
        // A proxy may tell more than this PostgreSQL does: version 18 reports search_path.
        let theirs = &self.itself[client].parameters;
        self.behind[client].parameters.retain(|name, _| theirs.contains_key(name));
        got.push(format!("{:?}", self.behind[client].parameters));
        if wanted != got {
            let same = wanted.iter().zip(&got).take_while(|(one, other)| one == other).count();
            let rest = |of: &[String]| of[same..of.len().min(same + 6)].join("\n    ");
            panic!(
                "SEED={seed}, step {step}: the answer is another one behind {same} messages\n  \
                 PostgreSQL:\n    {}\n  behind the proxy:\n    {}",
                rest(&wanted),
                rest(&got)
            );
        }
        let status = match expected.last() {
            Some((b'Z', body)) if body == b"I" => Status::Idle,
            Some((b'Z', body)) if body == b"T" => Status::Open,
            _ => Status::Failed,
        };
        (status, expected.iter().any(|(tag, _)| *tag == b'E'))
    }
}

/// A connection, and the parameters that it was told of: PostgreSQL may tell at any time, and as
/// often as it likes.
struct Side {
    raw: Raw,
    parameters: BTreeMap<String, String>,
}

fn login(port: u16, database: &str) -> Side {
    let mut side = Side { raw: Raw::connect_at(port), parameters: BTreeMap::new() };
    let said = side.hear(&startup(&[("user", "postgres"), ("database", database)]), 1);
    assert_eq!(said.first().map(|(tag, _)| *tag), Some(b'R'));
    side
}

impl Side {
    fn hear(&mut self, bytes: &[u8], readies: usize) -> Vec<Message> {
        self.raw.send(bytes);
        let mut said: Vec<Message> = (0..readies).flat_map(|_| self.raw.until_ready()).collect();
        said.retain(|(tag, body)| {
            let text = String::from_utf8_lossy(body);
            let told = text.split_once('\0').filter(|_| *tag == b'S');
            if let Some((name, value)) = told {
                self.parameters.insert(name.to_owned(), value.to_owned());
            }
            told.is_none()
        });
        said
    }
}
