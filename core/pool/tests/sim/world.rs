//! Clients, a PostgreSQL, and the rules that are watched after each event.
//!
//! Invariant: the world keeps its own books of servers and clients and believes no census.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use fastrand::Rng;
use stent_pool::{
    Class, Condition, Decision, Event, Home, Limits, OpenFailure, PoolId, Pools, ProbeResult,
    ServerId, WaiterId,
};

use crate::nature::{Client, Doing, Nature};
use crate::queue::{Happening, Queue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Idle,
    Tested,
    Lent,
    Closing,
}

#[derive(Debug)]
struct Server {
    pool: usize,
    state: State,
    alive: bool,
}

pub(crate) struct World {
    pub(crate) pools: Pools,
    pub(crate) clients: Vec<Client>,
    pub(crate) opened: u64,
    /// When grants were made, and when logins succeeded.
    pub(crate) granted_at: Vec<Duration>,
    pub(crate) opened_at: Vec<Duration>,
    pub(crate) log: Vec<(Duration, Decision)>,
    limits: Limits,
    nature: Nature,
    ids: Vec<PoolId>,
    databases: Vec<usize>,
    servers: BTreeMap<ServerId, Server>,
    queue: Queue,
    rng: Rng,
    start: Instant,
    now: Duration,
    /// Whether the pools have been told of the latest crash by any sign.
    warned: bool,
    homes: u16,
}

impl World {
    /// `databases` names the database of each pool.
    pub(crate) fn new(limits: Limits, nature: Nature, databases: &[usize], seed: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
        let start = Instant::now();
        let mut pools = Pools::new(limits.clone(), seed);
        let named = databases.iter().enumerate();
        let ids = named
            .map(|(user, database)| pools.pool(&database.to_string(), &user.to_string()).unwrap());
        let ids = ids.collect();
        Self {
            pools,
            clients: Vec::new(),
            opened: 0,
            granted_at: Vec::new(),
            opened_at: Vec::new(),
            log: Vec::new(),
            limits,
            nature,
            ids,
            databases: databases.to_vec(),
            servers: BTreeMap::new(),
            queue: Queue::default(),
            rng: Rng::with_seed(seed),
            start,
            now: Duration::ZERO,
            warned: true,
            homes: 1,
        }
    }

    /// From now on clients are spread over so many homes, and servers are opened at any.
    pub(crate) const fn spread(&mut self, homes: u16) {
        self.homes = homes;
    }

    /// Adds clients of a pool, each of which begins to ask within `within`.
    pub(crate) fn add_clients(&mut self, pool: usize, count: usize, within: Duration) {
        for _ in 0..count {
            let home = Home(self.clients.len() as u16 % self.homes);
            self.clients.push(Client::new(pool, home));
            let first = within.mul_f64(self.rng.f64());
            self.queue.plan(first, Happening::Wants(self.clients.len() - 1));
        }
    }

    pub(crate) fn pool_id(&self, number: usize) -> PoolId {
        self.ids[number]
    }

    pub(crate) fn plan(&mut self, at: Duration, happening: Happening) {
        self.queue.plan(at, happening);
    }

    /// Lets the world run until clients have stopped asking and everything asked is answered.
    pub(crate) fn run(&mut self) {
        let end = self.nature.last_request + Duration::from_secs(300);
        self.run_until(end);
        for client in &self.clients {
            let answered = client.waits.len() as u64 + client.refusals.len() as u64 + client.left;
            assert_eq!(client.doing, Doing::Thinking, "nobody is left waiting or holding");
            assert_eq!(client.asked, answered, "each request had one answer");
        }
        assert_eq!(self.pools.misfits(), 0, "every event fitted");
    }

