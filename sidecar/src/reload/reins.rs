//! The line between a supervisor and its proxy, by which another configuration gets there: the proxy's
//! standard input is a socket, and what is said on it is one JSON object a line.
//!
//! ```text
//! supervisor                                  proxy
//!     ── {"reload": {"STENT_…": "…", …}} ──────▶   in force, or not
//!     ◀────────────── {"reloaded": null | why} ──
//!     ◀───────────────────── {"serving": true} ──  takes clients, and has taken over if it was to
//!     ◀──────────────────────── {"wish": true} ──  RELOAD on the console
//!     ── {"granted": text} or {"denied": why} ──▶
//!     ── {"hold": seconds} ────────────────────▶   transactions finish, new ones wait
//!     ◀───── {"held": "at_rest" | "busy" | "refused"} ──
//!     ── {"release": true} ────────────────────▶   new ones wait no longer
//! ```
//! Owns: both ends. Refuses: a second reload while one is under way.
//! Invariant: values go over the socket only, never over the disk, the arguments or the log.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use stent_proxy::{Held, Order, Wish};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::own::put_into_force;
use super::{Asked, Request};
use crate::config::flags::Flags;
use crate::config::raw::Variables;
use crate::config::{Role, own_variables};

/// The most orders, or answers, on their way.
const ON_THE_WAY_MAX: usize = 4;

/// The variables of a configuration.
pub(crate) type Written = Vec<(String, SecretString)>;

/// Something to say, and where the answer goes.
enum Said {
    Reload(Written, oneshot::Sender<Result<(), String>>),
    Hold(Duration, oneshot::Sender<Held>),
    Release,
}

/// Answers that are awaited, one of each kind at most.
#[derive(Default)]
struct Awaited {
    reload: Option<oneshot::Sender<Result<(), String>>>,
    hold: Option<oneshot::Sender<Held>>,
}

/// The supervisor's end.
#[derive(Clone, Debug)]
pub(crate) struct Reins(mpsc::Sender<Said>);

impl Reins {
    /// On a socket whose other end is a proxy's standard input. What it wishes goes to `asked`.
    pub(crate) fn new(stream: StdStream, asked: mpsc::Sender<Asked>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        let (says, said) = mpsc::channel(ON_THE_WAY_MAX);
        tokio::task::spawn_local(async move {
            if let Err(error) = hold(stream, said, asked).await {
                tracing::debug!(%error, "the line to the proxy has ended");
            }
        });
        Ok(Self(says))
    }

    /// Gives the proxy another configuration.
    pub(crate) async fn reload(&self, written: Written) -> Result<(), String> {
        let gone = "the proxy has ended";
        let (answer, answered) = oneshot::channel();
        self.0.send(Said::Reload(written, answer)).await.map_err(|_| gone.to_owned())?;
        answered.await.map_err(|_| gone.to_owned())?
    }

    /// Has transactions finish, within `limit`, and new ones wait until [`Self::release`]. A proxy that has
    /// gone has none.
    pub(crate) async fn hold(&self, limit: Duration) -> Held {
        let (answer, answered) = oneshot::channel();
        match self.0.send(Said::Hold(limit, answer)).await {
            Ok(()) => answered.await.unwrap_or(Held::AtRest),
            Err(_) => Held::AtRest,
        }
    }

    /// Ends the wait.
    pub(crate) fn release(&self) {
        let says = self.0.clone();
        // A proxy that has gone holds nobody.
        tokio::task::spawn_local(async move { drop(says.send(Said::Release).await) });
    }
}

/// The supervisor's side, until the proxy's ends.
async fn hold(
    stream: UnixStream,
    mut said: mpsc::Receiver<Said>,
    asked: mpsc::Sender<Asked>,
) -> io::Result<()> {
    let (mut lines, mut write) = halves(stream);
    let (grants, mut granted) = mpsc::channel(ON_THE_WAY_MAX);
    let mut awaited = Awaited::default();
    loop {
        tokio::select! {
            Some(said) = said.recv(), if awaited.reload.is_none() => {
                say(&mut write, &awaited.ask(said)).await?;
            }
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let heard: Value = serde_json::from_str(&line)?;
                if awaited.answered(&heard) {
                    continue;
                }
                if heard.get("serving").is_some() {
                    let (answer, _) = oneshot::channel();
                    let _ = asked.send(Asked { request: Request::Serving, answer }).await;
                } else if heard.get("wish").is_some() {
                    let (answer, answered) = oneshot::channel();
                    let _ = asked.try_send(Asked { request: Request::Reload, answer });
                    let grants = grants.clone();
                    tokio::task::spawn_local(async move {
                        let said = answered.await.unwrap_or_else(|_| Err("it is ending".to_owned()));
                        let _ = grants.send(said).await;
                    });
                }
            }
            Some(said) = granted.recv() => {
                let said = match said {
                    Ok(text) => json!({ "granted": text }),
                    Err(why) => json!({ "denied": why }),
                };
                say(&mut write, &said).await?;
            }
        }
    }
}

