//! One proxy's share: what it may use, what it claims, and when it looks again.
//!
//! Owns: the way from what PostgreSQL shows to a limit. Refuses: asking PostgreSQL and closing
//! servers (the shell's and the pools').
//! ```text
//!  Never ── hear ──▶ Heard ◀── hear ── Lost
//!                      │  lost, no_login            ▲
//!                      └────────────────────────────┘
//! ```
//! Invariant: `limit <= used <= claimed`. `used` rises only in [`Fleet::hear`], to what a reading
//! has room for that was made after the claim was published; in `Lost` it only falls, with the
//! servers that are left. The one exception is named: [`PATIENCE`].

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::books::{Books, Room, Seen};
use super::claim::{COUNT_MAX, Claim, FleetId};
use super::target;
use crate::seed::Seed;

/// After so long a proxy whose control connection PostgreSQL refuses, for another reason than a lack
/// of places, takes its minimum: what is broken is the budget, and the database may be in order.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How much each peer lengthens the interval, so that a large fleet does not keep PostgreSQL busy
/// with its budget: together they ask about a hundred times a second at most.
pub const PEER_TIME: Duration = Duration::from_millis(20);
/// How long a newcomer looks on before it takes a place: whoever has just lost its control
/// connection knows it by then.
const LOOK_ON_MAX: Duration = Duration::from_millis(250);
/// The most exchanges in a row.
const EXCHANGES_MAX: u32 = 3;
/// The longest interval.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// The settings of one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What it must have.
    pub minimum: u32,
    /// The most it can use.
    pub most: u32,
    /// Connections that the fleet leaves free: for newcomers' first connection, and for others.
    pub reserve: u32,
    /// Within two of these shares have settled.
    pub interval: Duration,
}

/// What to do after a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Publish and read at once: a claim waits for its confirmation.
    Again,
    /// Publish and read after this time.
    Rest(Duration),
}

/// What is shown of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// What all proxies together may have, as far as the last reading showed.
    pub limit: u32,
    /// Control connections in the last reading, our own included.
    pub peers: u32,
    /// Connections of the last reading that are probably no proxy's.
    pub others: u32,
    /// Proxies that have vanished and whose share is still kept.
    pub vanished: u32,
    /// What the rule gives to us; `share` follows as others give back.
    pub target: u32,
}

/// Why there is no control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLogin {
    /// PostgreSQL has no place for it: 53300.
    Crowded,
    /// PostgreSQL was not reached.
    Unreached,
    /// It was refused for another reason, or the question was.
    Refused,
}

#[derive(Clone, Copy, Debug)]
enum Contact {
    Never { since: Instant, last: Option<NoLogin> },
    Heard { at: Instant },
    Lost { since: Instant, last: Option<NoLogin> },
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Fleet {
    id: FleetId,
    rules: Rules,
    seed: Seed,
    contact: Contact,
    /// Since when the present control connection has been heard on.
    first: Option<Instant>,
    limit: u32,
    used: u32,
    claimed: u32,
    /// The servers at the last publication.
    held: u32,
    /// The demand of this round and the one before.
    demands: [u32; 2],
    /// The interval that the size of the fleet asks for, and the silence that was published.
    interval: Duration,
    silence: Duration,
    exchanges: u32,
    books: Books,
    overview: Overview,
}

impl Fleet {
    /// A proxy that has no share yet. Values out of range are brought into range.
    pub fn new(id: FleetId, rules: Rules, seed: u64, now: Instant) -> Self {
        let most = rules.most.min(COUNT_MAX);
        let minimum = rules.minimum.min(most);
        Self {
            id,
            rules: Rules { minimum, most, ..rules },
            seed: Seed::new(seed),
            contact: Contact::Never { since: now, last: None },
            first: None,
            limit: 0,
            used: 0,
            claimed: 0,
            held: 0,
            demands: [0; 2],
            interval: rules.interval,
            silence: silence(rules.interval),
            exchanges: 0,
            books: Books::default(),
            overview: Overview::default(),
        }
    }

    /// What to publish next, in the control connection's start-up packet or with the next question.
    /// `held`: servers in whatever state; `demand`: servers in use and clients that wait.
    pub fn publish(&mut self, now: Instant, held: u32, demand: u32) -> Claim {
        self.limit(now, held);
        if self.exchanges == 0 {
            self.demands = [demand, self.demands[0]];
        }
        let claims = self.claimed > self.used;
        self.used = self.used.min(held).max(self.limit);
        self.claimed = if claims { self.claimed } else { self.used };
        self.held = held;
        self.silence = silence(self.interval);
        self.check();
        self.claim()
    }

