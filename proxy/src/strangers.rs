//! Connections that end before they have shown who they are: health checks of load balancers, scans of
//! ports, drivers that come back with a password, and whoever came when there was no room to listen.
//!
//! Owns: their counts. Refuses: counting them among clients, whose ends have causes and a log line: a
//! load balancer asks every few seconds. Cancel requests are counted by what came of them (`cancel`).
//! Invariant: each connection that is accepted is counted once: here, as a cancel request, or as a
//! client.

/// How far a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It said nothing.
    Silent,
    /// It asked for encryption, got its answer, and said no more.
    Encryption,
    /// It was asked for a proof and hung up.
    Unproven,
    /// It was not listened to: as many are here as the limits allow, and some who have not logged in.
    TurnedAway,
}

impl Stranger {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Silent, Self::Encryption, Self::Unproven, Self::TurnedAway];

    /// The value of the label `cause`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Encryption => "encryption",
            Self::Unproven => "unproven",
            Self::TurnedAway => "turned_away",
        }
    }
}

/// Their counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strangers([u64; Stranger::ALL.len()]);

impl Strangers {
    /// Counts one.
    pub(crate) const fn add(&mut self, stranger: Stranger) {
        self.0[stranger as usize] += 1;
    }

    /// How many there were.
    pub(crate) const fn of(&self, stranger: Stranger) -> u64 {
        self.0[stranger as usize]
    }
}
