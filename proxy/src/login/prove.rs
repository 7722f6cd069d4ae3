//! A client's proof of who it is: trust, MD5, SCRAM-SHA-256, its password (in `cleartext`) or a
//! certificate (in `encrypt`). Which of them it is asked for is said in `rules`, how long it waits for
//! its refusal in `gate`.
//!
//! Invariant: `Ok` means proven (or nothing was asked); why a proof failed is in the log only.

use std::sync::Arc;

use stent_wire::auth::cleartext::PasswordCheck;
use stent_wire::auth::lookup::LookedUp;
use stent_wire::auth::md5::{Md5Challenge, Md5Hash};
use stent_wire::auth::scram::{MockSecret, ScramVerifier};
use stent_wire::auth::scram_server::{ScramStep, ServerScram};
use stent_wire::auth::secret::{AuthType, Demand, Refusal};
use stent_wire::auth::stranger::Likeness;
use stent_wire::auth::{
    ANSWER_LEN_MAX, AuthMessageError, login_failed, parse_password, parse_sasl_initial,
    put_md5_password, put_sasl, put_sasl_continue, put_sasl_final,
};
use stent_wire::report::{Report, SqlState};
use stent_wire::startup::Startup;

use super::gate::Arrival;
use super::verifiers::Source;
use super::{Failed, Login};
use crate::disconnects::Cause;
use crate::messages::ReadError;

impl Login {
    /// Asks the client for the proof that its user owes, in its turn. Who fails waits.
    pub(super) async fn prove(
        &mut self,
        startup: &Startup,
        arrival: &Arrival,
    ) -> Result<(), Failed> {
        let auth_type = self.asked_for(startup)?;
        let turn = arrival.turn().await?;
        let broker = Arc::clone(&self.broker);
        let user = startup.user.as_str();
        let looked_up = broker.look_up(self.id, user, auth_type).await;
        let record = looked_up.map_err(|error| refused(error.report(), error))?;
        let proven = match &record {
            Some(record) => {
                let proven = self.prove_as_said(user, auth_type, &record.said).await;
                if matches!(proven, Err(Failed::Answered { .. })) {
                    broker.doubt(user);
                }
                proven
            }
            None => {
                let present = broker.present();
                self.prove_to(user, auth_type, present.users.demand(auth_type, user)).await
            }
        };
        // What breaks the protocol has tried no password.
        if let Err(Failed::Answered { cause: Cause::LoginFailed, .. }) = &proven {
            broker.penalty(self.id, arrival.failed(user)).await;
        }
        drop(turn);
        proven
    }

    /// The proof of a user whom PostgreSQL was asked for. What strangers look like is said there too.
    async fn prove_as_said(
        &mut self,
        user: &str,
        auth_type: AuthType,
        said: &LookedUp,
    ) -> Result<(), Failed> {
        let demand = said.demand(auth_type);
        if let Demand::DoomedMd5(why) = demand {
            self.md5(user, Err(why)).await
        } else if let Demand::DoomedScram(why) = demand {
            let mock = self.broker.mock.clone();
            self.scram(user, Err((mock, why))).await
        } else {
            self.prove_to(user, auth_type, demand).await
        }
    }

    async fn prove_to(
        &mut self,
        user: &str,
        auth_type: AuthType,
        demand: Demand<'_>,
    ) -> Result<(), Failed> {
        match demand {
            Demand::Nothing => Ok(()),
            Demand::Certificate => self.certificate(user),
            Demand::Cleartext(secret) => {
                self.cleartext(user, PasswordCheck::new(secret.clone())).await
            }
            Demand::Md5(hash) => self.md5(user, Ok(hash.clone())).await,
            Demand::Md5OfPlain(password) => self.md5(user, Ok(Md5Hash::of(user, password))).await,
            Demand::Scram(verifier) => {
                self.scram_of(user, auth_type, Source::Stored(verifier.clone())).await
            }
            Demand::ScramOfPlain(password) => {
                let source = Source::Plain(password.clone(), self.broker.mock.salt(user));
                self.scram_of(user, auth_type, source).await
            }
            Demand::DoomedCleartext(why) | Demand::DoomedMd5(why) | Demand::DoomedScram(why) => {
                self.in_vain(user, auth_type, why).await
            }
        }
    }