    /// Takes a reading that was asked for at `asked`, together with or after the last
    /// [`Fleet::publish`].
    pub fn hear(&mut self, asked: Instant, now: Instant, seen: &Seen) -> Next {
        assert!(asked <= now, "an answer comes after its question");
        self.contact = Contact::Heard { at: asked };
        let begins = self.first.is_none();
        let first = *self.first.get_or_insert(now);
        let looked_on = asked.saturating_duration_since(first) >= self.look_on();
        self.books.enter(now, seen);
        let room = self.books.room(now, seen, self.rules.reserve, self.silence);
        self.interval = self.interval_of(seen.peers.len());
        let mut others: Vec<Claim> = seen.others().map(|peer| peer.claim).collect();
        others.sort_by_key(|claim| claim.id);
        let weights: i64 = others.iter().map(|claim| i64::from(claim.weight())).sum();
        if begins {
            self.begin(room.sure - weights);
        }
        let (unmarked, before) = (self.unmarked(seen), self.used);
        let confirmed = self.confirm(room.sure - weights, &others);
        // What it is about to open will have no mark either.
        let unmarked = unmarked + (self.used - before);
        let all = target::Fleet::new(self.claim(), others);
        let targets = all.targets(room.likely);
        let target = all.own(&targets);
        self.note(room, target, seen);
        let next = match confirmed {
            Confirmed::InPart => self.rest(2, 6),
            Confirmed::Whole if looked_on => {
                let growth = |used| all.growth(room.sure - weights, used, &targets);
                self.follow(target, unmarked, growth)
            }
            Confirmed::Whole => {
                self.limit = target.min(self.used);
                Next::Rest(self.look_on())
            }
        };
        self.check();
        match next {
            Next::Again => {
                self.exchanges += 1;
                Next::Again
            }
            Next::Rest(pause) => {
                self.exchanges = 0;
                let free = self.books.next_free();
                let free = free.map(|free| free.saturating_duration_since(now));
                Next::Rest(free.map_or(pause, |free| pause.min(free)))
            }
        }
    }

    /// The control connection is lost.
    pub fn lost(&mut self, now: Instant, held: u32) {
        if let Contact::Heard { at } = self.contact {
            self.contact = Contact::Lost { since: at, last: None };
        }
        self.first = None;
        self.exchanges = 0;
        self.claimed = self.used;
        self.limit(now, held);
    }

    /// An attempt at a control connection has failed.
    pub const fn no_login(&mut self, why: NoLogin) {
        match self.contact {
            Contact::Never { since, .. } => {
                self.contact = Contact::Never { since, last: Some(why) };
            }
            Contact::Heard { at: since } | Contact::Lost { since, .. } => {
                self.contact = Contact::Lost { since, last: Some(why) };
            }
        }
    }

    /// How many servers there may be at this moment.
    pub fn limit(&mut self, now: Instant, held: u32) -> u32 {
        let kept = match self.contact {
            Contact::Heard { at } if now.saturating_duration_since(at) < self.silence => self.limit,
            Contact::Heard { .. } | Contact::Lost { .. } => self.limit.min(held),
            Contact::Never { .. } => 0,
        };
        let last_resort = match self.contact {
            Contact::Never { since, last: Some(NoLogin::Refused) }
            | Contact::Lost { since, last: Some(NoLogin::Refused) }
                if now.saturating_duration_since(since) >= PATIENCE =>
            {
                self.rules.minimum
            }
            // So that a first client hears the reason.
            Contact::Never { last: Some(NoLogin::Unreached | NoLogin::Refused), .. } => 1,
            Contact::Never { last: Some(NoLogin::Crowded) | None, .. }
            | Contact::Heard { .. }
            | Contact::Lost { .. } => 0,
        };
        self.limit = kept.max(last_resort);
        self.used = match self.contact {
            Contact::Heard { .. } => self.used.max(self.limit),
            // Nobody keeps more for us.
            Contact::Never { .. } | Contact::Lost { .. } => self.limit,
        };
        self.claimed = match self.contact {
            Contact::Heard { .. } => self.claimed.max(self.used),
            Contact::Never { .. } | Contact::Lost { .. } => self.used,
        };
        self.check();
        self.limit
    }

