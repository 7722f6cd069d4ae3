//! Many proxies, one PostgreSQL and a network that takes its time, in discrete events.
//!
//! Each proxy has a clock of its own. After every event what all may have is added up: the limit
//! holds at every moment, or the run ends with its seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use stent_pool::fleet::{Claim, Fleet, FleetId, Next, Rules, Seen};

use crate::postgres::{Kind, Postgres};

pub(crate) const MS: Duration = Duration::from_millis(1);
/// How long a proxy tries to open a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After so many intervals of silence, and the time of an attempt that was begun before it,
/// PostgreSQL ends a session.
const KEEPALIVE: u32 = 2;

/// What happens. The number is the proxy's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Login(usize, u32),
    LoggedIn(usize, u32, Option<u32>),
    Round(usize, u32),
    Asked(usize, u32),
    Answered(usize, u32),
    Late(usize, u32, u32),
    Lost(usize, u32),
    Work(usize),
    Open(usize, u32),
    Opened(usize, Option<u32>),
    GivenUp(usize, u32),
    Close(usize, u32),
    Closed(usize, u32),
    End(u32),
    Silent(usize),
}

/// Who may log in for whom nobody has made room: a stranger, a newcomer, a proxy that was away for
/// longer than the others have kept its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Everybody, as long as there is a place.
    Any,
    /// In three intervals, as many as the reserve has places. When the last were.
    Paced(Vec<Duration>),
}

pub(crate) struct Proxy {
    pub(crate) fleet: Fleet,
    pub(crate) lives: bool,
    pub(crate) demand: u32,
    pub(crate) servers: BTreeSet<u32>,
    pub(crate) opening: u32,
    /// Of these, those that PostgreSQL has not seen.
    pub(crate) on_the_way: u32,
    pub(crate) closing: BTreeSet<u32>,
    /// The life of the control connection.
    pub(crate) life: u32,
    pub(crate) control: Option<u32>,
    /// How often it has asked.
    pub(crate) asked: u32,
    pub(crate) question: Option<(Claim, Vec<u32>, Instant)>,
    pub(crate) answer: Option<Seen>,
    /// When PostgreSQL last heard of it, and when its last control connection ended there.
    pub(crate) reached: Duration,
    pub(crate) ended: Option<Duration>,
    /// Nothing goes through before.
    pub(crate) cut_until: Duration,
    /// Its clock: so far ahead, and so many millionths too fast or too slow.
    pub(crate) ahead: Duration,
    pub(crate) drift: i64,
}

impl Proxy {
    pub(crate) fn held(&self) -> u32 {
        u32::try_from(self.servers.len()).unwrap() + self.opening
    }
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) now: Duration,
    pub(crate) pg: Postgres,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) rules: Rules,
    pub(crate) refused: u32,
    /// The most that were ever held or allowed at once.
    pub(crate) most: u32,
    pub(crate) random: fastrand::Rng,
    pub(crate) events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    pub(crate) number: u64,
    pub(crate) happened: u64,
    pub(crate) admission: Admission,
    /// The longest way of a message, in microseconds.
    pub(crate) delay_us: u64,
    pub(crate) down_until: Duration,
    /// How often PostgreSQL has restarted.
    pub(crate) era: u32,
    /// Kept so that adding up is quick.
    pub(crate) physical: BTreeMap<usize, u32>,
}

impl World {
    pub(crate) fn new(max_connections: u32, rules: Rules, seed: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
        let start = Instant::now();
        Self {
            start,
            now: Duration::ZERO,
            pg: Postgres::new(max_connections, 3),
            proxies: Vec::new(),
            rules,
            refused: 0,
            most: 0,
            random: fastrand::Rng::with_seed(seed),
            events: BinaryHeap::new(),
            number: 0,
            happened: 0,
            admission: Admission::Any,
            delay_us: 15_000,
            down_until: Duration::ZERO,
            era: 0,
            physical: BTreeMap::new(),
        }
    }

    /// A proxy starts, with a demand.
    pub(crate) fn join(&mut self, demand: u32) -> usize {
        let ahead = Duration::from_secs(self.random.u64(0..100_000));
        let drift = self.random.i64(-500..=500);
        let id = FleetId::new(self.random.u64(..));
        let seed = self.random.u64(..);
        let at = self.proxies.len();
        let now = self.start + self.now + ahead;
        self.proxies.push(Proxy {
            fleet: Fleet::new(id, self.rules, seed, now),
            lives: true,
            demand,
            servers: BTreeSet::new(),
            opening: 0,
            on_the_way: 0,
            closing: BTreeSet::new(),
            life: 0,
            control: None,
            asked: 0,
            question: None,
            answer: None,
            reached: self.now,
            ended: None,
            cut_until: Duration::ZERO,
            ahead,
            drift,
        });
        self.after(Duration::ZERO, Event::Login(at, 0));
        self.after(Duration::ZERO, Event::Work(at));
        at
    }

