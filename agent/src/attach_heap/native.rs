//! Native stacks: which functions only pass memory on, and which programs keep a heap beside C's.
//!
//! Owns: the two tables. Refuses: reading. Invariant: a name is taken for an allocator's only whole, or by a
//! prefix that nobody else has: `malloc_session` may be the leak that is looked for.

use super::pprof::Function;

/// Allocators and what hands their memory on, by their whole names.
const NAMES: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "strdup",
    "__strdup",
    "strndup",
    "__strndup",
    "__GI___strdup",
    "g_malloc",
    "g_malloc0",
    "g_realloc",
    "g_strdup",
    "PyObject_Malloc",
    "PyObject_Calloc",
    "PyObject_Realloc",
];
/// Beginnings that only allocators and the C++ library have.
const PREFIXES: &[&str] =
    &["_rjem_", "operator new", "std::", "__gnu_cxx::", "PyMem_", "_PyMem_", "_PyObject_"];
/// Parts of the paths of what is between an allocation and the program: jemalloc, the library that is
/// preloaded, C's and C++'s libraries.
const FILES: &[&str] = &[
    "jemalloc",
    "libstent_heap",
    "heap/preload/src/",
    "/libc.so",
    "/libc-2.",
    "/libstdc++.so",
    "/libc++.so",
    "/libgcc_s.so",
    "/ld-linux",
    "/include/c++/",
];

/// Whether a function only passes memory on.
pub(super) fn is_allocator(function: &Function) -> bool {
    let name = unqualified(&function.name);
    NAMES.contains(&name)
        || PREFIXES.iter().any(|start| name.starts_with(start))
        || FILES.iter().any(|part| function.file.contains(part))
}

/// The name of an instance of a template begins with the type that it gives back:
/// `void std::vector<..>::push_back(..)`.
fn unqualified(name: &str) -> &str {
    let head = name.split(['(', '<']).next().unwrap_or(name);
    match head.rsplit_once(' ') {
        Some((given, own)) if !given.ends_with("operator") => own,
        Some(_) | None => name.split('(').next().unwrap_or(name),
    }
}

/// Programs whose heap is another than C's: interpreters, and compilers at run time.
const RUNTIMES: &[&str] = &[
    "node", "nodejs", "bun", "deno", "python", "pypy", "java", "ruby", "php", "php-fpm", "dotnet",
    "mono", "beam.smp", "erl", "perl", "lua", "luajit", "guile", "racket", "julia", "R",
];

/// Whether what C's `malloc` gave out is the heap of the program in this file. In Node or Python it is what
/// is beside the heap: buffers, extensions.
pub(crate) fn is_whole_heap(executable: &str) -> bool {
    let executable = executable.strip_suffix(" (deleted)").unwrap_or(executable);
    let file = executable.rsplit('/').next().unwrap_or(executable);
    // `python3.11`, `node-22`, `php8.2`.
    let plain = file.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    !RUNTIMES.contains(&plain) && !RUNTIMES.contains(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_memory_on_is_not_taken_for_the_program_and_the_program_not_for_it() {
        let vector =
            "void std::vector<Session*, std::allocator<Session*> >::_M_realloc_insert<Session*>(x)";
        for (name, file, is) in [
            ("malloc", "/usr/share/stent/libstent_heap.so", true),
            ("prof_tctx_create", "/b/tikv-jemalloc-sys/src/prof.c", true),
            ("operator new(unsigned long)", "/usr/lib/libstdc++.so.6.0.30", true),
            ("operator new", "", true),
            (vector, "/app/server", true),
            ("std::__cxx11::basic_string<char>::_M_create(unsigned long)", "/app/server", true),
            ("strdup", "", true),
            ("PyMem_RawMalloc", "/usr/bin/python3.11", true),
            ("getline", "/lib/x86_64-linux-gnu/libc.so.6", true),
            ("malloc_session", "/app/server", false),
            ("keep_frame", "/app/leaky.c", false),
            ("shop::keep(std::string const&, int)", "/app/server", false),
            ("void shop::remember<int>(int)", "/app/server", false),
            ("pack", "/usr/lib/python3/dist-packages/fast.so", false),
            ("fast.so+0x1230", "/app/site-packages/fast.so", false),
        ] {
            let function = Function { name: name.to_owned(), file: file.to_owned() };
            assert_eq!(is_allocator(&function), is, "{name} {file}");
        }
    }

    #[test]
    fn what_malloc_gave_out_is_the_heap_of_programs_without_a_runtime_of_their_own() {
        for (executable, is) in [
            ("/app/server", true),
            ("/usr/sbin/nginx", true),
            ("/app/nodeinfo", true),
            ("/usr/bin/python3.11", false),
            ("/usr/local/bin/node", false),
            ("/opt/node-22.1", false),
            ("/usr/bin/php-fpm8.2", false),
            ("/usr/local/bin/node (deleted)", false),
            ("/jdk/bin/java", false),
        ] {
            assert_eq!(is_whole_heap(executable), is, "{executable}");
        }
    }
}
