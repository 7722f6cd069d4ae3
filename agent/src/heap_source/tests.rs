//! The sources over real sockets, from applications that behave and that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const INTERVAL: Duration = Duration::from_millis(50);
/// Any process: a page belongs to whichever process the target is.
const PID: Option<u32> = Some(1);

/// Serves these answers, one a connection, the last for ever. Counts the connections.
async fn serve(answers: Vec<String>) -> (PageUrl, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap()).parse().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::Relaxed);
            let answer = answers[number.min(answers.len() - 1)].clone();
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {
                    if asked.ends_with(b"\r\n\r\n") && !answer.is_empty() {
                        drop(stream.write_all(answer.as_bytes()).await);
                        return;
                    }
                }
            });
        }
    });
    (url, connections)
}

fn page(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

fn metrics(url: PageUrl) -> HeapMetrics {
    HeapMetrics { target: None, url, heap: None, requests: None }
}

/// Waits for a reading that pleases.
async fn wait(
    watch: &HeapWatch,
    pid: Option<u32>,
    pleases: fn(&RuntimeReading) -> bool,
) -> RuntimeReading {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reading = watch.read(pid, Instant::now());
        if pleases(&reading) {
            return reading;
        }
        assert!(Instant::now() < deadline, "the last reading was {reading:?}");
        tokio::time::sleep(Duration::from_millis(5)).await; // between looks
    }
}

#[tokio::test]
async fn well_known_names_are_found_without_being_named() {
    let text = "nodejs_heap_size_used_bytes 1.5e7\nhttp_requests_total{code=\"200\"} 10\n\
                http_requests_total{code=\"500\"} 2\n";
    let (url, _) = serve(vec![page(text)]).await;
    let watch = HeapWatch::start(Some(metrics(url)), INTERVAL);
    let reading = wait(&watch, PID, |reading| reading.heap.is_some()).await;
    assert_eq!(reading, RuntimeReading { heap: Some(15_000_000), requests: Some(12) });
    // A target that is gone has no heap, whatever was said of it a moment ago.
    assert_eq!(watch.read(None, Instant::now()), RuntimeReading::default());
}

#[tokio::test]
async fn named_series_are_used_and_only_those() {
    let (url, _) = serve(vec![page("nodejs_heap_size_used_bytes 5\nown 7\nserved 3\n")]).await;
    let own = HeapMetrics {
        heap: Some("own".parse().unwrap()),
        requests: Some("served".parse().unwrap()),
        ..metrics(url)
    };
    let watch = HeapWatch::start(Some(own), INTERVAL);
    let reading = wait(&watch, PID, |reading| reading.heap.is_some()).await;
    assert_eq!(reading, RuntimeReading { heap: Some(7), requests: Some(3) });
}

#[tokio::test]
async fn an_application_that_errs_stalls_or_talks_nonsense_is_asked_again() {
    let good = page("nodejs_heap_size_used_bytes 5\n");
    let answers = vec![
        "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        String::new(), // silent until the time box ends
        page("nodejs_heap_size_used_bytes five\n"),
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_owned(),
        good,
    ];
    let wanted = answers.len();
    let (url, connections) = serve(answers).await;
    let watch = HeapWatch::start(Some(metrics(url)), INTERVAL);
    wait(&watch, PID, |reading| reading.heap == Some(5)).await;
    assert!(connections.load(Ordering::Relaxed) >= wanted - 1);
}

#[tokio::test]
async fn an_answer_grows_old() {
    let (url, _) = serve(vec![page("nodejs_heap_size_used_bytes 5\n")]).await;
    let watch = HeapWatch::start(Some(metrics(url)), INTERVAL);
    wait(&watch, PID, |reading| reading.heap.is_some()).await;
    let later = Instant::now() + INTERVAL * (FRESH + 1) + TIME_BOX;
    assert_eq!(watch.read(PID, later), RuntimeReading::default());
}

#[tokio::test]
async fn a_process_without_a_socket_has_no_heap_and_costs_a_look_now_and_then() {
    let watch = HeapWatch::start(None, INTERVAL);
    for _ in 0..20 {
        assert_eq!(watch.read(Some(std::process::id()), Instant::now()), RuntimeReading::default());
        tokio::task::yield_now().await;
    }
}