    pub(crate) fn run_until(&mut self, end: Duration) {
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = at;
            self.happens(event);
            self.happened += 1;
            if self.happened.is_multiple_of(self.coarse().into()) {
                self.judge();
            }
        }
        self.now = end;
    }

    /// A world of thousands is looked at less often.
    fn coarse(&self) -> u32 {
        if self.proxies.len() > 100 { 30 } else { 1 }
    }

    pub(crate) fn local(&self, at: usize) -> Instant {
        let proxy = &self.proxies[at];
        let micros = i64::try_from(self.now.as_micros()).unwrap();
        let micros = micros + micros * proxy.drift / 1_000_000;
        self.start + proxy.ahead + Duration::from_micros(u64::try_from(micros).unwrap())
    }

    pub(crate) fn after(&mut self, time: Duration, event: Event) {
        self.number += 1;
        self.events.push(Reverse((self.now + time, self.number, event)));
    }

    /// When something that is sent now arrives.
    pub(crate) fn way(&mut self, at: usize) -> Duration {
        let takes = Duration::from_micros(self.random.u64(100..self.delay_us));
        self.proxies[at].cut_until.max(self.now) + takes
    }

    pub(crate) fn send(&mut self, at: usize, event: Event) {
        let arrives = self.way(at);
        self.number += 1;
        self.events.push(Reverse((arrives, self.number, event)));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Login(at, life) if self.is(at, life) => self.login(at, life),
            Event::LoggedIn(at, life, pid) => self.logged_in(at, life, pid),
            Event::Round(at, life) if self.is(at, life) => self.ask(at),
            Event::Asked(at, life) => self.asked(at, life),
            Event::Answered(at, life) if self.is(at, life) => self.answered(at),
            Event::Late(at, life, asked) => {
                if self.is(at, life) && self.proxies[at].asked == asked {
                    if let Some(pid) = self.proxies[at].control {
                        self.send(at, Event::End(pid));
                    }
                    self.lost(at);
                }
            }
            Event::Lost(at, life) if self.is(at, life) => self.lost(at),
            Event::Login(..) | Event::Round(..) | Event::Answered(..) | Event::Lost(..) => {}
            Event::Work(at) if self.proxies[at].lives => {
                self.work(at);
                let pause = MS * self.random.u32(20..80) * self.coarse();
                self.after(pause, Event::Work(at));
            }
            Event::Work(_) => {}
            Event::Open(at, era) => self.open(at, era),
            Event::Opened(at, pid) => {
                self.proxies[at].opening -= 1;
                self.proxies[at]
                    .servers
                    .extend(pid.filter(|pid| self.pg.sessions.contains_key(pid)));
            }
            Event::GivenUp(at, era) => {
                self.arrives(at, era);
                self.proxies[at].opening -= 1;
            }
            Event::Close(at, pid) => {
                self.pg.end(pid);
                self.send(at, Event::Closed(at, pid));
            }
            Event::Closed(at, pid) => {
                self.proxies[at].servers.remove(&pid);
                self.proxies[at].closing.remove(&pid);
            }
            Event::End(pid) => self.end(pid),
            Event::Silent(at) if self.now < self.proxies[at].cut_until => {
                let proxy = &self.proxies[at];
                let ends = proxy.reached + proxy.fleet.interval() * KEEPALIVE + CONNECT_TIMEOUT;
                if self.now < ends {
                    return self.after(ends - self.now, Event::Silent(at));
                }
                self.sessions_of(at).into_iter().for_each(|pid| self.end(pid));
            }
            Event::Silent(_) => {}
        }
    }

    fn is(&self, at: usize, life: u32) -> bool {
        self.proxies[at].lives && self.proxies[at].life == life
    }

    /// A session ends on PostgreSQL's side; its proxy hears of it in time.
    pub(crate) fn end(&mut self, pid: u32) {
        let ended = self.pg.end(pid);
        if let Some(Kind::Control { proxy, .. }) = ended {
            self.proxies[proxy].ended = Some(self.now);
        }
        match ended {
            Some(Kind::Control { proxy: at, .. }) if self.proxies[at].control == Some(pid) => {
                let life = self.proxies[at].life;
                self.send(at, Event::Lost(at, life));
            }
            Some(Kind::Server { proxy: at }) => self.send(at, Event::Closed(at, pid)),
            Some(Kind::Control { .. } | Kind::Other) | None => {}
        }
    }

    fn login(&mut self, at: usize, life: u32) {
        let now = self.local(at);
        let proxy = &mut self.proxies[at];
        let (held, demand) = (proxy.held(), proxy.demand);
        let claim = proxy.fleet.publish(now, held, demand);
        proxy.question = Some((claim, Vec::new(), self.start));
        // PostgreSQL takes it when it arrives.
        let arrives = self.way(at);
        self.number += 1;
        let event = Event::LoggedIn(at, life, None);
        self.events.push(Reverse((arrives, self.number, event)));
    }

    /// Twice: at PostgreSQL, without a process, and back at the proxy.
    fn logged_in(&mut self, at: usize, life: u32, pid: Option<u32>) {
        if let Some(pid) = pid {
            if !self.is(at, life) {
                return self.end(pid);
            }
            self.proxies[at].control = Some(pid);
            if self.pg.sessions.contains_key(&pid) {
                return self.ask(at);
            }
            return self.lost(at);
        }
        if !self.is(at, life) {
            return;
        }
        let (claim, ..) = self.proxies[at].question.take().expect("it has logged in with one");
        let kept = |ended: Duration| self.now < ended + self.rules.interval * 3 / 4;
        let expected = self.proxies[at].ended.is_some_and(kept);
        let up = self.now >= self.down_until && (expected || self.admits());
        match up.then(|| self.pg.login(Kind::Control { proxy: at, claim })).flatten() {
            Some(pid) => self.send(at, Event::LoggedIn(at, life, Some(pid))),
            None => {
                let pause = MS * self.random.u32(50..200);
                self.after(pause, Event::Login(at, life));
            }
        }
    }

    fn ask(&mut self, at: usize) {
        let now = self.local(at);
        let proxy = &mut self.proxies[at];
        let (held, demand, life) = (proxy.held(), proxy.demand, proxy.life);
        let claim = proxy.fleet.publish(now, held, demand);
        proxy.question = Some((claim, proxy.servers.iter().copied().collect(), now));
        proxy.asked += 1;
        let (asked, patience) = (proxy.asked, proxy.fleet.interval());
        self.send(at, Event::Asked(at, life));
        self.after(patience, Event::Late(at, life, asked));
    }

    fn asked(&mut self, at: usize, life: u32) {
        let proxy = &self.proxies[at];
        let (Some(control), Some((claim, marks, _))) = (proxy.control, &proxy.question) else {
            return;
        };
        if proxy.life != life || !self.pg.sessions.contains_key(&control) {
            return;
        }
        self.pg.publish(control, &claim.to_string(), marks);
        self.proxies[at].reached = self.now;
        self.proxies[at].answer = Some(self.pg.read(control));
        self.send(at, Event::Answered(at, life));
    }

    fn answered(&mut self, at: usize) {
        let now = self.local(at);
        let proxy = &mut self.proxies[at];
        proxy.asked += 1;
        let (Some(seen), Some((.., asked))) = (proxy.answer.take(), proxy.question.take()) else {
            return;
        };
        let next = proxy.fleet.hear(asked, now, &seen);
        let life = proxy.life;
        match next {
            Next::Again => self.ask(at),
            Next::Rest(pause) => self.after(pause, Event::Round(at, life)),
        }
    }

    fn lost(&mut self, at: usize) {
        let now = self.local(at);
        let proxy = &mut self.proxies[at];
        let held = proxy.held();
        proxy.fleet.lost(now, held);
        proxy.life += 1;
        (proxy.control, proxy.question, proxy.answer) = (None, None, None);
        let life = proxy.life;
        let pause = MS * self.random.u32(1..100);
        self.after(pause, Event::Login(at, life));
    }

    /// The pool does what a pool does: opens for demand up to the limit, closes above it.
    fn work(&mut self, at: usize) {
        let now = self.local(at);
        let proxy = &mut self.proxies[at];
        let limit = proxy.fleet.limit(now, proxy.held());
        let wanted = proxy.demand.min(limit);
        let opens = wanted.saturating_sub(proxy.held());
        proxy.opening += opens;
        proxy.on_the_way += opens;
        let kept = proxy.servers.len() - proxy.closing.len();
        let surplus = (kept + proxy.opening as usize).saturating_sub(limit as usize);
        let ends: Vec<u32> =
            proxy.servers.difference(&proxy.closing).copied().take(surplus).collect();
        proxy.closing.extend(&ends);
        for _ in 0..opens {
            let arrives = self.way(at);
            if arrives - self.now < CONNECT_TIMEOUT {
                self.after(arrives - self.now, Event::Open(at, self.era));
            } else {
                self.after(CONNECT_TIMEOUT, Event::GivenUp(at, self.era));
            }
        }
        ends.into_iter().for_each(|pid| self.send(at, Event::Close(at, pid)));
    }

    fn arrives(&mut self, at: usize, era: u32) {
        self.proxies[at].on_the_way -= u32::from(era == self.era);
    }

    /// An attempt that was on its way when PostgreSQL restarted fails.
    fn open(&mut self, at: usize, era: u32) {
        self.arrives(at, era);
        if !self.proxies[at].lives {
            return;
        }
        let up = self.now >= self.down_until && era == self.era;
        let pid = up.then(|| self.pg.login(Kind::Server { proxy: at })).flatten();
        self.refused += u32::from(up && pid.is_none());
        self.send(at, Event::Opened(at, pid));
    }
}
