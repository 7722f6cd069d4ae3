//! A small API over HTTP whose memory grows in the way that `LEAK` names, or does not.
//!
//! Owns: the answer to `GET /`, one thread a connection, and a timer. Prints `listening ADDRESS` when it
//! can be asked; begins to do what `LEAK` names at `GET /start`. Serves its heap where the agent looks for it.
//! Refuses: everything else of HTTP. Invariant: each leak is in a function of its own, whose name an
//! attribution must give; the healthy twins do the same work and let go of it.

mod ways;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ways::Way;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Whether `GET /start` has come.
static STARTED: AtomicBool = AtomicBool::new(false);
/// The most connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// The longest line of a request.
const LINE_MAX: u64 = 8 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    stent_heap::serve_default()?;
    let way = Arc::new(Way::new(&std::env::var("LEAK").unwrap_or_default(), kilobytes()? * 1024)?);
    let timer = Arc::clone(&way);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(ways::TICK);
            if STARTED.load(Ordering::Relaxed) {
                timer.tick();
            }
        }
    });
    let listener = TcpListener::bind(("127.0.0.1", port()?))?;
    println!("listening {}", listener.local_addr()?);
    let connections = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let (stream, way, connections) = (stream?, Arc::clone(&way), Arc::clone(&connections));
        if connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        std::thread::spawn(move || {
            drop(serve(&stream, &way)); // a client that leaves is no failure
            connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
    Ok(())
}

/// `PORT`, or one that is free.
fn port() -> Result<u16, std::num::ParseIntError> {
    std::env::var("PORT").map_or(Ok(0), |port| port.parse())
}

/// `KILOBYTES`: what is kept for a request.
fn kilobytes() -> Result<usize, std::num::ParseIntError> {
    std::env::var("KILOBYTES").map_or(Ok(16), |kilobytes| kilobytes.parse())
}

/// Answers one request after another.
fn serve(stream: &TcpStream, way: &Way) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE_MAX).read_line(&mut line)?;
            if read == 0 {
                return Ok(());
            }
            if line.starts_with("GET /start ") {
                STARTED.store(true, Ordering::Relaxed);
            }
            if line.trim().is_empty() {
                break; // the end of the head; a GET has no body
            }
        }
        let kept = if STARTED.load(Ordering::Relaxed) { way.request() } else { 0 };
        let answer = format!("{kept}\n");
        let mut writer = stream;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length:";
        writer.write_all(format!("{head} {}\r\n\r\n{answer}", answer.len()).as_bytes())?;
    }
}
