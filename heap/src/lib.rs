//! jemalloc's figures and heap profiles of a Rust program, over a unix socket.
//!
//! Owns: two threads that wait for questions (a reading may come while profiles are compared). They serve
//! the heap of the program that calls this crate, or, in `stent-heap-preload`, of one that knows nothing of it.
//! Refuses: choosing the allocator, and switching its profiling on. Both are the program's:
//!
//! ```text
//! #[global_allocator]
//! static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
//!
//! fn main() -> Result<(), stent_heap::ServeError> {
//!     stent_heap::serve_default()?; // or serve("/run/api/heap.sock")
//!     // ...
//! }
//! ```
//!
//! and, for profiles, `_RJEM_MALLOC_CONF=prof:true,lg_prof_sample:19` in the environment. A profile is in pprof's form:
//! function, file and line are found here, with the program's own debug information
//! (`debug = "line-tables-only"` is enough).
//! Invariant: only processes of the same user, and root, are answered.

pub mod fork;
mod jemalloc;
mod modules;
mod pprof;
mod profile;
mod server;
mod symbols;

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

pub use jemalloc::{Figures, JemallocError, figures};
pub use profile::DumpError;
use server::Served;

/// Why nothing is served. The program goes on without.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be bound.
    #[error("listen for questions about the heap: {0}")]
    Bind(#[source] io::Error),
    /// No thread can be started.
    #[error("start the thread that answers questions about the heap: {0}")]
    Thread(#[source] io::Error),
}

/// Serves on the socket at `path` for as long as the program runs. A socket that an earlier process
/// left there is replaced.
pub fn serve(path: impl AsRef<Path>) -> Result<(), ServeError> {
    let path = path.as_ref();
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(ServeError::Bind(error));
    }
    start(UnixListener::bind(path).map_err(ServeError::Bind)?)
}

/// Serves where the agent looks by itself: `stent-heap-PID` in Linux's abstract namespace, which the
/// containers of one task share.
pub fn serve_default() -> Result<(), ServeError> {
    start(bind_abstract("stent-heap")?)
}

/// For a library that is preloaded: serves what C's `malloc` gave out, at `stent-native-PID`, beside what the
/// program may serve of a heap of its own. Keeps the calling thread for good, and returns where it cannot
/// begin. One more thread is started, which shares the calling one's descriptors and mask of signals.
pub fn serve_native() -> Result<(), ServeError> {
    let listener = bind_abstract("stent-native")?;
    let other = listener.try_clone().map_err(ServeError::Bind)?;
    // A size of its own, so that nothing is read from the program's environment, which it may be writing to.
    let thread = std::thread::Builder::new().name("stent-heap".to_owned()).stack_size(STACK);
    let serve = move || server::run(&other, Served::Native);
    thread.spawn(serve).map_err(ServeError::Thread)?;
    server::run(&listener, Served::Native);
    Ok(())
}

/// Room for the demangling of long names.
const STACK: usize = 1 << 20;

fn bind_abstract(word: &str) -> Result<UnixListener, ServeError> {
    let name = format!("{word}-{}", std::process::id());
    let bind = || UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?);
    bind().map_err(ServeError::Bind)
}

fn start(listener: UnixListener) -> Result<(), ServeError> {
    for listener in [listener.try_clone().map_err(ServeError::Bind)?, listener] {
        let thread = std::thread::Builder::new().name("stent-heap".to_owned());
        let serve = move || server::run(&listener, Served::Own);
        thread.spawn(serve).map_err(ServeError::Thread)?;
    }
    Ok(())
}
