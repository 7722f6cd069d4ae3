//! `stent replay`: histories in, events out.

mod replaying;

use replaying::{events, replay, said};

const MB: u64 = 1_000_000;

/// Three days at a reading a minute; memory by minute.
fn trace(minutes: u64, memory: impl Fn(u64) -> u64) -> String {
    let mut text = String::from("t_seconds,rss_bytes,heap_bytes,requests_total,limit_bytes\n");
    for minute in 0..minutes {
        // A little noise, the same on each run.
        let noise = minute.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 43;
        let rss = memory(minute) + noise;
        text += &format!("{},{rss},,{},1073741824\n", minute * 60, minute * 600);
    }
    text
}

#[test]
fn a_leak_is_told_in_one_json_object_a_line_with_every_key() {
    let output = replay(&trace(4_320, |minute| 200 * MB + minute * MB / 10), &["--json"]);
    let events = events(&output);
    let verdicts: Vec<_> = events.iter().map(|event| event["verdict"].as_str().unwrap()).collect();
    let leak = events.iter().find(|event| event["verdict"] == "leak").expect("a leak is found");
    assert_eq!(verdicts.first(), Some(&"suspect"));
    assert_eq!(leak["class"], "leak");
    let rate = leak["bytes_per_hour"].as_f64().unwrap();
    assert!((5.5e6..6.5e6).contains(&rate), "{leak}");
    let [low, forecast, high] =
        ["low", "seconds_to_limit", "high"].map(|key| leak[key].as_f64().unwrap());
    let truth = 8_737.0 * 60.0 - leak["t"].as_f64().unwrap();
    assert!(low < truth && truth < high, "{truth} not in {low}..{high}");
    assert!((forecast / truth - 1.0).abs() < 0.1, "{forecast} for {truth}");
    assert!(!leak["evidence"].as_array().unwrap().is_empty());
    assert!((0.9..=1.0).contains(&leak["confidence"].as_f64().unwrap()));
    assert!(said(&output).contains("4320 rows judged, 1 lives"), "{}", said(&output));
}

#[test]
fn a_flat_history_has_no_event() {
    let output = replay(&trace(1_440, |_| 300 * MB), &["--json"]);
    assert_eq!(events(&output), Vec::<serde_json::Value>::new());
}

#[test]
fn a_leak_that_restarts_hide_is_found_by_the_third_life_with_and_without_a_column_of_lives() {
    let mut named = String::from("time,life,resident,cap\n");
    let mut counted = String::from("t_seconds,rss_bytes,requests_total,limit_bytes\n");
    for second in (0..3 * 1_200_u64).step_by(10) {
        let (life, age) = (second / 1_200, second % 1_200);
        let noise = second.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        let rss = 60 * MB + age * MB / 30 + noise;
        named += &format!("{second},pod-{life},{rss},536870912\n");
        counted += &format!("{second},{rss},{},536870912\n", age * 50);
    }
    let columns = ["--json", "--time", "time", "--rss=resident", "--limit", "cap"];
    for output in [replay(&named, &columns), replay(&counted, &["--json"])] {
        let events = events(&output);
        assert!(said(&output).contains("3 lives"), "{}", said(&output));
        assert!(events.iter().any(|event| event["verdict"] == "leak"), "{events:#?}");
    }
}

