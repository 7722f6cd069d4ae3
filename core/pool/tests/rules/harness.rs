//! A clock that stands still, and the decisions as text.
//!
//! Invariant: time moves only when a test says so. (In a debug build the pools check themselves
//! after each event.)

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use stent_pool::{
    Class, CloseCause, Condition, Decision, Event, Home, Limits, OpenFailure, PoolId, Pools,
    ProbeResult, RETRY_MAX, RETRY_MIN, ServerId, WaiterId,
};

/// Pools with a clock of their own.
pub(crate) struct World {
    pub(crate) pools: Pools,
    start: Instant,
    now: Instant,
    servers: Vec<ServerId>,
    closing: Vec<usize>,
}

/// Few servers, long times.
pub(crate) fn limits() -> Limits {
    Limits {
        pool_size: size(2),
        reserve_pool_size: 0,
        reserve_pool_timeout: None,
        min_pool_size: 0,
        size_rules: Vec::new(),
        max_db_connections: None,
        max_user_connections: None,
        max_server_connections: None,
        query_wait_timeout: Some(Duration::from_secs(120)),
        server_lifetime: None,
        server_max_uses: None,
        server_idle_timeout: None,
        server_check_delay: Duration::from_secs(30),
        retry_min: RETRY_MIN,
        retry_max: RETRY_MAX,
        class_weights: Vec::new(),
        waiters_max: 1_000,
        opening_max: 8,
    }
}

