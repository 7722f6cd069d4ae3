//! Turns random operations into events that fit, and shows them to the pools and to the model.
//!
//! Invariant: an operation that fits nothing at the moment is skipped, so any sequence can be
//! shortened.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::{Duration, Instant};

use stent_pool::{
    Class, Condition, Decision, Event, Home, Limits, OpenFailure, Pools, ProbeResult, ServerId,
    SizeRule, WaiterId, Whom,
};

use crate::model::{Model, State};

/// What happens next; `which` chooses among those to whom it can happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Acquire {
        pool: u8,
    },
    Withdraw {
        which: u8,
    },
    Opened {
        which: u8,
    },
    OpenFailed {
        which: u8,
        kind: u8,
    },
    Probed {
        which: u8,
        luck: u8,
    },
    Release {
        which: u8,
        luck: u8,
    },
    Lost {
        which: u8,
    },
    Closed {
        which: u8,
    },
    RetireAll {
        pool: u8,
    },
    Pause {
        pool: u8,
    },
    Resume {
        pool: u8,
    },
    /// The limits change; the numbers choose which and how.
    Resize {
        sizes: Sizes,
        kind: u8,
    },
    /// A server that is gone is spoken of again.
    Stale {
        which: u8,
    },
    /// Time passes, with ticks when they are due.
    Pass {
        milliseconds: u16,
    },
}

/// The numbers among the limits that are varied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) pool_size: u32,
    pub(crate) reserve_pool_size: u32,
    pub(crate) min_pool_size: u32,
    pub(crate) max_db_connections: Option<u32>,
    pub(crate) max_user_connections: Option<u32>,
    pub(crate) max_server_connections: Option<u32>,
    pub(crate) server_max_uses: Option<u32>,
    pub(crate) opening_max: u32,
    pub(crate) classes: u8,
    /// Those of database `shop` and of user `a`, in this order or in the other; 0: none has any.
    pub(crate) own: (u8, OwnSizes, OwnSizes),
}

/// Sizes of some pools: size, minimum, reserve.
pub(crate) type OwnSizes = (Option<u32>, Option<u32>, Option<u32>);

/// What is varied from run to run.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) sizes: Sizes,
    pub(crate) seed: u64,
    /// How many homes there are.
    pub(crate) homes: u64,
    /// 0: no time limits; 1: waits; 2: waits and ages; 3: waits, ages and idleness.
    pub(crate) kind: u8,
}

/// Runs the operations; panics where a decision is wrong or missing. Gives what was decided, with
/// times from the start.
pub(crate) fn run(setting: &Setting, ops: &[Op]) -> Vec<(Duration, Decision)> {
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    let start = Instant::now();
    let mut runner = Runner::new(setting, start);
    for &op in ops {
        runner.step(op);
    }
    let record = runner.record;
    record.into_iter().map(|(at, decision)| (at.duration_since(start), decision)).collect()
}

struct Runner {
    pools: Pools,
    model: Model,
    now: Instant,
    clients: u64,
    homes: u64,
    gone: Vec<ServerId>,
    record: Vec<(Instant, Decision)>,
}

impl Runner {
    fn new(setting: &Setting, start: Instant) -> Self {
        let limits = limits(setting.sizes, setting.kind);
        let mut pools = Pools::new(limits.clone(), setting.seed);
        let mut model = Model::new(limits, start);
        for (database, user) in
            [("shop", "a"), ("shop", "b"), ("shop", "c"), ("stock", "a"), ("stock", "b")]
        {
            model.add_pool(pools.pool(database, user).unwrap(), [database, user], start);
        }
        Self {
            pools,
            model,
            now: start,
            clients: 0,
            homes: setting.homes,
            gone: Vec::new(),
            record: Vec::new(),
        }
    }

    fn step(&mut self, op: Op) {
        if let Op::Pass { milliseconds } = op {
            return self.pass(Duration::from_millis(milliseconds.into()));
        }
        if let Op::Resize { sizes, kind } = op {
            return self.resize(sizes, kind);
        }
        let Some(event) = self.event(op) else { return };
        if let Event::OpenFailed { server, .. } | Event::Closed { server } = event {
            self.gone.push(server);
        }
        let misfits = self.pools.misfits();
        self.tell(event);
        let stale = u64::from(matches!(op, Op::Stale { .. }));
        assert_eq!(self.pools.misfits(), misfits + stale, "just the stale events are misfits");
    }

