//! Hand-written cases: what each alarm must do with which series. (Table file.)
//!
//! Owns: the series and the expected alerts. Refuses: names of metrics (the metric table's).
//! Invariant: a silent case is a near miss, not an empty page.

use stent_contract::MetricId::{self, *};

use super::{Case, INSTANCE, Labels, Series};

const POOL: Labels = &[("database", "shop"), ("user", "api")];
const POOL_ALERT: Labels = &[INSTANCE, ("database", "shop"), ("user", "api")];
const TARGET: Labels = &[("target", "bun")];
const TARGET_ALERT: Labels = &[INSTANCE, ("target", "bun")];
const MEMORY: Labels = &[("target", "bun"), ("resource", "memory")];
const CONNECTIONS: Labels = &[("target", "shop/api"), ("resource", "connections")];
const LEAKING_POOL_ALERT: Labels = &[INSTANCE, ("target", "shop/api")];
const REFUSED: Labels = &[("database", "shop"), ("user", "api"), ("sqlstate", "08006")];
const FULL: Labels = &[("database", "shop"), ("user", "api"), ("sqlstate", "53300")];
const IDLE: Labels = &[("state", "idle"), ("user", "api"), ("application_name", "bun")];
const HELD: Labels =
    &[("state", "idle in transaction"), ("user", "batch"), ("application_name", "cron")];
const WAITING_CLIENTS: Labels = &[("state", "waiting")];
const PROXY: Labels = &[("component", "proxy")];
const AGENT: Labels = &[("component", "agent")];
const NONE: Labels = &[];

/// The alert of an instance, and of a job whose instances are gone.
const INSTANCE_ALERT: Labels = &[INSTANCE];
const JOB_ALERT: Labels = &[];

const fn of(metric: MetricId, labels: Labels, values: &'static str) -> Series {
    Series { metric, labels, values }
}

