//! What the API does with memory: four leaks and their healthy twins.
//!
//! Owns: everything that is kept. Invariant: a leak keeps what it allocates for good; a twin keeps no more
//! than [`TWIN_MAX`] pieces at a time.

use std::collections::VecDeque;
use std::hint::black_box;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most pieces that a cache or a warm-up keeps.
const TWIN_MAX: usize = 1_000;
/// Requests after which the sawtooth begins anew.
const TOOTH: usize = 500;
/// How long a session of the diurnal twin lives: its memory follows the load.
const SESSION: Duration = Duration::from_secs(3);
/// Between two ticks of the timer.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// What is done.
pub(crate) struct Way {
    kind: Kind,
    /// What is kept for a request or a tick, bytes. It is written to: untouched pages are not resident.
    piece: usize,
    kept: Mutex<Kept>,
    requests: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Leak: a session for each request.
    Request,
    /// Leak: a record for each tick of a timer, whatever the load.
    Timer,
    /// Leak: a large buffer for some requests.
    Buffer,
    /// Leak: a closure for each request, subscribed and never taken off.
    Listener,
    /// Twin: a cache with a cap.
    Cache,
    /// Twin: fills in the first requests, then stays.
    WarmUp,
    /// Twin: fills and lets go of everything.
    Sawtooth,
    /// Twin: follows the load of the day.
    Diurnal,
}

#[derive(Default)]
struct Kept {
    pieces: VecDeque<Vec<u8>>,
    sessions: VecDeque<(Instant, Vec<u8>)>,
    listeners: Vec<Box<dyn Fn() -> usize + Send>>,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "request" => Self::Request,
            "timer" => Self::Timer,
            "buffer" => Self::Buffer,
            "listener" => Self::Listener,
            "cache" => Self::Cache,
            "warm-up" => Self::WarmUp,
            "sawtooth" => Self::Sawtooth,
            "diurnal" => Self::Diurnal,
            _ => return Err(format!("LEAK is '{text}', which is no way to use memory")),
        })
    }
}

impl Way {
    /// The way of this name, with pieces of so many bytes.
    pub(crate) fn new(kind: &str, piece: usize) -> Result<Self, String> {
        let (kept, requests) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self { kind: kind.parse()?, piece, kept, requests })
    }

    /// A request: does its work, says how much is kept.
    pub(crate) fn request(&self) -> usize {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let scratch = black_box(vec![number as u8 | 1; self.piece]); // the work of any request; let go at its end
        match self.kind {
            Kind::Request => self.remember_session(number),
            Kind::Buffer if number.is_multiple_of(16) => self.keep_buffer(),
            Kind::Listener => self.subscribe(number),
            Kind::Cache => self.fill_cache(number),
            Kind::WarmUp => self.warm_up(number),
            Kind::Sawtooth => self.collect_and_clear(number),
            Kind::Diurnal => self.serve_session(number),
            Kind::Timer | Kind::Buffer => {}
        }
        drop(scratch);
        let kept = self.kept();
        kept.pieces.len() + kept.sessions.len() + kept.listeners.len()
    }

    /// A tick of the timer.
    pub(crate) fn tick(&self) {
        match self.kind {
            Kind::Timer => self.record_tick(),
            Kind::Diurnal => self.end_sessions(),
            Kind::Request
            | Kind::Buffer
            | Kind::Listener
            | Kind::Cache
            | Kind::WarmUp
            | Kind::Sawtooth => {}
        }
    }

    #[inline(never)]
    fn remember_session(&self, number: u64) {
        let session = vec![number as u8 | 1; self.piece];
        self.kept().pieces.push_back(session);
    }

    #[inline(never)]
    fn record_tick(&self) {
        let record = vec![1; self.piece];
        self.kept().pieces.push_back(record);
    }

    #[inline(never)]
    fn keep_buffer(&self) {
        let buffer = vec![1; 16 * self.piece];
        self.kept().pieces.push_back(buffer);
    }

    #[inline(never)]
    fn subscribe(&self, number: u64) {
        let captured = vec![number as u8 | 1; self.piece];
        let mut kept = self.kept();
        kept.listeners.push(Box::new(move || captured.len()));
        // The newest is called, so that none is optimised away.
        black_box(kept.listeners.last().map(|listener| listener()));
    }

    #[inline(never)]
    fn fill_cache(&self, number: u64) {
        let mut kept = self.kept();
        kept.pieces.push_back(vec![number as u8 | 1; self.piece]);
        if kept.pieces.len() > TWIN_MAX {
            kept.pieces.pop_front();
        }
    }

    #[inline(never)]
    fn warm_up(&self, number: u64) {
        let mut kept = self.kept();
        if kept.pieces.len() < TWIN_MAX / 2 {
            kept.pieces.push_back(vec![number as u8 | 1; self.piece]);
        }
    }

    #[inline(never)]
    fn collect_and_clear(&self, number: u64) {
        let mut kept = self.kept();
        kept.pieces.push_back(vec![number as u8 | 1; self.piece]);
        if kept.pieces.len() > TOOTH {
            kept.pieces.clear();
        }
    }

    #[inline(never)]
    fn serve_session(&self, number: u64) {
        let session = (Instant::now() + SESSION, vec![number as u8 | 1; self.piece]);
        self.kept().sessions.push_back(session);
    }

    fn end_sessions(&self) {
        let (mut kept, now) = (self.kept(), Instant::now());
        while kept.sessions.front().is_some_and(|(end, _)| *end <= now) {
            kept.sessions.pop_front();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
