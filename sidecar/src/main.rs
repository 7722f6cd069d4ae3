//! The `stent` binary: jemalloc as the allocator, and the library's `main`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ExitCode::from(stent::main(std::env::args_os().skip(1)))
}