/// Two cases or more an alarm.
pub const CASES: &[Case] = &[
    Case {
        alarm: "StentClientWaitLong",
        story: "the queue's head waits two and a half seconds, minute after minute",
        series: &[of(MaxWait, POOL, "2.5+0x40")],
        minute: 5,
        fires: &[POOL_ALERT],
    },
    Case {
        alarm: "StentClientWaitLong",
        story: "waits come and go, so that a scrape now and then finds none",
        series: &[of(MaxWait, POOL, "2 0 0 3 0 0 2 0 0 4 0 0 2 0 0 3 0 0 2 0 0 2 0 0 2 0 0")],
        minute: 6,
        fires: &[POOL_ALERT],
    },
    Case {
        alarm: "StentClientWaitLong",
        story: "one burst of less than a minute",
        series: &[of(MaxWait, POOL, "0+0x8 3+0x3 0+0x40")],
        minute: 5,
        fires: &[],
    },
    Case {
        alarm: "StentClientWaitTimeouts",
        story: "one client gave up",
        series: &[of(Timeouts, POOL, "0+0x8 1+0x40")],
        minute: 5,
        fires: &[POOL_ALERT],
    },
    Case {
        alarm: "StentClientWaitTimeouts",
        story: "the timeouts of last night are still in the counter",
        series: &[of(Timeouts, POOL, "7+0x80")],
        minute: 15,
        fires: &[],
    },
    Case {
        alarm: "StentServerConnectFailing",
        story: "logins fail with different codes, none often enough alone",
        series: &[
            of(ConnectFailures, REFUSED, "0+0x8 1+0x3 2+0x40"),
            of(ConnectFailures, FULL, "0+0x8 1+0x3 2+0x40"),
        ],
        minute: 5,
        fires: &[POOL_ALERT],
    },
    Case {
        alarm: "StentServerConnectFailing",
        story: "two logins failed, the next one worked",
        series: &[of(ConnectFailures, REFUSED, "4+0x8 5+0x3 6+0x40")],
        minute: 5,
        fires: &[],
    },
    Case {
        alarm: "StentConnectionLeak",
        story: "the verdict on a pool's connections is leak",
        series: &[of(LeakVerdict, CONNECTIONS, "0+0x8 2+0x40"), of(LeakVerdict, MEMORY, "0+0x60")],
        minute: 5,
        fires: &[LEAKING_POOL_ALERT],
    },
    Case {
        alarm: "StentConnectionLeak",
        story: "connections are suspect for long, and it is memory that leaks",
        series: &[of(LeakVerdict, CONNECTIONS, "1+0x80"), of(LeakVerdict, MEMORY, "2+0x80")],
        minute: 15,
        fires: &[],
    },
    Case {
        alarm: "StentPoolSaturated",
        story: "all servers are held",
        series: &[of(PoolUtilization, POOL, "1+0x60")],
        minute: 8,
        fires: &[POOL_ALERT],
    },
    Case {
        alarm: "StentPoolSaturated",
        story: "a busy pool that always has a server left",
        series: &[of(PoolUtilization, POOL, "1 0.8 1 0.9 1 0.8 1 0.9 1 0.8 0.9+0x60")],
        minute: 12,
        fires: &[],
    },
    Case {
        alarm: "StentIdleInTransactionHeld",
        story: "a transaction that nobody ends",
        series: &[of(IdleInTransactionMax, POOL, "0+15x40")],
        minute: 8,
        fires: &[POOL_ALERT],
    },
    Case {
        alarm: "StentIdleInTransactionHeld",
        story: "slow clients, each of which ends its transaction",
        series: &[of(IdleInTransactionMax, POOL, "0 14 29 3 18 29 0 12 27 0 15 30 0 9 24 28+0x40")],
        minute: 12,
        fires: &[],
    },
    Case {
        alarm: "StentMemoryLimitNear",
        story: "the forecast shrinks from two and a half hours to one and a half",
        series: &[of(TimeToLimit, TARGET, "9000-60x60")],
        minute: 14,
        fires: &[TARGET_ALERT],
    },
    Case {
        alarm: "StentMemoryLimitNear",
        story: "a short alarming forecast that was taken back, and one far away",
        series: &[
            of(TimeToLimit, TARGET, "5000+0x3 stale"),
            of(TimeToLimit, &[("target", "worker")], "90000-15x80"),
        ],
        minute: 4,
        fires: &[],
    },
    Case {
        alarm: "StentMemoryLeak",
        story: "the verdict on a process's memory is leak",
        series: &[of(LeakVerdict, MEMORY, "1+0x8 2+0x40")],
        minute: 8,
        fires: &[TARGET_ALERT],
    },
    Case {
        alarm: "StentMemoryLeak",
        story: "memory is suspect while it warms up, and it is connections that leak",
        series: &[of(LeakVerdict, MEMORY, "1+0x80"), of(LeakVerdict, CONNECTIONS, "2+0x80")],
        minute: 15,
        fires: &[],
    },
    Case {
        alarm: "StentOomKill",
        story: "the kernel killed a process",
        series: &[of(OomKills, TARGET, "0+0x8 1+0x40")],
        minute: 4,
        fires: &[TARGET_ALERT],
    },
    Case {
        alarm: "StentOomKill",
        story: "the cgroup remembers old kills",
        series: &[of(OomKills, TARGET, "3+0x80")],
        minute: 15,
        fires: &[],
    },
    Case {
        alarm: "StentRejuvenated",
        story: "the command was restarted once",
        series: &[of(Rejuvenations, TARGET, "0+0x8 1+0x40")],
        minute: 4,
        fires: &[TARGET_ALERT],
    },
    Case {
        alarm: "StentRejuvenated",
        story: "a restart of long ago",
        series: &[of(Rejuvenations, TARGET, "3+0x80")],
        minute: 15,
        fires: &[],
    },
    Case {
        alarm: "StentPostgresConnectionsNearMax",
        story: "two applications together take 90 of 100",
        series: &[
            of(PostgresConnections, IDLE, "60+0x60"),
            of(PostgresConnections, HELD, "30+0x60"),
            of(PostgresMaxConnections, NONE, "100+0x60"),
        ],
        minute: 8,
        fires: &[INSTANCE_ALERT],
    },
    Case {
        alarm: "StentPostgresConnectionsNearMax",
        story: "84 of 100, and a peak of two minutes",
        series: &[
            of(PostgresConnections, IDLE, "60+0x60"),
            of(PostgresConnections, HELD, "24+0x20 35+0x7 24+0x60"),
            of(PostgresMaxConnections, NONE, "100+0x90"),
        ],
        minute: 7,
        fires: &[],
    },
    Case {
        alarm: "StentPostgresUnreachable",
        story: "no answer for minutes",
        series: &[of(PostgresUp, NONE, "1+0x4 0+0x60")],
        minute: 7,
        fires: &[INSTANCE_ALERT],
    },
    Case {
        alarm: "StentPostgresUnreachable",
        story: "a restart of PostgreSQL that takes a minute",
        series: &[of(PostgresUp, NONE, "1+0x8 0+0x3 1+0x40")],
        minute: 6,
        fires: &[],
    },
    Case {
        alarm: "StentProxyDown",
        story: "the supervisor finds the proxy dead",
        series: &[of(Up, PROXY, "1+0x4 0+0x40"), of(Clients, WAITING_CLIENTS, "0+0x60")],
        minute: 4,
        fires: &[INSTANCE_ALERT],
    },
    Case {
        alarm: "StentProxyDown",
        story: "the proxy's series end and nothing takes their place",
        series: &[of(Clients, WAITING_CLIENTS, "3+0x8 stale")],
        minute: 6,
        fires: &[JOB_ALERT],
    },
    Case {
        alarm: "StentProxyDown",
        story: "a proxy without clients, beside an agent that is dead",
        series: &[
            of(Up, PROXY, "1+0x60"),
            of(Up, AGENT, "0+0x60"),
            of(Clients, WAITING_CLIENTS, "0+0x60"),
        ],
        minute: 10,
        fires: &[],
    },
    Case {
        alarm: "StentAgentSilent",
        story: "the agent answers but has stopped doing its rounds",
        series: &[of(Heartbeat, NONE, "0+15x8 120+0x60")],
        minute: 7,
        fires: &[INSTANCE_ALERT],
    },
    Case {
        alarm: "StentAgentSilent",
        story: "the agent is gone",
        series: &[of(Heartbeat, NONE, "0+15x8 stale")],
        minute: 5,
        fires: &[JOB_ALERT],
    },
    Case {
        alarm: "StentAgentSilent",
        story: "rounds are two minutes late, and then come again",
        series: &[of(Heartbeat, NONE, "0+15x8 120+0x8 270+15x40")],
        minute: 5,
        fires: &[],
    },
];

/// Half an hour of a service under load in which nothing is wrong.
pub const HEALTHY: &[Series] = &[
    of(PoolUtilization, POOL, "0.7+0x200"),
    of(MaxWait, POOL, "0.02+0x200"),
    of(Timeouts, POOL, "0+0x200"),
    of(IdleInTransactionMax, POOL, "0.3+0x200"),
    of(ConnectFailures, FULL, "1+0x200"),
    of(Clients, WAITING_CLIENTS, "2+0x200"),
    of(LeakVerdict, MEMORY, "0+0x200"),
    of(LeakVerdict, CONNECTIONS, "0+0x200"),
    of(OomKills, TARGET, "0+0x200"),
    of(Rejuvenations, TARGET, "0+0x200"),
    of(PostgresConnections, IDLE, "20+0x200"),
    of(PostgresMaxConnections, NONE, "100+0x200"),
    of(PostgresUp, NONE, "1+0x200"),
    of(Up, PROXY, "1+0x200"),
    of(Up, AGENT, "1+0x200"),
    of(Heartbeat, NONE, "0+15x200"),
];
