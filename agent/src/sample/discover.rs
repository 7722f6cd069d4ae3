//! Which process a name means.
//!
//! Owns: the search through all processes, by sysinfo. It is dear (each process is opened), so
//! callers search only while they have no process, and seldom.
//! Refuses: reading figures. Invariant: the agent never finds itself, and of several matches the
//! one that started first wins: workers come after their parent.

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// The process whose command (as in `/proc/PID/comm`) or executable has this name.
pub(crate) fn find(name: &str) -> Option<u32> {
    let mut system = System::new().ok()?; // where this system is not supported
    let wanted = ProcessRefreshKind::nothing().with_exe(UpdateKind::Always).without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, wanted);
    system
        .processes()
        .values()
        .filter(|process| process.thread_kind().is_none())
        .filter(|process| {
            let executable = process.exe().and_then(|path| path.file_name());
            process.name() == name || executable.is_some_and(|file| file == name)
        })
        .map(|process| (process.start_time(), process.pid().as_u32()))
        .filter(|(_, pid)| *pid != std::process::id())
        .min()
        .map(|(_, pid)| pid)
}
