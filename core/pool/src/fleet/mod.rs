//! The fleet: how many of PostgreSQL's connections one proxy of many may have.
//!
//! Each proxy keeps one control connection to PostgreSQL and says on it, in its `application_name`
//! ([`Claim`]), how many servers it uses, how many it would like to use and why. What all of them
//! say, and which connections exist, each reads from PostgreSQL ([`Seen`]) and works out its own
//! share ([`Fleet`]). There is no leader, no lock and no clock that two of them share.
//!
//! # Why two never take the same place
//! A place is *claimed* before it is used: the claim is published, and only what is read after that
//! decides. Of all who use what they have claimed, consider the one whose claim was published last:
//! its reading came later still, so it saw what each of the others uses or claims, and found room
//! for all of them together. So the sum never exceeds the limit, whoever read when.
//! A share is given back the other way round: first the servers are closed, then it is published.
//!
//! # Who has vanished
//! A proxy whose control connection has gone may still live. It opens nothing from that moment on
//! ([`Fleet::lost`]), at the latest when it has heard nothing for three quarters of an interval; the others keep its
//! share for as long after they have missed it, and count the connections that it still has.
//!
//! Invariants: the limit that [`Fleet::limit`] gives is never above what is published, and what is
//! published rises only after a reading that had room for it.

mod books;
mod claim;
mod fill;
mod plan;
mod share;
mod target;

pub use books::{CONNECTIONS_MAX, Peer, Seen};
pub use claim::{CLAIM_LEN_MAX, CLAIM_PREFIX, COUNT_MAX, Claim, FleetId};
pub use plan::{Ask, Budget, Misfit, RDS_CONNECTIONS_MAX, plan, rds_max_connections};
pub use share::{Fleet, Next, NoLogin, Overview, PATIENCE, PEER_TIME, Rules};
