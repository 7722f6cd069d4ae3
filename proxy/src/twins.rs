//! Twins: other proxies that share the listening port (`so_reuseport`), or have taken it over and left us
//! our clients.
//!
//! The kernel gives each connection to any of them, a cancel request too, so a request whose key
//! no client here has is passed on. Each twin listens on a socket in Linux's abstract namespace,
//! named after the port, and finds the others in `/proc/net/unix`.
//! Owns: that socket, finding the others, and the exchange: the raw CancelRequest one way, one
//! byte back that says whether the key was known.
//! Refuses: peers of another user, who could collect keys, and passing on what was passed on.
//! Invariant: a request goes to at most [`TWINS_MAX`] twins, once.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_wire::cancel::CancelRequest;
use stent_wire::startup::{Packet, Parsed, parse};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::cancel::{self, Keyed};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::messages::Inbox;
use crate::shared::Lock;
use crate::stream::Stream;

/// The most twins that a request is passed on to.
const TWINS_MAX: usize = 64;
/// The most requests of twins that are served at a time; further ones queue in the kernel.
const SERVED_MAX: usize = 64;
/// How long a list of twins is used before it is made anew: strangers with wrong keys cannot make
/// the proxy read it for each.
const LIST_LIFETIME: Duration = Duration::from_millis(200);
/// How much of `/proc/net/unix` is looked at.
const LIST_LEN_MAX: u64 = 8 << 20;
/// How long passing a request on may take, and how long a twin may take to say it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const KNOWN: u8 = b'Y';
const UNKNOWN: u8 = b'N';

/// Our place among the proxies of a port.
#[derive(Debug)]
pub(crate) struct Twins {
    /// What the names of all begin with.
    family: String,
    /// Our own name.
    name: String,
    /// Our user.
    uid: u32,
    others: Lock<Option<(Instant, Vec<String>)>>,
}

impl Twins {
    /// Takes our place: from here on the others find us.
    fn join(port: u16, entropy: &Entropy) -> Result<(Self, UnixListener), Error> {
        let shown = format!("the socket of the proxies that share port {port}");
        let failed = |error| Error::listen(&shown, error);
        let nonce = u32::from_ne_bytes(entropy.bytes().map_err(Error::Entropy)?);
        let family = format!("stent-cancel-{port}-");
        let name = format!("{family}{}-{nonce:08x}", std::process::id());
        let uid = std::fs::metadata("/proc/self").map_err(failed)?.uid();
        let listener = UnixListener::bind(Path::new(&format!("\0{name}"))).map_err(failed)?;
        Ok((Self { family, name, uid, others: Lock::new(None) }, listener))
    }

    /// Takes our place, unless we have it, and serves the others from here on.
    pub(crate) fn meet(broker: &Arc<Broker>) -> Result<(), Error> {
        if broker.twins.get().is_none() {
            let (twins, listener) = Self::join(broker.config.listen_port, &broker.entropy)?;
            broker.twins.set(twins).expect("they are joined once");
            tokio::task::spawn_local(Self::serve(Arc::clone(broker), listener));
        }
        Ok(())
    }

    /// Offers a request to all others; whether one of them knows its key.
    pub(crate) async fn offer(&self, request: &CancelRequest) -> Keyed {
        let mut packet = Vec::new();
        request.put(&mut packet);
        let packet: Arc<[u8]> = packet.into();
        let mut offers = JoinSet::new();
        for name in self.others(Instant::now()) {
            let (packet, uid) = (Arc::clone(&packet), self.uid);
            offers.spawn_local(async move {
                tokio::time::timeout(TIMEOUT, offer_to(&name, uid, &packet)).await
            });
        }
        while let Some(answer) = offers.join_next().await {
            if let Ok(Ok(Ok(Keyed::Known))) = answer {
                return Keyed::Known;
            }
        }
        Keyed::Unknown
    }