pub(crate) fn size(servers: u32) -> NonZeroU32 {
    NonZeroU32::new(servers).unwrap()
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl World {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::seeded(limits, 1)
    }

    pub(crate) fn seeded(limits: Limits, seed: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
        let start = Instant::now();
        let pools = Pools::new(limits, seed);
        Self { pools, start, now: start, servers: Vec::new(), closing: Vec::new() }
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn pool(&mut self, database: &str, user: &str) -> PoolId {
        self.pools.pool(database, user).unwrap()
    }

    /// The clock jumps; whatever is due meanwhile is done late, at the next tick.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now += ms(milliseconds);
    }

    /// The clock runs, with a tick whenever one is due; decisions come with their time.
    pub(crate) fn run(&mut self, milliseconds: u64) -> Vec<String> {
        let end = self.now + ms(milliseconds);
        let mut transcript = Vec::new();
        while let Some(at) = self.pools.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            let at = self.now.duration_since(self.start).as_millis();
            let decided = self.tell(Event::Tick);
            transcript.extend(decided.into_iter().map(|decided| format!("{at}: {decided}")));
        }
        self.now = end;
        transcript
    }

    pub(crate) fn acquire(&mut self, pool: PoolId, waiter: u64) -> Vec<String> {
        self.acquire_at(0, pool, waiter)
    }

    pub(crate) fn acquire_at(&mut self, home: u16, pool: PoolId, waiter: u64) -> Vec<String> {
        let (waiter, home, class) = (WaiterId(waiter), Home(home), Class::USUAL);
        self.tell(Event::Acquire { pool, waiter, home, class })
    }

    /// A client of a class other than the usual one.
    pub(crate) fn acquire_as(&mut self, class: u8, pool: PoolId, waiter: u64) -> Vec<String> {
        let (waiter, home, class) = (WaiterId(waiter), Home(0), Class(class));
        self.tell(Event::Acquire { pool, waiter, home, class })
    }

    pub(crate) fn withdraw(&mut self, waiter: u64) -> Vec<String> {
        self.tell(Event::Withdraw { waiter: WaiterId(waiter) })
    }

    pub(crate) fn opened(&mut self, server: usize) -> Vec<String> {
        self.opened_at(0, server)
    }

    pub(crate) fn opened_at(&mut self, home: u16, server: usize) -> Vec<String> {
        self.tell(Event::Opened { server: self.servers[server], home: Home(home) })
    }

    pub(crate) fn open_failed(&mut self, server: usize, failure: OpenFailure) -> Vec<String> {
        self.tell(Event::OpenFailed { server: self.servers[server], failure })
    }

    pub(crate) fn refused(&mut self, server: usize) -> Vec<String> {
        self.open_failed(server, OpenFailure::Transient)
    }

    pub(crate) fn probed(&mut self, server: usize, healthy: ProbeResult) -> Vec<String> {
        self.tell(Event::Probed { server: self.servers[server], healthy })
    }

    pub(crate) fn release(&mut self, server: usize) -> Vec<String> {
        self.release_as(server, Condition::Clean)
    }

    pub(crate) fn release_as(&mut self, server: usize, condition: Condition) -> Vec<String> {
        self.tell(Event::Release { server: self.servers[server], condition })
    }

    pub(crate) fn lost(&mut self, server: usize) -> Vec<String> {
        self.tell(Event::Lost { server: self.servers[server] })
    }

    pub(crate) fn closed(&mut self, server: usize) -> Vec<String> {
        self.closing.retain(|&closing| closing != server);
        self.tell(Event::Closed { server: self.servers[server] })
    }

    /// All sockets that were to be closed are.
    pub(crate) fn all_closed(&mut self) -> Vec<String> {
        let closing = std::mem::take(&mut self.closing);
        closing.into_iter().flat_map(|server| self.closed(server)).collect()
    }

    pub(crate) fn tell(&mut self, event: Event) -> Vec<String> {
        self.decided(|pools, now, out| pools.handle(event, now, out))
    }

    pub(crate) fn decided(
        &mut self,
        tell: impl FnOnce(&mut Pools, Instant, &mut Vec<Decision>),
    ) -> Vec<String> {
        let mut decisions = Vec::new();
        tell(&mut self.pools, self.now, &mut decisions);
        decisions.into_iter().map(|decision| self.write_down(decision)).collect()
    }

    /// Opens `servers` servers of a pool and lends them to clients `first`, `first + 1`, and so on.
    pub(crate) fn lend(&mut self, pool: PoolId, first: u64, servers: u64) {
        for waiter in first..first + servers {
            self.acquire(pool, waiter);
            let granted = self.opened(self.servers.len() - 1);
            assert!(granted[0].starts_with(&format!("grant c{waiter}")), "{granted:?}");
        }
    }

    /// How many servers were ever opened: the number of the next.
    pub(crate) const fn opened_count(&self) -> usize {
        self.servers.len()
    }

    /// Opens servers `0..servers` of a fresh world and lets them rest, `s0` last.
    pub(crate) fn rest(&mut self, pool: PoolId, servers: u64) {
        self.lend(pool, 900, servers);
        for server in (0..usize::try_from(servers).unwrap()).rev() {
            assert_eq!(self.release(server), none(), "nobody waits");
        }
    }

    pub(crate) fn write_down(&mut self, decision: Decision) -> String {
        match decision {
            Decision::Open { pool, server } => {
                self.servers.push(server);
                format!("open s{} for p{}", self.servers.len() - 1, pool.index())
            }
            Decision::Probe { server, waiter } => {
                format!("probe s{} for c{}", self.number(server), waiter.0)
            }
            Decision::Grant { waiter, server, waited } => {
                let (server, waited) = (self.number(server), waited.as_millis());
                format!("grant c{} s{server} after {waited}", waiter.0)
            }
            Decision::Close { server, cause } => self.write_down_close(server, cause),
            Decision::Refuse { waiter, refusal, waited } => {
                format!("refuse c{} {refusal:?} after {}", waiter.0, waited.as_millis())
            }
        }
    }

    fn write_down_close(&mut self, server: ServerId, cause: CloseCause) -> String {
        let number = self.number(server);
        self.closing.push(number);
        format!("close s{number} {cause:?}")
    }

    fn number(&self, server: ServerId) -> usize {
        self.servers.iter().position(|&known| known == server).unwrap()
    }
}

/// No decisions.
pub(crate) const fn none() -> Vec<String> {
    Vec::new()
}