#[test]
fn rows_that_cannot_be_read_are_counted_and_the_first_is_named() {
    let mut text = trace(200, |_| 300 * MB);
    text += "12060,much,,5,1073741824\n11000,300000000,,5,1073741824\n\n# a note\n12120\n";
    text += "12180,300000000,,130000,max\n";
    let output = replay(&text, &["--json"]);
    assert_eq!(events(&output).len(), 0);
    let told = "201 rows judged, 1 lives, 3 lines skipped, the first is line 202: rss_bytes is not \
                a number: \"much\"";
    assert!(said(&output).contains(told), "{}", said(&output));
    let strict = replay(&text, &["--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(said(&strict).contains("line 202: rss_bytes is not a number"), "{}", said(&strict));
}

#[test]
fn what_is_no_trace_is_refused_with_a_reason() {
    let cases: [(&str, &str); 4] = [
        ("", "the trace is empty"),
        ("a,b\n1,2\n", "the trace has no column `t_seconds`"),
        ("t_seconds,rss_bytes\n", "there is no row after the names"),
        ("t_seconds,rss_bytes\nx,y\n", "line 2: t_seconds is not a number: \"x\""),
    ];
    for (trace, reason) in cases {
        let output = replay(trace, &[]);
        assert_eq!(output.status.code(), Some(1), "{trace:?}");
        assert!(said(&output).contains(reason), "{trace:?}: {}", said(&output));
    }
    assert_eq!(replay("", &["--frob"]).status.code(), Some(2));
}

#[test]
fn a_line_without_an_end_and_a_jump_of_a_day_are_survived() {
    let mut text = trace(300, |_| 300 * MB);
    text += &"9".repeat(200_000);
    text += "\n104400,300000000,,200000,1073741824\n";
    let output = replay(&text, &["--json"]);
    assert_eq!(events(&output).len(), 0);
    assert!(said(&output).contains("line 302: it is longer"), "{}", said(&output));
    assert!(said(&output).contains("301 rows judged"), "{}", said(&output));
}

#[test]
fn a_baseline_explains_the_way_to_where_the_revision_before_settled() {
    let folder = stent_testkit::TempDir::new("baseline").unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // It fills evenly to four fifths of its room within five hours, and stays there.
    let fills = |minute: u64| 200 * MB + (minute * 2).min(600) * MB;
    std::fs::write(path("before.csv"), trace(1_440, fills)).unwrap();
    std::fs::write(path("leaks.csv"), trace(700, |minute| 200 * MB + minute * MB)).unwrap();
    let alone = events(&replay(&trace(300, fills), &["--json"]));
    assert!(!alone.is_empty(), "without it the way there looks like a leak");
    let known = replay(&trace(300, fills), &["--json", "--baseline", &path("before.csv")]);
    assert_eq!(events(&known), Vec::<serde_json::Value>::new());
    let unsettled = replay(&trace(300, fills), &["--baseline", &path("leaks.csv")]);
    assert!(said(&unsettled).contains("the baseline had not settled"), "{}", said(&unsettled));
    let absent = replay(&trace(300, fills), &["--baseline", &path("absent.csv")]);
    assert!(!absent.status.success());
    assert!(said(&absent).contains("the baseline: the trace cannot be read"), "{}", said(&absent));
}

#[test]
fn descriptors_and_threads_are_judged_where_their_columns_are_named_and_only_there() {
    let mut text = String::from("t_seconds,rss_bytes,limit_bytes,open_files,tasks\n");
    for minute in 0..2_880_u64 {
        text += &format!("{},{},1073741824,{},14\n", minute * 60, 300 * MB, 40 + minute);
    }
    let named = replay(&text, &["--json", "--fds", "open_files", "--threads=tasks"]);
    let events_named = events(&named);
    let leak = events_named.iter().find(|event| event["verdict"] == "leak").expect("it is found");
    assert_eq!(leak["class"], "descriptor_leak");
    assert_eq!(leak["resource"], "descriptors");
    let rate = leak["count_per_hour"].as_f64().unwrap();
    assert!((55.0..65.0).contains(&rate), "{leak}");
    assert!(leak["bytes_per_hour"].is_null());
    assert!(events_named.iter().all(|event| event["resource"] == "descriptors"));
    assert!(events(&replay(&text, &["--json"])).is_empty());
    let missing = replay(&text, &["--fds", "handles"]);
    assert!(said(&missing).contains("no column `handles`"), "{}", said(&missing));
}
