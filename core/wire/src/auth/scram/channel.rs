//! Channel binding: what each role says of it in the GS2 header, and repeats in its last message.
//!
//! Owns: the flags `n`, `y` and `p`, and which of them each side may say when.
//! Refuses: an offer of channel binding on a connection without TLS: the server's TLS ends before
//! it reaches us, and so would our password's protection.
//! Invariant: an offer that somebody in between took away is found out: a client that could bind
//! says `y` only where nothing was offered, and a server that offered refuses it.
//! Source: RFC 5802 section 6; PostgreSQL, `read_client_first_message` in `auth-scram.c` and
//! `pg_SASL_init` in libpq's `fe-auth.c`.

use super::{Sanitized, ScramError, encode};
use crate::auth::Mechanism;
use crate::auth::certificate::EndPoint;

/// The one type of binding, as in PostgreSQL. RFC 5929 section 4.
const TYPE: &str = "tls-server-end-point";

/// The channel to a server, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Without TLS.
    Plain,
    /// With TLS; the end point where the server's certificate has one.
    Tls(Option<EndPoint>),
}

/// libpq's `channel_binding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindingPolicy {
    /// Never.
    Disable,
    /// Where both sides can.
    #[default]
    Prefer,
    /// Always: a server that cannot is not logged in to.
    Require,
}

/// What we say of it as a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientBinding {
    /// `n`: we cannot on this channel, or are not to.
    Unable,
    /// `y`: we could, and the server does not offer it.
    NotOffered,
    /// `p`: bound to the server's certificate.
    Bound(EndPoint),
}

impl ClientBinding {
    /// The mechanism that we take of those that a server offers on this channel, and what we say.
    pub fn choose(
        channel: &Channel,
        policy: BindingPolicy,
        offered: &[&str],
    ) -> Result<(Mechanism, Self), ScramError> {
        let has = |mechanism: Mechanism| offered.contains(&mechanism.as_str());
        let plus = has(Mechanism::ScramPlus);
        let chosen = match (channel, policy) {
            (Channel::Plain, _) if plus => return Err(ScramError::PlusInClear),
            (Channel::Tls(Some(end_point)), BindingPolicy::Prefer | BindingPolicy::Require)
                if plus =>
            {
                return Ok((Mechanism::ScramPlus, Self::Bound(end_point.clone())));
            }
            (Channel::Tls(Some(_)), BindingPolicy::Prefer | BindingPolicy::Require) => {
                Self::NotOffered
            }
            (Channel::Tls(_) | Channel::Plain, _) => Self::Unable,
        };
        if policy == BindingPolicy::Require {
            return Err(ScramError::BindingRequired(match (channel, &chosen) {
                (Channel::Plain, _) => "the connection has no TLS",
                (Channel::Tls(None), _) => "the signature of the server's certificate has no hash",
                (Channel::Tls(Some(_)), _) => "the server does not offer it",
            }));
        }
        if !has(Mechanism::Scram) {
            return Err(ScramError::NoMechanism);
        }
        assert!(chosen != Self::NotOffered || !plus, "`y` is said only where nothing was offered");
        Ok((Mechanism::Scram, chosen))
    }

    /// The header, and what the last message has behind `c=`.
    pub(in crate::auth) fn header(&self) -> (String, String) {
        match self {
            Self::Unable => plain("n"),
            Self::NotOffered => plain("y"),
            Self::Bound(end_point) => bound(end_point),
        }
    }
}

fn plain(flag: &str) -> (String, String) {
    let header = format!("{flag},,");
    let repeated = encode(header.as_bytes());
    (header, repeated)
}

fn bound(end_point: &EndPoint) -> (String, String) {
    assert!(!end_point.as_bytes().is_empty(), "an empty binding binds nothing");
    let header = format!("p={TYPE},,");
    let repeated = encode(&[header.as_bytes(), end_point.as_bytes()].concat());
    (header, repeated)
}

/// What a server of ours has offered, and what the client has made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth) enum ServerBinding {
    /// Nothing: the channel cannot be bound.
    Unable,
    /// It could be bound, and the client did without.
    Declined,
    /// The client has chosen it.
    Chosen(EndPoint),
}

impl ServerBinding {
    /// What a client's flag leads to: what its last message has to repeat.
    pub(in crate::auth) fn accept(&self, flag: &str) -> Result<String, ScramError> {
        let (letter, behind) = match flag.as_bytes() {
            [letter, ..] if letter.is_ascii() => (*letter, &flag[1..]),
            [letter, ..] => (*letter, ""),
            [] => (b',', ""),
        };
        match (self, letter) {
            (Self::Chosen(_), b'n' | b'y') => Err(ScramError::Malformed(
                "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include \
                 channel binding data.",
            )),
            (Self::Declined, b'y') => Err(ScramError::Downgrade),
            (Self::Unable | Self::Declined, b'n' | b'y') => match behind.bytes().next() {
                None => Ok(plain(flag).1),
                Some(found) => {
                    Err(ScramError::Header { what: "Comma expected, but found character", found })
                }
            },
            (Self::Unable | Self::Declined, b'p') => Err(ScramError::Malformed(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message \
                 includes channel binding data.",
            )),
            (Self::Chosen(end_point), b'p') => match behind.strip_prefix('=') {
                Some(TYPE) => Ok(bound(end_point).1),
                Some(other) => Err(ScramError::BindingType(Sanitized::of(other))),
                None => {
                    let what = "Expected character \"=\" for attribute \"p\".";
                    Err(ScramError::Malformed(what))
                }
            },
            (Self::Unable | Self::Declined | Self::Chosen(_), found) => {
                Err(ScramError::Header { what: "Unexpected channel-binding flag", found })
            }
        }
    }

    /// What a last message that does not repeat it is.
    pub(in crate::auth) const fn mismatch(&self) -> ScramError {
        match self {
            Self::Unable | Self::Declined => ScramError::BindingAttribute,
            Self::Chosen(_) => ScramError::ChannelBinding,
        }
    }
}
