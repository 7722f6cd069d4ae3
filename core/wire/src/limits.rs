//! Every limit of the protocol layer, by name.
//!
//! Invariant: nothing in this crate grows past a number of this file.

/// The longest message that either side may send: PostgreSQL allocates at most 1 GiB - 1 for one.
/// Source: PostgreSQL, `src/include/libpq/libpq.h`, `PQ_LARGE_MESSAGE_LIMIT`.
pub const MESSAGE_LEN_MAX: usize = 0x3fff_ffff;

/// The longest message of the kinds that carry no data (Describe, Execute, Sync ...).
/// Source: PostgreSQL, `src/include/libpq/libpq.h`, `PQ_SMALL_MESSAGE_LIMIT`.
pub const SMALL_MESSAGE_LEN_MAX: usize = 10_000;

/// The longest message that is ever held whole: a named Parse, an ErrorResponse.
pub const WHOLE_MESSAGE_LEN_MAX: usize = 4 << 20;

/// The most replies that one server may owe: further requests wait until some have come.
/// Far above the 1,639 five-byte replies that PostgreSQL's 8 KiB send buffer can hold back, so
/// waiting here can never be waiting for a reply that PostgreSQL has not flushed.
pub const OWED_MAX: usize = 16_384;

/// The most named statements that one client may keep.
pub const CLIENT_STATEMENTS_MAX: usize = 10_000;

/// The most distinct statement texts kept for all clients together.
pub const STATEMENT_TEXTS_MAX: usize = 100_000;

/// The longest text, parameter types included, of an unnamed statement that servers keep.
pub const SHARED_TEXT_MAX: usize = 16 * 1024;

/// The most sets of settings under which texts are read that are told apart.
pub const READINGS_MAX: usize = 1_024;

/// How many unnamed texts that were seen once are remembered, to know them when they come again.
pub const SEEN_ONCE_MAX: usize = 8_192;
