//! The alarm table and the roll-ups that its CloudWatch side reads.
//!
//! Owns: what an alarm is ([`Alarm`]), the one list of them ([`ALARMS`]) and the one list of
//! figures that the agent publishes for them without a pool's or target's dimensions ([`ROLLUPS`]).
//! Refuses: how an alarm is spelled for CloudWatch or Prometheus, and whether one is firing; that
//! is the crate `stent-alarms`.
//! Invariant: an alarm reads one metric of the metric table, its window is one that CloudWatch
//! accepts (checked when this crate is compiled), and it says what the absence of data means.

mod table;

use std::time::Duration;

use crate::metric::MetricId;

pub use table::ALARMS;

/// One alarm: what it watches, when it goes off, and what it tells the person it wakes.
#[derive(Clone, Copy, Debug)]
pub struct Alarm {
    /// `Stent` and what is wrong: the name of the Prometheus alert, of the runbook page, and the
    /// end of the CloudWatch alarm's name.
    pub name: &'static str,
    /// One line for a pager.
    pub summary: &'static str,
    /// What it means and why it is worth a look; the link to the runbook is added by the renderer.
    pub description: &'static str,
    /// Whether somebody is woken.
    pub severity: Severity,
    /// The metric it reads.
    pub metric: MetricId,
    /// Label values that a point must have to be looked at.
    pub selector: &'static [(&'static str, &'static str)],
    /// Labels by which Prometheus tells one alert from another, beside the scrape's own. CloudWatch
    /// alarms read the roll-up over them.
    pub by: &'static [&'static str],
    /// When one period counts as bad.
    pub condition: Condition,
    /// How many bad periods out of how many make the alarm go off.
    pub window: Window,
    /// What a period without data means.
    pub missing: MissingData,
    /// Why it means that.
    pub missing_because: &'static str,
    /// How long the condition holds before Prometheus fires (`for`).
    pub hold: Duration,
}

/// Whether somebody is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A cause or a risk: look at it in working hours.
    Warning,
    /// Users are hurt, soon will be, or nobody would know: wake somebody.
    Critical,
}

impl Severity {
    /// The value of the label `severity`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// When one period counts as bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// The statistic of a gauge stands on the wrong side of a threshold.
    Level {
        /// What is made of the points of one period.
        statistic: Statistic,
        /// The wrong side.
        comparison: Comparison,
        /// In the metric's unit.
        threshold: f64,
    },
    /// A counter grew in one period by more than this.
    Increase {
        /// Events.
        more_than: f64,
    },
    /// The sum of a gauge takes up at least this share of another gauge. Where the other one is
    /// not published to CloudWatch, the CloudWatch alarm's threshold is a parameter.
    Share {
        /// The gauge that is the whole.
        whole: MetricId,
        /// 0.0 to 1.0.
        at_least: f64,
    },
    /// Nothing came.
    Silence {
        /// How Prometheus tells.
        sign: SignOfLife,
    },
}

/// How Prometheus, which keeps a last value, tells that nothing comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignOfLife {
    /// The value is a Unix time in seconds, and bad when older than this.
    UnixTime {
        /// The age that counts as silence.
        older_than: Duration,
    },
    /// The supervisor's `stent_up` of this component is 0.
    Component(&'static str),
}

/// What is made of the points of one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The mean.
    Average,
    /// The greatest.
    Maximum,
}

/// The wrong side of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Bad when greater.
    GreaterThan,
    /// Bad when greater or equal.
    AtLeast,
    /// Bad when less.
    LessThan,
}

/// `datapoints` bad periods out of the last `periods` make the alarm go off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Length of one period.
    pub period: Duration,
    /// M.
    pub datapoints: u32,
    /// N.
    pub periods: u32,
}

/// What a period without data means to CloudWatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingData {
    /// Nothing bad happened.
    NotBreaching,
    /// That is the trouble.
    Breaching,
    /// Nobody knows: the alarm stays as it is.
    Ignore,
}

/// A figure that the agent publishes to CloudWatch once more, without the labels that an alarm
/// cannot know in advance (CloudWatch alarms name exact dimension sets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// The metric; the roll-up has its CloudWatch name and unit.
    pub metric: MetricId,
    /// What is made of the points of one publication.
    pub aggregation: Aggregation,
    /// Labels that stay dimensions: the points are grouped by them.
    pub keep: &'static [&'static str],
}

/// How points are made into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// Their sum.
    Sum,
}

impl Aggregation {
    /// The aggregate, `None` of no values. Values are finite.
    pub fn fold(self, values: impl IntoIterator<Item = f64>) -> Option<f64> {
        values.into_iter().reduce(|so_far, value| {
            debug_assert!(so_far.is_finite() && value.is_finite(), "a point without a value");
            match self {
                Self::Max => so_far.max(value),
                Self::Min => so_far.min(value),
                Self::Sum => so_far + value,
            }
        })
    }
}

const fn rolled(metric: MetricId, aggregation: Aggregation) -> Rollup {
    Rollup { metric, aggregation, keep: &[] }
}

/// Every roll-up. An alarmed metric without labels needs none: its points are what alarms read.
pub const ROLLUPS: &[Rollup] = &[
    rolled(MetricId::PoolUtilization, Aggregation::Max),
    rolled(MetricId::MaxWait, Aggregation::Max),
    rolled(MetricId::Timeouts, Aggregation::Sum),
    rolled(MetricId::IdleInTransactionMax, Aggregation::Max),
    rolled(MetricId::ConnectFailures, Aggregation::Sum),
    rolled(MetricId::Clients, Aggregation::Sum),
    Rollup { metric: MetricId::LeakVerdict, aggregation: Aggregation::Max, keep: &["resource"] },
    rolled(MetricId::TimeToLimit, Aggregation::Min),
    rolled(MetricId::OomKills, Aggregation::Sum),
    rolled(MetricId::Rejuvenations, Aggregation::Sum),
    rolled(MetricId::PostgresConnections, Aggregation::Sum),
];

/// The roll-up of this metric, `None` where its points are published only as they are.
pub fn rollup(metric: MetricId) -> Option<&'static Rollup> {
    ROLLUPS.iter().find(|rollup| rollup.metric == metric)
}

/// The CloudWatch dimension of a label: `application_name` is `ApplicationName`.
pub fn dimension(label: &str) -> String {
    if label == "sqlstate" {
        return "SqlState".to_owned(); // One word to PostgreSQL, two to a reader.
    }
    let mut name = String::with_capacity(label.len());
    for word in label.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// The longest that CloudWatch looks back over periods of less than an hour.
/// Source: Amazon CloudWatch API reference, PutMetricAlarm, `EvaluationPeriods`.
const WINDOW_MAX_SECONDS: u64 = 86_400;

// A window that CloudWatch would refuse, or that could never fill, does not compile.
const _: () = {
    let mut index = 0;
    while index < ALARMS.len() {
        let window = ALARMS[index].window;
        let period = window.period.as_secs();
        assert!(period > 0 && period.is_multiple_of(60), "whole minutes: no high-resolution alarm");
        assert!(window.datapoints >= 1, "an alarm of no datapoints always fires");
        assert!(window.datapoints <= window.periods, "M of N with M > N can never fire");
        assert!(
            period * window.periods as u64 <= WINDOW_MAX_SECONDS,
            "longer than CloudWatch looks"
        );
        assert!(ALARMS[index].hold.as_secs() <= WINDOW_MAX_SECONDS, "held longer than a day");
        index += 1;
    }
};
