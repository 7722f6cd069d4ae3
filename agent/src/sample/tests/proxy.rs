//! The proxy's snapshot over real sockets, from servers that behave and that do not.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::path::PathBuf;
use std::time::Duration;

use stent_contract::{ProxySnapshot, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::super::proxy::{Error, ProxyClient};
use super::{proxy_snapshot, silent_holder};
use crate::config::Endpoint;

const PATIENT: Duration = Duration::from_secs(20);

pub(super) fn body(snapshot: &ProxySnapshot) -> String {
    let whole = Snapshot { proxy: Some(snapshot.clone()), agent: None };
    serde_json::to_string(&whole).unwrap()
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Answers each request on a stream with `answer`, for as long as the client asks.
pub(super) async fn answer<S>(mut stream: S, answer: String)
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        if request.ends_with(b"\r\n\r\n") {
            assert!(request.starts_with(b"GET /snapshot HTTP/1.1\r\n"));
            request.clear();
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Serves one connection after another; counts nothing, remembers nothing.
async fn serve(answer_text: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, answer_text.clone()));
        }
    });
    address
}

pub(super) async fn serve_snapshot(snapshot: &ProxySnapshot) -> SocketAddr {
    serve(response("200 OK", &body(snapshot))).await
}

fn client(address: SocketAddr) -> ProxyClient {
    ProxyClient::new(Endpoint::Tcp(address), PATIENT)
}

fn snapshot() -> ProxySnapshot {
    proxy_snapshot(9, vec![silent_holder(1, "127.0.0.1:9", 50)])
}

#[tokio::test]
async fn one_connection_serves_round_after_round() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = client(listener.local_addr().unwrap());
    let text = response("200 OK", &body(&snapshot()));
    // A second connection would never be accepted, and the second question never be answered.
    tokio::spawn(async move { answer(listener.accept().await.unwrap().0, text).await });
    for _ in 0..3 {
        assert_eq!(client.fetch().await.unwrap(), snapshot());
    }
}

#[tokio::test]
async fn a_socket_in_the_abstract_namespace_is_reached() {
    let name = format!("stent-test-{}-{:?}", std::process::id(), std::thread::current().id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let text = response("200 OK", &body(&snapshot()));
    tokio::spawn(async move { answer(listener.accept().await.unwrap().0, text).await });
    let endpoint = Endpoint::Unix(PathBuf::from(format!("\0{name}")));
    assert_eq!(ProxyClient::new(endpoint, PATIENT).fetch().await.unwrap(), snapshot());
}

#[tokio::test]
async fn a_proxy_that_was_restarted_is_asked_on_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = client(listener.local_addr().unwrap());
    let text = response("200 OK", &body(&snapshot()));
    let closing = text.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    tokio::spawn(async move {
        for text in [closing, text] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    for _ in 0..2 {
        assert_eq!(client.fetch().await.unwrap(), snapshot());
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_costs_the_time_box_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap(); // accepts in its backlog only
    let time_box = Duration::from_millis(50);
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
    let answer = ProxyClient::new(endpoint, time_box).fetch().await;
    assert!(matches!(answer, Err(Error::Late(_))), "{answer:?}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_refused() {
    let long = format!("{{\"proxy\":null,\"agent\":null}}{}", " ".repeat(9 << 20));
    let answer = client(serve(response("200 OK", &long)).await).fetch().await;
    assert!(matches!(answer, Err(Error::Body(_))), "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_snapshot_is_refused() {
    let answer = client(serve(response("503 Service Unavailable", "")).await).fetch().await;
    assert!(matches!(answer, Err(Error::Status(_))), "{answer:?}");
    let answer = client(serve(response("200 OK", "<html>")).await).fetch().await;
    assert!(matches!(answer, Err(Error::Json(_))), "{answer:?}");
    let empty = "{\"proxy\":null,\"agent\":null}";
    let answer = client(serve(response("200 OK", empty)).await).fetch().await;
    assert!(matches!(answer, Err(Error::Empty)), "{answer:?}");
}

#[tokio::test]
async fn an_absent_proxy_is_an_error_that_says_so() {
    let missing = Endpoint::Unix(PathBuf::from("/nonexistent/stent.sock"));
    let error = ProxyClient::new(missing, PATIENT).fetch().await.unwrap_err();
    assert!(error.to_string().starts_with("connect to the proxy's admin endpoint"), "{error}");
}