    /// Whether there was a word from PostgreSQL within the interval.
    pub fn is_heard(&self, now: Instant) -> bool {
        match self.contact {
            Contact::Heard { at } => now.saturating_duration_since(at) < self.silence,
            Contact::Never { .. } | Contact::Lost { .. } => false,
        }
    }

    /// What is shown of it.
    pub const fn overview(&self) -> Overview {
        self.overview
    }

    /// The interval at present: it grows with the fleet.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// What was held when the last control connection was lost may have gone, and its places too.
    fn begin(&mut self, free: i64) {
        self.used = self.used.min(places(free));
        self.limit = self.limit.min(self.used);
        self.claimed = self.used;
    }

    /// Uses of a claim what there is room for beside all others.
    fn confirm(&mut self, free: i64, others: &[Claim]) -> Confirmed {
        if self.claimed == self.used {
            return Confirmed::Whole;
        }
        let granted = places(free).clamp(self.used, self.claimed);
        (self.used, self.limit) = (granted, granted);
        if granted == self.claimed {
            return Confirmed::Whole;
        }
        // The first in the order keeps its claim, and finds room when the others have withdrawn.
        let first = others.iter().find(|claim| claim.claimed > claim.used);
        if first.is_none_or(|first| first.id < self.id) {
            self.claimed = self.used;
        }
        Confirmed::InPart
    }

    /// Moves towards the target: down by the limit, up by a claim, as far as there is room.
    fn follow(&mut self, target: u32, unmarked: u32, growth: impl FnOnce(u32) -> u32) -> Next {
        self.limit = target.min(self.used);
        self.claimed = self.used;
        if target > self.used {
            let growth = growth(self.used).min(target - self.used);
            self.claimed = self.used + growth;
            if growth > 0 && self.exchanges < EXCHANGES_MAX {
                return Next::Again;
            }
        }
        // Until what is given back is published, and what is new is marked, others cannot grow.
        match (target.cmp(&self.used), unmarked) {
            (Ordering::Less, _) | (_, 1..) => self.rest(5, 10),
            (Ordering::Greater, 0) => self.rest(10, 15),
            (Ordering::Equal, 0) => self.rest(40, 50),
        }
    }

    /// Our servers that others cannot tell from strangers yet.
    fn unmarked(&self, seen: &Seen) -> u32 {
        let own = seen.peers.iter().find(|peer| peer.pid == seen.own);
        self.held.saturating_sub(own.map_or(0, |own| own.alive))
    }

    fn claim(&self) -> Claim {
        Claim {
            id: self.id,
            used: self.used.max(self.held),
            claimed: self.claimed.max(self.held),
            demand: self.demands[0].max(self.demands[1]).min(COUNT_MAX),
            minimum: self.rules.minimum,
            most: self.rules.most,
            silence: self.silence,
        }
    }

    fn note(&mut self, room: Room, target: u32, seen: &Seen) {
        self.overview = Overview {
            limit: places(room.likely),
            peers: u32::try_from(seen.peers.len()).unwrap_or(u32::MAX),
            others: places(room.others),
            vanished: u32::try_from(self.books.ghosts()).unwrap_or(u32::MAX),
            target,
        };
    }

    fn interval_of(&self, peers: usize) -> Duration {
        let peers = u32::try_from(peers).unwrap_or(u32::MAX);
        self.rules.interval.max(PEER_TIME.saturating_mul(peers).min(INTERVAL_MAX))
    }

    fn look_on(&self) -> Duration {
        LOOK_ON_MAX.min(self.interval / 8)
    }

    /// A pause of so many hundredths of the interval: drawn, so that proxies do not keep step.
    fn rest(&mut self, low: u32, high: u32) -> Next {
        Next::Rest(self.seed.between(self.interval * low / 100, self.interval * high / 100))
    }

    fn check(&self) {
        assert!(self.limit <= self.used, "what is allowed is published");
        assert!(self.used <= self.claimed, "what is used is claimed");
    }
}

/// How long a proxy goes on without a word: long beside an answer, and short enough that its share is
/// with the others within two intervals.
fn silence(interval: Duration) -> Duration {
    interval * 3 / 4
}

fn places(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmed {
    /// There was no claim, or room for all of it.
    Whole,
    /// Somebody else has claimed the same places.
    InPart,
}
