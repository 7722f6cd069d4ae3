//! What stands together on a dashboard, in the order in which one looks at night.
//!
//! Invariant: each panel has at least one metric, and no metric stands twice.

use stent_contract::metric::MetricId;

/// A panel.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// Its title.
    pub title: &'static str,
    /// What it shows.
    pub metrics: &'static [MetricId],
}

/// A row of panels.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its title: the question that it answers.
    pub title: &'static str,
    /// Its panels, left to right.
    pub panels: &'static [Panel],
}

const fn panel(title: &'static str, metrics: &'static [MetricId]) -> Panel {
    Panel { title, metrics }
}

use MetricId as M;

/// The dashboard.
pub const ROWS: &[Row] = &[
    Row {
        title: "Is anything leaking?",
        panels: &[
            panel("Verdicts (0 healthy, 1 suspect, 2 leak)", &[M::LeakVerdict]),
            panel("Time to the memory limit", &[M::TimeToLimit]),
            panel("Growth of memory", &[M::MemoryGrowth]),
            panel("Servers held by clients that forgot them", &[M::StuckConnections]),
            panel("What explains what is wrong", &[M::CauseConfidence]),
        ],
    },
    Row {
        title: "Who waits for the database?",
        panels: &[
            panel("Pool utilization", &[M::PoolUtilization]),
            panel("Clients waiting", &[M::PendingRequests]),
            panel("Longest wait", &[M::MaxWait]),
            panel("Waits given up", &[M::Timeouts]),
            panel("Wait for a server", &[M::WaitTime]),
            panel("Time a server is held", &[M::UseTime]),
            panel("Clients waiting, by class", &[M::ClassWaiting]),
            panel("Longest wait, by class", &[M::ClassMaxWait]),
            panel("Served and given up, by class", &[M::ClassServed, M::ClassTimeouts]),
        ],
    },
    Row {
        title: "What do the servers do?",
        panels: &[
            panel("Servers by state", &[M::Connections, M::ConnectionMax]),
            panel("Longest silence in a transaction", &[M::IdleInTransactionMax]),
            panel("Transactions", &[M::Transactions]),
            panel("Failed logins to PostgreSQL", &[M::ConnectFailures]),
            panel("Opening a server", &[M::CreateTime]),
            panel("Connections ended", &[M::Disconnects]),
            panel("Share of the fleet's servers", &[M::FleetShare, M::FleetLimit, M::FleetPeers]),
            panel("Paused", &[M::Paused]),
            panel("Lost servers replaced, failovers", &[M::Repeated, M::Failovers]),
            panel("Servers held too long", &[M::HeldTooLong]),
        ],
    },
    Row {
        title: "Who is connected?",
        panels: &[
            panel("Clients by state", &[M::Clients, M::ClientMax]),
            panel("Bytes from and to clients", &[M::ReceivedBytes, M::SentBytes]),
            panel("Cancel requests", &[M::CancelRequests]),
            panel("Connections that were no clients", &[M::Strangers]),
            panel("Clients that listen", &[M::ClientsListening]),
            panel("Notifications", &[M::Notifications, M::NotificationsLost]),
            panel("Interruptions of listening", &[M::ListenInterruptions]),
        ],
    },
    Row {
        title: "What does the application use?",
        panels: &[
            panel("Memory by kind", &[M::ProcessMemory]),
            panel("Container memory", &[M::ContainerMemory, M::ContainerMemoryLimit]),
            panel("Memory pressure", &[M::MemoryPressure]),
            panel("File descriptors", &[M::ProcessFds]),
            panel("File descriptors by kind", &[M::DescriptorKinds]),
            panel("Sockets", &[M::TargetSockets]),
            panel("CPU", &[M::ProcessCpu]),
            panel("Kills for want of memory, restarts before", &[M::OomKills, M::Rejuvenations]),
        ],
    },
    Row {
        title: "What does PostgreSQL say?",
        panels: &[
            panel("PostgreSQL answers", &[M::PostgresUp]),
            panel("Connections", &[M::PostgresConnections, M::PostgresMaxConnections]),
            panel("Longest idle in transaction", &[M::PostgresIdleInTransactionMax]),
        ],
    },
    Row {
        title: "Is Stent itself well?",
        panels: &[
            panel("Components up", &[M::Up]),
            panel("The agent's last round", &[M::Heartbeat]),
            panel("Restarts", &[M::Restarts]),
            panel("Heap", &[M::HeapAllocated, M::HeapResident]),
            panel("Readings left out", &[M::ReadingsSkipped]),
            panel("Points published", &[M::PublishedPoints, M::PublishBacklog]),
        ],
    },
];
