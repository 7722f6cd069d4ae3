//! SCRAM-SHA-256 towards servers: we are the client.
//!
//! Owns: the three messages, and the proof that the server knows the password too.
//! Refuses: deriving keys (the caller keeps them: [`ScramKeys`]), a nonce that is not ours
//! continued, and more iterations than [`SCRAM_ITERATIONS_MAX`].
//! Invariant: [`ExpectServerFinal::handle`] returning `Ok` means that the server has proved itself;
//! an AuthenticationOk before that is from a server that does not know the password.
//! Source: RFC 5802 sections 5 and 7; PostgreSQL, `src/interfaces/libpq/fe-auth-scram.c`.
//!
//! ```text
//! start ──> ExpectServerFirst ──server-first──> NeedKeys ──keys──> ExpectServerFinal ──> Ok
//! ```
//! Each state is consumed by its step: an exchange cannot be stepped twice or out of order.

use subtle::ConstantTimeEq;

use super::scram::{
    Attributes, ClientBinding, Key, SCRAM_ITERATIONS_MAX, SCRAM_NONCE_LEN, ScramError, ScramKeys,
    decode, decode_key, encode, is_nonce, parse_iterations,
};

/// SASLInitialResponse has been sent.
#[derive(Debug)]
pub struct ExpectServerFirst {
    nonce: String,
    client_first_bare: String,
    /// What stands behind `c=`.
    repeated: String,
}

/// The server has put its challenge: keys are needed.
#[derive(Debug)]
pub struct NeedKeys {
    salt: Vec<u8>,
    iterations: u32,
    without_proof: String,
    auth_message: String,
}

/// SASLResponse has been sent.
#[derive(Debug)]
pub struct ExpectServerFinal {
    signature: Key,
}

/// Begins: the state, and client-first for a SASLInitialResponse. `nonce`: unpredictable bytes.
///
/// The user name in it is empty, as libpq's is: PostgreSQL takes the start-up packet's.
pub fn start(nonce: [u8; SCRAM_NONCE_LEN], binding: &ClientBinding) -> (ExpectServerFirst, String) {
    start_with_nonce(encode(&nonce), binding)
}

fn start_with_nonce(nonce: String, binding: &ClientBinding) -> (ExpectServerFirst, String) {
    assert!(is_nonce(&nonce), "base64 is printable and has no comma");
    let client_first_bare = format!("n=,r={nonce}");
    let (header, repeated) = binding.header();
    let client_first = format!("{header}{client_first_bare}");
    (ExpectServerFirst { nonce, client_first_bare, repeated }, client_first)
}

impl ExpectServerFirst {
    /// Takes the data of the AuthenticationSASLContinue.
    pub fn handle(self, message: &[u8]) -> Result<NeedKeys, ScramError> {
        let server_first = Attributes::text(message)?;
        if server_first.starts_with("m=") {
            return Err(ScramError::Unsupported("server requires an unsupported SCRAM extension"));
        }
        let mut attributes = Attributes::of(server_first);
        let nonce = attributes.expect('r', "Expected the nonce.")?;
        let is_continued =
            nonce.strip_prefix(&self.nonce).is_some_and(|servers_part| !servers_part.is_empty());
        if !is_continued || !is_nonce(nonce) {
            return Err(ScramError::Nonce);
        }
        let salt = attributes.expect('s', "Expected the salt.")?;
        let salt = decode(salt).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or(ScramError::Malformed("The salt is not base64."))?;
        let iterations = attributes.expect('i', "Expected the iteration count.")?;
        let iterations = parse_iterations(iterations)
            .ok_or(ScramError::Malformed("The iteration count is not a number."))?;
        if SCRAM_ITERATIONS_MAX < iterations {
            return Err(ScramError::Iterations { iterations });
        }
        if attributes.next()?.is_some() {
            return Err(ScramError::Malformed("Garbage found at the end of the first message."));
        }
        let without_proof = format!("c={},r={nonce}", self.repeated);
        let auth_message = format!("{},{server_first},{without_proof}", self.client_first_bare);
        assert!(0 < iterations && !salt.is_empty(), "what keys can be derived with");
        Ok(NeedKeys { salt, iterations, without_proof, auth_message })
    }
}

impl NeedKeys {
    /// The salt for [`ScramKeys::derive`].
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The iteration count for it, at most [`SCRAM_ITERATIONS_MAX`].
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Takes the keys: the next state, and client-final for a SASLResponse.
    pub fn answer(self, keys: &ScramKeys) -> Result<(ExpectServerFinal, String), ScramError> {
        if !keys.fit(&self.salt, self.iterations) {
            return Err(ScramError::OtherSalt);
        }
        let proof = keys.proof(&self.auth_message);
        let client_final = format!("{},p={}", self.without_proof, encode(&*proof));
        let signature = keys.server_signature(&self.auth_message);
        Ok((ExpectServerFinal { signature }, client_final))
    }
}

impl ExpectServerFinal {
    /// Takes the data of the AuthenticationSASLFinal.
    pub fn handle(self, message: &[u8]) -> Result<(), ScramError> {
        let mut attributes = Attributes::of(Attributes::text(message)?);
        match attributes.next()? {
            Some(('e', _, _)) => return Err(ScramError::ServerRefused),
            Some(('v', signature, _)) => {
                let malformed = ScramError::Malformed("The server's signature is not a key.");
                let signature = decode_key(signature).ok_or(malformed)?;
                if !bool::from(signature.ct_eq(&*self.signature)) {
                    return Err(ScramError::ServerSignature);
                }
            }
            Some(_) | None => {
                return Err(ScramError::Malformed("Expected the server's signature."));
            }
        }
        if attributes.next()?.is_some() {
            return Err(ScramError::Malformed("Garbage found at the end of the final message."));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::secret::Password;

    /// RFC 7677 section 3. Its user name is in the client's first message, where PostgreSQL's
    /// clients have none, so the bare part is put in place by hand.
    #[test]
    fn the_exchange_of_rfc_7677_is_reproduced() {
        let (mut state, _) =
            start_with_nonce("rOprNGfwEbeRWgbNEkqO".to_owned(), &ClientBinding::Unable);
        state.client_first_bare = "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned();
        let challenge = state
            .handle(
                b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                  s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            )
            .unwrap();
        let password = Password::new(b"pencil").unwrap();
        let keys = ScramKeys::derive(&password, challenge.salt(), challenge.iterations());
        let (state, client_final) = challenge.answer(&keys).unwrap();
        assert_eq!(
            client_final,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(state.handle(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
    }
}
