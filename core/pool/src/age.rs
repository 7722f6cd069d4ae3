//! Whether a server's life is over, and by what.
//!
//! Invariant: a life that is over by what the server has become stays over; one that is over by age
//! begins anew where the limits become longer.

use std::time::Instant;

use crate::event::CloseCause;

/// Whether a server's life is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Due(Option<Instant>),
    /// It is to be closed as soon as the pool can spare it.
    Over(Over),
}

/// Why a server's life is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// By its `server_lifetime` or `server_max_uses`.
    Old,
    /// By what it has become.
    Worn,
}

impl Age {
    pub(crate) const fn over(self) -> Option<Over> {
        match self {
            Self::Due(_) => None,
            Self::Over(over) => Some(over),
        }
    }
}

impl Over {
    pub(crate) const fn cause(self) -> CloseCause {
        match self {
            Self::Old => CloseCause::Lifetime,
            Self::Worn => CloseCause::Worn,
        }
    }
}
