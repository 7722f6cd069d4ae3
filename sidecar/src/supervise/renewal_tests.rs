//! The plan's restarts of the command, event by event.

use std::time::Duration;

use rustix::process::Signal;

use super::tests::Story;
use crate::supervise::event::{Action, Ended, Event, Mode, Part};
use Action::{Send, Start};
use Part::{Agent, Command, Proxy};

/// A plan that serves and is to restart its command at once.
fn renewing() -> Story {
    let mut story = Story::serving(Mode::Run);
    assert_eq!(story.on(Event::Rejuvenate { lead: Duration::ZERO }), [Action::Hold]);
    story
}

#[test]
fn a_restart_of_the_command_waits_for_open_transactions_and_lets_new_ones_go_after_sigterm() {
    let mut story = renewing();
    assert!(story.plan.is_renewing());
    assert_eq!(story.on(Event::Held), [Send(Command, Signal::TERM)]);
    let (wait, actions) = story.next_moment();
    assert_eq!(actions, [Action::Release]);
    assert!(wait < Duration::from_secs(1));
    assert_eq!(story.ended(Command, Ended::Code(0)), [Start(Command)]);
    assert!(!story.plan.is_renewing());
    assert_eq!(story.plan.next_moment(), None);
}

#[test]
fn a_command_that_ends_by_sigterm_at_once_is_started_again_and_nobody_waits_any_more() {
    let mut story = renewing();
    story.on(Event::Held);
    let ended = story.ended(Command, Ended::Signal(15));
    assert_eq!(ended, [Action::Release, Start(Command)]);
}

#[test]
fn a_command_that_ignores_the_sigterm_of_a_restart_is_killed_and_started_again() {
    let mut story = renewing();
    story.on(Event::Held);
    assert_eq!(story.next_moment().1, [Action::Release]);
    assert_eq!(story.next_moment().1, [Send(Command, Signal::KILL)]);
    assert_eq!(story.ended(Command, Ended::Signal(9)), [Start(Command)]);
}

#[test]
fn siblings_get_their_time_before_a_restart() {
    let mut story = Story::serving(Mode::Run);
    let lead = Duration::from_secs(20);
    assert_eq!(story.on(Event::Rejuvenate { lead }), []);
    assert!(story.plan.is_renewing());
    assert_eq!(story.next_moment(), (lead, vec![Action::Hold]));
}

#[test]
fn a_proxy_that_somebody_has_paused_puts_the_restart_off() {
    let mut story = renewing();
    assert_eq!(story.on(Event::NotHeld), []);
    assert!(!story.plan.is_renewing() && story.plan.can_renew());
}

#[test]
fn a_signal_that_ends_stent_calls_a_restart_off_whatever_it_has_come_to() {
    for holding in [vec![], vec![Event::Held]] {
        let mut story = renewing();
        for event in holding {
            story.on(event);
        }
        let actions = story.on(Event::Signal(Signal::TERM));
        assert_eq!(actions, [Action::Release, Send(Command, Signal::TERM)]);
        assert_eq!(story.on(Event::Held), [], "too late");
        let ended = story.ended(Command, Ended::Code(7));
        assert_eq!(ended, [Send(Proxy, Signal::TERM), Send(Agent, Signal::TERM)]);
    }
}

#[test]
fn a_command_that_ends_by_itself_before_it_was_asked_to_ends_stent() {
    let mut story = renewing();
    let ended = story.ended(Command, Ended::Code(3));
    assert_eq!(ended, [Action::Release, Send(Proxy, Signal::TERM), Send(Agent, Signal::TERM)]);
}

#[test]
fn there_is_no_restart_while_one_is_under_way_or_an_upgrade_or_an_end() {
    let mut story = renewing();
    assert_eq!(story.on(Event::Rejuvenate { lead: Duration::ZERO }), []);
    let mut story = Story::serving(Mode::Run);
    story.on(Event::Upgrade);
    assert_eq!(story.on(Event::Rejuvenate { lead: Duration::ZERO }), []);
    let mut story = Story::serving(Mode::Run);
    story.on(Event::Signal(Signal::TERM));
    assert_eq!(story.on(Event::Rejuvenate { lead: Duration::ZERO }), []);
    let mut story = Story::serving(Mode::Up);
    assert_eq!(story.on(Event::Rejuvenate { lead: Duration::ZERO }), []);
}
