//! Calls over an inspector's WebSocket: one at a time, each with a time limit.
//!
//! Owns: numbering, matching answers to calls, and measuring how long each took: nothing else of
//! the target runs meanwhile, so that is the longest that it can have stood still.
//! Refuses: events (they are read over) and knowing what the calls mean.
//! Invariant: an answer is that of the call that is under way, never that of an earlier one which
//! was given up.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{AttachError, cut};
use super::socket::WebSocket;

/// How long an answer may take. The pauses that a target is allowed are far shorter; this is for
/// one that does not answer at all.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A session with an inspector.
#[derive(Debug)]
pub(crate) struct Inspector {
    socket: WebSocket,
    last: u64,
}

/// An answer, whole, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    /// JSON with `result` in it.
    pub(crate) text: Vec<u8>,
    /// From the call to its last byte.
    pub(crate) took: Duration,
}

#[derive(Deserialize)]
struct Head {
    id: Option<u64>,
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Evaluated {
    result: Outer,
}

#[derive(Deserialize)]
struct Outer {
    result: Inner,
    #[serde(rename = "exceptionDetails")]
    exception: Option<Value>,
    /// WebKit's way of saying the same.
    #[serde(default, rename = "wasThrown")]
    thrown: Option<Value>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    value: Value,
}

impl Inspector {
    /// A session over an open socket.
    pub(crate) fn new(socket: WebSocket) -> Self {
        Self { socket, last: 0 }
    }

    /// Calls a method and waits for its answer.
    pub(crate) async fn call(
        &mut self,
        method: &'static str,
        parameters: Value,
    ) -> Result<Answer, AttachError> {
        self.last += 1;
        let id = self.last;
        let request = json!({ "id": id, "method": method, "params": parameters }).to_string();
        let started = Instant::now();
        self.socket.send(&request).await?;
        let answer = tokio::time::timeout(ANSWER_MAX, self.answer(id)).await;
        let text = answer.unwrap_or(Err(AttachError::Late(method)))?;
        Ok(Answer { text, took: started.elapsed() })
    }

    async fn answer(&mut self, id: u64) -> Result<Vec<u8>, AttachError> {
        loop {
            let text = self.socket.receive().await?;
            let head: Head = serde_json::from_slice(&text)
                .map_err(|_| AttachError::Nonsense("a message that is not JSON"))?;
            if head.id != Some(id) {
                continue; // an event, or the answer to a call that was given up
            }
            return match head.error {
                Some(complaint) => Err(AttachError::Said(cut(&complaint.message))),
                None => Ok(text),
            };
        }
    }

    /// Evaluates an expression in the target and returns its value. It must be one of ours: it runs
    /// with the target's rights. The answer's time goes to `took`.
    pub(crate) async fn evaluate(
        &mut self,
        expression: &'static str,
    ) -> Result<(Value, Duration), AttachError> {
        let parameters = json!({
            "expression": expression,
            "includeCommandLineAPI": true,
            "returnByValue": true,
        });
        let Answer { text, took } = self.call("Runtime.evaluate", parameters).await?;
        let answer: Evaluated = serde_json::from_slice(&text)
            .map_err(|_| AttachError::Nonsense("not the value of an expression"))?;
        let outer = answer.result;
        if outer.exception.is_some() || outer.thrown == Some(Value::Bool(true)) {
            return Err(AttachError::Said("an expression of the agent's threw".to_owned()));
        }
        Ok((outer.result.value, took))
    }
}
