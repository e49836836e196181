//! The disk under a real daemon fails with EIO, again and again, under load: the daemon opens its store anew by
//! itself, stops with 74 at the third fault, and nothing that was promised is lost.
//!
//! A library before libc makes writes and syncs of the database fail (`support/faults.c`, built with `cc`). The
//! senders and the judge are those of the kill loop. `AURA_FAULT_CYCLES` sets the cycles (default 20).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::judge::Evidence;
use crate::kill_loop::{Chance, Load, number, seed};
use crate::support::daemon::MASTER;
use crate::support::sender::SECRET;
use crate::support::{Daemon, LIMIT, Receiver, Setup, tick, wait_until};

const FLOW: &str = r#"
aura: 1
flow: disk-faults
triggers:
  - id: in
    on: webhook
    auth: { scheme: standard_webhooks, secret: sender }
steps:
  - id: facts
    set: { n: "{{ trigger.body.n }}" }
  - id: reserve
    http: { method: POST, url: "RECEIVER/reserve", body: { n: "{{ steps.facts.output.n }}" } }
    effect: keyed
    retry: { attempts: 12, base: 20ms, cap: 200ms }
"#;

/// Builds the library; `None` without a C compiler.
fn library(dir: &Path) -> Option<String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/it/support/faults.c");
    let built = dir.join("faults.so");
    let output = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&built).args([source, "-ldl"]).output();
    let output = output.ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(built.display().to_string())
}

#[test]
fn io_errors_of_the_disk_lose_nothing_and_end_the_daemon_only_at_the_third() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(library) = library(dir.path()) else {
        println!("not run: there is no C compiler for the library that makes writes fail");
        return;
    };
    let cycles = number("AURA_FAULT_CYCLES", 20);
    let seed = seed();
    println!("{cycles} cycles, AURA_SEED={seed}");
    let mut chance = Chance(seed);
    let permille = dir.path().join("permille");
    let faults = || fs::metadata(dir.path().join("count")).map_or(0, |data| data.len());

    let receiver = Receiver::start();
    let environment = [("LD_PRELOAD", library), ("AURA_TEST_FAULTS", dir.path().display().to_string())];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let mut daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    daemon.secret("sender", SECRET);
    daemon.publish(&FLOW.replace("RECEIVER", &receiver.url("")));
    let hook = daemon.hook("disk-faults");
    let load = Arc::new(Load { next: AtomicU64::new(1), ..Load::default() });
    let senders: Vec<_> = (0..6)
        .map(|_| {
            let (load, hook, chance) = (Arc::clone(&load), hook.clone(), Chance(chance.below(u64::MAX)));
            std::thread::spawn(move || load.send(&hook, 40, chance))
        })
        .collect();
    let acked = || load.acks.lock().expect("acks").len();

    let (mut stops, mut since_start) = (0, 0);
    for _ in 0..cycles {
        let before = faults();
        // A p of 0.01 to 0.05, until one call has failed.
        fs::write(&permille, chance.between(10, 50).to_string()).expect("a control file");
        let until = Instant::now() + LIMIT;
        while faults() == before && daemon.ended().is_none() {
            assert!(Instant::now() < until, "no call of the daemon ever failed:\n{}", daemon.place.said());
            tick();
        }
        fs::remove_file(&permille).expect("a control file");
        // It ends, or goes on: then senders hear promises again.
        let promised = acked();
        let ended = loop {
            if let Some(status) = daemon.ended() {
                break Some(status);
            }
            if acked() > promised + 3 {
                break None;
            }
            assert!(Instant::now() < until, "it neither ended nor went on:\n{}", daemon.place.said());
            tick();
        };
        since_start += faults() - before;
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(74), "{}", daemon.place.said());
            assert!(since_start >= 3, "it ended after {since_start} faults:\n{}", daemon.place.said());
            (stops, since_start) = (stops + 1, 0);
            daemon.up();
        } else {
            // Two calls of one commit may fail and count as one fault, never the other way round.
            assert!(daemon.ask().status(()).is_ok());
        }
    }
    load.stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().expect("a sender that hears a promise for each message");
    }
    daemon.wait_quiet(Duration::from_secs(60));
    let said = daemon.place.said();
    let reopened = said.matches("was opened again and goes on").count();
    assert!(daemon.stop().success(), "the daemon ends well:\n{said}");
    let mut evidence = Evidence { requests: receiver.log(), ..Evidence::default() };
    evidence.acks = load.acks.lock().expect("acks").clone();
    evidence.read(&daemon.place.data(), MASTER);
    println!(
        "{} faults, {reopened} times opened again, {stops} stops with 74, {} promises, {} runs",
        faults(),
        evidence.acks.len(),
        evidence.runs.len()
    );
    let broken = evidence.faults();
    assert!(broken.is_empty(), "{} broken promises with AURA_SEED={seed}: {:#?}", broken.len(), broken.first());
    assert!(reopened as u64 <= faults(), "{reopened} reopens for {} faults", faults());
    assert!(reopened > 0 && stops > 0, "{reopened} reopens and {stops} stops: the loop does not test what it should");
    wait_until("the judge to have seen every promise", LIMIT, || evidence.acks.len() == acked());
}
