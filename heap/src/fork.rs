//! What a fork finds: no half-done work of the server's.
//!
//! Owns: the gate through which work that others must not see half done goes: a dump, a look for names.
//! Refuses: holding up a fork for longer than [`PATIENCE`]; a child that did not get the gate is not served.
//! Invariant: either the server works or a fork is under way, never both, as far as forks had the patience.
//!
//! For the library that is preloaded: it calls these from `pthread_atfork`. A program that calls
//! [`crate::serve_default`] and forks has its child served by nobody.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest that a fork waits: as long as an agent lets a program stand still.
const PATIENCE: Duration = Duration::from_millis(250);
/// Between two looks at the gate.
const BREATH: Duration = Duration::from_millis(1);

/// Whether somebody is inside.
static TAKEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether the fork of this thread is inside.
    static FORKING: Cell<bool> = const { Cell::new(false) };
}

fn enter() -> bool {
    TAKEN.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

fn leave() {
    TAKEN.store(false, Ordering::Release);
}

/// Leaves when it is dropped.
struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        leave();
    }
}

/// Does a piece of work that no fork may see half done.
pub(crate) fn working<T>(work: impl FnOnce() -> T) -> T {
    while !enter() {
        std::thread::sleep(BREATH); // a lock that a fork's other end can open: std has none
    }
    let _inside = Inside;
    work()
}

/// Before the fork, in the thread that forks.
pub fn before() {
    let deadline = Instant::now() + PATIENCE;
    let mut inside = enter();
    while !inside && Instant::now() < deadline {
        std::thread::sleep(BREATH);
        inside = enter();
    }
    FORKING.set(inside);
}

/// After it, in the same thread.
pub fn after_in_parent() {
    if FORKING.replace(false) {
        leave();
    }
}

/// After it, in the child. Whether the child can serve for itself.
pub fn after_in_child() -> bool {
    let whole = FORKING.replace(false);
    leave(); // nobody else is here
    whole
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// One test, for the gate is one for all: its cases would stand in each other's way.
    #[test]
    fn a_fork_waits_for_work_and_work_for_a_fork_but_no_fork_waits_for_ever() {
        before();
        let (say, told) = mpsc::channel();
        let worker = std::thread::spawn(move || working(|| say.send(()).is_ok()));
        assert!(told.try_recv().is_err(), "it works while a fork is under way");
        after_in_parent();
        told.recv().unwrap();
        assert!(worker.join().unwrap());

        working(before);
        assert!(!after_in_child(), "what was half done stays so in the child");
        before();
        assert!(after_in_child());

        before();
        let second = std::thread::spawn(|| {
            before();
            after_in_parent();
            TAKEN.load(Ordering::Relaxed)
        });
        assert!(second.join().unwrap(), "a fork that gave up opened the gate of another");
        after_in_parent();
        assert!(working(|| true), "the gate is open again");
    }
}
