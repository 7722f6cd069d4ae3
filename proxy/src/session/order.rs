//! What a session is told to do while it has a server: to tell its client something, or to end.
//!
//! Invariant: nothing is said in the middle of a message, and a session that is to end does, whether
//! its client reads or not.

use stent_wire::report::Report;

use super::{End, Session, Step};
use crate::disconnects::Cause;
use crate::facts::Order;
use crate::link::Link;

/// What came of looking for orders.
pub(super) enum Obeyed {
    /// The session goes on.
    GoOn(Box<Link>),
    /// It ends.
    Leave(Step),
}

impl Session {
    /// Carries out the order that is there for the client of this server, if there is one.
    pub(super) fn obey(&mut self, link: Box<Link>) -> Obeyed {
        match link.facts.order() {
            None => Obeyed::GoOn(link),
            Some(Order::Notice(report)) => {
                if link.rest == 0 {
                    link.facts.forget_order();
                    report.put(&mut self.to_client);
                }
                Obeyed::GoOn(link)
            }
            Some(Order::Close(report)) => Obeyed::Leave(self.leave_by_order(link, &report)),
        }
    }

    fn leave_by_order(&mut self, link: Box<Link>, report: &Report) -> Step {
        let end = End { cause: Cause::HoldLimit, detail: report.message.to_string() };
        let speechless = link.rest > 0 || !self.to_client.is_empty();
        self.give_back(link);
        if speechless { Step::End(end) } else { self.leave_with(report, end) }
    }
}