impl Awaited {
    /// The line that says it.
    fn ask(&mut self, said: Said) -> Value {
        match said {
            Said::Reload(written, answer) => {
                self.reload = Some(answer);
                let written = written.iter();
                let written =
                    written.map(|(name, text)| (name.clone(), text.expose_secret().into()));
                let written: Map<String, Value> = written.collect();
                json!({ "reload": written })
            }
            Said::Hold(limit, answer) => {
                self.hold = Some(answer);
                json!({ "hold": limit.as_secs_f64() })
            }
            Said::Release => json!({ "release": true }),
        }
    }

    /// Whether it was an answer.
    fn answered(&mut self, heard: &Value) -> bool {
        // Whoever has asked may have gone.
        if let Some(why) = heard.get("reloaded") {
            let done = why.as_str().map_or(Ok(()), |why| Err(why.to_owned()));
            let _ = self.reload.take().map(|waiting| waiting.send(done));
        } else if let Some(held) = heard.get("held").and_then(Value::as_str) {
            let held = HELD.iter().find(|(name, _)| *name == held);
            let held = held.map_or(Held::Refused, |(_, held)| *held);
            let _ = self.hold.take().map(|waiting| waiting.send(held));
        } else {
            return false;
        }
        true
    }
}

/// How they are written.
const HELD: [(&str, Held); 3] =
    [("at_rest", Held::AtRest), ("busy", Held::Busy), ("refused", Held::Refused)];

/// The proxy's side: obeys its supervisor as long as that is there.
pub(crate) async fn follow(orders: mpsc::Sender<Order>, wishes: mpsc::Receiver<Wish>) {
    let ended = async { obey(UnixStream::from_std(own_end()?)?, orders, wishes).await };
    if let Err(error) = ended.await {
        tracing::warn!(%error, "the line to the supervisor has ended");
    }
}

fn own_end() -> io::Result<StdStream> {
    let stream = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

async fn obey(
    stream: UnixStream,
    orders: mpsc::Sender<Order>,
    mut wishes: mpsc::Receiver<Wish>,
) -> io::Result<()> {
    let (mut lines, mut write) = halves(stream);
    let mut wished: Option<oneshot::Sender<Result<String, String>>> = None;
    let (holds, mut held) = mpsc::channel(ON_THE_WAY_MAX);
    loop {
        tokio::select! {
            Some(held) = held.recv() => {
                let name = HELD.iter().find(|(_, of)| *of == held).map(|(name, _)| *name);
                say(&mut write, &json!({ "held": name })).await?;
            }
            Some(wish) = wishes.recv(), if wished.is_none() => match wish {
                Wish::Reload(answer) => {
                    wished = Some(answer);
                    say(&mut write, &json!({ "wish": true })).await?;
                }
                Wish::Serving => say(&mut write, &json!({ "serving": true })).await?,
            },
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let heard: Value = serde_json::from_str(&line)?;
                let text = |key: &str| heard.get(key).and_then(Value::as_str).map(str::to_owned);
                if let Some(written) = heard.get("reload").and_then(Value::as_object) {
                    let done = reload(written, &orders).await;
                    say(&mut write, &json!({ "reloaded": done.err() })).await?;
                } else if let Some(limit) = heard.get("hold").and_then(Value::as_f64) {
                    let (answer, answered) = oneshot::channel();
                    let limit = Duration::try_from_secs_f64(limit).unwrap_or_default();
                    let _ = orders.send(Order::Hold(limit, answer)).await;
                    let holds = holds.clone();
                    tokio::task::spawn_local(async move {
                        let held = answered.await.unwrap_or(Held::AtRest);
                        let _ = holds.send(held).await;
                    });
                } else if heard.get("release").is_some() {
                    let _ = orders.send(Order::Release).await;
                } else if let Some(said) =
                    text("granted").map(Ok).or_else(|| text("denied").map(Err))
                {
                    let _ = wished.take().map(|wished| wished.send(said));
                }
            }
        }
    }
}

/// Resolves what the supervisor has written, as at the start, and puts it into force.
async fn reload(written: &Map<String, Value>, orders: &mpsc::Sender<Order>) -> Result<(), String> {
    let mut variables: Variables = crate::environment();
    for name in own_variables() {
        variables.remove(&name);
    }
    for (name, text) in written {
        let text = text.as_str().unwrap_or_default();
        variables.insert(name.clone(), OsString::from(text));
    }
    let fresh = crate::config::load(Role::Proxy, &Flags::default(), &variables);
    put_into_force(&fresh.map_err(|problems| problems.to_string())?, orders).await
}

fn halves(stream: UnixStream) -> (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf) {
    let (read, write) = stream.into_split();
    (BufReader::new(read).lines(), write)
}

async fn say(write: &mut OwnedWriteHalf, said: &Value) -> io::Result<()> {
    write.write_all(format!("{said}\n").as_bytes()).await
}
