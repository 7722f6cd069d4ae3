//! What the API does with memory: four leaks and their healthy twins.
//!
//! Owns: everything that is kept. Invariant: a leak keeps what it allocates for good; of a twin's
//! memory no more than [`TWIN_MAX`] is kept at a time.

use std::collections::VecDeque;
use std::hint::black_box;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is kept for a request or a tick.
const PIECE: usize = 4 * 1024;
/// The most that a twin keeps.
const TWIN_MAX: usize = 16 * 1024 * 1024;
/// Requests after which the sawtooth begins anew.
const TOOTH: usize = 2_000;
/// Requests of a day: the diurnal twin keeps much in its middle and little at its ends.
const DAY: u64 = 4_000;

/// What is done.
pub(crate) struct Way {
    kind: Kind,
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
    listeners: Vec<Box<dyn Fn() -> usize + Send>>,
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = match text {
            "request" => Kind::Request,
            "timer" => Kind::Timer,
            "buffer" => Kind::Buffer,
            "listener" => Kind::Listener,
            "cache" => Kind::Cache,
            "warm-up" => Kind::WarmUp,
            "sawtooth" => Kind::Sawtooth,
            "diurnal" => Kind::Diurnal,
            _ => return Err(format!("LEAK is '{text}', which is no way to use memory")),
        };
        Ok(Self { kind, kept: Mutex::default(), requests: AtomicU64::new(0) })
    }
}

impl Way {
    /// A request: does its work, says how much is kept.
    pub(crate) fn request(&self) -> usize {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let scratch = black_box(piece(number)); // the work of any request; let go at its end
        match self.kind {
            Kind::Request => self.remember_session(number),
            Kind::Buffer if number.is_multiple_of(16) => self.keep_buffer(),
            Kind::Listener => self.subscribe(number),
            Kind::Cache => self.fill_cache(number),
            Kind::WarmUp => self.warm_up(number),
            Kind::Sawtooth => self.collect_and_clear(number),
            Kind::Diurnal => self.follow_the_day(number),
            Kind::Timer | Kind::Buffer => {}
        }
        drop(scratch);
        let kept = self.kept();
        kept.pieces.len() + kept.listeners.len()
    }

    /// A tick of the timer.
    pub(crate) fn tick(&self) {
        match self.kind {
            Kind::Timer => self.record_tick(),
            Kind::Request
            | Kind::Buffer
            | Kind::Listener
            | Kind::Cache
            | Kind::WarmUp
            | Kind::Sawtooth
            | Kind::Diurnal => {}
        }
    }

    #[inline(never)]
    fn remember_session(&self, number: u64) {
        self.kept().pieces.push_back(vec![number as u8 | 1; PIECE]);
    }

    #[inline(never)]
    fn record_tick(&self) {
        for number in 1..5 {
            self.kept().pieces.push_back(vec![number; PIECE]);
        }
    }

    #[inline(never)]
    fn keep_buffer(&self) {
        self.kept().pieces.push_back(vec![1; 16 * PIECE]);
    }

    #[inline(never)]
    fn subscribe(&self, number: u64) {
        let captured = vec![number as u8 | 1; PIECE];
        let mut kept = self.kept();
        kept.listeners.push(Box::new(move || captured.len()));
        // The newest is called, so that none is optimised away.
        black_box(kept.listeners.last().map(|listener| listener()));
    }

    #[inline(never)]
    fn fill_cache(&self, number: u64) {
        let mut kept = self.kept();
        kept.pieces.push_back(vec![number as u8 | 1; PIECE]);
        if kept.pieces.len() > TWIN_MAX / PIECE {
            kept.pieces.pop_front();
        }
    }

    #[inline(never)]
    fn warm_up(&self, number: u64) {
        let mut kept = self.kept();
        if kept.pieces.len() < TWIN_MAX / PIECE / 2 {
            kept.pieces.push_back(vec![number as u8 | 1; PIECE]);
        }
    }

    #[inline(never)]
    fn collect_and_clear(&self, number: u64) {
        let mut kept = self.kept();
        kept.pieces.push_back(vec![number as u8 | 1; PIECE]);
        if kept.pieces.len() > TOOTH {
            kept.pieces.clear();
        }
    }

    #[inline(never)]
    fn follow_the_day(&self, number: u64) {
        let hour = number % DAY;
        let wanted = hour.min(DAY - hour) as usize;
        let mut kept = self.kept();
        kept.pieces.resize_with(wanted, || vec![number as u8 | 1; PIECE]);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece of memory that is written to: untouched pages are not resident.
fn piece(number: u64) -> Vec<u8> {
    vec![number as u8 | 1; PIECE]
}
