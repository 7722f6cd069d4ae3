//! The publisher against a real listener that speaks CloudWatch's protocol and enforces its limits.
//!
//! Time that CloudWatch sees is in the points' stamps; the pauses between retries are shortened.

#[path = "../../../tests/support/cloudwatch_endpoint.rs"]
mod cloudwatch_endpoint;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::retry::RetryConfig;
use aws_sdk_cloudwatch::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use stent_contract::metric::MetricId;
use stent_testkit::wait_until_async;

use self::cloudwatch_endpoint::limits::Received;
use self::cloudwatch_endpoint::{Behaviour, Clock, CloudWatchEndpoint};
use super::*;
use crate::publish::series::Series;
use crate::tests_support::AT_UNIX_MS;

const DEADLINE: Duration = Duration::from_secs(20);

const QUICK: Timing = Timing {
    call: Duration::from_secs(5),
    retry_min: Duration::from_millis(8),
    retry_max: Duration::from_millis(30),
};

fn config(endpoint: &CloudWatchEndpoint) -> CloudWatch {
    CloudWatch {
        namespace: "Stent".to_owned(),
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(endpoint.url()),
        dimensions: vec![("ServiceName".to_owned(), "orders".to_owned())],
        interval: Duration::from_secs(1),
    }
}

fn publisher(endpoint: &CloudWatchEndpoint, timing: Timing, limits: Limits) -> Publisher {
    let config = config(endpoint);
    let credentials = Credentials::for_tests();
    let sdk = aws_sdk_cloudwatch::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint.url())
        .http_client(client::http_client())
        .retry_config(RetryConfig::disabled())
        .build();
    let link = Link::ready(&config, Client::from_conf(sdk));
    Publisher::start_with(&config, link, timing, limits)
}

async fn endpoint() -> CloudWatchEndpoint {
    CloudWatchEndpoint::start(Clock::Fixed(AT_UNIX_MS.cast_signed())).await
}

fn datum(metric: MetricId, database: &str, at_unix_ms: u64, values: Vec<f64>) -> Datum {
    let dimensions = vec![("Database".to_owned(), database.to_owned())];
    Datum { series: Series { metric, dimensions }, at_unix_ms, values }
}

/// What an interval at `second` publishes: two gauges and a counter.
fn interval(second: u32) -> Vec<Datum> {
    let at = AT_UNIX_MS + u64::from(second) * 1_000;
    let value = f64::from(second);
    vec![
        datum(MetricId::MaxWait, "app", at, vec![value, value + 0.5, value]),
        datum(MetricId::PoolUtilization, "app", at, vec![0.25]),
        datum(MetricId::Timeouts, "app", at, vec![value]),
    ]
}

/// How the endpoint should have received these data.
fn expected(data: &[Datum]) -> Vec<Received> {
    let one = |datum: &Datum| {
        let row = datum.series.metric.row();
        let mut values: Vec<(f64, f64)> = Vec::new();
        for value in &datum.values {
            match values.iter_mut().find(|(known, _)| known == value) {
                Some((_, count)) => *count += 1.0,
                None => values.push((*value, 1.0)),
            }
        }
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let own = datum.series.dimensions.iter().cloned();
        let dimensions = [("ServiceName".to_owned(), "orders".to_owned())].into_iter().chain(own);
        Received {
            namespace: "Stent".to_owned(),
            name: row.cloudwatch.unwrap().to_owned(),
            dimensions: dimensions.collect(),
            at_unix_ms: datum.at_unix_ms.cast_signed(),
            values,
            unit: row.unit.cloudwatch().to_owned(),
        }
    };
    data.iter().map(one).collect()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_until_async(what, DEADLINE, || std::future::ready(condition())).await.unwrap();
}

async fn sent(counts: &Counts, points: usize) {
    until(&format!("{points} points sent"), || counts.get(Outcome::Sent) == points as u64).await;
}

fn no_limit_was_broken(endpoint: &CloudWatchEndpoint) {
    assert_eq!(endpoint.violations(), []);
}

#[tokio::test]
async fn the_endpoint_receives_exactly_the_points_published() {
    let endpoint = endpoint().await;
    let publisher = publisher(&endpoint, QUICK, Limits::DEFAULT);
    publisher.publish(interval(7));
    sent(publisher.counts(), 3).await;
    assert_eq!(endpoint.received(), expected(&interval(7)));
    no_limit_was_broken(&endpoint);
}

