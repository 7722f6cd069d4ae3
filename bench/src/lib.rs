//! Measurements of Stent against a direct connection and its peers.
