//! A trace: readings of one service over its lives, and what is true of it.
//!
//! Owns: the row and the label. Refuses: drawing them. Invariant: rows are in order of time.

/// One reading. Bytes; seconds since the trace began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When.
    pub t_s: u64,
    /// Which life of the process, from 0.
    pub life: u32,
    /// Resident memory; the count, in families of descriptors and threads.
    pub rss: u64,
    /// The runtime's heap, where it is known.
    pub heap: Option<u64>,
    /// Requests served by this life, where they are counted.
    pub requests: Option<u64>,
    /// The limit that ends the process.
    pub limit: u64,
}

/// What is true of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Truth {
    /// Nothing leaks.
    Healthy,
    /// It leaks from `onset_s` on and would be at its limit at `end_s`, were it left alone.
    Leak {
        /// When the leak begins, seconds.
        onset_s: f64,
        /// When memory is exhausted, seconds. It may lie after the last row.
        end_s: f64,
        /// Whether restarts come before the end.
        cut: Cut,
    },
}

/// Whether a leaking life is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It runs into its limit.
    Never,
    /// Restarts hide it: the end is what would be without them, and no forecast can be compared
    /// with it.
    ByRestarts,
}

/// A family's trace of one seed.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The family.
    pub family: &'static str,
    /// The seed.
    pub seed: u64,
    /// Seconds between rows.
    pub step_s: u64,
    /// What is true of it.
    pub truth: Truth,
    /// The readings.
    pub rows: Vec<Row>,
}

impl Trace {
    /// The trace as `stent replay` reads it.
    pub fn csv(&self) -> String {
        let mut text =
            String::from("t_seconds,rss_bytes,heap_bytes,requests_total,limit_bytes,life\n");
        let field = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        for row in &self.rows {
            text += &format!(
                "{},{},{},{},{},{}\n",
                row.t_s,
                row.rss,
                field(row.heap),
                field(row.requests),
                row.limit,
                row.life
            );
        }
        text
    }
}
