//! The PostgreSQL wire protocol v3, bytes in and decisions out, without sockets.
