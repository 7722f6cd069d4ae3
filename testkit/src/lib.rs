//! Test support: a real PostgreSQL on its own port, child processes that always end, free ports.
