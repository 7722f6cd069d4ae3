//! What clients and servers cost, by jemalloc's own word, and whether `SHOW MEM` says the same.
//!
//! A program of its own, because the allocator is the whole program's. The clients are bare sockets,
//! which allocate nothing here, so what is measured is the proxy's.
//! Invariant: each test measures in a process of its own, in which nothing else happens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the helpers are those of the other tests")]

#[path = "../it/tls/authority.rs"]
mod authority;
mod budgets;
#[path = "../it/raw.rs"]
mod raw;
#[path = "../it/support.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
