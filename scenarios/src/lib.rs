//! Failures of real APIs with a known right answer, and the runner that checks them.
