//! The supervisor's decisions, event by event.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Plan, REST_MAX};
use crate::supervise::event::{Action, Ended, Event, Mode, Part};
use Action::{Leave, Send, Start};
use Part::{Agent, Command, Predecessor, Proxy, Successor};

const LIMIT: Duration = Duration::from_secs(28);

/// A plan with a clock of its own.
pub(super) struct Story {
    pub(super) plan: Plan,
    now: Instant,
}

impl Story {
    fn new(mode: Mode) -> Self {
        Self { plan: Plan::new(mode, Some(LIMIT)), now: Instant::now() }
    }

    /// A plan that serves, with all of its parts running.
    pub(super) fn serving(mode: Mode) -> Self {
        let mut story = Self::new(mode);
        story.on(Event::Begin);
        story.on(Event::Live);
        story.on(Event::Ready);
        story
    }

    pub(super) fn on(&mut self, event: Event) -> Vec<Action> {
        self.plan.handle(event, self.now)
    }

    pub(super) fn ended(&mut self, part: Part, how: Ended) -> Vec<Action> {
        self.on(Event::Ended(part, how))
    }

    /// Goes to the next moment that the plan wants to see; how far that was, and what it does then.
    pub(super) fn next_moment(&mut self) -> (Duration, Vec<Action>) {
        let moment = self.plan.next_moment().expect("a moment is wanted");
        let wait = moment.duration_since(self.now);
        self.now = moment;
        (wait, self.on(Event::Time))
    }
}

#[test]
fn up_starts_both_components_at_once() {
    let mut story = Story::new(Mode::Up);
    assert_eq!(story.on(Event::Begin), [Start(Proxy), Start(Agent)]);
    assert_eq!(story.on(Event::Ready), []);
}

#[test]
fn run_starts_the_command_when_the_proxy_is_ready_and_the_agent_after_it() {
    let mut story = Story::new(Mode::Run);
    assert_eq!(story.on(Event::Begin), [Start(Proxy)]);
    assert_eq!(story.on(Event::Live), []);
    assert_eq!(story.on(Event::Ready), [Start(Command), Start(Agent)]);
    assert_eq!(story.on(Event::Ready), [], "a second one changes nothing");
}

