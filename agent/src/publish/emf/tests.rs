//! Lines of the embedded metric format against its specification, and the thread that writes them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use stent_contract::metric::MetricId;

use super::*;
use crate::publish::series::Series;
use crate::tests_support::AT_UNIX_MS;

fn config(dimensions: &[(&str, &str)]) -> Emf {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Emf {
        namespace: "Stent".to_owned(),
        dimensions: dimensions.iter().map(owned).collect(),
        interval: Duration::from_secs(60),
    }
}

fn datum(metric: MetricId, dimensions: &[(&str, &str)], values: Vec<f64>) -> Datum {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let dimensions = dimensions.iter().map(owned).collect();
    Datum { series: Series { metric, dimensions }, at_unix_ms: AT_UNIX_MS, values }
}

fn written(data: &[Datum], dimensions: &[(&str, &str)]) -> Vec<String> {
    lines(data, "Stent", &usable(&config(dimensions).dimensions))
}

/// Checks a line against the specification; returns (metric, values) of each definition.
fn checked(line: &str) -> Vec<(String, Vec<f64>)> {
    let json = line.strip_suffix('\n').expect("a line feed at the end");
    assert!(!json.contains('\n'), "one line");
    assert!(line.len() <= 262_144, "an event has at most 256 KB");
    let root: Value = serde_json::from_str(json).unwrap();
    assert!(root["_aws"]["Timestamp"].is_u64(), "milliseconds");
    let directives = root["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    assert_eq!(directives.len(), 1);
    let directive = &directives[0];
    assert!(!directive["Namespace"].as_str().unwrap().is_empty());
    for set in directive["Dimensions"].as_array().unwrap() {
        let set = set.as_array().unwrap();
        assert!(set.len() <= 30, "{} dimensions", set.len());
        for name in set {
            let target = root[name.as_str().unwrap()].as_str().expect("a target is a string");
            assert!((1..=1_024).contains(&target.len()));
        }
    }
    let metrics = directive["Metrics"].as_array().unwrap();
    assert!((1..=100).contains(&metrics.len()), "{} metrics", metrics.len());
    metrics.iter().map(|metric| definition(metric, &root)).collect()
}

fn definition(metric: &Value, root: &Value) -> (String, Vec<f64>) {
    let name = metric["Name"].as_str().unwrap();
    let unit = metric["Unit"].as_str().unwrap();
    assert!(["Bytes", "Count", "None", "Seconds"].contains(&unit), "{unit}");
    let value = &root[name];
    let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    let values: Vec<f64> =
        values.iter().map(|value| value.as_f64().expect("a target is a number")).collect();
    assert!((1..=100).contains(&values.len()), "{} values", values.len());
    (name.to_owned(), values)
}

#[test]
fn an_interval_is_one_line_for_each_set_of_dimensions() {
    let data = [
        datum(MetricId::Heartbeat, &[], vec![1.0]),
        datum(MetricId::OomKills, &[], vec![0.0]),
        datum(MetricId::MaxWait, &[("Database", "app"), ("User", "api")], vec![0.25, 0.5]),
    ];
    let lines = written(&data, &[("ServiceName", "orders")]);
    expect_test::expect![[r#"
        {"AgentHeartbeat":1.0,"OomKills":0.0,"ServiceName":"orders","_aws":{"CloudWatchMetrics":[{"Dimensions":[["ServiceName"]],"Metrics":[{"Name":"AgentHeartbeat","Unit":"Count"},{"Name":"OomKills","Unit":"Count"}],"Namespace":"Stent"}],"Timestamp":1700000000000}}
    "#]]
    .assert_eq(&lines[0]);
    assert_eq!(lines.len(), 2);
    assert_eq!(checked(&lines[1]), [("ClientMaxWait".to_owned(), vec![0.25, 0.5])]);
}

#[test]
fn more_than_100_values_go_on_in_further_lines() {
    let values: Vec<f64> = (0..250).map(f64::from).collect();
    let lines = written(&[datum(MetricId::MaxWait, &[], values.clone())], &[]);
    let all: Vec<f64> = lines.iter().flat_map(|line| checked(line).remove(0).1).collect();
    assert_eq!((lines.len(), all), (3, values));
}

#[test]
fn no_line_is_so_long_that_a_log_driver_cuts_it() {
    let named = METRICS.iter().filter(|row| row.cloudwatch.is_some());
    let values: Vec<f64> = (0..100).map(|n| f64::from(n) + 1.0 / 3.0).collect();
    let data: Vec<Datum> = named.map(|row| datum(row.id, &[], values.clone())).collect();
    let lines = written(&data, &[("ServiceName", "orders")]);
    let count: usize = lines.iter().map(|line| checked(line).len()).sum();
    assert_eq!(count, data.len());
    for line in &lines {
        assert!(line.len() <= LINE_BYTES_MAX, "{} bytes", line.len());
    }
}

#[test]
fn the_longest_spelling_of_a_number_fits_the_estimate_of_a_lines_length() {
    let values = vec![-1.234_567_890_123_456_8e-300; 100];
    let one = datum(MetricId::MemoryGrowth, &[], values.clone());
    let mut event = Event::new("Stent", &[]);
    event.add(&one, &values);
    let bound = event.bytes;
    let line = event.line().unwrap();
    assert!(line.contains("-1.2345678901234568e-300"), "{line}");
    assert!(line.len() <= bound, "{} bytes, estimated {bound}", line.len());
}

#[test]
fn a_configured_dimension_that_would_overwrite_a_metric_is_left_out() {
    let data = [datum(MetricId::OomKills, &[], vec![2.0])];
    let lines = written(&data, &[("OomKills", "x"), ("_aws", "x"), ("Stage", "prod")]);
    assert_eq!(checked(&lines[0]), [("OomKills".to_owned(), vec![2.0])]);
    assert!(lines[0].contains(r#""Dimensions":[["Stage"]]"#), "{}", lines[0]);
}

/// A sink that takes everything once it is open.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    written: Vec<u8>,
    open: Option<()>,
}

impl Gate {
    fn open(&self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).open = Some(());
        self.0.1.notify_all();
    }

    fn lines(&self) -> Vec<String> {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&state.written);
        text.lines().map(|line| format!("{line}\n")).collect()
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shut = |state: &mut GateState| state.open.is_none();
        let mut state = self.0.1.wait_while(state, shut).unwrap_or_else(PoisonError::into_inner);
        state.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody_and_what_is_lost_is_counted() {
    let gate = Gate::default();
    let writer = Writer::start(&config(&[]), Box::new(gate.clone())).unwrap();
    let data = [datum(MetricId::OomKills, &[], vec![1.0])];
    for _ in 0..BATCHES_MAX + 10 {
        writer.publish(&data);
    }
    let counts = writer.counts().clone();
    let dropped = counts.get(Outcome::Dropped);
    // One may be in the thread's hands already.
    assert!(dropped == 9 || dropped == 10, "{dropped}");
    gate.open();
    writer.finish(Duration::from_secs(20)).await;
    assert_eq!(counts.get(Outcome::Sent) + dropped, (BATCHES_MAX + 10) as u64);
    let lines = gate.lines();
    assert_eq!(lines.len() as u64, counts.get(Outcome::Sent));
    lines.iter().for_each(|line| assert_eq!(checked(line).len(), 1));
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_reader_that_never_reads() {
    let gate = Gate::default();
    let writer = Writer::start(&config(&[]), Box::new(gate.clone())).unwrap();
    writer.publish(&[datum(MetricId::OomKills, &[], vec![1.0])]);
    writer.finish(Duration::from_secs(2)).await;
    assert!(gate.lines().is_empty());
    gate.open();
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn points_that_cannot_be_written_are_counted_as_failed() {
    let writer = Writer::start(&config(&[]), Box::new(Full)).unwrap();
    let counts = writer.counts().clone();
    writer.publish(&[datum(MetricId::OomKills, &[], vec![1.0])]);
    writer.finish(Duration::from_secs(20)).await;
    assert_eq!((counts.get(Outcome::Failed), counts.get(Outcome::Sent)), (1, 0));
}
