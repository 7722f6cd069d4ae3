//! SCRAM-SHA-256 towards clients: we are the server.
//!
//! Owns: the two steps of the exchange and the checks of what the client sends in them.
//! Refuses: authorization identities, extensions that must be understood, and showing whether the
//! user exists: a stranger gets the same exchange, its salt included, and the same refusal.
//! Invariant: only [`ScramStep::Proven`] means that the client knows the password.
//! Source: RFC 5802 sections 5 and 7; PostgreSQL, `src/backend/libpq/auth-scram.c`.
//!
//! ```text
//! start ──> ExpectClientFirst ──client-first──> ExpectClientFinal ──client-final──> Proven
//!                   └──────────── anything else ────────┴─────> ScramError, and the end
//! ```

use super::certificate::EndPoint;
use super::scram::{
    Attributes, MockSecret, SCRAM_NONCE_LEN, ScramError, ScramKeys, ScramVerifier, ServerBinding,
    decode_key, encode, is_nonce,
};
use super::secret::Refusal;
use super::{AuthMessageError, Mechanism};

/// The exchange with one client.
#[derive(Debug)]
pub enum ServerScram {
    /// AuthenticationSASL has been sent.
    ExpectClientFirst(ExpectClientFirst),
    /// AuthenticationSASLContinue has been sent.
    ExpectClientFinal(ExpectClientFinal),
}

/// Waiting for the client's first message.
#[derive(Debug)]
pub struct ExpectClientFirst {
    verifier: ScramVerifier,
    /// Set where no proof will be right.
    doom: Option<Refusal>,
    nonce: String,
    binding: ServerBinding,
}

/// Waiting for the client's proof.
#[derive(Debug)]
pub struct ExpectClientFinal {
    verifier: ScramVerifier,
    doom: Option<Refusal>,
    binding: ServerBinding,
    /// What stands behind `c=`.
    repeated: String,
    /// The client's nonce and ours.
    nonce: String,
    /// client-first-bare, a comma, and server-first.
    auth_message: String,
}

/// What a message led to.
#[derive(Debug)]
pub enum ScramStep {
    /// Send this in an AuthenticationSASLContinue.
    Continue {
        /// What comes next.
        next: ServerScram,
        /// server-first.
        server_first: String,
    },
    /// The client knows the password.
    Proven(Proven),
}

/// A right proof.
#[derive(Debug)]
pub struct Proven {
    /// Send this in an AuthenticationSASLFinal, then AuthenticationOk.
    pub server_final: String,
    /// The client's keys. With them we can log in, in its name, to a server that stores the same
    /// SCRAM secret.
    pub keys: ScramKeys,
}

impl ServerScram {
    /// Begins with a user who has a secret. `nonce`: unpredictable bytes.
    pub fn start(verifier: ScramVerifier, nonce: [u8; SCRAM_NONCE_LEN]) -> Self {
        Self::expecting(verifier, None, nonce)
    }

    /// Begins with a user who cannot log in, so that the client cannot tell.
    pub fn start_doomed(
        mock: &MockSecret,
        user: &str,
        why: Refusal,
        nonce: [u8; SCRAM_NONCE_LEN],
    ) -> Self {
        Self::expecting(mock.verifier(user), Some(why), nonce)
    }

    fn expecting(
        verifier: ScramVerifier,
        doom: Option<Refusal>,
        nonce: [u8; SCRAM_NONCE_LEN],
    ) -> Self {
        let (nonce, binding) = (encode(&nonce), ServerBinding::Unable);
        Self::ExpectClientFirst(ExpectClientFirst { verifier, doom, nonce, binding })
    }

    /// Takes the client's choice of a mechanism, before its first message. `end_point`: of our own
    /// certificate, where the channel can be bound and [`Mechanism::ON_TLS`] was offered.
    pub fn choose(
        self,
        mechanism: Mechanism,
        end_point: Option<EndPoint>,
    ) -> Result<Self, AuthMessageError> {
        let Self::ExpectClientFirst(state) = self else {
            return Err(AuthMessageError::SaslInitial);
        };
        let binding = match (mechanism, end_point) {
            (Mechanism::Scram, None) => ServerBinding::Unable,
            (Mechanism::Scram, Some(_)) => ServerBinding::Declined,
            (Mechanism::ScramPlus, Some(end_point)) => ServerBinding::Chosen(end_point),
            (Mechanism::ScramPlus, None) => return Err(AuthMessageError::Mechanism),
        };
        assert!(state.binding == ServerBinding::Unable, "a client chooses once");
        Ok(Self::ExpectClientFirst(ExpectClientFirst { binding, ..state }))
    }