    fn event(&mut self, op: Op) -> Option<Event> {
        let server = |which, state| self.model.choose_server(which, state);
        Some(match op {
            Op::Acquire { pool } => {
                self.clients += 1;
                let (pool, waiter) = (self.model.pool_id(pool), WaiterId(self.clients));
                Event::Acquire { pool, waiter, home: self.home(), class: self.class() }
            }
            Op::Withdraw { which } => Event::Withdraw { waiter: self.model.choose_waiter(which)? },
            Op::Opened { which } => {
                let server = server(which, State::Opening)?;
                Event::Opened { server, home: self.home() }
            }
            Op::OpenFailed { which, kind } => {
                let failure = match kind {
                    0 => OpenFailure::Permanent,
                    1 => OpenFailure::Transient,
                    _ => OpenFailure::Unreachable,
                };
                Event::OpenFailed { server: server(which, State::Opening)?, failure }
            }
            Op::Probed { which, luck } => {
                let healthy = if luck == 0 { ProbeResult::Failed } else { ProbeResult::Healthy };
                Event::Probed { server: server(which, State::Tested)?, healthy }
            }
            Op::Release { which, luck } => {
                let condition = match luck {
                    0 => Condition::Doubtful,
                    1 => Condition::Broken,
                    2 => Condition::Worn,
                    _ => Condition::Clean,
                };
                Event::Release { server: server(which, State::Lent)?, condition }
            }
            Op::Lost { which } => Event::Lost { server: server(which, State::Idle)? },
            Op::Closed { which } => Event::Closed { server: server(which, State::Closing)? },
            Op::RetireAll { pool } => Event::RetireAll { pool: self.model.pool_id(pool) },
            Op::Pause { pool } => Event::Pause { pool: self.model.pool_id(pool) },
            Op::Resume { pool } => Event::Resume { pool: self.model.pool_id(pool) },
            Op::Stale { which } => {
                let server = *self.gone.get(usize::from(which) % self.gone.len().max(1))?;
                Event::Release { server, condition: Condition::Clean }
            }
            Op::Pass { .. } | Op::Resize { .. } => return None,
        })
    }

    /// Homes change with the number of clients, in no order that matters.
    const fn home(&self) -> Home {
        Home((self.clients / 3 % self.homes) as u16)
    }

    /// So do classes, in another rhythm; the last does not exist.
    const fn class(&self) -> Class {
        Class((self.clients / 2 % 4) as u8)
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.pools.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.tell(Event::Tick);
        }
        self.now = end;
        self.model.nothing_is_overdue(self.now);
    }

    fn resize(&mut self, sizes: Sizes, kind: u8) {
        let factor = 1 + u32::from(kind) % 2;
        let limits = limits(sizes, kind);
        let limits = Limits {
            waiters_max: limits.waiters_max * factor / 2,
            server_lifetime: limits.server_lifetime.map(|life| life * factor),
            ..limits
        };
        let mut out = Vec::new();
        self.pools.set_limits(limits.clone(), self.now, &mut out);
        self.pools.check();
        self.model.judge_resize(limits, self.now, &out);
        self.model.compare(&self.pools, self.now);
        self.record.extend(out.into_iter().map(|decision| (self.now, decision)));
    }

    fn tell(&mut self, event: Event) {
        let mut out = Vec::new();
        self.pools.handle(event, self.now, &mut out);
        self.pools.check();
        self.model.judge(event, self.now, &out);
        self.model.compare(&self.pools, self.now);
        self.record.extend(out.into_iter().map(|decision| (self.now, decision)));
    }
}

fn limits(sizes: Sizes, kind: u8) -> Limits {
    let after = |from, milliseconds| (kind >= from).then(|| Duration::from_millis(milliseconds));
    Limits {
        pool_size: NonZeroU32::new(sizes.pool_size).unwrap(),
        reserve_pool_size: sizes.reserve_pool_size,
        reserve_pool_timeout: after(1, 300),
        min_pool_size: sizes.min_pool_size.min(sizes.pool_size),
        size_rules: size_rules(sizes),
        max_db_connections: sizes.max_db_connections.and_then(NonZeroU32::new),
        max_user_connections: sizes.max_user_connections.and_then(NonZeroU32::new),
        max_server_connections: sizes.max_server_connections.and_then(NonZeroU32::new),
        query_wait_timeout: after(1, 700),
        server_lifetime: after(2, 3_000),
        server_max_uses: sizes.server_max_uses.and_then(NonZeroU32::new),
        server_idle_timeout: after(3, 900),
        server_check_delay: Duration::from_millis(200),
        retry_min: Duration::from_millis(50),
        retry_max: Duration::from_millis(400),
        class_weights: classes(sizes.classes),
        waiters_max: 6,
        opening_max: sizes.opening_max,
    }
}

/// No rules, or two that overlap.
fn size_rules(sizes: Sizes) -> Vec<SizeRule> {
    let whom = |database: Option<&str>, user: Option<&str>| Whom {
        database: database.map(str::to_owned),
        user: user.map(str::to_owned),
        application_name: None,
    };
    let rule = |whom, (size, least, reserve): OwnSizes| SizeRule {
        whom,
        pool_size: size.and_then(NonZeroU32::new),
        min_pool_size: least,
        reserve_pool_size: reserve,
    };
    let (kind, shop, a) = sizes.own;
    let (shop, a) = (rule(whom(Some("shop"), None), shop), rule(whom(None, Some("a")), a));
    match kind {
        0 => Vec::new(),
        1 => vec![shop, a],
        _ => vec![a, shop],
    }
}

/// No classes, or three.
fn classes(kind: u8) -> Vec<NonZeroU16> {
    let weights: &[u16] = match kind {
        0 => &[],
        1 => &[4, 1, 2],
        _ => &[1, 3, 1],
    };
    weights.iter().copied().filter_map(NonZeroU16::new).collect()
}