#[tokio::test]
async fn an_endpoint_that_was_down_for_a_minute_receives_exactly_the_points_published() {
    let mut endpoint = endpoint().await;
    let publisher = publisher(&endpoint, QUICK, Limits::DEFAULT);
    let counts = publisher.counts().clone();
    let mut published = Vec::new();
    let mut publish = |second: u32| {
        publisher.publish(interval(second));
        published.extend(interval(second));
    };
    (0..5).for_each(&mut publish);
    sent(&counts, 15).await;

    endpoint.close().await;
    for second in 5..70 {
        publish(second);
        tokio::task::yield_now().await;
    }
    until("everything to wait", || counts.backlog() == 65 * 3).await;
    assert_eq!(counts.get(Outcome::Sent), 15, "nobody is there");

    endpoint.reopen().await;
    for second in 70..75 {
        publish(second);
        tokio::task::yield_now().await;
    }
    sent(&counts, 75 * 3).await;
    assert_eq!(endpoint.received(), expected(&published), "all, once, in order, with their times");
    assert_eq!((counts.get(Outcome::Dropped), counts.get(Outcome::Failed)), (0, 0));
    assert_eq!(counts.backlog(), 0);
    no_limit_was_broken(&endpoint);
}

async fn comes_through(behaviour: Behaviour) {
    let endpoint = endpoint().await;
    endpoint.behave(behaviour);
    let timing = Timing { call: Duration::from_millis(200), ..QUICK };
    let publisher = publisher(&endpoint, timing, Limits::DEFAULT);
    publisher.publish(interval(1));
    until("three tries", || endpoint.seen().len() >= 3).await;
    publisher.publish(interval(2));
    assert_eq!(publisher.counts().get(Outcome::Sent), 0);
    assert_eq!(endpoint.received(), []);

    endpoint.behave(Behaviour::Accept);
    sent(publisher.counts(), 6).await;
    let published = [interval(1), interval(2)].concat();
    assert_eq!(endpoint.received(), expected(&published));
    no_limit_was_broken(&endpoint);
}

#[tokio::test]
async fn points_outlast_internal_failures() {
    comes_through(Behaviour::Fail).await;
}

#[tokio::test]
async fn points_outlast_throttling() {
    comes_through(Behaviour::Throttle).await;
}

#[tokio::test]
async fn points_outlast_a_time_without_permission() {
    comes_through(Behaviour::Deny).await;
}

