//! The control socket: `stent reload` finds the process that it means by the configuration they share.
//!
//! A socket in Linux's abstract namespace, named after the user, `listen_port` and `admin_listen`: no file is
//! left behind, and `docker exec` needs no argument. Elsewhere there is none, and signals do.
//! Owns: its name, one word of request, and the answer. Refuses: other users than our own and root.
//! Invariant: a request is one short line, and its asker is given [`TIMEOUT`].

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Asked, Request};
use crate::config::flags::Flags;
use crate::config::{Loaded, Role};
use crate::exit::Exit;

/// How long an exchange may take, and what it asks for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest request.
const REQUEST_MAX: u64 = 32;
/// The longest answer.
const ANSWER_MAX: u64 = 1 << 20;
/// The longest name of a socket. Source: unix(7).
const NAME_MAX: usize = 100;
/// The pause before the next attempt to have the socket.
const BIND_PAUSE: Duration = Duration::from_millis(100);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The socket; it is closed with this.
pub(crate) struct Control(Option<JoinHandle<()>>);

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Sends requests to `asked` from here on. A socket that another process has is ours when that has
/// given it up.
pub(crate) fn listen(loaded: &Loaded, asked: mpsc::Sender<Asked>) -> Control {
    if !cfg!(target_os = "linux") {
        return Control(None);
    }
    let name = name(loaded);
    Control(Some(tokio::task::spawn_local(async move {
        serve(bind(&name).await, asked).await;
    })))
}

async fn bind(name: &str) -> UnixListener {
    let mut said = None;
    loop {
        match UnixListener::bind(Path::new(name)) {
            Ok(listener) => return listener,
            Err(error) if said != Some(error.kind()) => {
                said = Some(error.kind());
                tracing::info!(%error, "another process has the control socket; waiting for it");
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_PAUSE).await;
    }
}

fn name(loaded: &Loaded) -> String {
    let uid = rustix::process::getuid().as_raw();
    let (port, admin) = (loaded.listen_port(), loaded.admin.as_ref());
    let admin = admin.map(ToString::to_string).unwrap_or_default();
    let mut name = format!("\0stent-control-{uid}-{port}-{admin}").replace(['/', '\n'], "_");
    while name.len() > NAME_MAX {
        name.pop();
    }
    name
}

async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            // One at a time: each waits for its turn in the kernel's queue.
            Ok((stream, _)) => match tokio::time::timeout(TIMEOUT, answer(stream, &asked)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request on the control socket"),
                Err(_) => tracing::debug!("a request on the control socket took too long"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the control socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::getuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(REQUEST_MAX)).read_line(&mut line).await?;
    let said = match Request::parse(line.trim()) {
        None => Err("this is not a request that is known here".to_owned()),
        Some(request) => {
            let (answer, answered) = oneshot::channel();
            let sent = asked.send(Asked { request, answer }).await;
            let gone = || Err("it is ending".to_owned());
            if sent.is_ok() { answered.await.unwrap_or_else(|_| gone()) } else { gone() }
        }
    };
    let (word, text) = match said {
        Ok(text) => ("done", text),
        Err(text) => ("failed", text),
    };
    write.write_all(format!("{word}\n{text}\n").as_bytes()).await
}

/// `stent reload` and its like: asks the running process, and prints what it says.
pub(crate) fn ask(flags: &Flags, request: Request) -> Exit {
    let loaded = match crate::config::load(Role::Probe, flags, &crate::environment()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            crate::complain(&problems.to_string());
            return Exit::Negative;
        }
    };
    let runtime = match crate::component::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::complain(&error.to_string());
            return Exit::Failure;
        }
    };
    let asking = async { tokio::time::timeout(TIMEOUT, exchange(&loaded, request)).await };
    match runtime.block_on(asking) {
        Ok(Ok(said)) => match said.split_once('\n') {
            Some(("done", text)) => {
                crate::say(text);
                Exit::Clean
            }
            Some((_, text)) => {
                crate::complain(text.trim_end());
                Exit::Negative
            }
            None => {
                crate::complain("the running stent has not answered");
                Exit::Failure
            }
        },
        Ok(Err(error)) => {
            let port = loaded.listen_port();
            crate::complain(&format!(
                "no stent of this user with listen_port {port} and the same admin_listen \
                 answers: {error}\n  mend: run it as the same user, in the same container, \
                 with the same configuration"
            ));
            Exit::Failure
        }
        Err(_) => {
            crate::complain("the running stent has not answered in time");
            Exit::Failure
        }
    }
}

async fn exchange(loaded: &Loaded, request: Request) -> io::Result<String> {
    let mut stream = UnixStream::connect(Path::new(&name(loaded))).await?;
    stream.write_all(format!("{}\n", request.as_str()).as_bytes()).await?;
    let mut said = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut said).await?;
    Ok(said)
}
