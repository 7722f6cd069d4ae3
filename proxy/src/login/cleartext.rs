//! The proof by a password that is sent as it is.
//!
//! Invariant: it is asked for only where `rules` allows it; the runtime's thread computes no hash
//! rounds.

use std::sync::Arc;

use stent_wire::auth::cleartext::PasswordCheck;
use stent_wire::auth::{login_failed, parse_password, put_cleartext_password};
use zeroize::Zeroizing;

use super::prove::refused;
use super::{Failed, Login};

impl Login {
    /// Asks for the password and judges it.
    pub(super) async fn cleartext(
        &mut self,
        user: &str,
        check: PasswordCheck,
    ) -> Result<(), Failed> {
        let mut ask = Vec::new();
        put_cleartext_password(&mut ask);
        self.stream.write_whole(&ask).await.map_err(Failed::gone)?;
        let body = Zeroizing::new(self.password_message().await?);
        let given = parse_password(&body).map_err(|error| refused(error.report(), error))?;
        let verified = if check.is_slow() {
            let (given, of) = (Zeroizing::new(given.to_vec()), user.to_owned());
            let broker = Arc::clone(&self.broker);
            let verified = broker.verifiers.compute(move || check.verify(&of, &given)).await;
            verified.map_err(Failed::gone)?
        } else {
            check.verify(user, given)
        };
        let keys = verified.map_err(|why| refused(login_failed(user), why))?;
        if let Some(keys) = keys {
            Arc::clone(&self.broker).keys.note_proven(user, keys);
        }
        Ok(())
    }
}
