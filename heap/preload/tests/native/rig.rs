//! The library, a C compiler, and programs under the one that the other made.
//!
//! Owns: where they are. Invariant: what is compiled is in a folder of the test's own.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use stent_agent::{HeapSocket, Pace, attribute};
use stent_contract::Attribution;
use stent_testkit::{Process, TempDir, wait_for};

/// For everything that has to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// The library of the build that this test belongs to: cargo puts it beside the folder of its tests.
pub(crate) fn library() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its file");
    let folders = own.ancestors().skip(1).take(2);
    let mut files = folders.map(|folder| folder.join("libstent_heap_preload.so"));
    files.find(|file| file.is_file()).expect("cargo builds a package's library for its tests")
}

/// A command under the library.
pub(crate) fn preloaded(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env("LD_PRELOAD", library()).env_remove("_RJEM_MALLOC_CONF");
    command
}

/// A program of `tests/programs`, compiled by the C compiler that Rust links with.
pub(crate) struct Program {
    folder: TempDir,
    pub(crate) source: PathBuf,
}

impl Program {
    pub(crate) fn compile(source: &str, flags: &[&str]) -> Self {
        let folder = TempDir::new("native").expect("a folder can be made");
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
        let source = programs.join(source);
        let mut compiler = Command::new("cc");
        compiler.args(flags).args(["-pthread", "-o"]).arg(folder.path().join("program"));
        let compiled = compiler.arg(&source).status().expect("cc is there: Rust links with it");
        assert!(compiled.success(), "cc {}", source.display());
        Self { folder, source }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }
}

/// A process that has said `listening PID`: its own, or that of the child that it forked.
pub(crate) struct Running {
    process: Process,
    pub(crate) pid: u32,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = Process::spawn(command).expect("the program can be started");
        let line = process.wait_for_line("listening ", DEADLINE).expect("it says who it is");
        let pid = line.rsplit(' ').next().and_then(|word| word.parse().ok());
        Self { process, pid: pid.expect("it says its number") }
    }

    /// Looks into it once its heap is served, which a thread of its own begins; three windows.
    pub(crate) fn look(&self) -> Attribution {
        let name = format!("stent-native-{}", self.pid);
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        let served = || UnixStream::connect_addr(&address).ok();
        drop(wait_for("its heap to be served", DEADLINE, served).expect("it is served"));
        let pace = Pace {
            before: Duration::from_millis(100),
            window: Duration::from_secs(1),
            // What is measured elsewhere is not judged here, on a machine that is busy.
            pause_max: DEADLINE,
            cpu_share_max: 64.0,
            ..Pace::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be built");
        runtime.block_on(attribute(self.pid, &HeapSocket::NativeOfPid, &pace))
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.process.status().is_none()
    }
}