    /// Runs for ever: serves what the others pass on.
    async fn serve(broker: Arc<Broker>, listener: UnixListener) {
        let mut served = JoinSet::new();
        loop {
            while served.len() >= SERVED_MAX {
                served.join_next().await;
            }
            while served.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let broker = Arc::clone(&broker);
                    served.spawn_local(async move {
                        let _ = tokio::time::timeout(TIMEOUT, answer(&broker, stream)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of a twin");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The names of the others.
    fn others(&self, now: Instant) -> Vec<String> {
        let mut others = self.others.lock();
        if let Some((made, names)) = &*others
            && now.saturating_duration_since(*made) < LIST_LIFETIME
        {
            return names.clone();
        }
        let names = match sockets() {
            Ok(list) => named(&list, &self.family, &self.name),
            Err(error) => {
                tracing::warn!(%error, "cannot look for the proxies that share the port");
                Vec::new()
            }
        };
        *others = Some((now, names.clone()));
        names
    }
}

/// One twin's answer to a request.
async fn offer_to(name: &str, uid: u32, packet: &[u8]) -> io::Result<Keyed> {
    let stream = UnixStream::connect(Path::new(&format!("\0{name}"))).await?;
    expect_user(&stream, uid)?;
    let mut stream = Stream::Unix(stream);
    stream.write_whole(packet).await?;
    let mut answer = [UNKNOWN];
    stream.read(&mut answer).await?;
    Ok(if answer == [KNOWN] { Keyed::Known } else { Keyed::Unknown })
}

/// Serves one request of a twin. It is acted upon here or nowhere: it was passed on once.
async fn answer(broker: &Arc<Broker>, stream: UnixStream) -> io::Result<()> {
    let Some(twins) = broker.twins.get() else { return Ok(()) };
    expect_user(&stream, twins.uid)?;
    let (mut stream, mut inbox) = (Stream::Unix(stream), Inbox::default());
    let request = loop {
        match parse(inbox.bytes()) {
            Ok(Parsed::NeedMore { .. }) => inbox.fill(&mut stream).await?,
            Ok(Parsed::Complete { packet: Packet::Cancel(request), .. }) => break request,
            Ok(Parsed::Complete { .. }) | Err(_) => return Ok(()),
        }
    };
    let keyed = cancel::cancel_here(broker, &request).await;
    stream.write_whole(&[if keyed == Keyed::Known { KNOWN } else { UNKNOWN }]).await
}

/// Whoever is not our own user is no twin.
fn expect_user(stream: &UnixStream, uid: u32) -> io::Result<()> {
    match stream.peer_cred()?.uid() == uid {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// The list of all unix sockets of this network namespace.
fn sockets() -> io::Result<String> {
    let mut list = Vec::new();
    std::fs::File::open("/proc/net/unix")?.take(LIST_LEN_MAX).read_to_end(&mut list)?;
    Ok(String::from_utf8_lossy(&list).into_owned())
}

/// The names of a family in a list of unix sockets, where `@` stands for the abstract namespace.
/// A socket with connections has a line for each of them too.
fn named(list: &str, family: &str, own: &str) -> Vec<String> {
    let words = list.lines().filter_map(|line| line.split_ascii_whitespace().nth(7));
    let names = words.filter_map(|word| word.strip_prefix('@'));
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with(family) && *name != own)
        .map(ToOwned::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(TWINS_MAX);
    names
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn twins_are_the_names_of_the_same_port_each_once_without_ourselves() {
        let list = "Num RefCount Protocol Flags Type St Inode Path\n\
                    0: 2 0 10000 0001 01 1 @stent-cancel-6432-7-aa\n\
                    0: 3 0 00000 0001 03 2 @stent-cancel-6432-7-aa\n\
                    0: 2 0 10000 0001 01 3 @stent-cancel-6432-9-bb\n\
                    0: 2 0 10000 0001 01 4 @stent-cancel-64321-9-cc\n\
                    0: 2 0 10000 0001 01 5 /run/stent-cancel-6432-1-dd\n\
                    0: 2 0 00000 0002 01 6\n";
        let names = named(list, "stent-cancel-6432-", "stent-cancel-6432-7-aa");
        assert_eq!(names, ["stent-cancel-6432-9-bb"]);
    }
}
