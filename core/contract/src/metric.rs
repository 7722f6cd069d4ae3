//! The metric table: the only place where a metric or label name is spelled.
//!
//! Names follow OpenTelemetry's semantic conventions where one exists (`db.client.connection.*`,
//! `process.*`, `container.*`) in their Prometheus spelling. One deviation: OpenTelemetry's
//! `db.client.connection.count` would end in `_count`, which Prometheus reserves for histograms
//! (promtool refuses it on a gauge), so it is `db_client_connections` here.
//! Invariant: `METRICS[id as usize].id == id`, names are unique, and suffixes match kind and unit.

use crate::unit::Unit;

/// Which process publishes a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The pooling proxy.
    Proxy,
    /// The agent.
    Agent,
    /// `stent up` and `stent run`: the supervisor of the other two.
    Supervisor,
    /// Each of them about itself, told apart by the label `component`.
    Each,
}

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    /// Only grows, but for a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution with these fixed upper bounds (in the metric's unit), `+Inf` implied.
    Histogram(&'static [f64]),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The row's identity in code.
    pub id: MetricId,
    /// The Prometheus name, complete with unit suffix and `_total`.
    pub name: &'static str,
    /// The CloudWatch metric name, or `None` where it is not published there (each one costs).
    pub cloudwatch: Option<&'static str>,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// The unit of the value.
    pub unit: Unit,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// Who publishes it.
    pub component: Component,
    /// One sentence for `# HELP`, the dashboards and the reference page.
    pub help: &'static str,
}

/// Upper bounds, in seconds, for waits and holds: 100 us to two minutes.
pub const LATENCY_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0,
];

/// Upper bounds, in seconds, for opening a server connection.
pub const CONNECT_BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0];

const POOL: &[&str] = &["database", "user"];

macro_rules! metrics {
    ($($id:ident: $name:literal, $cw:expr, $kind:expr, $unit:ident, $labels:expr, $component:ident,
        $help:literal;)*) => {
        /// The identity of a metric; the discriminant is its row in [`METRICS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MetricId { $(#[doc = $help] $id,)* }

        /// Every metric that Stent publishes.
        pub const METRICS: &[Metric] = &[$(Metric {
            id: MetricId::$id, name: $name, cloudwatch: $cw, kind: $kind, unit: Unit::$unit,
            labels: $labels, component: Component::$component, help: $help,
        },)*];
    };
}

use MetricKind::{Counter, Gauge, Histogram};

