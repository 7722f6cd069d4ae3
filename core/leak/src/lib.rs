//! Series in, verdicts and diagnoses out: memory growth and held connections.
