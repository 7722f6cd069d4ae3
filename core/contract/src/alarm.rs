//! The alarm table. (being written)
