//! The hub without its connection: who hears what while clients come and go.

use std::task::Waker;
use std::time::Instant;

use super::*;
use crate::clients::Clients;
use crate::stream::Peer;

fn channel(name: &str) -> Channel {
    name.as_bytes().into()
}

fn client(hub: &Arc<Hub>, clients: &mut Clients) -> Listening {
    let id = clients.add(Peer::Unix(None), stent_pool::Home(0), Instant::now());
    Listening::new(hub, id, Mailbox::new(Waker::noop().clone()))
}

/// A hub whose connection has just been opened.
fn open() -> (Arc<Hub>, Clients) {
    let mut pools = stent_pool::Pools::new(limits(), 1);
    let pool = pools.pool("d", "u").unwrap();
    let hub = Hub::new(pool, pools.listening(pool).unwrap(), 7);
    hub.opened();
    (Arc::new(hub), Clients::default())
}

fn limits() -> stent_pool::Limits {
    stent_pool::Limits {
        pool_size: std::num::NonZeroU32::MIN,
        reserve_pool_size: 0,
        reserve_pool_timeout: None,
        min_pool_size: 0,
        size_rules: Vec::new(),
        max_db_connections: None,
        max_user_connections: None,
        max_server_connections: None,
        query_wait_timeout: None,
        server_lifetime: None,
        server_max_uses: None,
        server_idle_timeout: None,
        server_check_delay: std::time::Duration::ZERO,
        retry_min: stent_pool::RETRY_MIN,
        retry_max: stent_pool::RETRY_MAX,
        class_weights: Vec::new(),
        waiters_max: 1,
        opening_max: 1,
    }
}

/// Everything that the connection is to be told, told and answered.
fn settle(hub: &Hub) {
    while let Some(change) = hub.next_change() {
        hub.changed_to(&change);
    }
}

fn heard(hub: &Hub, listening: &Listening, channel: &str, payload: &str) -> usize {
    let mut body = vec![0, 0, 0, 9];
    body.extend_from_slice(format!("{channel}\0{payload}\0").as_bytes());
    let mut message = Vec::new();
    stent_wire::frame::put_message(&mut message, b'A', |out| out.extend_from_slice(&body));
    hub.dispatch(&message, &Notification::parse(&body).unwrap());
    let mut out = Vec::new();
    listening.mailbox.empty_into(&mut out);
    out.len() / message.len()
}

fn fence(hub: &Hub, listening: &Listening, channel: &Channel) {
    let number = hub.set_fence(listening.client, std::slice::from_ref(channel));
    hub.pass_fence(number.to_string().as_bytes());
}

#[test]
fn who_comes_while_the_last_one_is_unlistened_waits_until_it_is_listened_again() {
    let (hub, mut clients) = open();
    let jobs = channel("jobs");
    let mut first = client(&hub, &mut clients);
    hub.enter(&mut first, &jobs);
    settle(&hub);
    assert_eq!(hub.stands(std::slice::from_ref(&jobs)), Some(Ok(())));
    drop(first);
    let unlisten = hub.next_change().unwrap();
    assert_eq!(unlisten.unlisten, std::slice::from_ref(&jobs));
    let mut second = client(&hub, &mut clients);
    hub.enter(&mut second, &jobs);
    assert_eq!(hub.stands(std::slice::from_ref(&jobs)), None, "UNLISTEN is on its way");
    hub.changed_to(&unlisten);
    assert_eq!(hub.stands(std::slice::from_ref(&jobs)), None);
    settle(&hub);
    assert_eq!(hub.stands(std::slice::from_ref(&jobs)), Some(Ok(())));
}

#[test]
fn who_comes_hears_nothing_before_its_fence_and_everything_after() {
    let (hub, mut clients) = open();
    let jobs = channel("jobs");
    let mut one = client(&hub, &mut clients);
    hub.enter(&mut one, &jobs);
    settle(&hub);
    assert_eq!(heard(&hub, &one, "jobs", "1"), 0);
    fence(&hub, &one, &jobs);
    assert_eq!(heard(&hub, &one, "jobs", "2"), 1);
    assert_eq!(heard(&hub, &one, "other", "3"), 0);
}

#[test]
fn who_leaves_and_comes_again_waits_for_a_fence_of_its_own() {
    let (hub, mut clients) = open();
    let jobs = channel("jobs");
    let mut one = client(&hub, &mut clients);
    hub.enter(&mut one, &jobs);
    settle(&hub);
    let old = hub.set_fence(one.client, std::slice::from_ref(&jobs));
    one.retain(|_| false);
    hub.enter(&mut one, &jobs);
    hub.pass_fence(old.to_string().as_bytes());
    assert_eq!(heard(&hub, &one, "jobs", "1"), 0);
    settle(&hub);
    fence(&hub, &one, &jobs);
    assert_eq!(heard(&hub, &one, "jobs", "2"), 1);
}

#[test]
fn nothing_is_kept_of_channels_that_nobody_has() {
    let (hub, mut clients) = open();
    for round in 0..100 {
        let mut one = client(&hub, &mut clients);
        hub.enter(&mut one, &channel(&format!("c{round}")));
        if round % 2 == 0 {
            settle(&hub);
        }
        drop(one);
    }
    settle(&hub);
    let state = hub.state.lock();
    assert_eq!((state.channels.len(), state.due.len()), (0, 0));
    assert_eq!(hub.counts.clients.get(), 0);
}
