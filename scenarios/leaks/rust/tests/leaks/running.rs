//! A program that leaks, as a process of its own, with a steady load on it.
//!
//! Invariant: program and load end with the value that stands for them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stent_agent::{HeapSocket, Pace, attribute};
use stent_contract::Attribution;

/// The program; under load where it was asked for.
pub(crate) struct Running {
    child: Child,
    said: String,
    load: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Running {
    /// Starts a program that leaks in this way, and a load on it.
    pub(crate) fn start(command: &mut Command, leak: &str) -> Self {
        let mut own = Self::without_load(command.env("LEAK", leak).env("KIND", leak));
        let (address, until) = (own.said.clone(), Arc::clone(&own.ended));
        let answered = Arc::clone(&own.answered);
        own.load = Some(std::thread::spawn(move || load(&address, &until, &answered)));
        own
    }

    /// Starts a program and waits until it says `listening SOMETHING`.
    pub(crate) fn without_load(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program can be started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let said = line.trim().strip_prefix("listening ").expect("it says `listening`");
        let said = said.strip_prefix("on http://").unwrap_or(said).to_owned();
        let (ended, answered) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        Self { child, said, load: None, ended, answered }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said that it listens on.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Waits until it has answered so many requests.
    pub(crate) fn wait_for(&self, requests: u64) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while self.answered.load(Ordering::Relaxed) < requests {
            assert!(Instant::now() < deadline, "it answers too slowly");
            std::thread::sleep(Duration::from_millis(20)); // between looks
        }
    }

    /// Looks into it.
    pub(crate) fn look(&self, pace: &Pace) -> Attribution {
        let found = runtime().block_on(attribute(self.child.id(), &HeapSocket::OfPid, pace));
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(found.windows == 0 || self.load.is_none() || answered > 50, "it stood still");
        found
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the program is ours to kill");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.load.take().map(JoinHandle::join));
    }
}

fn load(address: &str, until: &AtomicBool, answered: &AtomicU64) {
    let mut stream = TcpStream::connect(address).expect("the program listens");
    let mut buffer = [0; 4_096];
    let mut path = "/start";
    while !until.load(Ordering::Relaxed) {
        let mut length = 0;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        if stream.write_all(request.as_bytes()).is_err() {
            return; // it was killed
        }
        path = "/";
        let head = b"\r\n\r\n";
        while !buffer[..length].ends_with(b"\n")
            || buffer[..length].ends_with(head)
            || !buffer[..length].windows(4).any(|four| four == head)
        {
            match stream.read(&mut buffer[length..]) {
                Ok(read) if read > 0 => length += read,
                Ok(_) | Err(_) => return,
            }
        }
        answered.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1)); // the load's pace
    }
}

/// Short windows: the programs leak megabytes a second. Pauses are measured here, not judged.
pub(crate) fn quick() -> Pace {
    Pace {
        before: Duration::from_millis(500),
        window: Duration::from_secs(2),
        pause_max: Duration::from_secs(20),
        cpu_share_max: 64.0,
        ..Pace::default()
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built")
}