#[tokio::test]
async fn points_outlast_an_endpoint_that_hangs() {
    comes_through(Behaviour::Hang).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_points_arrive_twice_and_count_once() {
    let endpoint = endpoint().await;
    endpoint.behave(Behaviour::TakeAndHang);
    let timing = Timing { call: Duration::from_millis(300), ..QUICK };
    let publisher = publisher(&endpoint, timing, Limits::DEFAULT);
    publisher.publish(interval(1));
    until("the points to be taken", || endpoint.received().len() == 3).await;
    endpoint.behave(Behaviour::Accept);
    sent(publisher.counts(), 3).await;
    assert_eq!(endpoint.received(), expected(&[interval(1), interval(1)].concat()));
}

#[tokio::test]
async fn a_long_outage_drops_the_oldest_points_and_counts_them() {
    let mut endpoint = endpoint().await;
    endpoint.close().await;
    let limits = Limits { points: 30, values: 1_000 };
    let publisher = publisher(&endpoint, QUICK, limits);
    let counts = publisher.counts().clone();
    let mut published = Vec::new();
    for second in 0..50 {
        publisher.publish(interval(second));
        published.extend(interval(second));
        tokio::task::yield_now().await;
    }
    until("the oldest to go", || counts.get(Outcome::Dropped) == 120).await;
    until("the bound to hold", || counts.backlog() == 30).await;

    endpoint.reopen().await;
    sent(&counts, 30).await;
    assert_eq!(endpoint.received(), expected(&published[120..]));
}

#[tokio::test]
async fn a_point_that_cloudwatch_refuses_is_found_and_the_others_arrive() {
    let endpoint = endpoint().await;
    endpoint.behave(Behaviour::RefuseMetric("OomKills"));
    let publisher = publisher(&endpoint, QUICK, Limits::DEFAULT);
    let mut data: Vec<Datum> = (0..12).flat_map(interval).collect();
    data.insert(17, datum(MetricId::OomKills, "app", AT_UNIX_MS, vec![1.0]));
    publisher.publish(data.clone());
    until("the refusal", || publisher.counts().get(Outcome::Failed) == 1).await;
    sent(publisher.counts(), 36).await;
    data.remove(17);
    assert_eq!(endpoint.received(), expected(&data));
}

#[tokio::test]
async fn a_large_request_is_compressed_and_a_small_one_is_not() {
    let endpoint = endpoint().await;
    let publisher = publisher(&endpoint, QUICK, Limits::DEFAULT);
    publisher.publish(interval(1));
    sent(publisher.counts(), 3).await;
    let large: Vec<Datum> = (0..200)
        .map(|n| datum(MetricId::MaxWait, &format!("database{n}"), AT_UNIX_MS, vec![1.0]))
        .collect();
    publisher.publish(large);
    sent(publisher.counts(), 203).await;

    let seen = endpoint.seen();
    assert_eq!(seen[0].encoding, None);
    assert_eq!(seen[1].encoding.as_deref(), Some("gzip"));
    assert!(seen[1].unzipped_bytes > 10_240 && seen[1].bytes < seen[1].unzipped_bytes / 4);
    no_limit_was_broken(&endpoint);
}

#[tokio::test]
async fn the_largest_data_go_out_in_requests_within_the_limits() {
    let endpoint = endpoint().await;
    let mut large = interval(0);
    // 1,200 series of 400 distinct values each are 3,600 data of up to 150 values.
    large.extend((0..1_200).map(|n| {
        let values = (0..400).map(|value| f64::from(value) + 0.123_456_789).collect();
        datum(MetricId::MaxWait, &format!("database{n}"), AT_UNIX_MS, values)
    }));
    let limits = Limits { points: 5_000, values: 1_000_000 };
    let publisher = publisher(&endpoint, QUICK, limits);
    publisher.publish(large);
    sent(publisher.counts(), 3_603).await;
    no_limit_was_broken(&endpoint);
    let seen = endpoint.seen();
    assert!(seen.iter().all(|request| request.data <= 1_000 && request.unzipped_bytes < 1_000_000));
    let values: usize = endpoint.received().iter().map(|received| received.values.len()).sum();
    assert_eq!(values, 1_200 * 400 + 4);
}

#[tokio::test]
async fn the_end_sends_what_waits() {
    let endpoint = endpoint().await;
    let publisher = publisher(&endpoint, QUICK, Limits::DEFAULT);
    let counts = publisher.counts().clone();
    publisher.publish(interval(1));
    publisher.finish(DEADLINE).await;
    assert_eq!(counts.get(Outcome::Sent), 3);
    assert_eq!(endpoint.received(), expected(&interval(1)));
}

#[tokio::test]
async fn the_end_does_not_wait_for_an_endpoint_that_hangs() {
    let endpoint = endpoint().await;
    endpoint.behave(Behaviour::Hang);
    let timing = Timing { call: Duration::from_secs(3_600), ..QUICK };
    let publisher = publisher(&endpoint, timing, Limits::DEFAULT);
    let counts = publisher.counts().clone();
    publisher.publish(interval(1));
    until("the call", || endpoint.seen().len() == 1).await;
    publisher.finish(Duration::from_millis(50)).await;
    assert_eq!((counts.get(Outcome::Dropped), counts.backlog()), (3, 0));
}

#[tokio::test]
async fn the_end_does_not_retry_for_ever_where_nobody_is_there() {
    let mut endpoint = endpoint().await;
    endpoint.close().await;
    let timing = Timing { retry_min: Duration::from_secs(3_600), ..QUICK };
    let publisher = publisher(&endpoint, timing, Limits::DEFAULT);
    let counts = publisher.counts().clone();
    publisher.publish(interval(1));
    publisher.finish(DEADLINE).await;
    assert_eq!((counts.get(Outcome::Dropped), counts.backlog()), (3, 0));
}

#[test]
fn pauses_grow_to_their_limit_and_are_never_short() {
    let timing = Timing::DEFAULT;
    for failures in 1..200 {
        let pause = timing.pause(failures);
        let nominal = Duration::from_secs(1 << (failures - 1).min(6)).min(timing.retry_max);
        assert!(pause >= nominal / 2 && pause <= nominal, "{failures}: {pause:?}");
    }
}
