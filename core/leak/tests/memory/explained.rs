//! What a person reads about memory that grows.

use super::common::{MB, START_MS, family, noise};
use stent_contract::{Diagnosis, MemoryReading, ProcessReading, VerdictLevel};
use stent_leak::{MemoryFacts, explain_memory};

fn reading(command: &str, oom_kills: u64) -> ProcessReading {
    ProcessReading {
        command: command.to_owned(),
        memory: MemoryReading { oom_kills: Some(oom_kills), ..MemoryReading::default() },
        ..ProcessReading::default()
    }
}

fn told(diagnosis: &Diagnosis) -> String {
    let mut said = format!("{}\n", diagnosis.summary);
    for cause in &diagnosis.causes {
        said += &format!("{:.2} {}\n     -> {}\n", cause.confidence, cause.text, cause.next_step);
    }
    said
}

#[test]
fn a_leak_is_explained_by_rate_kind_of_memory_traffic_and_end() {
    let mut leak = family("leak", 1, 0.1, |t, r| 40.0 * MB + t * MB + noise(r, 2.0 * MB));
    leak.rate = Some(Box::new(|_| 100.0));
    let verdict = leak.run(9, |_, _| {}).verdict(START_MS + 360_000);
    assert_eq!(verdict.level, VerdictLevel::Leak);
    let process = reading("bun", 2);
    let facts = MemoryFacts { reading: Some(&process), clients_waiting: 6, held_transactions: 4 };
    let diagnosis = explain_memory(&verdict, &facts).unwrap();
    expect_test::expect![[r#"
        'api' leaks memory: 3.59 GB/h without slowing down; limit in 10 min (9 min to 12 min)
        0.85 memory of 'api' grows 3.59 GB/h without slowing down: anonymous memory, not file cache; a rise in traffic does not explain it; something that is kept for each request (about 9.97 kB a transaction) is never released
             -> start it with BUN_INSPECT set, take Heap.snapshot twice ten minutes apart and compare the classes (never send it SIGUSR1: that ends Bun); until it is mended, restart it before it reaches the limit
        0.50 requests pile up behind 4 forgotten transactions held: 6 clients waiting, each with its request in memory
             -> mend the connection leak first and see whether memory still grows
        0.30 the kernel has killed in this cgroup before for want of memory (2 times)
             -> compare with the restarts of the service: the same leak may be behind them
        0.00 a cache without a bound on its size is still filling
             -> look for maps that are only added to; give each a largest size
    "#]].assert_eq(&told(&diagnosis));
}

#[test]
fn the_advice_fits_the_runtime() {
    let leak = family("leak", 1, 0.1, |t, _| 40.0 * MB + t * MB);
    let verdict = leak.run(9, |_, _| {}).verdict(START_MS + 360_000);
    let advice = |command: &str| {
        let process = reading(command, 0);
        let facts = MemoryFacts { reading: Some(&process), ..MemoryFacts::default() };
        explain_memory(&verdict, &facts).unwrap().causes[0].next_step.clone()
    };
    assert!(advice("node").starts_with("send SIGUSR1"));
    assert!(advice("bun").contains("never send it SIGUSR1"));
    assert!(advice("python3").contains("never send it SIGUSR1"));
    assert!(!advice("api").contains("SIGUSR1"));
}

#[test]
fn health_is_not_explained() {
    let flat = family("flat", 1, 0.1, |_, _| 40.0 * MB);
    let verdict = flat.run(9, |_, _| {}).verdict(START_MS + 360_000);
    assert!(explain_memory(&verdict, &MemoryFacts::default()).is_none());
}
