//! `stent replay --from`: what CloudWatch and Prometheus answer, judged like a table.

mod replaying;

use replaying::{events, replay, said};

const MB: u64 = 1_000_000;
/// 2026-01-01T00:00:00Z, seconds.
const NEW_YEAR: u64 = 1_767_225_600;

/// Memory that leaks six megabytes an hour, in a little noise; bytes by minute.
fn leaking(minute: u64) -> u64 {
    200 * MB + minute * MB / 10 + (minute.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 43)
}

/// A result as `aws cloudwatch get-metric-data` prints it: newest point first.
fn result(id: &str, points: &[(u64, f64)]) -> String {
    let times: Vec<String> = points
        .iter()
        .rev()
        .map(|(minute, _)| {
            let (day, rest) = (minute / 1_440 + 1, minute % 1_440);
            format!("\"2026-01-{day:02}T{:02}:{:02}:00+00:00\"", rest / 60, rest % 60)
        })
        .collect();
    let values: Vec<String> = points.iter().rev().map(|(_, value)| value.to_string()).collect();
    format!(
        r#"{{"Id":"{id}","Label":"label of {id}","Timestamps":[{}],"Values":[{}],"StatusCode":"Complete"}}"#,
        times.join(","),
        values.join(",")
    )
}

fn cloudwatch(results: &[String]) -> String {
    format!(r#"{{"MetricDataResults":[{}],"Messages":[]}}"#, results.join(","))
}

/// A series as Prometheus' `query_range` answers it.
fn matrix(name: &str, instance: &str, points: &[(u64, String)]) -> String {
    let values: Vec<String> = points
        .iter()
        .map(|(minute, value)| format!("[{},\"{value}\"]", NEW_YEAR + minute * 60))
        .collect();
    format!(
        r#"{{"metric":{{"__name__":"{name}","instance":"{instance}"}},"values":[{}]}}"#,
        values.join(",")
    )
}

fn prometheus(results: &[String]) -> String {
    format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#,
        results.join(",")
    )
}

#[test]
fn a_leak_in_cloudwatchs_metrics_is_found_whatever_the_order_of_its_points() {
    let megabytes: Vec<(u64, f64)> =
        (0..2_880).map(|minute| (minute, leaking(minute) as f64 / MB as f64)).collect();
    let limit = [(0, 1_073.741_824)];
    let requests: Vec<(u64, f64)> = (0..2_880).map(|minute| (minute, 600.0)).collect();
    let text = cloudwatch(&[
        result("used", &megabytes),
        result("limit_bytes", &limit),
        result("requests", &requests),
    ]);
    let options = [
        "--from",
        "cloudwatch",
        "--json",
        "--scale",
        "1e6",
        "--rss=label of used",
        "--requests=requests",
    ];
    let output = replay(&text, &options);
    let events = events(&output);
    let leak = events.iter().find(|event| event["verdict"] == "leak").expect("it is found");
    assert!(leak["t"].as_u64().unwrap() > NEW_YEAR, "{leak}");
    let rate = leak["bytes_per_hour"].as_f64().unwrap();
    assert!((5.5e6..6.5e6).contains(&rate), "{leak}");
    let evidence = leak["evidence"].to_string();
    assert!(evidence.contains("bytes_per_transaction"), "requests are summed: {evidence}");
    assert!(said(&output).contains("2880 rows judged, 1 lives"), "{}", said(&output));
    let text_output = replay(
        &text,
        &options.map(|option| if option == "--json" { "--from=cloudwatch" } else { option }),
    );
    let lines = String::from_utf8(text_output.stdout).unwrap();
    assert!(lines.starts_with("2026-01-"), "a date is written as one: {lines}");
}

