//! Who gets which server, when to open, probe, recycle and refuse, without sockets or clock.
//!
//! The crate owns the *decisions* of a connection pool. The shell tells it what happened
//! ([`Event`]) and when (`now`), and carries out what comes back ([`Decision`]), in order.
//! Refused here: sockets, timers, threads, a clock, and any randomness beyond the seed of
//! [`Pools::new`]; equal limits, seed, events and times give equal decisions.
//!
//! # The life of a server
//! ```text
//!            Open                Opened: a waiter is there
//!   (none) ───────▶ opening ──────────────────────────────▶ lent ◀──┐ Release Clean,
//!                     │   │ Opened, nobody waits             │ │    │ a waiter is there
//!          OpenFailed │   ▼                                  │ └────┘
//!                     │  idle ◀──────────────────────────────┤ Release Clean, nobody waits
//!                     │   │ ▲ ╲ Acquire, idle for long       │
//!                     │   │ │  ╲───────────▶ tested ─────────┼──▶ lent (Probed Healthy)
//!                     │   │ └──────────────────┘ nobody waits│
//!                     ▼   ▼  Close                   Close   ▼  Close
//!                   (none) ◀───── Closed ───── closing ◀─────┘
//! ```
//! A server counts against `pool_size` and `max_db_connections` in *every* state of the picture,
//! `closing` included, so PostgreSQL never sees more connections than the caps.
//! Beyond `pool_size` a pool has servers of its reserve while somebody waits (`reserve`).
//! After [`Pools::set_limits`] has lowered a cap, servers above it stay until they are given back.
//! [`Pools::listening`] is a pool of one, beside `pool_size`, for the connection that listens for
//! the clients of another.
//!
//! # What the shell owes
//! - Each [`Decision::Open`] is answered by one [`Event::Opened`] or [`Event::OpenFailed`].
//! - Each [`Decision::Probe`] is answered by one [`Event::Probed`]. The probe belongs to the
//!   server, not to the waiter it names: the waiter may meanwhile get another server or leave,
//!   and the probed server then goes to whoever is next. Run it outside the client's task.
//! - Each [`Decision::Grant`] is answered by one [`Event::Release`], also when the client has left.
//! - Each [`Decision::Close`] is answered by one [`Event::Closed`], once the socket is closed.
//! - [`Event::Tick`] is sent when [`Pools::next_deadline`] has come.

mod age;
mod allowance;
mod backoff;
mod census;
mod check;
mod class;
mod event;
mod failover;
pub mod fleet;
mod heap;
mod hold;
mod home;
mod id;
mod lend;
mod limits;
mod lines;
mod list;
mod open;
mod pace;
mod pause;
mod pools;
mod recycle;
mod reserve;
mod resize;
mod room;
mod seed;
mod sizes;
mod slots;
mod tally;
mod user_room;
mod users;
mod waiters;
mod whom;

pub use census::{Census, Totals};
pub use class::{CLASSES_MAX, Class, ClassRule, class_of};
pub use event::{CloseCause, Condition, Decision, Event, OpenFailure, ProbeResult, Refusal};
pub use failover::{Failover, Fitness, Found, PACE, PATIENCE, ServerRole};
pub use hold::{Done, DueStage, Hold, HoldRule, Holder, Stage, due_stages};
pub use home::{HOME_LOOK_MAX, HOME_MARGIN};
pub use id::{Home, PoolId, ServerId, WaiterId};
pub use limits::{
    Limits, OPENING_ALL_MAX, OPENING_MAX, POOLS_MAX, RETRY_MAX, RETRY_MIN, SWEEP_EVERY,
    SWITCH_MARGIN,
};
pub use pools::{Pools, TooManyPools};
pub use room::Cap;
pub use sizes::{SizeRule, Sizes};
pub use tally::ClassCensus;
pub use whom::Whom;
