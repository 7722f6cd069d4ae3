//! The endpoint of the tests refuses what CloudWatch refuses: each limit is broken once.

#[path = "support/cloudwatch_endpoint.rs"]
mod endpoint;

use ciborium::Value;
use endpoint::limits::check;

const NOW: i64 = 1_700_000_000_000;
const INVALID: &str = "InvalidParameterValueException";
const MISSING: &str = "MissingRequiredParameterException";
const CLASH: &str = "InvalidParameterCombinationException";

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn map(fields: Vec<(&str, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (text(name), value)).collect())
}

fn timestamp(unix_ms: i64) -> Value {
    Value::Tag(1, Box::new(Value::Float(unix_ms as f64 / 1_000.0)))
}

fn floats(values: impl IntoIterator<Item = f64>) -> Value {
    Value::Array(values.into_iter().map(Value::Float).collect())
}

fn dimension(name: &str, value: &str) -> Value {
    map(vec![("Name", text(name)), ("Value", text(value))])
}

/// A valid datum with these fields in place of (or besides) its own; `Null` removes one.
fn datum(changes: Vec<(&str, Value)>) -> Value {
    let mut fields = vec![
        ("MetricName", text("Clients")),
        ("Dimensions", Value::Array(vec![dimension("State", "idle")])),
        ("Timestamp", timestamp(NOW)),
        ("Values", floats([1.0, 2.0])),
        ("Counts", floats([3.0, 4.0])),
        ("Unit", text("Count")),
    ];
    fields.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    fields.extend(changes.into_iter().filter(|(_, value)| !value.is_null()));
    map(fields)
}

fn request(namespace: &str, data: Vec<Value>) -> Value {
    map(vec![("Namespace", text(namespace)), ("MetricData", Value::Array(data))])
}

fn code(request: &Value) -> Option<&'static str> {
    check(request, NOW).err().map(|violation| violation.code)
}

fn code_of(changes: Vec<(&str, Value)>) -> Option<&'static str> {
    code(&request("Stent", vec![datum(changes)]))
}

#[test]
fn a_valid_request_passes_and_is_read_in_full() {
    let received = check(&request("Stent", vec![datum(Vec::new())]), NOW).unwrap();
    assert_eq!(received.len(), 1);
    let one = &received[0];
    assert_eq!((one.namespace.as_str(), one.name.as_str()), ("Stent", "Clients"));
    assert_eq!(one.dimensions, [("State".to_owned(), "idle".to_owned())]);
    assert_eq!((one.at_unix_ms, one.unit.as_str()), (NOW, "Count"));
    assert_eq!(one.values, [(1.0, 3.0), (2.0, 4.0)]);
}

#[test]
fn more_than_1000_data_are_refused() {
    let of = |count| code(&request("Stent", vec![datum(Vec::new()); count]));
    assert_eq!((of(1_000), of(1_001), of(0)), (None, Some(INVALID), Some(MISSING)));
}

#[test]
fn data_of_entities_count_too_and_of_entities_there_are_two() {
    let entities = |count: usize, data: usize| {
        let entity = map(vec![("MetricData", Value::Array(vec![datum(Vec::new()); data]))]);
        let fields = vec![
            ("Namespace", text("Stent")),
            ("EntityMetricData", Value::Array(vec![entity; count])),
        ];
        code(&map(fields))
    };
    assert_eq!(
        (entities(2, 500), entities(2, 501), entities(3, 1)),
        (None, Some(INVALID), Some(INVALID))
    );
}

#[test]
fn namespaces_of_amazon_and_of_wrong_length_are_refused() {
    let of = |namespace: &str| code(&request(namespace, vec![datum(Vec::new())]));
    assert_eq!(of(&"n".repeat(255)), None);
    for namespace in ["", "AWS/EC2", ":Stent", &"n".repeat(256)] {
        assert_eq!(of(namespace), Some(INVALID), "{namespace:?}");
    }
}

#[test]
fn metric_names_have_1_to_255_characters() {
    let of = |name: &str| code_of(vec![("MetricName", text(name))]);
    assert_eq!((of("n"), of(&"n".repeat(255))), (None, None));
    assert_eq!((of(""), of(&"n".repeat(256))), (Some(INVALID), Some(INVALID)));
    assert_eq!(code_of(vec![("MetricName", Value::Null)]), Some(MISSING));
}

#[test]
fn no_more_than_30_dimensions_each_once() {
    let of = |count: usize| {
        let all = (0..count).map(|n| dimension(&format!("d{n}"), "v")).collect();
        code_of(vec![("Dimensions", Value::Array(all))])
    };
    assert_eq!((of(0), of(30), of(31)), (None, None, Some(INVALID)));
    let twice = Value::Array(vec![dimension("State", "a"), dimension("State", "b")]);
    assert_eq!(code_of(vec![("Dimensions", twice)]), Some(INVALID));
}

#[test]
fn names_and_values_of_dimensions_are_visible_ascii_of_limited_length() {
    let of = |name: &str, value: &str| {
        code_of(vec![("Dimensions", Value::Array(vec![dimension(name, value)]))])
    };
    assert_eq!(of(&"n".repeat(255), &"v".repeat(1_024)), None);
    let wrong = [
        ("", "v"),
        ("n", ""),
        (":n", "v"),
        ("n", "  "),
        ("n", "größe"),
        ("n", "a\nb"),
        (&"n".repeat(256), "v"),
        ("n", &"v".repeat(1_025)),
    ];
    for (name, value) in wrong {
        assert_eq!(of(name, value), Some(INVALID), "{name:?} {value:?}");
    }
}