    /// Takes the data of the client's SASLInitialResponse, then of its SASLResponse.
    pub fn handle(self, message: &[u8]) -> Result<ScramStep, ScramError> {
        match self {
            Self::ExpectClientFirst(state) => state.handle(message),
            Self::ExpectClientFinal(state) => state.handle(message).map(ScramStep::Proven),
        }
    }
}

impl ExpectClientFirst {
    fn handle(self, message: &[u8]) -> Result<ScramStep, ScramError> {
        let (flag, bare, client_nonce) = parse_client_first(message)?;
        let repeated = self.binding.accept(flag)?;
        let nonce = format!("{client_nonce}{}", self.nonce);
        assert!(client_nonce.len() < nonce.len(), "a part of the nonce is ours");
        let server_first =
            format!("r={nonce},s={},i={}", encode(&self.verifier.salt), self.verifier.iterations);
        let auth_message = format!("{bare},{server_first}");
        let next = ServerScram::ExpectClientFinal(ExpectClientFinal {
            verifier: self.verifier,
            doom: self.doom,
            binding: self.binding,
            repeated,
            nonce,
            auth_message,
        });
        Ok(ScramStep::Continue { next, server_first })
    }
}

/// gs2-header and client-first-bare: the client's flag of channel binding, the bare part, and the
/// nonce. The user name in it is not looked at, as in PostgreSQL: the start-up packet has it.
fn parse_client_first(message: &[u8]) -> Result<(&str, &str, &str), ScramError> {
    let text = Attributes::text(message)?;
    let malformed = ScramError::Malformed("The message does not begin with a GS2 header.");
    let (flag, rest) = text.split_once(',').ok_or(malformed)?;
    let (identity, bare) = rest.split_once(',').ok_or(malformed)?;
    if identity.starts_with("a=") {
        return Err(ScramError::Unsupported(
            "client uses authorization identity, but it is not supported",
        ));
    }
    if !identity.is_empty() {
        return Err(malformed);
    }
    if bare.starts_with("m=") {
        return Err(ScramError::Unsupported("client requires an unsupported SCRAM extension"));
    }
    let mut attributes = Attributes::of(bare);
    attributes.expect('n', "Expected the user name.")?;
    let nonce = attributes.expect('r', "Expected the nonce.")?;
    if !is_nonce(nonce) {
        return Err(ScramError::Malformed("The nonce has characters that are not printable."));
    }
    while attributes.next()?.is_some() {}
    Ok((flag, bare, nonce))
}

impl ExpectClientFinal {
    fn handle(self, message: &[u8]) -> Result<Proven, ScramError> {
        let mut attributes = Attributes::of(Attributes::text(message)?);
        let binding = attributes.expect('c', "Expected the channel binding.")?;
        if binding != self.repeated {
            return Err(self.binding.mismatch());
        }
        let nonce = attributes.expect('r', "Expected the nonce.")?;
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let (proof, without_proof) = loop {
            match attributes.next()? {
                Some(('p', proof, before)) => break (proof, before),
                Some(_) => {}
                None => return Err(ScramError::Malformed("Expected the proof.")),
            }
        };
        if attributes.next()?.is_some() {
            return Err(ScramError::Malformed("Garbage found at the end of the final message."));
        }
        let malformed = ScramError::Malformed("The proof is not the base64 of a key.");
        let proof = decode_key(proof).ok_or(malformed)?;
        let auth_message = format!("{},{without_proof}", self.auth_message);
        // Computed before doom is looked at: a doomed login takes the time of a real one.
        let client_key = self.verifier.check(&proof, &auth_message);
        if let Some(why) = self.doom {
            return Err(ScramError::Refused(why));
        }
        let client_key = client_key.ok_or(ScramError::Refused(Refusal::WrongPassword))?;
        let signature = self.verifier.server_signature(&auth_message);
        Ok(Proven {
            server_final: format!("v={}", encode(&*signature)),
            keys: ScramKeys::proven(&self.verifier, client_key),
        })
    }
}
