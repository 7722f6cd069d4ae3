//! In the steady state a transaction allocates nothing on the proxy's thread.
//!
//! Owns: the only allocator of this program, which counts what one thread asks it for. That needs
//! `unsafe`, which is why these tests are a program of their own; nothing else in here needs it.
//! Invariant: what is counted is the proxy's thread alone: clients and PostgreSQL are elsewhere, and
//! nothing that a client does in its test is counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the helpers are those of the other tests")]

#[path = "../it/raw.rs"]
mod raw;
mod steady;
#[path = "../it/support.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator with a tally.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations and reallocations of the counted threads.
static TALLY: AtomicU64 = AtomicU64::new(0);
/// Where the first one came from since the last [`reset`].
static FIRST: Mutex<Option<Backtrace>> = Mutex::new(None);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// From here on the calling thread is counted.
fn count_this_thread() {
    COUNTED.set(true);
}

/// Begins anew.
fn reset() {
    *FIRST.lock().unwrap() = None;
    TALLY.store(0, Ordering::SeqCst);
}

/// How many allocations there were since, and where the first came from.
fn tally() -> (u64, String) {
    let first = FIRST.lock().unwrap().take();
    (TALLY.load(Ordering::SeqCst), first.map(|first| first.to_string()).unwrap_or_default())
}

fn note() {
    // A thread that is ending has no thread-locals any more.
    if COUNTED.try_with(|counted| counted.replace(false)) != Ok(true) {
        return;
    }
    if TALLY.fetch_add(1, Ordering::SeqCst) == 0 {
        *FIRST.lock().unwrap() = Some(Backtrace::force_capture());
    }
    COUNTED.set(true);
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}