    /// Lets the world run up to a moment.
    pub(crate) fn run_until(&mut self, end: Duration) {
        loop {
            let tick = self.pools.next_deadline().map(|at| at.duration_since(self.start));
            let next = self.queue.next_at();
            match (tick, next) {
                (Some(tick), next) if tick <= end && next.is_none_or(|next| tick < next) => {
                    self.now = self.now.max(tick);
                    self.tell(Event::Tick);
                }
                (_, Some(next)) if next <= end => {
                    let (at, happening) = self.queue.pop().expect("something is planned");
                    self.now = at;
                    self.happen(happening);
                }
                _ => return,
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wants(client) => self.wants(client),
            Happening::Done(client) => self.done(client),
            Happening::Leaves(client, asked) => self.leaves(client, asked),
            Happening::Login(server) => self.login_ends(server),
            Happening::Probe(server) => {
                let healthy = if self.servers[&server].alive {
                    ProbeResult::Healthy
                } else {
                    self.warned = true;
                    ProbeResult::Failed
                };
                self.set(server, State::Tested, State::Idle);
                self.tell(Event::Probed { server, healthy });
            }
            Happening::Noticed(server) => {
                if self.servers.get(&server).is_some_and(|known| known.state == State::Idle) {
                    self.warned = true;
                    self.tell(Event::Lost { server });
                }
            }
            Happening::Closed(server) => {
                let gone = self.servers.remove(&server).expect("it was closing");
                assert_eq!(gone.state, State::Closing, "only what was to be closed is closed");
                self.tell(Event::Closed { server });
            }
            Happening::Crash => self.crash(),
            Happening::Retire(pool) => self.tell(Event::RetireAll { pool: self.ids[pool] }),
            Happening::Pause(pool) => self.tell(Event::Pause { pool: self.ids[pool] }),
            Happening::Resume(pool) => self.tell(Event::Resume { pool: self.ids[pool] }),
        }
    }

    fn wants(&mut self, number: usize) {
        if self.now >= self.nature.last_request {
            return;
        }
        let client = &mut self.clients[number];
        (client.doing, client.asked_at) = (Doing::Waiting, self.now);
        client.asked += 1;
        if let Some(patience) = self.nature.patience
            && self.rng.u8(..8) == 0
        {
            self.queue.plan(self.now + patience, Happening::Leaves(number, client.asked));
        }
        let waiter = WaiterId(number as u64);
        let (pool, home) = (self.ids[self.clients[number].pool], self.clients[number].home);
        self.tell(Event::Acquire { pool, waiter, home, class: Class::USUAL });
    }

    fn leaves(&mut self, number: usize, asked: u64) {
        let client = &mut self.clients[number];
        if client.doing == Doing::Waiting && client.asked == asked {
            client.doing = Doing::Thinking;
            client.left += 1;
            self.tell(Event::Withdraw { waiter: WaiterId(number as u64) });
            self.think(number);
        }
    }

    fn done(&mut self, number: usize) {
        let Doing::Holding(server) = self.clients[number].doing else {
            panic!("only a client with a server can finish");
        };
        self.clients[number].doing = Doing::Thinking;
        let condition = if !self.servers[&server].alive {
            self.warned = true;
            Condition::Broken
        } else if self.one_in(self.nature.doubtful_one_in) {
            Condition::Doubtful
        } else {
            Condition::Clean
        };
        self.set(server, State::Lent, State::Idle);
        self.tell(Event::Release { server, condition });
        self.think(number);
    }

    fn login_ends(&mut self, server: ServerId) {
        let down = self.nature.outages.iter().any(|(from, to)| (*from..*to).contains(&self.now));
        if down || !self.servers[&server].alive || self.one_in(self.nature.login_fails_one_in) {
            self.servers.remove(&server);
            let failure = if down { OpenFailure::Unreachable } else { OpenFailure::Transient };
            self.tell(Event::OpenFailed { server, failure });
        } else {
            self.set(server, State::Opening, State::Idle);
            self.opened += 1;
            self.opened_at.push(self.now);
            let home = Home(self.opened as u16 % self.homes);
            self.tell(Event::Opened { server, home });
        }
    }

    fn crash(&mut self) {
        self.warned = false;
        for (&id, server) in &mut self.servers {
            server.alive = false;
            let noticed = self.now + Duration::from_micros(self.rng.u64(1..2_000));
            self.queue.plan(noticed, Happening::Noticed(id));
        }
    }

    fn think(&mut self, client: usize) {
        let pause = vary(&mut self.rng, self.nature.think);
        self.queue.plan(self.now + pause, Happening::Wants(client));
    }

    fn tell(&mut self, event: Event) {
        let mut out = Vec::new();
        self.pools.handle(event, self.start + self.now, &mut out);
        for decision in out {
            self.log.push((self.now, decision));
            self.carry_out(decision);
        }
        self.watch();
    }

    fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Open { pool, server } => {
                let known = Server { pool: pool.index(), state: State::Opening, alive: true };
                assert!(self.servers.insert(server, known).is_none(), "an id is new");
                let took = vary(&mut self.rng, self.nature.login);
                self.queue.plan(self.now + took, Happening::Login(server));
            }
            Decision::Probe { server, waiter: _ } => {
                self.set(server, State::Idle, State::Tested);
                let took = vary(&mut self.rng, self.nature.probe);
                self.queue.plan(self.now + took, Happening::Probe(server));
            }
            Decision::Grant { waiter, server, waited } => self.granted(waiter, server, waited),
            Decision::Close { server, cause: _ } => {
                self.set(server, State::Idle, State::Closing);
                let took = vary(&mut self.rng, self.nature.close);
                self.queue.plan(self.now + took, Happening::Closed(server));
            }
            Decision::Refuse { waiter, refusal, waited } => {
                let number = usize::try_from(waiter.0).unwrap();
                let client = &mut self.clients[number];
                assert_eq!(client.doing, Doing::Waiting, "only who waits is refused");
                assert_eq!(waited, self.now - client.asked_at, "the wait is told");
                client.doing = Doing::Thinking;
                client.refusals.push(refusal);
                self.think(number);
            }
        }
    }

    fn granted(&mut self, waiter: WaiterId, server: ServerId, waited: Duration) {
        self.set(server, State::Idle, State::Lent);
        let number = usize::try_from(waiter.0).unwrap();
        let client = &mut self.clients[number];
        let known = &self.servers[&server];
        assert_eq!(client.doing, Doing::Waiting, "only who waits is granted a server");
        assert_eq!(client.pool, known.pool, "a server of its own pool");
        assert_eq!(waited, self.now - client.asked_at, "the wait is told");
        assert!(known.alive || !self.warned, "no dead server is lent once there is a sign of it");
        client.doing = Doing::Holding(server);
        client.waits.push(waited);
        self.granted_at.push(self.now);
        let held = vary(&mut self.rng, self.nature.hold[client.pool]);
        self.queue.plan(self.now + held, Happening::Done(number));
    }

    /// In the world's books a server that nobody uses is idle until the pools decide otherwise.
    fn set(&mut self, server: ServerId, from: State, to: State) {
        let known = self.servers.get_mut(&server).expect("decisions are about servers that exist");
        assert_eq!(known.state, from, "a decision fits the state of its server");
        known.state = to;
    }

    /// The rules that hold after each event.
    fn watch(&self) {
        let mut by_pool = vec![[0_u32; 5]; self.ids.len()];
        let mut by_database = BTreeMap::<usize, u32>::new();
        for server in self.servers.values() {
            by_pool[server.pool][server.state as usize] += 1;
            *by_database.entry(self.databases[server.pool]).or_default() += 1;
        }
        let mut waiting = vec![0_u32; self.ids.len()];
        for client in self.clients.iter().filter(|client| client.doing == Doing::Waiting) {
            waiting[client.pool] += 1;
        }
        for (states, waiting) in by_pool.iter().zip(waiting) {
            let total: u32 = states.iter().sum();
            assert!(total <= self.limits.pool_size.get(), "pool_size is never exceeded");
            let covered = waiting <= states[State::Tested as usize];
            assert!(
                covered || states[State::Idle as usize] == 0,
                "nobody waits beside an idle one"
            );
        }
        let most = self.limits.max_db_connections.map_or(u32::MAX, NonZeroU32::get);
        assert!(by_database.values().all(|&total| total <= most), "max_db_connections");
        let most = self.limits.max_server_connections.map_or(u32::MAX, NonZeroU32::get);
        assert!(by_database.values().sum::<u32>() <= most, "max_server_connections");
    }

    fn one_in(&mut self, many: u32) -> bool {
        many > 0 && self.rng.u32(..many) == 0
    }
}

fn vary(rng: &mut Rng, longest: Duration) -> Duration {
    longest.mul_f64(0.5 + 0.5 * rng.f64())
}
