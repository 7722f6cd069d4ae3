//! Whose a notification is, in the client's own terms.
//!
//! A program that listens and notifies knows its own notifications by their process id, which is
//! that of its BackendKeyData. In transaction mode that is one of ours, not the server's.
//! Owns: putting the client's id in the place of its own server's. Refuses: the ids of others, which
//! stay PostgreSQL's: nobody compares them with anything.
//! Invariant: only the four bytes of the id change.
//! Source: PostgreSQL documentation, "libpq", "Asynchronous Notification"; "Message Formats".

use stent_wire::frame::{Frame, HEADER_LEN};
use stent_wire::listen::Notification;
use stent_wire::splice::Splice;

use super::Session;
use super::listen::{Copy, whose};
use crate::clients::ClientId;
use crate::config::PoolMode;
use crate::link::Link;

/// The process id.
const PID_LEN: usize = 4;

impl Session {
    /// Passes a NotificationResponse on, unless the client gets it from the listening connection.
    pub(super) fn notification_down(
        &self,
        link: &Link,
        chunk: &[u8],
        frame: &Frame,
        splice: &mut Splice<'_>,
    ) {
        let (all, body) = (&chunk[frame.all.clone()], &chunk[frame.body.clone()]);
        if let Some(notification) = Notification::parse(body)
            && whose(&notification, all, self.listening.as_deref(), link) == Copy::Second
        {
            return;
        }
        let own = self.mode != PoolMode::Session && is_own(link, body);
        if own && frame.is_whole() {
            put_as_own(splice.edit(), all, self.id);
        } else {
            splice.keep(frame.all.clone());
        }
    }
}

/// Appends a whole NotificationResponse of the client's server in the client's terms.
pub(super) fn put_in_own_terms(out: &mut Vec<u8>, all: &[u8], link: &Link, client: ClientId) {
    match is_own(link, &all[HEADER_LEN..]) {
        true => put_as_own(out, all, client),
        false => out.extend_from_slice(all),
    }
}

/// Whether a body names the server that says it.
fn is_own(link: &Link, body: &[u8]) -> bool {
    let named = body.first_chunk::<PID_LEN>();
    named.is_some_and(|named| u32::from_be_bytes(*named) == link.facts.backend_pid)
}

fn put_as_own(out: &mut Vec<u8>, all: &[u8], client: ClientId) {
    let at = out.len() + HEADER_LEN;
    out.extend_from_slice(all);
    out[at..at + PID_LEN].copy_from_slice(&client.cancel_pid().to_be_bytes());
}
