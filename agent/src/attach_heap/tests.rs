//! The protocol against servers that behave and that do not. They are this very process.

use std::path::Path;

use stent_testkit::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

use super::*;

/// Questions with their answers.
type Answers = &'static [(&'static str, &'static [u8])];

fn own() -> u32 {
    std::process::id()
}

/// Serves at `path`: to each question the answer that begins with its word; to `silent` none.
fn serve(path: &Path, answers: Answers) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                while let Ok(Some(question)) = lines.next_line().await {
                    let known = answers.iter().find(|(word, _)| *word == question);
                    let (_, answer) = known.expect("only known questions are asked");
                    if *answer == b"silent" {
                        continue;
                    }
                    if writer.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn pace() -> Pace {
    Pace {
        before: Duration::ZERO,
        window: Duration::from_millis(1),
        // What this very process takes is no matter here.
        cpu_share_max: 64.0,
        time_box: Duration::from_secs(20),
        ..Pace::default()
    }
}

const JEMALLOC: &[u8] = b"ok 44 0\nkind jemalloc\nprofiling on\nallocated 123456\n";
const NOTHING: &[u8] = b"ok 0 0\n";
/// One kind of value, bytes; no sample.
const EMPTY: &[u8] = b"ok 18 0\n\x0a\x04\x08\x01\x10\x02\x32\x00\x32\x01s\x32\x05bytes";

async fn look_at(answers: Answers, pace: &Pace) -> Attribution {
    let folder = TempDir::new("heap-socket").unwrap();
    let path = folder.path().join("heap.sock");
    serve(&path, answers);
    attribute(own(), &HeapSocket::Path(path), pace).await
}

#[tokio::test]
async fn jemallocs_allocated_bytes_are_the_heap_and_pythons_count_is_not() {
    let folder = TempDir::new("heap-socket").unwrap();
    let path = folder.path().join("heap.sock");
    serve(&path, &[("stats", JEMALLOC)]);
    let time_box = Duration::from_secs(20);
    let heap = heap_allocated(own(), &HeapSocket::Path(path), time_box).await;
    assert_eq!(heap, Some(123_456));
    let path = folder.path().join("python.sock");
    serve(&path, &[("stats", b"ok 30 0\nkind tracemalloc\nallocated 9\n\n")]);
    assert_eq!(heap_allocated(own(), &HeapSocket::Path(path), time_box).await, None);
}

#[tokio::test]
async fn a_socket_that_is_another_process_is_not_asked() {
    let folder = TempDir::new("heap-socket").unwrap();
    let path = folder.path().join("heap.sock");
    serve(&path, &[]); // a question would end it
    let found = attribute(1, &HeapSocket::Path(path), &pace()).await;
    assert!(found.note.contains("not by the target"), "{found:?}");
    assert_eq!(found.means, AttributionMeans::None);
}

#[tokio::test]
async fn after_a_stop_that_was_too_long_the_target_is_not_asked_for_another_profile() {
    let long = b"ok 18 400000\n\x0a\x04\x08\x01\x10\x02\x32\x00\x32\x01s\x32\x05bytes";
    let answers: &'static [_] = Box::leak(Box::new([
        ("stats", JEMALLOC),
        ("start", NOTHING),
        ("profile", &long[..]),
        ("stop", NOTHING),
    ]));
    let found = look_at(answers, &pace()).await;
    assert_eq!((found.windows, found.largest_pause_ms), (0, 400));
    assert!(found.note.contains("stood still for 400ms"), "{found:?}");
}

#[tokio::test]
async fn a_target_in_which_nothing_grows_has_no_name_and_a_note() {
    let answers = &[("stats", JEMALLOC), ("start", NOTHING), ("profile", EMPTY), ("stop", NOTHING)];
    let found = look_at(answers, &pace()).await;
    assert_eq!((found.windows, found.frames.len()), (3, 0));
    assert!(found.note.contains("nothing that was allocated grew"), "{found:?}");
}

#[tokio::test]
async fn nonsense_silence_and_refusals_end_the_look_with_their_reason() {
    let short = Pace { time_box: Duration::from_millis(50), ..pace() };
    let cases: [(Answers, &str); 6] = [
        (&[("stats", b"error busy\n")], "busy"),
        (&[("stats", b"HTTP/1.1 400\n")], "does not speak"),
        (&[("stats", b"ok 99999999999 0\n")], "does not speak"),
        (&[("stats", b"ok 14 0\nkind nonsense\n")], "does not speak"),
        (&[("stats", b"silent")], "no answer"),
        (
            &[
                ("stats", JEMALLOC),
                ("start", NOTHING),
                ("profile", b"ok 3 0\n\xff\xff\xff"),
                ("stop", NOTHING),
            ],
            "cut off",
        ),
    ];
    for (answers, reason) in cases {
        let found = look_at(answers, &short).await;
        assert!(found.note.contains(reason), "{reason}: {found:?}");
        assert!(found.frames.is_empty());
    }
}
