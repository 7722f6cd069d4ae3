//! Just enough of PostgreSQL's protocol to ask a question over the unix socket without a password.
//!
//! Tests must be able to look behind Stent without any of Stent's own code, and not every package of
//! PostgreSQL brings psql. Source: PostgreSQL documentation, "Frontend/Backend Protocol".
//! Refuses: authentication (the socket is in a private folder), parameters, binary values.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// No answer of a test takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Values of one row as text, `None` for NULL.
pub(super) type Row = Vec<Option<String>>;

/// Runs `sql` (one statement or several) and returns the rows of all results.
pub(super) fn run(socket: &Path, user: &str, database: &str, sql: &str) -> Result<Vec<Row>> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);

    let parameters = ["user", user, "database", database, "application_name", "stent-testkit"];
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for text in parameters {
        push_text(&mut body, text);
    }
    body.push(0);
    send(&mut writer, None, &body)?;
    collect(&mut reader).context("log in")?;

    let mut query = Vec::new();
    push_text(&mut query, sql);
    send(&mut writer, Some(b'Q'), &query)?;
    let rows = collect(&mut reader).with_context(|| format!("run {sql}"))?;
    send(&mut writer, Some(b'X'), &[])?;
    Ok(rows)
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
    body.push(0);
}

fn send(writer: &mut UnixStream, kind: Option<u8>, body: &[u8]) -> Result<()> {
    let mut message: Vec<u8> = kind.into_iter().collect();
    let length = u32::try_from(body.len() + 4).context("a message above 4 GiB")?;
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    Ok(writer.write_all(&message)?)
}

/// Reads up to ReadyForQuery; the first error is the outcome, but only once the server is ready again.
fn collect(reader: &mut impl Read) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut failure = None;
    loop {
        let (kind, body) = receive(reader).map_err(|error| match failure.take() {
            Some(text) => anyhow::anyhow!("PostgreSQL said: {text}"),
            None => error,
        })?;
        match kind {
            b'Z' => break,
            b'D' => rows.push(row(&body)?),
            b'E' if failure.is_none() => failure = Some(error_text(&body)),
            b'R' => ensure!(body.starts_with(&[0; 4]), "it asks for a password on its socket"),
            _ => {}
        }
    }
    match failure {
        Some(text) => bail!("PostgreSQL said: {text}"),
        None => Ok(rows),
    }
}

fn receive(reader: &mut impl Read) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    reader.read_exact(&mut head).context("read an answer")?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    ensure!((4..=MESSAGE_BYTES_MAX).contains(&length), "a message of {length} bytes");
    let mut body = vec![0; length - 4];
    reader.read_exact(&mut body).context("read an answer")?;
    Ok((head[0], body))
}

fn row(mut body: &[u8]) -> Result<Row> {
    let columns = u16::from_be_bytes(take(&mut body)?);
    (0..columns)
        .map(|_| {
            let length = i32::from_be_bytes(take(&mut body)?);
            let Ok(length) = usize::try_from(length) else { return Ok(None) };
            let (value, rest) = body.split_at_checked(length).context("a row cut short")?;
            body = rest;
            Ok(Some(String::from_utf8_lossy(value).into_owned()))
        })
        .collect()
}

fn take<const N: usize>(body: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = body.split_first_chunk::<N>().context("a row cut short")?;
    *body = rest;
    Ok(*head)
}

/// `SQLSTATE message` of an ErrorResponse: fields are a type byte and a string each.
fn error_text(body: &[u8]) -> String {
    let field = |wanted: u8| {
        body.split(|byte| *byte == 0)
            .find_map(|field| field.strip_prefix(&[wanted]))
            .map(String::from_utf8_lossy)
            .unwrap_or_default()
    };
    format!("{} {}", field(b'C'), field(b'M'))
}
