//! A client's proof of who it is: trust, MD5 or SCRAM-SHA-256.
//!
//! Invariant: `Ok` means proven (or nothing was asked); why a proof failed is in the log only.

use std::rc::Rc;

use stent_wire::auth::md5::{Md5Challenge, Md5Hash};
use stent_wire::auth::scram::{SCRAM_ITERATIONS, ScramVerifier};
use stent_wire::auth::scram_server::{ScramStep, ServerScram};
use stent_wire::auth::secret::{Demand, Refusal};
use stent_wire::auth::{
    login_failed, parse_password, parse_sasl_initial, put_md5_password, put_sasl,
    put_sasl_continue, put_sasl_final,
};
use stent_wire::report::{Report, SqlState};

use super::{Failed, Login};
use crate::disconnects::Cause;
use crate::messages::ReadError;

/// The longest password message.
const PASSWORD_MESSAGE_MAX: usize = 8 * 1024;

impl Login {
    /// Asks the client for the proof that its user owes.
    pub(super) async fn prove(&mut self, user: &str) -> Result<(), Failed> {
        let broker = Rc::clone(&self.broker);
        let looked_up = broker.look_up(self.id, user).await;
        let record = looked_up.map_err(|error| refused(error.report(), error))?;
        let demand = match &record {
            Some(record) => record.said.demand(broker.users.method()),
            None => broker.users.demand(user),
        };
        let proven = self.prove_to(user, demand).await;
        if let (Some(_), Err(Failed::Answered { .. })) = (&record, &proven) {
            broker.doubt(user);
        }
        proven
    }

    async fn prove_to(&mut self, user: &str, demand: Demand<'_>) -> Result<(), Failed> {
        let broker = Rc::clone(&self.broker);
        match demand {
            Demand::Nothing => Ok(()),
            Demand::Md5(hash) => self.md5(user, Ok(hash.clone())).await,
            Demand::Md5OfPlain(password) => self.md5(user, Ok(Md5Hash::of(user, password))).await,
            Demand::DoomedMd5(why) => self.md5(user, Err(why)).await,
            Demand::Scram(verifier) => self.scram(user, Ok(verifier.clone())).await,
            Demand::ScramOfPlain(password) => {
                let salt = broker.mock.salt(user);
                let keys = broker.keys.for_client(user, password, &salt, SCRAM_ITERATIONS);
                self.scram(user, Ok(keys.verifier())).await
            }
            Demand::DoomedScram(why) => self.scram(user, Err(why)).await,
        }
    }

    async fn md5(&mut self, user: &str, hash: Result<Md5Hash, Refusal>) -> Result<(), Failed> {
        let salt = self.broker.entropy.bytes().map_err(Failed::gone)?;
        let challenge = match hash {
            Ok(hash) => Md5Challenge::new(hash, salt),
            Err(why) => Md5Challenge::doomed(why, salt),
        };
        let mut ask = Vec::new();
        put_md5_password(&mut ask, challenge.salt());
        self.stream.write_whole(&ask).await.map_err(Failed::gone)?;
        let body = self.password_message().await?;
        let answer = parse_password(&body).map_err(|error| refused(error.report(), error))?;
        challenge.verify(answer).map_err(|why| refused(login_failed(user), why))
    }

    async fn scram(
        &mut self,
        user: &str,
        verifier: Result<ScramVerifier, Refusal>,
    ) -> Result<(), Failed> {
        let nonce = self.broker.entropy.bytes().map_err(Failed::gone)?;
        let mut state = match verifier {
            Ok(verifier) => ServerScram::start(verifier, nonce),
            Err(why) => ServerScram::start_doomed(&self.broker.mock, user, why, nonce),
        };
        let mut message = Vec::new();
        put_sasl(&mut message);
        let mut initial = Initial::Yes;
        loop {
            self.stream.write_whole(&message).await.map_err(Failed::gone)?;
            message.clear();
            let body = self.password_message().await?;
            let data = match initial {
                Initial::Yes => {
                    parse_sasl_initial(&body).map_err(|error| refused(error.report(), error))?
                }
                Initial::No => &body,
            };
            initial = Initial::No;
            let step = state.handle(data);
            match step.map_err(|error| refused(error.report(user), error))? {
                ScramStep::Continue { next, server_first } => {
                    put_sasl_continue(&mut message, &server_first);
                    state = next;
                }
                ScramStep::Proven(proven) => {
                    put_sasl_final(&mut message, &proven.server_final);
                    self.broker.keys.note_proven(user, proven.keys);
                    return self.stream.write_whole(&message).await.map_err(Failed::gone);
                }
            }
        }
    }

    async fn password_message(&mut self) -> Result<Vec<u8>, Failed> {
        let message = self.inbox.password(&mut self.stream, PASSWORD_MESSAGE_MAX).await;
        message.map_err(|error| match &error {
            // libpq hangs up when it is asked for a password that it does not have, and comes
            // back with one.
            ReadError::Io(_) => Failed::Quietly,
            ReadError::Frame(_) | ReadError::TooLong { .. } => {
                let report = Report::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string());
                Failed::report(Cause::ProtocolError, report)
            }
        })
    }
}

#[derive(Clone, Copy)]
enum Initial {
    Yes,
    No,
}

/// A refusal: the client gets the report, the log gets the reason.
fn refused(report: Report, why: impl ToString) -> Failed {
    match Failed::report(Cause::LoginFailed, report) {
        Failed::Answered { cause, answer, detail } => {
            Failed::Answered { cause, answer, detail: format!("{detail}: {}", why.to_string()) }
        }
        Failed::Quietly => Failed::Quietly,
        Failed::Gone(detail) => Failed::Gone(detail),
    }
}