    /// The exchange of somebody who cannot log in: that of a user, drawn by the name.
    async fn in_vain(
        &mut self,
        user: &str,
        auth_type: AuthType,
        why: Refusal,
    ) -> Result<(), Failed> {
        let broker = Arc::clone(&self.broker);
        let likeness = broker.present().users.strangers().likeness(&broker.mock, user);
        match (auth_type, likeness) {
            (AuthType::Password, likeness) => {
                let check = PasswordCheck::doomed(&broker.mock, user, likeness, why);
                self.cleartext(user, check).await
            }
            (AuthType::Md5, Likeness::Plain | Likeness::Md5) => self.md5(user, Err(why)).await,
            (AuthType::Md5 | AuthType::ScramSha256, Likeness::Scram { iterations }) => {
                self.scram(user, Err((broker.mock.with_iterations(iterations), why))).await
            }
            (AuthType::ScramSha256, Likeness::Plain | Likeness::Md5) => {
                self.scram(user, Err((broker.mock.clone(), why))).await
            }
            (AuthType::Trust | AuthType::Cert, _) => {
                unreachable!("nobody is asked for a secret there")
            }
        }
    }

    async fn scram_of(
        &mut self,
        user: &str,
        auth_type: AuthType,
        source: Source,
    ) -> Result<(), Failed> {
        let broker = Arc::clone(&self.broker);
        match broker.verifiers.get(user, source).await.map_err(Failed::gone)? {
            Ok(verifier) => self.scram(user, Ok(verifier)).await,
            Err(why) => self.in_vain(user, auth_type, why).await,
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
        verifier: Result<ScramVerifier, (MockSecret, Refusal)>,
    ) -> Result<(), Failed> {
        let nonce = self.broker.entropy.bytes().map_err(Failed::gone)?;
        let mut state = match verifier {
            Ok(verifier) => ServerScram::start(verifier, nonce),
            Err((mock, why)) => ServerScram::start_doomed(&mock, user, why, nonce),
        };
        let (end_point, offered) = self.offer();
        let mut message = Vec::new();
        put_sasl(&mut message, offered);
        let mut initial = Initial::Yes;
        loop {
            self.stream.write_whole(&message).await.map_err(Failed::gone)?;
            message.clear();
            let body = self.password_message().await?;
            let data = match initial {
                Initial::Yes => {
                    let failed = |error: AuthMessageError| refused(error.report(), error);
                    let (chosen, data) = parse_sasl_initial(&body, offered).map_err(failed)?;
                    state = state.choose(chosen, end_point.clone()).map_err(failed)?;
                    data
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
                    put_sasl_final(&mut self.unsaid, &proven.server_final);
                    self.broker.keys.note_proven(user, proven.keys);
                    return Ok(());
                }
            }
        }
    }

    pub(super) async fn password_message(&mut self) -> Result<Vec<u8>, Failed> {
        let message = self.inbox.password(&mut self.stream, ANSWER_LEN_MAX).await;
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
pub(super) fn refused(report: Report, why: impl ToString) -> Failed {
    let cause = match report.code {
        SqlState::PROTOCOL_VIOLATION => Cause::ProtocolError,
        _ => Cause::LoginFailed,
    };
    match Failed::report(cause, report) {
        Failed::Answered { cause, answer, detail } => {
            Failed::Answered { cause, answer, detail: format!("{detail}: {}", why.to_string()) }
        }
        Failed::Quietly => Failed::Quietly,
        Failed::Gone(detail) => Failed::Gone(detail),
    }
}
