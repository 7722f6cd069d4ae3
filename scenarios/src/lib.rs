//! Failures of real APIs with a known right answer, and the runner that checks them.
//!
//! Owns: the applications under `apps/`, the scenarios beside this folder, and how the two are run
//! with the real `stent` program and a real PostgreSQL. Refuses: any look inside Stent; a scenario
//! sees what an operator sees, `/snapshot`.
//! Invariant: each failure has a healthy twin, and a scenario passes only if both are judged right.

pub mod app;
mod cgroup;
pub mod demo;
pub mod footprint;
pub mod http;
pub mod judge;
pub mod kill_time;
pub mod leaks;
pub mod load;
pub mod report;
pub mod rig;
pub mod run;
pub mod scenario;
