//! The rows of the alarm table. (Table file: its length is its content.)
//!
//! Owns: every threshold, window and missing-data policy, with the reason for it.
//! Refuses: a row without a reason for what silence means.
//! Invariant: a symptom that users feel is critical, a cause that they do not feel yet is a
//! warning; when a figure is lost because the agent or the proxy is gone, exactly
//! `StentAgentSilent` and `StentProxyDown` go off, and the others keep their state.

use std::time::Duration;

use super::{
    Alarm, Comparison::*, Condition::*, MissingData::*, Severity::*, SignOfLife, Statistic::*,
    Window,
};
use crate::metric::MetricId;

const POOL: &[&str] = &["database", "user"];
const SIGHT_LOST: &str = "Data stops only when the agent or the proxy is gone, and those have alarms of their own; \
     losing sight of a trouble does not end it.";
const NO_EVENT: &str = "No data means that nothing was counted; a silent source has its own alarm.";

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// `datapoints` bad minutes out of `periods`.
const fn of_minutes(datapoints: u32, periods: u32) -> Window {
    Window { period: minutes(1), datapoints, periods }
}

/// One look at the last five minutes.
const FIVE_MINUTES: Window = Window { period: minutes(5), datapoints: 1, periods: 1 };

/// Every alarm: who is hurt first, then causes, then the watchers themselves.
pub const ALARMS: &[Alarm] = &[
    Alarm {
        name: "StentClientWaitLong",
        summary: "Clients wait more than a second for a server connection.",
        description: "The first client in a pool's queue has waited more than 1 s in most of the \
            last minutes: every request of the application is slower by that, and at \
            query_wait_timeout requests fail.",
        severity: Critical,
        metric: MetricId::MaxWait,
        selector: &[],
        by: POOL,
        condition: Level { statistic: Maximum, comparison: GreaterThan, threshold: 1.0 },
        window: of_minutes(3, 5),
        missing: Ignore,
        missing_because: SIGHT_LOST,
        hold: minutes(3),
    },
    Alarm {
        name: "StentClientWaitTimeouts",
        summary: "Clients gave up waiting for a server connection.",
        description: "At least one client waited for query_wait_timeout and got an error instead \
            of a server connection: a request of the application failed.",
        severity: Critical,
        metric: MetricId::Timeouts,
        selector: &[],
        by: POOL,
        condition: Increase { more_than: 0.0 },
        window: FIVE_MINUTES,
        missing: NotBreaching,
        missing_because: NO_EVENT,
        hold: Duration::ZERO,
    },
    Alarm {
        name: "StentServerConnectFailing",
        summary: "The proxy cannot open connections to PostgreSQL.",
        description: "Three or more logins to PostgreSQL failed within five minutes. Servers that \
            are open go on working; the pool cannot grow or replace what it loses.",
        severity: Critical,
        metric: MetricId::ConnectFailures,
        selector: &[],
        by: POOL,
        condition: Increase { more_than: 2.0 },
        window: FIVE_MINUTES,
        missing: NotBreaching,
        missing_because: NO_EVENT,
        hold: Duration::ZERO,
    },
    Alarm {
        name: "StentConnectionLeak",
        summary: "The application leaks server connections.",
        description: "Stent judges that clients hold server connections which they have \
            forgotten, transactions begun and never ended. Each one is lost to its pool until \
            the client disconnects; when all are lost, every request waits.",
        severity: Critical,
        metric: MetricId::LeakVerdict,
        selector: &[("resource", "connections")],
        by: &["target"],
        condition: Level { statistic: Maximum, comparison: AtLeast, threshold: 2.0 },
        window: of_minutes(2, 3),
        missing: Ignore,
        missing_because: SIGHT_LOST,
        hold: minutes(1),
    },
    Alarm {
        name: "StentPoolSaturated",
        summary: "A pool has had no free server connection for minutes.",
        description: "On average at least 95 % of a pool's connections were held by clients in \
            each of the last five minutes. Either the pool is too small for the load, \
            transactions are too long, or connections leak.",
        severity: Warning,
        metric: MetricId::PoolUtilization,
        selector: &[],
        by: POOL,
        condition: Level { statistic: Average, comparison: AtLeast, threshold: 0.95 },
        window: of_minutes(5, 5),
        missing: Ignore,
        missing_because: SIGHT_LOST,
        hold: minutes(5),
    },
    Alarm {
        name: "StentIdleInTransactionHeld",
        summary: "A client holds a server connection in a silent transaction.",
        description: "For three minutes running there was a client that had been silent for more \
            than 30 s inside an open transaction. It holds a server connection, its locks, and \
            the rows that VACUUM may not remove.",
        severity: Warning,
        metric: MetricId::IdleInTransactionMax,
        selector: &[],
        by: POOL,
        condition: Level { statistic: Maximum, comparison: GreaterThan, threshold: 30.0 },
        window: of_minutes(3, 3),
        missing: Ignore,
        missing_because: SIGHT_LOST,
        hold: minutes(3),
    },
    Alarm {
        name: "StentMemoryLimitNear",
        summary: "At its present growth a process meets its memory limit within two hours.",
        description: "The forecast for a watched process has been under two hours for three \
            minutes. When the limit is met the kernel kills the process, and in a shared \
            container its neighbours with it.",
        severity: Critical,
        metric: MetricId::TimeToLimit,
        selector: &[],
        by: &["target"],
        condition: Level { statistic: Maximum, comparison: LessThan, threshold: 7_200.0 },
        window: of_minutes(3, 3),
        missing: NotBreaching,
        missing_because: "A process that does not grow has no forecast: absence is the healthy \
            state, and an alarm that ignored it would never end.",
        hold: minutes(3),
    },
    Alarm {
        name: "StentMemoryLeak",
        summary: "A process leaks memory.",
        description: "Stent judges that a watched process's memory grows without an end in sight: \
            it is neither warming up nor settling. How urgent it is, StentMemoryLimitNear tells.",
        severity: Warning,
        metric: MetricId::LeakVerdict,
        selector: &[("resource", "memory")],
        by: &["target"],
        condition: Level { statistic: Maximum, comparison: AtLeast, threshold: 2.0 },
        window: of_minutes(3, 3),
        missing: Ignore,
        missing_because: SIGHT_LOST,
        hold: minutes(3),
    },
    Alarm {
        name: "StentOomKill",
        summary: "The kernel killed a process for want of memory.",
        description: "The cgroup of a watched process counted an OOM kill in the last five \
            minutes. What was killed dropped its work; if it is restarted, it starts to grow \
            again.",
        severity: Critical,
        metric: MetricId::OomKills,
        selector: &[],
        by: &["target"],
        condition: Increase { more_than: 0.0 },
        window: FIVE_MINUTES,
        missing: NotBreaching,
        missing_because: NO_EVENT,
        hold: Duration::ZERO,
    },
    Alarm {
        name: "StentRejuvenated",
        summary: "A leaking process was restarted before its memory limit.",
        description: "`stent run` restarted its command in the last five minutes, because it leaks and \
            the forecast of its memory limit was inside rejuvenate_margin. Nobody was hurt; the \
            leak is still there, and the next restart will come.",
        severity: Warning,
        metric: MetricId::Rejuvenations,
        selector: &[],
        by: &["target"],
        condition: Increase { more_than: 0.0 },
        window: FIVE_MINUTES,
        missing: NotBreaching,
        missing_because: NO_EVENT,
        hold: Duration::ZERO,
    },
    Alarm {
        name: "StentPostgresConnectionsNearMax",
        summary: "PostgreSQL is close to max_connections.",
        description: "Client connections of PostgreSQL, of all applications together, have taken \
            up at least 85 % of max_connections for five minutes. At 100 % every new login \
            fails with SQLSTATE 53300.",
        severity: Warning,
        metric: MetricId::PostgresConnections,
        selector: &[],
        by: &[],
        condition: Share { whole: MetricId::PostgresMaxConnections, at_least: 0.85 },
        window: of_minutes(5, 5),
        missing: Ignore,
        missing_because: "No data means that PostgreSQL did not answer; \
            StentPostgresUnreachable says so, and a full PostgreSQL is one that does not answer.",
        hold: minutes(5),
    },
    Alarm {
        name: "StentPostgresUnreachable",
        summary: "The agent's queries of PostgreSQL fail.",
        description: "For three minutes the agent, a client of the pool like any other, has not \
            got an answer from PostgreSQL: it is down, it refuses, or the pool has no server to \
            lend.",
        severity: Critical,
        metric: MetricId::PostgresUp,
        selector: &[],
        by: &[],
        condition: Level { statistic: Maximum, comparison: LessThan, threshold: 1.0 },
        window: of_minutes(3, 3),
        missing: Ignore,
        missing_because: "An agent that was given no database publishes nothing, and must not \
            alarm; an agent that is gone has its own alarm.",
        hold: minutes(2),
    },
    Alarm {
        name: "StentProxyDown",
        summary: "The proxy does not answer: the application may have no database.",
        description: "The agent has had nothing to report from the proxy for minutes, or the \
            supervisor finds it dead. What connects through the proxy cannot reach PostgreSQL. \
            If StentAgentSilent fires too, look there first.",
        severity: Critical,
        metric: MetricId::Clients,
        selector: &[],
        by: &[],
        condition: Silence { sign: SignOfLife::Component("proxy") },
        window: of_minutes(3, 3),
        missing: Breaching,
        missing_because: "Silence is what it watches for.",
        hold: minutes(1),
    },
    Alarm {
        name: "StentAgentSilent",
        summary: "The agent has stopped reporting: nobody is watching.",
        description: "No heartbeat for minutes. The agent or its whole task is gone, or it cannot \
            publish (network, credentials). While it is silent the other alarms keep their last \
            state, whatever happens.",
        severity: Critical,
        metric: MetricId::Heartbeat,
        selector: &[],
        by: &[],
        condition: Silence { sign: SignOfLife::UnixTime { older_than: minutes(3) } },
        window: of_minutes(3, 3),
        missing: Breaching,
        missing_because: "Silence is what it watches for.",
        hold: minutes(1),
    },
];
