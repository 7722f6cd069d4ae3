//! A CloudWatch endpoint for tests: PutMetricData over Smithy RPC v2 CBOR, with Amazon's limits.
//!
//! Owns: a real listener, the decoding, the record of what was accepted, and the ways to fail.
//! Refuses: storage, alarms, and the check of signatures (only their presence is).
//! Invariant: a request that breaks a documented limit is refused, recorded as a violation, and
//! none of its points counts as received.
//!
//! Source: Smithy, "RPC v2 CBOR protocol"; the limits are in [`limits`].

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod limits;

use std::convert::Infallible;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ciborium::Value;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use limits::{BODY_MAX, Received, Violation, check};

const PATH: &str = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
/// The most bytes that a compressed body may unfold to.
const UNZIPPED_MAX: u64 = 16 << 20;

/// What the endpoint does with a valid request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Takes it.
    Accept,
    /// Answers 500 `InternalServiceFault`; the points are not taken.
    Fail,
    /// Answers 400 `ThrottlingException`.
    Throttle,
    /// Answers 403 `AccessDeniedException`.
    Deny,
    /// Reads it and never answers; the points are not taken.
    Hang,
    /// Takes it and never answers.
    TakeAndHang,
    /// Answers 400 `InvalidParameterValueException` to a request with this metric, and accepts others.
    RefuseMetric(&'static str),
}

/// The clock by which timestamps are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The machine's.
    System,
    /// Milliseconds since the Unix epoch.
    Fixed(i64),
}

/// One request that came in whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `Content-Encoding`.
    pub(crate) encoding: Option<String>,
    /// As sent.
    pub(crate) bytes: usize,
    /// Unzipped.
    pub(crate) unzipped_bytes: usize,
    /// How many data, where it was valid.
    pub(crate) data: usize,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    clock: Clock,
    received: Vec<Received>,
    seen: Vec<Seen>,
    violations: Vec<Violation>,
}

/// The endpoint.
#[derive(Debug)]
pub(crate) struct CloudWatchEndpoint {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

impl CloudWatchEndpoint {
    /// Listens on a port of its own.
    pub(crate) async fn start(clock: Clock) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("some port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State {
            behaviour: Behaviour::Accept,
            clock,
            received: Vec::new(),
            seen: Vec::new(),
            violations: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let accepting = Some(tokio::spawn(accept(listener, Arc::clone(&state))));
        Self { address, state, accepting }
    }

    /// For the SDK's `endpoint_url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What to do with requests from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// Stops listening and cuts every connection: nobody is there.
    pub(crate) async fn close(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // The listener is closed when its task is gone.
            let _ = accepting.await;
        }
    }

    /// Listens again, on the same port.
    pub(crate) async fn reopen(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        self.accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))));
    }

    /// The points that were accepted, in order of arrival.
    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// The requests that were read to their end.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// The limits that were broken.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        lock(&self.state).violations.clone()
    }
}

impl Drop for CloudWatchEndpoint {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, Arc::clone(&state)));
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(|request| answer(request, Arc::clone(&state)));
    let http = hyper::server::conn::http1::Builder::new();
    // A connection that its client cuts is the client's business.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // Twice the limit, so that breaking it is seen and told from a connection that broke.
    let Ok(body) = Limited::new(body, 2 * BODY_MAX).collect().await else {
        let message = format!("more than {BODY_MAX} bytes");
        let violation = Violation { code: "RequestEntityTooLarge", message };
        lock(&state).violations.push(violation.clone());
        return Ok(error(StatusCode::PAYLOAD_TOO_LARGE, violation.code, &violation.message));
    };
    let verdict = take(&head.method, head.uri.path(), &head.headers, &body.to_bytes(), &state);
    match verdict {
        Verdict::Answer(response) => Ok(response),
        Verdict::Silence => std::future::pending().await,
    }
}

enum Verdict {
    Answer(Response<Full<Bytes>>),
    Silence,
}

