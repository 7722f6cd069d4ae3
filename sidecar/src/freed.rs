//! Freed memory goes back to the system, also where nothing happens any more.
//!
//! jemalloc gives freed pages back when they have been unused for ten seconds, but it looks for them only
//! while memory is asked for: a process that falls silent after a storm would keep what the storm took. Its own
//! means against that is a thread. With a second thread the kernel counts every use of a descriptor of
//! ours, four times a transaction; so its pages are looked after from the one thread that there is.
//!
//! Owns: when jemalloc is asked. Refuses: how long pages are kept (jemalloc's own settings).
//! Invariant: the one `unsafe` of the binary. The calls that the crates offer all read or write a value, and
//! this command of jemalloc's refuses both.
//! Source: jemalloc(3), `arena.<i>.decay` and `opt.dirty_decay_ms`.

use std::ptr;
use std::time::Duration;

/// How often freed pages are looked for.
const EVERY: Duration = Duration::from_secs(5);

/// The command, for all arenas (`MALLCTL_ARENAS_ALL`).
const DECAY: &std::ffi::CStr = c"arena.4096.decay";

/// Gives back what has been unused for long enough, for ever.
pub(crate) async fn give_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        decay();
    }
}

/// Where the allocator does not know the command, memory returns later; nothing else changes.
#[expect(unsafe_code, reason = "no crate of ours gives this command")]
fn decay() -> bool {
    // SAFETY: the name ends with a zero, and the command takes no value and has none.
    let failed = unsafe {
        tikv_jemalloc_sys::mallctl(
            DECAY.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
        )
    };
    failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jemalloc_knows_the_command() {
        assert!(decay());
    }
}
