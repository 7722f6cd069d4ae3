//! Whose a notification is, in the client's own terms.
//!
//! A program that listens and notifies knows its own notifications by their process id, which is
//! that of its BackendKeyData. In transaction mode that is one of ours, not the server's.
//! Owns: putting the client's id in the place of its own server's. Refuses: the ids of others, which
//! stay PostgreSQL's: nobody compares them with anything.
//! Invariant: only the four bytes of the id change.
//! Source: PostgreSQL documentation, "libpq", "Asynchronous Notification"; "Message Formats".

use stent_wire::frame::{Frame, Sender, frame_at};
use stent_wire::splice::Splice;

use super::Session;
use crate::config::PoolMode;
use crate::link::Link;

/// Type and length.
const HEADER_LEN: usize = 5;
/// The process id.
const PID_LEN: usize = 4;

impl Session {
    /// Passes a message on: as it is, but for a notification of the client's own.
    pub(super) fn pass_down(
        &self,
        link: &Link,
        chunk: &[u8],
        frame: &Frame,
        splice: &mut Splice<'_>,
    ) {
        let named = if frame.tag == b'A' { &chunk[frame.body.clone()] } else { &[] };
        let Some(pid) = self.own_pid(link, named) else { return splice.keep(frame.all.clone()) };
        let start = frame.all.start;
        splice.copy(start..start + HEADER_LEN);
        splice.edit().extend_from_slice(&pid);
        splice.copy(start + HEADER_LEN + PID_LEN..frame.all.end);
    }

    /// Passes on what came while the server was asked something.
    pub(super) fn notifications_heard(&mut self, link: &mut Link) {
        let mut heard = std::mem::take(&mut link.heard);
        let mut at = 0;
        while let Ok(Some(frame)) = frame_at(&heard, at, Sender::Backend) {
            if let Some(pid) = self.own_pid(link, &heard[frame.body.clone()]) {
                heard[frame.body.start..frame.body.start + PID_LEN].copy_from_slice(&pid);
            }
            at = frame.all.end;
        }
        debug_assert_eq!(at, heard.len(), "only whole messages are kept");
        self.to_client.append(&mut heard);
    }

    /// The client's id, where the message names its own server's.
    fn own_pid(&self, link: &Link, body: &[u8]) -> Option<[u8; PID_LEN]> {
        let named = body.first_chunk::<PID_LEN>()?;
        let own =
            self.mode != PoolMode::Session && u32::from_be_bytes(*named) == link.facts.backend_pid;
        own.then(|| self.id.cancel_pid().to_be_bytes())
    }
}
