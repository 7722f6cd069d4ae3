//! What the agent runs on, in words.
//!
//! Owns: asking sysinfo once, at the start. Refuses: figures that change: they are read where they are used.
//! Invariant: what the system does not say is left out.

use sysinfo::System;

/// System, kernel and processor, as one says them to somebody who is to help.
pub(crate) fn host() -> String {
    let parts = [System::long_os_version(), System::kernel_long_version()];
    let parts = parts.into_iter().filter_map(Result::ok).chain([System::cpu_arch()]);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}
