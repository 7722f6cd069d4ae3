//! Who gets which server, when to open, probe, recycle and refuse, without sockets or clock.
