//! A short exchange of our own with a server that nobody else has: a probe, a reset, parameters.
//!
//! Owns: one simple query and its answer, read to ReadyForQuery. Refuses: meaning; rows are kept
//! as they came.
//! Invariant: after `Ok` the link's book is quiet again; after any error the link is not to be
//! lent (its book says so, or its socket is gone).

use std::io;

use stent_wire::frame::{Sender, frame_at, put_message};
use stent_wire::ledger::{Ledger, Owed};
use stent_wire::limits::WHOLE_MESSAGE_LEN_MAX;
use stent_wire::report::reply::parse_parameter_status;
use stent_wire::report::{Fields, Report, SqlState};

use crate::link::Link;

/// The most bytes that an answer to a query of ours may have.
const ANSWER_MAX: usize = 1 << 20;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The socket failed or ended.
    #[error("the server closed the connection: {0}")]
    Io(#[from] io::Error),
    /// The server refused the statement; the connection is in order.
    #[error("{}", .0.message)]
    Refused(Box<Report>),
    /// The server said something that is no answer to our query.
    #[error("the server is out of step: {0}")]
    OutOfStep(String),
}

/// What came with an answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// ParameterStatus messages: name and value.
    pub(crate) parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whole NoticeResponse messages.
    pub(crate) notices: Vec<u8>,
    /// The bodies of the rows, as many as fit the limit of an answer.
    pub(crate) rows: Vec<Vec<u8>>,
}

/// A sign of life: an empty query, which touches no table and no transaction.
pub(crate) async fn probe(link: &mut Link) -> Result<(), ExchangeError> {
    query(link, b"").await.map(drop)
}

/// Sends one simple query and reads its answer to the end.
pub(crate) async fn query(link: &mut Link, sql: &[u8]) -> Result<Answer, ExchangeError> {
    query_up_to(link, sql, ANSWER_MAX).await
}

/// The same with an answer of at most `max` bytes.
pub(crate) async fn query_up_to(
    link: &mut Link,
    sql: &[u8],
    max: usize,
) -> Result<Answer, ExchangeError> {
    assert!(link.is_clean(), "a query of ours goes to a server that owes nothing");
    let mut message = Vec::with_capacity(sql.len() + 6);
    put_message(&mut message, b'Q', |out| {
        out.extend_from_slice(sql);
        out.push(0);
    });
    link.ledger.request(Owed::Query);
    link.stream.write_whole(&message).await?;
    read_answer(link, max).await
}

/// Sends requests of the extended protocol that end in a Sync, and reads their answer to the end.
/// `note` enters them in the book.
pub(crate) async fn send(
    link: &mut Link,
    requests: &[u8],
    note: impl FnOnce(&mut Ledger),
) -> Result<Answer, ExchangeError> {
    assert!(link.is_clean(), "a query of ours goes to a server that owes nothing");
    note(&mut link.ledger);
    link.stream.write_whole(requests).await?;
    read_answer(link, ANSWER_MAX).await
}

async fn read_answer(link: &mut Link, max: usize) -> Result<Answer, ExchangeError> {
    let mut answer = Answer::default();
    let mut refused = None;
    let mut buffer = Vec::with_capacity(1024);
    let mut seen = 0;
    // Behind ReadyForQuery only what comes unasked may follow: a notification that has begun.
    while !link.ledger.is_settled() || !buffer.is_empty() {
        let n = link.stream.read_onto::<4096>(&mut buffer).await?;
        if n == 0 {
            return Err(ended(refused));
        }
        seen += n;
        if seen > max || buffer.len() > WHOLE_MESSAGE_LEN_MAX {
            return Err(ExchangeError::OutOfStep(format!("an answer of over {max} bytes")));
        }
        let used = digest(link, &buffer, &mut answer, &mut refused)?;
        buffer.drain(..used);
    }
    refused.map_or(Ok(answer), |report| Err(ExchangeError::Refused(report)))
}

/// Takes the whole messages off the front; returns how many bytes they had.
fn digest(
    link: &mut Link,
    buffer: &[u8],
    answer: &mut Answer,
    refused: &mut Option<Box<Report>>,
) -> Result<usize, ExchangeError> {
    let out_of_step = |error: String| ExchangeError::OutOfStep(error);
    let mut at = 0;
    while let Some(frame) =
        frame_at(buffer, at, Sender::Backend).map_err(|error| out_of_step(error.to_string()))?
    {
        if !frame.is_whole() {
            break;
        }
        let body = &buffer[frame.body.clone()];
        match frame.tag {
            b'E' => {
                let report = report_of(body);
                link.ledger.error(report.severity);
                *refused = Some(Box::new(report));
            }
            tag => {
                let heard = link.ledger.backend(tag, body.first().copied());
                heard.map_err(|error| out_of_step(error.to_string()))?;
                match tag {
                    b'D' => answer.rows.push(body.to_vec()),
                    b'N' => answer.notices.extend_from_slice(&buffer[frame.all.clone()]),
                    b'A' => link.heard.extend_from_slice(&buffer[frame.all.clone()]),
                    _ => {}
                }
                if tag == b'S'
                    && let Ok((name, value)) = parse_parameter_status(body)
                {
                    answer.parameters.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        at = frame.all.end;
    }
    Ok(at)
}

/// The server hung up, with or without a last word: a refusal would say that it is in order.
fn ended(last_word: Option<Box<Report>>) -> ExchangeError {
    let eof = io::ErrorKind::UnexpectedEof;
    ExchangeError::Io(match last_word {
        Some(report) => io::Error::new(eof, format!("{} {}", report.code, report.message)),
        None => eof.into(),
    })
}

/// A server's report in a form that can be kept and passed on. Missing fields are filled in.
pub(crate) fn report_of(body: &[u8]) -> Report {
    let fields = Fields::new(body);
    let code = fields.code().unwrap_or(SqlState::INTERNAL_ERROR);
    let message = fields.message().unwrap_or_default().into_owned();
    let mut report = Report::error(code, message);
    if let Some(severity) = fields.severity() {
        report.severity = severity;
    }
    report.detail = fields.detail().map(|text| text.into_owned().into());
    report.hint = fields.hint().map(|text| text.into_owned().into());
    report
}
