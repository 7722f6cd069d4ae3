//! The socket option `SO_RCVLOWAT`.
//!
//! Owns: setting it. Refuses: when it is good to (`flow`).
//! Invariant: the one `unsafe` of the proxy. Neither the standard library nor rustix nor socket2 names this
//! option, and no other call of the system does what it does.
//! Source: socket(7), tcp(7).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Has the kernel say that there is something to read from so many bytes on, or at the end of the
/// stream. What is there by then is said at once.
#[expect(unsafe_code, reason = "no crate of ours sets this option")]
pub(crate) fn set(socket: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    let len = libc::c_int::try_from(len).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads one `c_int`.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const len).cast(),
            size_of_val(&len) as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
