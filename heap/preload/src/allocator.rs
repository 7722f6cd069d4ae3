//! C's functions for memory, by jemalloc.
//!
//! Owns: the exported names. A library in Rust hides the symbols of the C that is linked into it, so
//! that each has a wrapper here.
//! Refuses: anything else; what a function does is jemalloc's to say (jemalloc(3)).
//! Invariant: every way to get memory that glibc offers is here, and every way to give it back: memory of
//! one allocator must never reach the other.

use std::ffi::{c_char, c_int, c_void};

use tikv_jemalloc_sys as jemalloc;

/// What jemalloc reads before the first allocation: profiles are kept, one sample in 512 KiB on average.
/// `_RJEM_MALLOC_CONF` in the environment is read after it and wins.
// SAFETY: the one strong definition of jemalloc's own weak symbol, of the type that it declares.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is jemalloc's")]
static _rjem_malloc_conf: Option<&'static c_char> = {
    let text: &'static std::ffi::CStr = c"prof:true,lg_prof_sample:19";
    // SAFETY: the text has at least its NUL, so its first byte can be read.
    Some(unsafe { &*text.as_ptr() })
};

// Not in the bindings: they are not in every C library.
unsafe extern "C" {
    #[link_name = "_rjem_memalign"]
    fn jemalloc_memalign(alignment: usize, size: usize) -> *mut c_void;
    #[link_name = "_rjem_valloc"]
    fn jemalloc_valloc(size: usize) -> *mut c_void;
    #[link_name = "_rjem_pvalloc"]
    fn jemalloc_pvalloc(size: usize) -> *mut c_void;
}

/// Makes jemalloc ready, and its handlers of forks registered.
pub(crate) fn wake() {
    // SAFETY: what was given is given back, or nothing was.
    unsafe { jemalloc::free(jemalloc::malloc(1)) };
}

/// Exports functions that hand their arguments on.
macro_rules! export {
    ($($name:ident($($argument:ident: $of:ty),*) $(-> $gives:ty)? = $to:path;)*) => { $(
        // SAFETY: the symbol stands in for the C library's own, with its signature; what its caller has to
        // keep to is what the function that it hands on to asks for.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $of),*) $(-> $gives)? {
            // SAFETY: see above.
            unsafe { $to($($argument),*) }
        }
    )* };
}

export! {
    malloc(size: usize) -> *mut c_void = jemalloc::malloc;
    calloc(number: usize, size: usize) -> *mut c_void = jemalloc::calloc;
    realloc(at: *mut c_void, size: usize) -> *mut c_void = jemalloc::realloc;
    free(at: *mut c_void) = jemalloc::free;
    free_sized(at: *mut c_void, size: usize) = jemalloc::free_sized;
    free_aligned_sized(at: *mut c_void, alignment: usize, size: usize) = jemalloc::free_aligned_sized;
    posix_memalign(to: *mut *mut c_void, alignment: usize, size: usize) -> c_int = jemalloc::posix_memalign;
    aligned_alloc(alignment: usize, size: usize) -> *mut c_void = jemalloc::aligned_alloc;
    memalign(alignment: usize, size: usize) -> *mut c_void = jemalloc_memalign;
    valloc(size: usize) -> *mut c_void = jemalloc_valloc;
    pvalloc(size: usize) -> *mut c_void = jemalloc_pvalloc;
    malloc_usable_size(at: *const c_void) -> usize = jemalloc::malloc_usable_size;
}

/// `realloc` of a product that must not overflow.
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(at: *mut c_void, number: usize, size: usize) -> *mut c_void {
    let Some(bytes) = number.checked_mul(size) else {
        // SAFETY: glibc gives each thread a place for it that lives as long as the thread.
        unsafe { *libc::__errno_location() = libc::ENOMEM };
        return std::ptr::null_mut();
    };
    // SAFETY: see above.
    unsafe { jemalloc::realloc(at, bytes) }
}