#[test]
fn a_component_that_dies_is_started_again_after_a_rest_that_grows() {
    let mut story = Story::serving(Mode::Run);
    let mut rests = Vec::new();
    for _ in 0..9 {
        assert_eq!(story.ended(Agent, Ended::Signal(9)), []);
        let (rest, actions) = story.next_moment();
        assert_eq!(actions, [Start(Agent)]);
        rests.push(rest.as_millis());
    }
    assert_eq!(rests, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
}

#[test]
fn a_component_that_lived_long_rests_briefly() {
    let mut story = Story::serving(Mode::Up);
    for _ in 0..5 {
        story.ended(Proxy, Ended::Code(101));
        story.next_moment();
    }
    story.now += REST_MAX * 2;
    story.ended(Proxy, Ended::Code(101));
    assert_eq!(story.next_moment().0, Duration::from_millis(100));
}

#[test]
fn the_death_of_the_proxy_leaves_the_command_alone() {
    let mut story = Story::serving(Mode::Run);
    assert_eq!(story.ended(Proxy, Ended::Code(3)), []);
    assert_eq!(story.next_moment().1, [Start(Proxy)]);
}

#[test]
fn a_proxy_that_cannot_start_ends_all_with_its_own_code() {
    let mut up = Story::new(Mode::Up);
    up.on(Event::Begin);
    assert_eq!(up.ended(Proxy, Ended::Code(3)), [Send(Agent, Signal::TERM)]);
    assert_eq!(up.ended(Agent, Ended::Code(0)), [Leave(3)]);
    let mut run = Story::new(Mode::Run);
    run.on(Event::Begin);
    assert_eq!(run.ended(Proxy, Ended::Code(2)), [Leave(2)]);
}

#[test]
fn a_proxy_that_crashes_before_it_is_ready_is_started_again() {
    let mut story = Story::new(Mode::Run);
    story.on(Event::Begin);
    assert_eq!(story.ended(Proxy, Ended::Signal(11)), []);
    assert_eq!(story.next_moment().1, [Start(Proxy)]);
}

#[test]
fn the_end_of_the_command_ends_the_components_and_its_code_is_passed_on() {
    let mut story = Story::serving(Mode::Run);
    assert_eq!(
        story.ended(Command, Ended::Code(37)),
        [Send(Proxy, Signal::TERM), Send(Agent, Signal::TERM)]
    );
    assert_eq!(story.ended(Agent, Ended::Code(0)), []);
    assert_eq!(story.ended(Proxy, Ended::Code(0)), [Leave(37)]);
}

#[test]
fn a_command_that_a_signal_ended_gives_128_and_the_signal() {
    let mut story = Story::serving(Mode::Run);
    story.ended(Command, Ended::Signal(9));
    story.ended(Agent, Ended::Code(0));
    assert_eq!(story.ended(Proxy, Ended::Code(0)), [Leave(137)]);
}

#[test]
fn signals_go_to_the_command_and_the_proxy_serves_on() {
    let mut story = Story::serving(Mode::Run);
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::WINCH,
    ] {
        assert_eq!(story.on(Event::Signal(signal)), [Send(Command, signal)]);
    }
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_at_the_limit() {
    let mut story = Story::serving(Mode::Run);
    story.on(Event::Signal(Signal::TERM));
    story.now += Duration::from_secs(5);
    story.on(Event::Signal(Signal::TERM));
    let (wait, actions) = story.next_moment();
    assert_eq!(wait, LIMIT - Duration::from_secs(5), "a second SIGTERM gives no more time");
    assert_eq!(actions, [Send(Command, Signal::KILL)]);
    assert_eq!(story.plan.next_moment(), None);
}

#[test]
fn up_ends_its_components_at_sigterm_and_leaves_clean() {
    let mut story = Story::serving(Mode::Up);
    assert_eq!(
        story.on(Event::Signal(Signal::TERM)),
        [Send(Proxy, Signal::TERM), Send(Agent, Signal::TERM)]
    );
    assert_eq!(story.ended(Proxy, Ended::Code(0)), []);
    assert_eq!(story.ended(Agent, Ended::Signal(15)), [Leave(0)]);
}

#[test]
fn what_does_not_end_is_killed_at_the_limit_and_the_code_says_so() {
    let mut story = Story::serving(Mode::Up);
    story.on(Event::Signal(Signal::TERM));
    story.ended(Agent, Ended::Code(0));
    let (wait, actions) = story.next_moment();
    assert_eq!((wait, actions), (LIMIT, vec![Send(Proxy, Signal::KILL)]));
    assert_eq!(story.ended(Proxy, Ended::Signal(9)), [Leave(4)]);
}

#[test]
fn a_second_sigterm_kills_at_once() {
    let mut story = Story::serving(Mode::Up);
    story.on(Event::Signal(Signal::INT));
    assert_eq!(
        story.on(Event::Signal(Signal::INT)),
        [Send(Proxy, Signal::KILL), Send(Agent, Signal::KILL)]
    );
}

#[test]
fn sigterm_while_a_component_rests_does_not_start_it_again() {
    let mut story = Story::serving(Mode::Up);
    story.ended(Agent, Ended::Signal(9));
    assert_eq!(story.on(Event::Signal(Signal::TERM)), [Send(Proxy, Signal::TERM)]);
    assert_eq!(story.next_moment().1, [Send(Proxy, Signal::KILL)], "only the limit is left");
}

#[test]
fn sigterm_before_the_command_runs_ends_run_with_the_signals_code() {
    let mut story = Story::new(Mode::Run);
    story.on(Event::Begin);
    assert_eq!(story.on(Event::Signal(Signal::TERM)), [Send(Proxy, Signal::TERM)]);
    assert_eq!(story.on(Event::Ready), [], "the command is not started any more");
    assert_eq!(story.ended(Proxy, Ended::Code(0)), [Leave(143)]);
}

#[test]
fn signals_that_end_nothing_do_nothing_without_a_command() {
    let mut story = Story::serving(Mode::Up);
    for signal in [Signal::USR1, Signal::USR2, Signal::WINCH] {
        assert_eq!(story.on(Event::Signal(signal)), []);
    }
}

#[test]
fn an_upgrade_starts_a_successor_which_becomes_the_proxy_when_it_serves() {
    let mut story = Story::serving(Mode::Up);
    assert_eq!(story.on(Event::Upgrade), [Start(Successor)]);
    assert_eq!(story.on(Event::Upgrade), [], "one at a time");
    assert_eq!(story.on(Event::Serving), [Action::Promote]);
    assert_eq!(story.on(Event::Upgrade), [], "while the old one is there");
    assert_eq!(story.ended(Predecessor, Ended::Code(0)), []);
    assert_eq!(story.on(Event::Upgrade), [Start(Successor)]);
}

#[test]
fn a_successor_that_ends_before_it_serves_leaves_everything_as_it_was() {
    let mut story = Story::serving(Mode::Up);
    story.on(Event::Upgrade);
    assert_eq!(story.ended(Successor, Ended::Code(4)), []);
    assert_eq!(story.on(Event::Serving), [], "that is the proxy of before");
    assert_eq!(story.on(Event::Upgrade), [Start(Successor)]);
}

#[test]
fn a_proxy_that_has_taken_over_is_started_again_like_every_other() {
    let mut story = Story::serving(Mode::Up);
    story.on(Event::Upgrade);
    story.on(Event::Serving);
    assert_eq!(story.ended(Proxy, Ended::Signal(9)), []);
    let (_, actions) = story.next_moment();
    assert_eq!(actions, [Start(Proxy)]);
}

#[test]
fn a_proxy_that_dies_during_an_upgrade_is_not_started_beside_its_successor() {
    let mut story = Story::serving(Mode::Up);
    story.on(Event::Upgrade);
    assert_eq!(story.ended(Proxy, Ended::Signal(9)), []);
    assert_eq!(story.plan.next_moment(), None, "the successor may serve yet");
    assert_eq!(story.on(Event::Serving), [Action::Promote]);
    assert_eq!(story.plan.next_moment(), None);
    let mut story = Story::serving(Mode::Up);
    story.on(Event::Upgrade);
    story.ended(Proxy, Ended::Signal(9));
    assert_eq!(story.ended(Successor, Ended::Code(4)), []);
    let (_, actions) = story.next_moment();
    assert_eq!(actions, [Start(Proxy)]);
}

#[test]
fn the_end_is_the_end_of_every_proxy() {
    let mut story = Story::serving(Mode::Up);
    story.on(Event::Upgrade);
    story.on(Event::Serving);
    let told = story.on(Event::Signal(Signal::TERM));
    let terms = [Proxy, Predecessor, Agent].map(|part| Send(part, Signal::TERM));
    assert_eq!(told, terms);
    assert_eq!(story.ended(Agent, Ended::Code(0)), []);
    assert_eq!(story.ended(Proxy, Ended::Code(0)), []);
    assert_eq!(story.ended(Predecessor, Ended::Code(0)), [Leave(0)]);
}
