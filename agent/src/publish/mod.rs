//! Publication: the readings of a round, in the forms in which others read them.
//!
//! Owns: the one list of points ([`points`]), the Prometheus page ([`page`]), and the way of the
//! points to CloudWatch: counters become increases ([`increases`]), labels become dimensions
//! ([`series`]), the rounds of an interval become data ([`gather`]), and those go out by
//! PutMetricData ([`cloudwatch`]) or as lines of the embedded metric format ([`emf`]).
//! Refuses: reading and judging. Invariant: every publisher sees the same points, and none of them
//! can hold up the loop: what it cannot take is dropped and counted ([`counts`]).

pub(crate) mod cloudwatch;
pub(crate) mod counts;
pub(crate) mod emf;
pub(crate) mod gather;
pub(crate) mod increases;
pub(crate) mod page;
pub(crate) mod points;
pub(crate) mod series;
