//! pgbench in every protocol: no error, and never more servers than the cap.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use stent_testkit::{Postgres, wait_for};

use super::support::{PATIENCE, Proxy};

#[test]
fn every_protocol_runs_without_an_error_and_below_the_cap() {
    let pg = Arc::new(Postgres::builder().max_connections(40).start().unwrap());
    let proxy = Proxy::start(&pg, |_| {});
    let run = |arguments: &[&str]| {
        let mut command = pg.client("pgbench").unwrap();
        command.args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    };
    run(&["-i", "-q", "-s", "1"]);
    // Its own connection was a direct one, and may take a moment to end.
    let only_ours = || {
        let idle: usize =
            proxy.snapshot().pools.iter().map(|pool| pool.servers_idle as usize).sum();
        (pg.backends().unwrap().len() == idle).then_some(())
    };
    wait_for("the initialisation to end", PATIENCE, only_ours).unwrap();
    let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let watcher = {
        let (pg, stop, most) = (Arc::clone(&pg), Arc::clone(&stop), Arc::clone(&most));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                most.fetch_max(pg.backends().unwrap().len(), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(50));
            }
        })
    };
    let port = proxy.port.to_string();
    for script in [&["-S"][..], &["-b", "tpcb-like"]] {
        for protocol in ["simple", "extended", "prepared"] {
            let mut arguments =
                vec!["-n", "-p", &port, "-c", "16", "-j", "16", "-t", "100", "-M", protocol];
            arguments.extend_from_slice(script);
            let text = run(&arguments);
            assert!(text.contains("1600/1600"), "{arguments:?}: {text}");
        }
    }
    stop.store(true, Ordering::SeqCst);
    watcher.join().unwrap();
    let most = most.load(Ordering::SeqCst);
    let totals = proxy.snapshot().pools[0].totals;
    assert!((1..=4).contains(&most), "{most} servers at once: {totals:?}");
}
