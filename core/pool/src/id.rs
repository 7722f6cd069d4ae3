//! Names of things: which pool, which server, which waiter. Plain numbers, cheap to copy.
//!
//! Invariant: a [`ServerId`] is never given twice (its generation differs), so an event that
//! arrives late for a server that is gone cannot touch the server that now has its place.

use std::fmt;

/// A pool: the servers of one database and user. Given by [`crate::Pools::pool`], valid for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub(crate) u32);

impl PoolId {
    /// No pool: that of a connection beside all pools.
    pub const BESIDE: Self = Self(u32::MAX);

    /// The place of the pool in the order of creation, from 0: fit to index a `Vec` of the shell.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A server from its [`crate::Decision::Open`] to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ServerId {
    /// No server of a pool: a connection beside them.
    pub const BESIDE: Self = Self { index: u32::MAX, generation: u32::MAX };

    /// The server's place, from 0, reused after its end: fit to index a `Vec` or slab of the
    /// shell, which must then compare the whole id.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({}.{})", self.index, self.generation)
    }
}

/// A thread of the shell, which watches sockets: each client has one, and each server the one of the
/// client that had it last. Only a preference follows from it ([`crate::HOME_MARGIN`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Home(pub u16);

/// A client that asks for a server, by a number of the shell's choice (the client's own).
///
/// A client has at most one request at a time: its number may come again after a grant or refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);