#[test]
fn values_are_finite_and_within_2_to_the_360() {
    let of = |value: f64| code_of(vec![("Values", floats([value, 1.0]))]);
    assert_eq!((of(0.0), of(2f64.powi(360)), of(-2f64.powi(360))), (None, None, None));
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2f64.powi(361), -2f64.powi(361)] {
        assert_eq!(of(value), Some(INVALID), "{value}");
    }
    let single =
        vec![("Values", Value::Null), ("Counts", Value::Null), ("Value", Value::Float(f64::NAN))];
    assert_eq!(code_of(single), Some(INVALID));
}

#[test]
fn no_more_than_150_values_with_as_many_counts() {
    let of = |values: u32, counts: u32| {
        let values = floats((0..values).map(f64::from));
        code_of(vec![("Values", values), ("Counts", floats((0..counts).map(f64::from)))])
    };
    assert_eq!((of(150, 150), of(150, 0)), (None, None));
    assert_eq!((of(151, 151), of(3, 2)), (Some(INVALID), Some(CLASH)));
    assert_eq!(code_of(vec![("Counts", floats([1.0, -1.0]))]), Some(INVALID));
}

#[test]
fn a_datum_has_exactly_one_kind_of_value() {
    assert_eq!(code_of(vec![("Value", Value::Float(1.0))]), Some(CLASH));
    assert_eq!(code_of(vec![("Values", Value::Null), ("Counts", Value::Null)]), Some(MISSING));
    let partial = map(vec![("Sum", Value::Float(1.0))]);
    let statistics =
        vec![("Values", Value::Null), ("Counts", Value::Null), ("StatisticValues", partial)];
    assert_eq!(code_of(statistics), Some(MISSING));
}

#[test]
fn timestamps_lie_between_two_weeks_back_and_two_hours_ahead() {
    let minute = 60_000;
    let (back, ahead) = (14 * 24 * 60 * minute, 120 * minute);
    let of = |unix_ms: i64| code_of(vec![("Timestamp", timestamp(unix_ms))]);
    assert_eq!((of(NOW - back), of(NOW + ahead)), (None, None));
    assert_eq!((of(NOW - back - minute), of(NOW + ahead + minute)), (Some(INVALID), Some(INVALID)));
    assert_eq!(code_of(vec![("Timestamp", Value::Null)]), Some(MISSING));
    assert_eq!(code_of(vec![("Timestamp", text("now"))]), Some(MISSING));
}

#[test]
fn units_and_resolutions_are_those_of_cloudwatch() {
    assert_eq!(code_of(vec![("Unit", text("Bytes/Second"))]), None);
    assert_eq!(code_of(vec![("Unit", text("Bytes/Hour"))]), Some(INVALID));
    assert_eq!(code_of(vec![("StorageResolution", Value::from(1))]), None);
    assert_eq!(code_of(vec![("StorageResolution", Value::from(7))]), Some(INVALID));
}

#[tokio::test]
async fn over_http_a_request_that_is_not_signed_cbor_of_limited_size_is_refused_and_recorded() {
    let endpoint = endpoint::CloudWatchEndpoint::start(endpoint::Clock::Fixed(NOW)).await;
    let mut valid = Vec::new();
    ciborium::into_writer(&request("Stent", vec![datum(Vec::new())]), &mut valid).unwrap();
    let head = [
        ("smithy-protocol", "rpc-v2-cbor"),
        ("content-type", "application/cbor"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=A/20231114/x/monitoring/aws4_request, x"),
    ];
    let with = |changed: &str, value: &'static str| {
        let head = head.map(|(name, known)| (name, if name == changed { value } else { known }));
        head.to_vec()
    };
    assert_eq!(post(&endpoint, &with("", ""), &valid).await, 200);
    assert_eq!(post(&endpoint, &with("smithy-protocol", "json"), &valid).await, 400);
    assert_eq!(post(&endpoint, &with("content-type", "text/plain"), &valid).await, 400);
    assert_eq!(post(&endpoint, &with("authorization", "none"), &valid).await, 400);
    assert_eq!(post(&endpoint, &with("", ""), b"not cbor").await, 400);
    let mut zipped = with("", "");
    zipped.push(("content-encoding", "gzip"));
    assert_eq!(post(&endpoint, &zipped, &valid).await, 400, "not gzip");
    assert_eq!(post(&endpoint, &with("", ""), &vec![0; 1_000_001]).await, 400);
    assert_eq!(post(&endpoint, &with("", ""), &vec![0; 2_000_001]).await, 413);
    assert_eq!((endpoint.received().len(), endpoint.violations().len()), (1, 7));
}

async fn post(endpoint: &endpoint::CloudWatchEndpoint, head: &[(&str, &str)], body: &[u8]) -> u16 {
    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper_util::rt::TokioIo;
    let address = endpoint.url();
    let address = address.strip_prefix("http://").expect("the endpoint's scheme is http");
    let stream = tokio::net::TcpStream::connect(address).await.expect("the endpoint listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection that has just been made speaks HTTP");
    tokio::spawn(connection);
    let mut request =
        hyper::Request::post("/service/GraniteServiceVersion20100801/operation/PutMetricData");
    for (name, value) in head {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("valid fields");
    sender.send_request(request).await.expect("the endpoint answers").status().as_u16()
}
