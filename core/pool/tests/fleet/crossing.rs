//! Claims that cross each other: two proxies, step by step.

use std::time::{Duration, Instant};

use stent_pool::fleet::{Fleet, FleetId, Next, Rules};

use crate::postgres::{Kind, Postgres};

const RULES: Rules =
    Rules { minimum: 1, most: 65_535, reserve: 0, interval: Duration::from_secs(5) };

/// A proxy that holds nothing, on its control connection.
struct Member {
    fleet: Fleet,
    pid: u32,
}

/// Two of them, which have looked on for long enough, and ten places beside their connections.
fn two(now: Instant) -> (Postgres, Member, Member) {
    let mut pg = Postgres::new(12, 0);
    let mut join = |id| {
        let mut fleet = Fleet::new(FleetId::new(id), RULES, id, now);
        let claim = fleet.publish(now, 0, 0);
        let pid = pg.login(Kind::Control { proxy: 0, claim }).unwrap();
        Member { fleet, pid }
    };
    let (mut first, mut second) = (join(1), join(2));
    first.ask(&mut pg, now, 0);
    second.ask(&mut pg, now, 0);
    (pg, first, second)
}

impl Member {
    fn publish(&mut self, pg: &mut Postgres, now: Instant, demand: u32) {
        let said = self.fleet.publish(now, 0, demand);
        pg.publish(self.pid, &said.to_string(), &[]);
    }

    fn hear(&mut self, pg: &Postgres, now: Instant) -> Next {
        self.fleet.hear(now, now, &pg.read(self.pid))
    }

    fn ask(&mut self, pg: &mut Postgres, now: Instant, demand: u32) -> Next {
        self.publish(pg, now, demand);
        self.hear(pg, now)
    }

    fn limit(&mut self, now: Instant) -> u32 {
        self.fleet.limit(now, 0)
    }
}

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    Instant::now()
}

#[test]
fn of_two_who_claim_the_same_places_neither_uses_them_before_the_other_has_withdrawn() {
    let now = start() + Duration::from_secs(1);
    let (mut pg, mut first, mut second) = two(start());
    // Each reads while the other needs nothing yet, and claims nearly everything.
    first.publish(&mut pg, now, 10);
    let seen_by_first = pg.read(first.pid);
    first.publish(&mut pg, now, 0);
    assert_eq!(second.ask(&mut pg, now, 10), Next::Again);
    assert_eq!(first.fleet.hear(now, now, &seen_by_first), Next::Again);
    // Both claims are there before either reads.
    first.publish(&mut pg, now, 10);
    second.publish(&mut pg, now, 10);
    first.hear(&pg, now);
    second.hear(&pg, now);
    let (one, other) = (first.limit(now), second.limit(now));
    assert!(one + other <= 10, "{one} and {other} of ten places");
    // One withdraws, the other keeps its claim; soon both have their part.
    for _ in 0..4 {
        first.ask(&mut pg, now, 10);
        second.ask(&mut pg, now, 10);
        let (one, other) = (first.limit(now), second.limit(now));
        assert!(one + other <= 10, "{one} and {other} of ten places");
    }
    assert_eq!((first.limit(now), second.limit(now)), (5, 5));
}

#[test]
fn a_place_is_used_only_after_a_reading_that_followed_its_claim() {
    let now = start() + Duration::from_secs(1);
    let (mut pg, mut first, mut second) = two(start());
    assert_eq!(first.ask(&mut pg, now, 8), Next::Again);
    assert_eq!(first.limit(now), 0, "a claim alone gives nothing");
    first.publish(&mut pg, now, 8);
    // The other sees the claim, and leaves the places alone.
    second.ask(&mut pg, now, 8);
    second.ask(&mut pg, now, 8);
    first.hear(&pg, now);
    let (one, other) = (first.limit(now), second.limit(now));
    assert!(one >= 5 && one + other <= 10, "{one} and {other} of ten places");
}

#[test]
fn nothing_is_opened_after_a_silence_or_the_loss_of_the_connection() {
    let now = start() + Duration::from_secs(1);
    let (mut pg, mut first, _second) = two(start());
    first.ask(&mut pg, now, 5);
    first.ask(&mut pg, now, 5);
    assert!(first.fleet.limit(now, 3) >= 5);
    let late = now + RULES.interval;
    assert_eq!(first.fleet.limit(late, 3), 3, "what it holds");
    assert_eq!(first.fleet.limit(late, 2), 2, "and never more again");
    first.fleet.lost(late, 2);
    assert_eq!(first.fleet.limit(late, 1), 1);
}

#[test]
fn the_share_of_one_that_has_vanished_is_kept_for_as_long_as_it_may_use_it() {
    let now = start() + Duration::from_secs(1);
    let (mut pg, mut first, mut second) = two(start());
    first.ask(&mut pg, now, 9);
    first.ask(&mut pg, now, 9);
    assert_eq!(first.limit(now), 9);
    second.ask(&mut pg, now, 0);
    pg.end(first.pid);
    second.ask(&mut pg, now, 9);
    second.ask(&mut pg, now, 9);
    assert!(second.limit(now) <= 1, "{}", second.limit(now));
    let later = now + RULES.interval;
    assert_eq!(first.limit(later), 0, "it holds nothing, and may open nothing any more");
    second.ask(&mut pg, later, 9);
    second.ask(&mut pg, later, 9);
    assert!(second.limit(later) >= 9, "{}", second.limit(later));
}