#[test]
fn an_answer_of_prometheus_may_be_several_documents_and_its_pods_are_lives() {
    let pod = |index: u64| {
        let points: Vec<(u64, String)> = (0..240)
            .map(|minute| {
                let noise = minute * 7_919 % 300_000;
                (index * 241 + minute, (60 * MB + minute * MB / 2 + noise).to_string())
            })
            .collect();
        matrix("rss", &format!("pod-{index}"), &points)
    };
    let limit = matrix("limit", "", &[(0, "536870912".to_owned()), (1, "NaN".to_owned())]);
    let text = prometheus(&[pod(0), pod(1), pod(2), pod(3)]) + "\n" + &prometheus(&[limit]);
    let options = ["--from=prometheus", "--json", "--rss", "rss", "--limit=limit"];
    let output = replay(&text, &options);
    assert!(said(&output).contains("960 rows judged, 4 lives"), "{}", said(&output));
    let events = events(&output);
    assert!(events.iter().any(|event| event["verdict"] == "leak"), "{events:#?}");
}

#[test]
fn the_only_series_there_is_needs_no_name() {
    let points: Vec<(u64, String)> =
        (0..600).map(|minute| (minute, (300 * MB).to_string())).collect();
    let output = replay(
        &prometheus(&[matrix("container_memory_rss", "a", &points)]),
        &["--from", "prometheus", "--json", "--limit-bytes", "1073741824"],
    );
    assert_eq!(events(&output).len(), 0);
    assert!(said(&output).contains("600 rows judged"), "{}", said(&output));
}

#[test]
fn what_is_no_answer_is_refused_with_its_reason() {
    let one = |name: &str, instance: &str| matrix(name, instance, &[(0, "1".to_owned())]);
    let uneven = r#"{"MetricDataResults":[{"Id":"a","Timestamps":[1],"Values":[]}]}"#;
    let forbidden = r#"{"MetricDataResults":[{"Id":"a","StatusCode":"Forbidden"}]}"#;
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let error = r#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#;
    let cases: Vec<(&str, String, &str)> = vec![
        ("cloudwatch", "{".to_owned(), "it is no JSON: line 1, column 1"),
        ("cloudwatch", "{}".to_owned(), "it has no MetricDataResults"),
        ("cloudwatch", String::new(), "there is no series in it"),
        ("cloudwatch", cloudwatch(&[result("a", &[(0, -1.0)])]), "a value of `a` is no number"),
        ("cloudwatch", uneven.to_owned(), "`a` has 1 timestamps and 0 values"),
        ("cloudwatch", forbidden.to_owned(), "CloudWatch refused `a`"),
        ("prometheus", cloudwatch(&[]), "it has no data.result"),
        ("prometheus", vector.to_owned(), "it is a vector, the answer to one moment"),
        ("prometheus", error.to_owned(), "Prometheus answered: parse error at char 3"),
        (
            "prometheus",
            prometheus(&[one("a", "x"), one("b", "y")]),
            "no series is called `rss_bytes`; there are a, b",
        ),
        (
            "prometheus",
            prometheus(&[one("rss_bytes", "x"), one("rss_bytes", "y")]),
            "two series are called `rss_bytes` at the same time: {instance=\"x\"} and {instance=\"y\"}",
        ),
    ];
    for (from, text, reason) in cases {
        let output = replay(&text, &["--from", from]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(said(&output).contains(reason), "{text}: {}", said(&output));
    }
}

#[test]
fn an_answer_that_is_not_whole_is_judged_and_said_to_be_so() {
    let points: Vec<(u64, f64)> = (0..100).map(|minute| (minute, 3e8)).collect();
    let whole = cloudwatch(&[result("rss_bytes", &points)]);
    let text = whole.replacen('{', r#"{"NextToken":"abc","#, 1);
    let output = replay(&text, &["--from", "cloudwatch"]);
    assert!(output.status.success(), "{output:?}");
    let told = "100 rows judged, 1 lives\n  it says: the answer is not whole: it has a NextToken";
    assert!(said(&output).contains(told), "{}", said(&output));
}
