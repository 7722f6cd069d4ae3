//! What threads share: a lock for short steps, and counters.
//!
//! Owns: that a thread which takes a lock twice panics instead of waiting for itself for ever.
//! Refuses: waiting with a lock in hand: a guard is not `Send`, so no task that may change its
//! thread holds one across an `await`, and none of ours does.
//! Invariant: locks are taken in the order broker, hub, mailbox; those of a server's facts and of the
//! caches are taken last and with nothing behind them. What a thread holds when it panics stays
//! usable: the panic ends one task, and its assertions speak again if something is left half done.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

thread_local! {
    /// Its place tells threads apart.
    static HERE: u8 = const { 0 };
}

/// The present thread: a number that no other living thread has, and never zero.
fn here() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// A value that threads take turns with.
pub(crate) struct Lock<T> {
    /// The thread that holds it, or zero.
    holder: AtomicUsize,
    value: Mutex<T>,
}

/// The value, for as long as this lives.
pub(crate) struct Guard<'a, T> {
    holder: &'a AtomicUsize,
    value: MutexGuard<'a, T>,
}

impl<T> Lock<T> {
    /// A lock around a value.
    pub(crate) const fn new(value: T) -> Self {
        Self { holder: AtomicUsize::new(0), value: Mutex::new(value) }
    }

    /// Waits for its turn: other threads hold it for a synchronous step only.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let value = match self.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait(),
        };
        self.holder.store(here(), Ordering::Relaxed);
        Guard { holder: &self.holder, value }
    }

    #[cold]
    fn wait(&self) -> MutexGuard<'_, T> {
        // Only this thread writes its own number here, so no other can make this true.
        assert_ne!(self.holder.load(Ordering::Relaxed), here(), "a thread takes a lock once");
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another value in.
    pub(crate) fn set(&self, value: T) {
        *self.lock() = value;
    }

    /// A copy of the value.
    pub(crate) fn get(&self) -> T
    where
        T: Copy,
    {
        *self.lock()
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.holder.store(0, Ordering::Relaxed);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A counter that any thread adds to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes away what was added.
    pub(crate) fn subtract(&self, n: u64) {
        let before = self.0.fetch_sub(n, Ordering::Relaxed);
        assert!(before >= n, "no more is taken away than was added");
    }

    /// Its value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter that one thread adds to and any thread reads: an addition, and no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds. Only the thread that owns the counter may.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds microseconds. Without `as_micros`, which counts in 128 bits: this is on the way of each
    /// transaction.
    pub(crate) fn add_time(&self, time: Duration) {
        self.add(time.as_secs().wrapping_mul(1_000_000).wrapping_add(time.subsec_micros().into()));
    }

    /// Its value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_thread_that_takes_a_lock_twice_panics() {
        let lock = Lock::new(1);
        let held = lock.lock();
        let again = catch_unwind(AssertUnwindSafe(|| lock.get()));
        assert!(again.is_err());
        drop(held);
        assert_eq!(lock.get(), 1, "and takes it again when it has let go");
    }

    #[test]
    fn what_a_panicking_thread_held_stays_usable() {
        let lock = Lock::new(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut held = lock.lock();
            *held = 2;
            panic!("with the lock in hand");
        }));
        assert!(panicked.is_err());
        assert_eq!(lock.get(), 2);
    }

    #[test]
    fn threads_take_turns() {
        let lock = Lock::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(lock.get(), 40_000);
    }
}
