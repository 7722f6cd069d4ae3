//! Cancel requests: they end what they mean and nothing else.

use stent_testkit::Postgres;
use tokio_postgres::NoTls;

use super::support::{Proxy, cancel_its_sleep, code, until};

/// Checklist 7, plain; over TLS in `tls`.
#[tokio::test]
async fn a_cancel_request_ends_the_query_of_its_own_client_only() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let (a, b) = (proxy.client().await, proxy.client().await);
    let token = a.cancel_token();
    let slow = tokio::spawn(async move { a.batch_execute("select pg_sleep(600)").await });
    let other = tokio::spawn(async move { b.batch_execute("select pg_sleep(0.5)").await });
    until("both to run", || proxy.snapshot().pools[0].servers_active == 2).await;
    token.cancel_query(NoTls).await.unwrap();
    let error = slow.await.unwrap().err().unwrap();
    assert_eq!(code(&error), "57014");
    other.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_queued_client_can_cancel_its_wait_and_stays_connected() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
    });
    let (holder, waiter) = (proxy.client().await, proxy.client().await);
    holder.batch_execute("begin").await.unwrap();
    let token = waiter.cancel_token();
    let waiting = tokio::spawn(async move {
        let result = waiter.batch_execute("select 1").await;
        (waiter, result)
    });
    until("it to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    token.cancel_query(NoTls).await.unwrap();
    let (waiter, result) = waiting.await.unwrap();
    assert_eq!(code(&result.err().unwrap()), "57014");
    assert_eq!(proxy.snapshot().pools[0].clients_waiting, 0);
    holder.batch_execute("commit").await.unwrap();
    waiter.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn a_cancelled_server_never_takes_its_late_signal_to_the_next_client() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
    });
    let (a, b) = (proxy.client().await, proxy.client().await);
    for _ in 0..200 {
        cancel_its_sleep(&a, &pg).await;
        b.batch_execute("select pg_sleep(0.01)").await.unwrap();
    }
}

/// The request arrives about when its statement ends: whatever it hits, it is not a neighbour.
#[tokio::test]
async fn a_cancel_request_that_comes_too_late_hits_nobody() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
    });
    let (a, b) = (proxy.client().await, proxy.client().await);
    for round in 0..200u32 {
        let token = a.cancel_token();
        let sleep = format!("select pg_sleep({})", f64::from(round % 8) / 2000.0);
        let (a_result, b_result, cancelled) = tokio::join!(
            a.batch_execute(&sleep),
            b.batch_execute("select pg_sleep(0.002)"),
            token.cancel_query(NoTls)
        );
        cancelled.unwrap();
        b_result.unwrap();
        if let Err(error) = a_result {
            assert_eq!(code(&error), "57014");
        }
    }
}
