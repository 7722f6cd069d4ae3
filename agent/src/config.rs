//! The agent's resolved configuration: every value present, checked and in its final type.
//!
//! Owns: what the agent needs to know to start. Refuses: where a value came from.
//! Invariant: a secret in here never prints (`SecretString`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::fetch::PageUrl;
use crate::heap_source::HeapMetrics;

/// Everything the agent is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The processes to watch.
    pub targets: Vec<Target>,
    /// Time between readings.
    pub sample_interval: Duration,
    /// Where the proxy's `/snapshot` is; `None`: no proxy to watch.
    pub proxy_admin: Option<Endpoint>,
    /// Where `/metrics`, `/livez`, `/readyz` and `/snapshot` are served; `None`: nowhere.
    pub admin: Option<Endpoint>,
    /// How to ask PostgreSQL for its own side; `None`: it is not asked. Through the proxy this
    /// connection is a client like any other, and so inside the pool's cap.
    pub postgres: Option<PostgresAccess>,
    /// Time between questions to PostgreSQL.
    pub postgres_interval: Duration,
    /// Root under which `/proc` and `/sys/fs/cgroup` are found: `/` but in tests.
    pub root: PathBuf,
    /// CloudWatch's PutMetricData; `None`: not published there.
    pub cloudwatch: Option<CloudWatch>,
    /// Embedded metric format on stdout.
    pub emf: Option<Emf>,
    /// Memory limit that overrides what the cgroup says, bytes.
    pub memory_limit: Option<u64>,
    /// Pages of metrics on which targets say how large their heaps are. The others' sockets of
    /// `stent-heap` are looked for.
    pub heap_metrics: Vec<HeapMetrics>,
    /// The variable in a target's environment that names its build; `None`: it is not looked for.
    pub build_variable: Option<String>,
    /// ECS's task metadata endpoint, version 4; `None`: not in ECS.
    pub ecs_metadata: Option<PageUrl>,
    /// Whether targets under suspicion are looked into.
    pub attribution: Attribution,
    /// How long siblings get to take a target's newcomers over before that; zero: there are none.
    pub sibling_drain: Duration,
}

/// Whether targets under suspicion are looked into to say whose growth it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attribution {
    /// They are left alone.
    #[default]
    Off,
    /// They are, within the budget.
    On,
}

/// A process to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By process id (`stent run` gives its child's; a new child is a new life of the same target).
    Pid {
        /// The target's name in metrics.
        name: String,
        /// The process.
        pid: u32,
    },
    /// By command name, as in `/proc/PID/comm`, or by the file name of the executable.
    Name(String),
    /// A container of the ECS task whose processes cannot be seen from here, by its name in the task
    /// definition; its memory is what the task metadata endpoint says.
    Container(String),
}

/// Where an HTTP endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket; a path that begins with a NUL byte is in Linux's abstract namespace.
    Unix(PathBuf),
}

/// How to reach PostgreSQL.
#[derive(Clone, Debug)]
pub struct PostgresAccess {
    /// Host, or the folder of a unix socket where it begins with `/`.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: Option<SecretString>,
    /// Database.
    pub database: String,
}

/// CloudWatch's PutMetricData.
#[derive(Clone, Debug)]
pub struct CloudWatch {
    /// `Stent` unless told otherwise. Never begins with `AWS/`.
    pub namespace: String,
    /// Region, where the environment does not name one.
    pub region: Option<String>,
    /// Another endpoint (tests, VPC endpoints).
    pub endpoint: Option<String>,
    /// Dimensions on every metric, such as the service's name. Each distinct set is billed.
    pub dimensions: Vec<(String, String)>,
    /// Time between calls.
    pub interval: Duration,
}

/// Embedded metric format on stdout.
#[derive(Clone, Debug)]
pub struct Emf {
    /// As in [`CloudWatch::namespace`].
    pub namespace: String,
    /// As in [`CloudWatch::dimensions`].
    pub dimensions: Vec<(String, String)>,
    /// Time between lines.
    pub interval: Duration,
}
