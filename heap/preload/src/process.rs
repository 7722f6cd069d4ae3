//! A life of one's own inside a program that knows nothing of it: thread, descriptors, forks.
//!
//! Owns: the constructor that runs before `main`, and what is done around a fork.
//! Refuses: signals (the program's threads get them), the program's descriptors, words on its output, and
//! ending it: where nothing can be served, nothing is.
//! Invariant: the server's threads have a table of descriptors to themselves. The program can close every
//! descriptor it finds and reuse its number, and a child inherits none of the server's.
//! Source: pthread_atfork(3), close_range(2) (Linux 5.9), pthread_sigmask(3).

use std::mem::MaybeUninit;
use std::thread;

use crate::allocator;

/// Room for the demangling of long names; only what is used of it is memory.
const STACK: usize = 1 << 20;

/// Runs after the libraries that this one needs are ready, and before `main`.
// SAFETY: the section holds pointers to functions that the loader calls once; it hands them three arguments,
// which a C function may leave alone.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn construct() {
        std::panic::set_hook(Box::new(|_| {})); // of this library's panics, not the program's
        // Handlers run in the order of their registration, before a fork in reverse. jemalloc registers its own
        // at its first allocation: ours have to be inside of them, for they need memory.
        allocator::wake();
        // SAFETY: the three functions live as long as the program, for the library is never unloaded.
        let registered = unsafe {
            libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork))
        };
        if registered == 0 {
            start();
        }
    }
    construct
};

extern "C" fn before_fork() {
    stent_heap::fork::before();
}

extern "C" fn after_fork_in_parent() {
    stent_heap::fork::after_in_parent();
}

/// In a child, which has none of its parent's threads but the one that forked.
extern "C" fn after_fork() {
    if stent_heap::fork::after_in_child() {
        start();
    }
}

/// Starts the server. A program that may have no more threads goes on without.
fn start() {
    let Some(program) = set_mask(&every_signal()) else { return };
    let builder = thread::Builder::new().name("stent-heap".to_owned()).stack_size(STACK);
    let started = builder.spawn(|| {
        if leave_descriptors() {
            drop(stent_heap::serve_native()); // it ends only where it cannot begin
        }
    });
    drop(started);
    set_mask(&program);
}

fn every_signal() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    // SAFETY: it fills what it is pointed to.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        all.assume_init()
    }
}

/// Sets the calling thread's signal mask, which its new threads inherit, and gives the one before.
fn set_mask(mask: &libc::sigset_t) -> Option<libc::sigset_t> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: reads the one set, and fills the other unless it fails.
    unsafe {
        let set = libc::pthread_sigmask(libc::SIG_SETMASK, mask, before.as_mut_ptr());
        (set == 0).then(|| before.assume_init())
    }
}

/// Gives the calling thread an empty table of descriptors. What the program closes is closed then, for no
/// copy of it is kept here.
fn leave_descriptors() -> bool {
    // SAFETY: takes numbers only. What it closes are this thread's own copies, of which nothing has a number.
    let left =
        unsafe { libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
    left == 0
}