metrics! {
    // The proxy: pools.
    Connections: "db_client_connections", Some("ServerConnections"), Gauge, Count,
        &["database", "user", "state"], Proxy,
        "Server connections of a pool by state: idle, active, idle_in_transaction, opening, tested, and listening, which is beside the pool.";
    ConnectionMax: "db_client_connection_max", Some("ServerConnectionsMax"), Gauge, Count, POOL, Proxy,
        "The most server connections the pool may hold.";
    PoolUtilization: "stent_pool_utilization_ratio", Some("PoolUtilization"), Gauge, Ratio, POOL, Proxy,
        "Server connections held by clients over the most the pool may hold.";
    PendingRequests: "db_client_connection_pending_requests", Some("ClientsWaiting"), Gauge, Count,
        POOL, Proxy, "Clients queued for a server connection.";
    MaxWait: "stent_client_maxwait_seconds", Some("ClientMaxWait"), Gauge, Seconds, POOL, Proxy,
        "How long the first client in the queue has been waiting.";
    WaitTime: "db_client_connection_wait_time_seconds", None, Histogram(LATENCY_BUCKETS), Seconds,
        POOL, Proxy, "Time from a client's request to its server connection.";
    UseTime: "db_client_connection_use_time_seconds", None, Histogram(LATENCY_BUCKETS), Seconds,
        POOL, Proxy, "Time for which a client held a server connection.";
    CreateTime: "db_client_connection_create_time_seconds", None, Histogram(CONNECT_BUCKETS), Seconds,
        POOL, Proxy, "Time to open a server connection, login included.";
    Timeouts: "db_client_connection_timeouts_total", Some("ClientWaitTimeouts"), Counter, Count,
        POOL, Proxy, "Clients that gave up waiting at query_wait_timeout.";
    ClassWaiting: "stent_class_clients_waiting", None, Gauge, Count, &["class"], Proxy,
        "Clients of a class queued for a server connection, over all pools; with two or more queue_classes.";
    ClassMaxWait: "stent_class_maxwait_seconds", None, Gauge, Seconds, &["class"], Proxy,
        "How long the client of a class that has waited for longest has been waiting.";
    ClassServed: "stent_class_checkouts_total", None, Counter, Count, &["class"], Proxy,
        "Times a client of a class got a server connection, at once or after a wait.";
    ClassTimeouts: "stent_class_timeouts_total", None, Counter, Count, &["class"], Proxy,
        "Clients of a class that gave up waiting at query_wait_timeout, or were told at once that they would.";
    IdleInTransactionMax: "stent_idle_in_transaction_max_seconds", Some("IdleInTransactionMax"), Gauge,
        Seconds, POOL, Proxy,
        "The longest time for which a client has been holding a server in an open transaction without a word.";
    Transactions: "stent_transactions_total", Some("Transactions"), Counter, Count, POOL, Proxy,
        "Transactions finished.";
    Queries: "stent_queries_total", None, Counter, Count, POOL, Proxy,
        "Queries finished (simple queries and Syncs).";
    ReceivedBytes: "stent_client_received_bytes_total", None, Counter, Bytes, POOL, Proxy,
        "Bytes received from clients and sent to servers.";
    SentBytes: "stent_client_sent_bytes_total", None, Counter, Bytes, POOL, Proxy,
        "Bytes received from servers and sent to clients.";
    StatementCache: "stent_statement_cache_total", None, Counter, Count, &["outcome"], Proxy,
        "Unnamed Parses with statement_cache = all: hit and miss, or why the statement went as it was (first, text, session, uncertain, sample, off).";
    PlansSwitchedOff: "stent_plans_switched_off_total", None, Counter, Count, &[], Proxy,
        "Statements that are parsed anew for a while because the plan that was kept for them was slower.";
    Repeated: "stent_requests_repeated_total", None, Counter, Count, &[], Proxy,
        "Times that a client got another server, unnoticed, because its server was lost before anything can have come of its requests.";
    HeldTooLong: "stent_held_too_long_total", None, Counter, Count, &["limit", "stage"], Proxy,
        "Stages of hold_limits carried out, by limit (idle_in_transaction, transaction, query) and stage (warn, notify, cancel, close).";
    Failovers: "stent_failovers_total", None, Counter, Count, &[], Proxy,
        "Times that PostgreSQL did not take writes any more where it did before, and all servers were replaced.";
    Paused: "stent_paused", Some("Paused"), Gauge, Count, POOL, Proxy,
        "1 while the pool is paused (PAUSE on the admin console): its clients wait until RESUME.";
    ConnectFailures: "stent_server_connect_failures_total", Some("ServerConnectFailures"), Counter,
        Count, &["database", "user", "sqlstate"], Proxy, "Server logins that failed, by SQLSTATE.";
    Pins: "stent_pins_total", Some("Pins"), Counter, Count, &["database", "user", "cause"], Proxy,
        "Servers that had to stay with their client after a transaction, by the kind of session state that was found.";
    ServersPinned: "stent_servers_pinned", Some("ServersPinned"), Gauge, Count, POOL, Proxy,
        "Servers that stay with their client because its session holds state.";
    Inspections: "stent_session_inspections_total", None, Counter, Count, POOL, Proxy,
        "Times PostgreSQL was asked what a session holds before its server was lent on.";
    ClientsListening: "stent_clients_listening", None, Gauge, Count, POOL, Proxy,
        "Clients that hold no server and for whom the pool's listening connection listens.";
    Notifications: "stent_notifications_total", None, Counter, Count, POOL, Proxy,
        "Notifications that came over the listening connection, once for each client that they were for.";
    NotificationsLost: "stent_notifications_lost_total", None, Counter, Count, POOL, Proxy,
        "Notifications lost because a client read too slowly; its connection was ended with an error.";
    ListenInterruptions: "stent_listen_interruptions_total", None, Counter, Count, POOL, Proxy,
        "Times the listening connection was lost while clients listened; they were warned.";
    FleetShare: "stent_fleet_share", None, Gauge, Count, &[], Proxy,
        "Servers that this proxy may have of PostgreSQL's connections, with fleet_budget.";
    FleetLimit: "stent_fleet_limit", None, Gauge, Count, &[], Proxy,
        "Servers that all proxies together may have: max_connections without what is reserved, of others, or a control connection.";
    FleetPeers: "stent_fleet_peers", None, Gauge, Count, &[], Proxy,
        "Proxies that share PostgreSQL's connections, this one included.";
    // The proxy: clients and the ends of connections.
    Clients: "stent_clients", Some("Clients"), Gauge, Count, &["state"], Proxy,
        "Client connections by state: login, idle, active, waiting.";
    ClientMax: "stent_clients_max", None, Gauge, Count, &[], Proxy,
        "The most client connections allowed (max_client_conn).";
    Disconnects: "stent_disconnects_total", None, Counter, Count, &["side", "cause"], Proxy,
        "Connections ended, by side (client, server) and cause.";
    Strangers: "stent_strangers_total", None, Counter, Count, &["cause"], Proxy,
        "Connections that never showed who they are, and are no clients: silent (health checks, scans of ports), encryption (asked for it and said no more), unproven (hung up when asked for a proof), turned_away (no room to listen).";
    CancelRequests: "stent_cancel_requests_total", None, Counter, Count, &["outcome"], Proxy,
        "Cancel requests by outcome: forwarded, twin, unknown_key, idle, waiting, failed; own: those that Stent sends for a server whose client has gone or holds it for too long.";
    // Each process about itself.
    HeapAllocated: "stent_heap_allocated_bytes", None, Gauge, Bytes, &["component"], Each,
        "Bytes allocated by the process, from jemalloc.";
    HeapResident: "stent_heap_resident_bytes", None, Gauge, Bytes, &["component"], Each,
        "Bytes of physical memory mapped by the process's allocator, from jemalloc.";
    BuildInfo: "stent_build_info", None, Gauge, Count, &["component", "version"], Each,
        "Always 1; the labels carry the version.";
    // The supervisor.
    Up: "stent_up", None, Gauge, Count, &["component"], Supervisor,
        "1 where the component answers, 0 where it does not.";
    Restarts: "stent_restarts_total", None, Counter, Count, &["component"], Supervisor,
        "Times that the supervisor started the component again.";
    // The agent: targets.
    ProcessMemory: "process_memory_usage_bytes", Some("ProcessMemory"), Gauge, Bytes,
        &["target", "kind"], Agent,
        "Memory of a target by kind: anon, file, shmem, swap, pss, and heap where the target's own runtime says it.";
    CauseConfidence: "stent_cause_confidence_ratio", None, Gauge, Ratio, &["cause"], Agent,
        "How likely each kind of cause explains what is wrong (database_away, servers_lost, forgotten_transactions, locks, pool_too_small, memory_growth, handle_growth); 0 while it explains nothing.";
    ProcessFds: "process_unix_file_descriptors", Some("FileDescriptors"), Gauge, Count, &["target"], Agent,
        "Open file descriptors of a target.";
    DescriptorKinds: "stent_target_descriptors", None, Gauge, Count, &["target", "kind"], Agent,
        "Open file descriptors of a target by kind: file, socket, pipe, event (epoll, timers, eventfd), other. Once a minute, of four targets at most, those under suspicion first.";
    TargetSockets: "stent_target_sockets", None, Gauge, Count, &["target", "state"], Agent,
        "TCP sockets of a target's network namespace by state: in_use, orphaned, time_wait.";
    ProcessThreads: "process_threads", None, Gauge, Count, &["target"], Agent, "Threads of a target.";
    ProcessCpu: "process_cpu_time_seconds_total", None, Counter, Seconds, &["target"], Agent,
        "CPU time of a target, user and system.";
    ContainerMemory: "container_memory_usage_bytes", Some("ContainerMemory"), Gauge, Bytes,
        &["target"], Agent, "Memory charged to the target's cgroup.";
    ContainerMemoryLimit: "container_memory_limit_bytes", None, Gauge, Bytes, &["target"], Agent,
        "The memory limit that ends the target: its cgroup's, or the machine's.";
    ContainerSwap: "container_memory_swap_bytes", None, Gauge, Bytes, &["target"], Agent,
        "Swap charged to the target's cgroup, where the kernel accounts for it.";
    MemoryPressure: "container_memory_pressure_ratio", None, Gauge, Ratio, &["target", "kind"], Agent,
        "Share of the last ten seconds in which tasks of the target's cgroup stood still for want of memory: some (at least one of them), full (all). Absent with cgroup version 1, which does not say.";
    MemoryPressureTime: "container_memory_pressure_seconds_total", None, Counter, Seconds, &["target", "kind"], Agent,
        "Time for which tasks of the target's cgroup stood still for want of memory: some, full.";
    OomKills: "container_oom_kills_total", Some("OomKills"), Counter, Count, &["target"], Agent,
        "Processes that the kernel killed in the target's cgroup for want of memory.";
    // The agent: verdicts.
    LeakVerdict: "stent_leak_verdict", Some("LeakVerdict"), Gauge, Count, &["target", "resource"], Agent,
        "0 healthy, 1 suspect, 2 leak; resource is memory, connections, descriptors or threads.";
    LeakConfidence: "stent_leak_confidence_ratio", None, Gauge, Ratio, &["target", "resource"], Agent,
        "How sure the verdict is.";
    MemoryGrowth: "stent_memory_growth_bytes_per_hour", Some("MemoryGrowth"), Gauge, BytesPerHour,
        &["target"], Agent, "Growth of the target's memory floor; 0 while no growth is established.";
    TimeToLimit: "stent_memory_time_to_limit_seconds", Some("MemoryTimeToLimit"), Gauge, Seconds,
        &["target"], Agent, "Forecast time until the target meets its memory limit; absent while it does not grow.";
    Rejuvenations: "stent_rejuvenations_total", Some("Rejuvenations"), Counter, Count, &["target"], Agent,
        "Times that `stent run` restarted the target because its memory limit was near (rejuvenate).";
    StuckConnections: "stent_stuck_connections", Some("StuckConnections"), Gauge, Count, POOL, Agent,
        "Server connections held by clients judged to have leaked them.";
    // The agent: looks into targets.
    Attaches: "stent_attaches_total", None, Counter, Count, &["means", "outcome"], Agent,
        "Looks into a target under suspicion, by means and outcome: named, nothing, refused, failed.";
    AttachedTime: "stent_attached_seconds_total", None, Counter, Seconds, &[], Agent,
        "Time for which targets were looked into.";
    AttachPauseMax: "stent_attach_pause_max_seconds", None, Gauge, Seconds, &[], Agent,
        "The longest answer of a target that was looked into: the longest that one can have stood still.";
    // The agent: PostgreSQL's own side.
    PostgresMaxConnections: "stent_postgres_max_connections", None, Gauge, Count, &[], Agent,
        "PostgreSQL's max_connections.";
    PostgresConnections: "stent_postgres_connections", Some("PostgresConnections"), Gauge, Count,
        &["state", "user", "application_name"], Agent, "PostgreSQL's client backends as it reports them.";
    PostgresIdleInTransactionMax: "stent_postgres_idle_in_transaction_max_seconds", None, Gauge, Seconds,
        &[], Agent, "The oldest idle-in-transaction session that PostgreSQL reports.";
    PostgresUp: "stent_postgres_up", Some("PostgresUp"), Gauge, Count, &[], Agent,
        "1 where the agent's last query of PostgreSQL succeeded.";
    // The agent about itself.
    Heartbeat: "stent_agent_heartbeat_timestamp_seconds", Some("AgentHeartbeat"), Gauge, Seconds, &[], Agent,
        "Unix time of the agent's last complete round (CloudWatch: 1 a round).";
    ReadingsSkipped: "stent_readings_skipped_total", None, Counter, Count, &["target", "source", "reason"], Agent,
        "Readings, or parts of one, left out because what was read cannot be right, by what it was read from (process, cpu, pss, cgroup, ...) and reason (cut_off, malformed, unreadable, went_back, jumped_ahead, too_many); source clock: the wall clock was set. No target: it concerns them all.";
    PublishedPoints: "stent_published_points_total", None, Counter, Count, &["publisher", "outcome"], Agent,
        "Points handed to a publisher, by outcome: sent, dropped, failed.";
    PublishBacklog: "stent_publish_backlog_points", None, Gauge, Count, &["publisher"], Agent,
        "Points kept for a publisher whose far side does not answer.";
}

impl MetricId {
    /// The row of this metric.
    pub const fn row(self) -> &'static Metric {
        &METRICS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_row_stands_at_its_own_index() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert_eq!(metric.id as usize, index, "{}", metric.name);
        }
    }

    #[test]
    fn names_are_unique_and_spelled_for_prometheus() {
        let mut seen = BTreeSet::new();
        let mut seen_cloudwatch = BTreeSet::new();
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{} stands twice", metric.name);
            let stem = metric.name.strip_suffix("_total");
            assert_eq!(stem.is_some(), metric.kind == Counter, "{}", metric.name);
            assert!(
                stem.unwrap_or(metric.name).ends_with(metric.unit.prometheus_suffix()),
                "{} lacks the suffix of its unit",
                metric.name
            );
            assert!(metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            if let Some(name) = metric.cloudwatch {
                assert!(seen_cloudwatch.insert(name), "{name} stands twice");
            }
        }
    }
}
