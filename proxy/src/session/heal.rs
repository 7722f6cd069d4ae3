//! A plan that PostgreSQL refuses after DDL: the statement is parsed again, and its client does not
//! notice.
//!
//! A shared server statement outlives the client that brought it, so a client may meet a plan whose
//! result type is of yesterday: "cached plan must not change result type". On a connection of its
//! own a fresh Parse would have got a fresh plan.
//! Owns: recognising that error by SQLSTATE and routine, swallowing it with its ReadyForQuery, and
//! reading the client's requests once more.
//! Invariant: requests are repeated only outside a transaction, when none of their answer has
//! reached the client, the Bind or Describe that failed was the first thing that could have run,
//! and the client does not rely on the shape that the rows had.
//! Source: PostgreSQL, `RevalidateCachedQuery` in `src/backend/utils/cache/plancache.c`.

use stent_wire::frame::{Frame, Sender, frame_at, put_message};
use stent_wire::prepared::Younger;
use stent_wire::report::Fields;
use stent_wire::report::reply::TransactionStatus;

use super::{Carried, Session};
use crate::config::PoolMode;
use crate::link::{Healing, Link};

/// How often in a row a client's requests are repeated: each server may know the stale plan.
const REPEATS_MAX: u8 = 100;

impl Session {
    /// Keeps a client's requests, where they bind a named statement and end in one Sync.
    pub(super) fn keep_for_replay(&self, link: &mut Link, bytes: &[u8]) {
        let may = self.mode != PoolMode::Session && self.repeats < REPEATS_MAX;
        let heals = may && link.ledger.binds_named() && link.ledger.ends_in_one_sync();
        link.replay.keep(if heals { bytes } else { b"" });
    }

    /// Whether a message belongs to a failure that is being healed.
    pub(super) fn heals(
        &mut self,
        link: &mut Link,
        chunk: &[u8],
        frame: &Frame,
        said: Said,
    ) -> bool {
        match frame.tag {
            b'E' if frame.is_whole() => {}
            b'Z' if link.replay.state == Healing::UntilReady && frame.is_whole() => {
                let status = chunk[frame.body.clone()].first().copied();
                let known = link.ledger.backend(b'Z', status);
                debug_assert!(known.is_ok(), "the Sync was counted when the error came");
                link.replay.state = Healing::Due;
                return true;
            }
            _ => return false,
        }
        let body = &chunk[frame.body.clone()];
        let fields = Fields::new(body);
        // The client's own Parse was not sent: PostgreSQL may have had the same to say of that.
        let known = link.ledger.front_known().filter(|_| may_be_of_the_parse(&fields));
        if known.is_none() && !fields.is_stale_plan() {
            return false;
        }
        let Some(id) = link.ledger.front_statement() else { return false };
        let heal = self.is_untold(said)
            && !link.replay.bytes.is_empty()
            && link.ledger.status() == TransactionStatus::Idle
            && link.ledger.ends_in_one_sync();
        let of_definitions = fields.is_stale_plan() || fields.is_of_definitions();
        let younger = match of_definitions {
            true => link.statements.spoil(id, &self.names),
            false => Younger::Plan,
        };
        if !fields.is_stale_plan() && !heal {
            return false;
        }
        // A client that relies on the old shape of the rows and does not ask for the new one must
        // get the error, as it would from PostgreSQL: it would take the rows for what they are not.
        // Where it was told the shape, the repetition looks whether it is the same still.
        let sees = link.ledger.describes() || self.names.knows_shape(id);
        let heal = heal && (younger == Younger::Client || sees || known.is_some());
        if heal {
            self.error_down(link, body);
            link.replay.state = Healing::UntilReady;
        }
        heal
    }

    /// The description of a statement's parameters comes right before the error that its plan is
    /// stale: what it says is held back until it is known what follows.
    pub(super) fn hold(&self, link: &Link, chunk: &[u8], frame: &Frame) -> Hold {
        let matters = frame.tag == b't' && !link.replay.bytes.is_empty();
        if !matters || link.ledger.front_statement().is_none() {
            return Hold::No;
        }
        match frame_at(chunk, frame.all.end, Sender::Backend) {
            Ok(None) => Hold::Wait,
            Ok(Some(next)) if next.tag == b'E' && !next.is_whole() => Hold::Wait,
            Ok(Some(next)) if next.tag == b'E' => {
                let fields = Fields::new(&chunk[next.body]);
                let known = link.ledger.front_known().is_some() && may_be_of_the_parse(&fields);
                if fields.is_stale_plan() || known { Hold::Drop } else { Hold::No }
            }
            Ok(Some(_)) | Err(_) => Hold::No,
        }
    }

    /// Whether the client has heard nothing of the answer.
    pub(super) fn is_untold(&self, said: Said) -> bool {
        said == Said::Nothing && self.to_client.is_empty()
    }

    /// Brings the requests that were kept back in front of what the client has said since.
    pub(super) fn read_again(&mut self, link: &mut Link) {
        self.repeats = self.repeats.saturating_add(1);
        let mut requests = std::mem::take(&mut link.replay.bytes);
        requests.append(&mut self.carry);
        self.carry = requests;
        self.carried = Carried::Unread;
    }

    /// Reads the requests once more, where their failure was swallowed to its end.
    pub(super) fn repeat(&mut self, link: &mut Link) {
        if link.replay.state != Healing::Due {
            return;
        }
        link.replay.state = Healing::No;
        self.read_again(link);
    }
}

/// Whether an error at the first use of a statement may be one that its Parse would have drawn.
/// What ends the session, what was asked for from outside and what was waited for in vain is not
/// tried twice.
fn may_be_of_the_parse(fields: &Fields<'_>) -> bool {
    const NOT_TWICE: [&str; 4] = ["40", "53", "55", "57"];
    let ends = fields.severity().is_none_or(|severity| severity.ends_session());
    let code = fields.code().map(|code| code.to_string()).unwrap_or_default();
    !ends && !NOT_TWICE.iter().any(|class| code.starts_with(class))
}

/// What PostgreSQL says of a plan whose rows have changed, and where.
const STALE: &str = "cached plan must not change result type";
const STALE_ROUTINE: &[u8] = b"RRevalidateCachedQuery";

/// Appends a Query that fails as PostgreSQL fails on a stale plan.
pub(super) fn put_stale(out: &mut Vec<u8>) {
    put_message(out, b'Q', |out| {
        let sql = format!(
            "DO LANGUAGE plpgsql $stent$BEGIN RAISE EXCEPTION USING \
             ERRCODE = '0A000', MESSAGE = '{STALE}'; END$stent$\0"
        );
        out.extend_from_slice(sql.as_bytes());
    });
}

/// The report that such a Query draws, with the place that drivers know the failure by.
pub(super) fn as_stale(body: &[u8]) -> Option<Vec<u8>> {
    if Fields::new(body).message().as_deref() != Some(STALE) {
        return None;
    }
    let kept = body
        .split(|byte| *byte == 0)
        .filter(|field| !matches!(field.first(), None | Some(b'F' | b'L' | b'R' | b'W')));
    let fields: Vec<&[u8]> = kept.chain([STALE_ROUTINE]).collect();
    Some([&fields.join(&0)[..], b"\0\0"].concat())
}

/// What becomes of a message before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is looked at.
    No,
    /// More must come first.
    Wait,
    /// The error behind it is healed, so it never was.
    Drop,
}

/// Whether the client has been told anything of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Something,
}
