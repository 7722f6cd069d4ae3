//! The line from a supervisor to its agent: the agent's standard input is a socket, and each line on it says
//! which process the command of `stent run` is now.
//!
//! Owns: both ends of the words. Refuses: answers; the agent has none to give.
//! Invariant: a line that cannot be read changes nothing; nothing secret is on it.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;

use serde_json::{Value, json};
use stent_agent::{NEWS_MAX, Told};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// What the supervisor says.
pub(crate) fn line(target: &str, pid: i32, rejuvenations: Option<u64>) -> Vec<u8> {
    let said = json!({ "target": target, "pid": pid, "rejuvenations": rejuvenations });
    format!("{said}\n").into_bytes()
}

/// What the agent hears, for as long as its supervisor lives.
pub(crate) fn hear() -> mpsc::Receiver<Told> {
    let (news, told) = mpsc::channel(NEWS_MAX);
    tokio::task::spawn_local(async move {
        if let Err(error) = read(&news).await {
            tracing::debug!(%error, "the line from the supervisor has ended");
        }
    });
    told
}

async fn read(news: &mpsc::Sender<Told>) -> io::Result<()> {
    let stream = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    let mut lines = BufReader::new(UnixStream::from_std(stream)?).lines();
    while let Some(line) = lines.next_line().await? {
        let Some(told) = parse(&line) else { continue };
        if news.send(told).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn parse(line: &str) -> Option<Told> {
    let said: Value = serde_json::from_str(line).ok()?;
    let target = said.get("target")?.as_str()?.to_owned();
    let pid = said.get("pid")?.as_u64().and_then(|pid| u32::try_from(pid).ok())?;
    Some(Told { target, pid, rejuvenations: said.get("rejuvenations").and_then(Value::as_u64) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_and_anything_else_is_not() {
        let said = String::from_utf8(line("api", 7, Some(2))).unwrap();
        let told = Told { target: "api".to_owned(), pid: 7, rejuvenations: Some(2) };
        assert_eq!(parse(said.trim_end()), Some(told));
        for nonsense in ["", "{}", "{\"target\":\"api\",\"pid\":-1}", "{\"target\":1,\"pid\":1}"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
