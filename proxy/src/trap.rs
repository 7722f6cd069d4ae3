//! A panic that exists in tests only: set at a place, for a backend, and sprung once.

use std::sync::atomic::{AtomicU32, Ordering};

/// Whoever logs in as him makes his login panic.
pub(crate) const USER: &str = "trapped";

/// Where.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// A session that has a server.
    Session,
    /// A task that makes a server ready for the next client.
    Clean,
    /// The task that listens for all clients of a pool, at a notification.
    Ear,
}

static TRAPS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// Sets it for a backend.
pub(crate) fn set(place: Place, backend_pid: u32) {
    TRAPS[place as usize].store(backend_pid, Ordering::SeqCst);
}

/// Panics if it was set for this backend.
pub(crate) fn spring(place: Place, backend_pid: u32) {
    let trap = &TRAPS[place as usize];
    let sprung = trap.compare_exchange(backend_pid, 0, Ordering::SeqCst, Ordering::SeqCst);
    assert!(sprung.is_err() || backend_pid == 0, "a trap at {place:?} for {backend_pid}");
}
