//! Renders the alarm table, and says which alarms a series of readings would set off.
//!
//! Owns: the spelling of an alarm for CloudFormation ([`cloudformation`]), for PutMetricAlarm
//! ([`cloudwatch`]) and for Prometheus ([`prometheus`]); the evaluation of CloudWatch's rules
//! ([`evaluate`]) and their application to live snapshots ([`observe`]).
//! Refuses: names, thresholds and windows (the table's), sockets, files and clocks: every function
//! returns text or a verdict, its caller writes, sends or waits.
//! Invariant: the same table renders to the same bytes, and what is rendered is committed in
//! `alarms/rendered/`.

pub mod cloudformation;
pub mod cloudwatch;
pub mod evaluate;
mod figures;
pub mod observe;
pub mod prometheus;
pub mod prometheus_tests;
mod yaml;

use serde_json::Value;
use stent_contract::alarm::{ALARMS, Alarm};

/// What a deployment decides about its alarms.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The CloudWatch namespace that the agent publishes to.
    pub namespace: String,
    /// The dimensions that the agent adds to every metric, in its order.
    pub dimensions: Vec<(String, String)>,
    /// SNS topic of critical alarms.
    pub topic_arn: Option<String>,
    /// SNS topic of warnings; those of critical alarms where there is none.
    pub warning_topic_arn: Option<String>,
    /// Where the runbook pages are, without a trailing slash: an address, or a folder.
    pub runbooks: String,
    /// PostgreSQL's `max_connections`, which is not published to CloudWatch.
    pub postgres_max_connections: u32,
}

impl Settings {
    /// The settings of the committed files: the agent's default namespace, one service called
    /// `api`, nobody told, PostgreSQL's own default of `max_connections`.
    pub fn reference() -> Self {
        Self {
            namespace: "Stent".to_owned(),
            dimensions: vec![("ServiceName".to_owned(), "api".to_owned())],
            topic_arn: None,
            warning_topic_arn: None,
            runbooks: RUNBOOKS.to_owned(),
            postgres_max_connections: 100,
        }
    }
}

/// The folder of the runbook pages, from the root of the repository.
pub const RUNBOOKS: &str = "alarms/runbooks";

/// The link to an alarm's runbook page under `runbooks`.
pub fn runbook(alarm: &Alarm, runbooks: &str) -> String {
    format!("{runbooks}/{}.md", alarm.name)
}

/// Every committed file: its path from the root of the repository, and its text.
pub fn render_all() -> Vec<(String, String)> {
    let settings = Settings::reference();
    let mut files = vec![
        file("cloudformation.json", pretty(&cloudformation::template())),
        file("prometheus-rules.yml", prometheus::rules(&settings.runbooks)),
        file("prometheus-tests.yml", prometheus_tests::render(&settings.runbooks)),
    ];
    for alarm in ALARMS {
        let document = cloudwatch::put_metric_alarm(alarm, &settings);
        files.push(file(&format!("put-metric-alarm/{}.json", alarm.name), pretty(&document)));
    }
    files
}

fn file(name: &str, text: String) -> (String, String) {
    (format!("alarms/rendered/{name}"), text)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