fn take(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
    state: &Mutex<State>,
) -> Verdict {
    let mut state = lock(state);
    let encoding = header(headers, CONTENT_ENCODING.as_str());
    let mut seen = Seen {
        encoding: encoding.map(str::to_owned),
        bytes: body.len(),
        unzipped_bytes: body.len(),
        data: 0,
    };
    let checked = check_head(method, path, headers)
        .and_then(|()| decode(body, encoding, &mut seen))
        .and_then(|request| check(&request, now(state.clock)));
    let points = match checked {
        Ok(points) => points,
        Err(violation) => {
            let response = error(StatusCode::BAD_REQUEST, violation.code, &violation.message);
            state.violations.push(violation);
            state.seen.push(seen);
            return Verdict::Answer(response);
        }
    };
    seen.data = points.len();
    state.seen.push(seen);
    match state.behaviour {
        Behaviour::Accept => state.received.extend(points),
        Behaviour::RefuseMetric(name) if points.iter().all(|point| point.name != name) => {
            state.received.extend(points);
        }
        Behaviour::RefuseMetric(_) => {
            let code = "InvalidParameterValueException";
            return Verdict::Answer(error(StatusCode::BAD_REQUEST, code, "as told"));
        }
        Behaviour::Fail => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Verdict::Answer(error(status, "InternalServiceFault", "as told"));
        }
        Behaviour::Throttle => {
            let code = "ThrottlingException";
            return Verdict::Answer(error(StatusCode::BAD_REQUEST, code, "Rate exceeded"));
        }
        Behaviour::Deny => {
            let code = "AccessDeniedException";
            return Verdict::Answer(error(StatusCode::FORBIDDEN, code, "as told"));
        }
        Behaviour::Hang => return Verdict::Silence,
        Behaviour::TakeAndHang => {
            state.received.extend(points);
            return Verdict::Silence;
        }
    }
    Verdict::Answer(respond(StatusCode::OK, &Value::Map(Vec::new())))
}

fn check_head(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Violation> {
    let malformed =
        |message: &str| Err(Violation { code: "MalformedRequest", message: message.to_owned() });
    if method != Method::POST || path != PATH {
        return malformed("not PutMetricData over RPC v2 CBOR");
    }
    if header(headers, "smithy-protocol") != Some("rpc-v2-cbor") {
        return malformed("no smithy-protocol: rpc-v2-cbor");
    }
    if header(headers, CONTENT_TYPE.as_str()) != Some("application/cbor") {
        return malformed("the body is not declared as CBOR");
    }
    let signature = header(headers, AUTHORIZATION.as_str()).unwrap_or_default();
    if !signature.starts_with("AWS4-HMAC-SHA256 ")
        || !signature.contains("/monitoring/aws4_request")
    {
        return malformed("no signature version 4 for the service `monitoring`");
    }
    Ok(())
}

fn decode(body: &[u8], encoding: Option<&str>, seen: &mut Seen) -> Result<Value, Violation> {
    if body.len() > BODY_MAX {
        let message = format!("{} bytes, {BODY_MAX} at most", body.len());
        return Err(Violation { code: "RequestEntityTooLarge", message });
    }
    let malformed = |message: String| Violation { code: "SerializationException", message };
    let mut unzipped = Vec::new();
    match encoding {
        None => unzipped.extend_from_slice(body),
        Some("gzip") => {
            let mut unzip = flate2::read::GzDecoder::new(body).take(UNZIPPED_MAX);
            unzip.read_to_end(&mut unzipped).map_err(|error| malformed(error.to_string()))?;
        }
        Some(other) => return Err(malformed(format!("the encoding {other}"))),
    }
    seen.unzipped_bytes = unzipped.len();
    ciborium::from_reader(unzipped.as_slice()).map_err(|error| malformed(error.to_string()))
}

fn now(clock: Clock) -> i64 {
    match clock {
        Clock::Fixed(unix_ms) => unix_ms,
        Clock::System => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
            i64::try_from(since.as_millis()).expect("it is not yet the year 292 million")
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let text = |text: &str| Value::Text(text.to_owned());
    let shape = format!("com.amazonaws.cloudwatch#{code}");
    respond(
        status,
        &Value::Map(vec![(text("__type"), text(&shape)), (text("message"), text(message))]),
    )
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(body, &mut bytes).expect("a vector takes every byte");
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/cbor")
        .header("smithy-protocol", "rpc-v2-cbor")
        .body(Full::new(Bytes::from(bytes)))
        .expect("constant headers make a response")
}
