//! Issue 5, bar 4: under load either side of a relay is killed with SIGKILL at random moments, again and again; then what
//! waits is drained and home is judged by its store.
//!
//! The one invariant: nothing but a promise counts, and nothing tells repeats but what the two sides remember of each
//! other: the trigger has no key and its senders no id, and a sender that hears no promise sends something else. So each
//! promised event must have begun exactly one run, and no request may have begun two. `AURA_RELAY_KILLS` sets the cycles
//! (6 in the gate), `AURA_SEED` repeats the random choices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aura_protocol::EventId;
use aura_protocol::run::{Record, RunState};

use crate::judge::Evidence;
use crate::kill_loop::{Chance, number, seed};
use crate::support::daemon::MASTER;
use crate::support::{Hook, LIMIT, Pair, tick, wait_until};

const SENDERS: usize = 6;
const FLOW: &str = r#"
aura: 1
flow: relayed
triggers:
  - { id: in, on: webhook, auth: none }
steps:
  - { id: kept, set: { n: "{{ trigger.body.n }}" } }
"#;

/// The senders' side.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    next: AtomicU64,
    open: AtomicU64,
    /// Promised events, with the request that each is.
    promised: Mutex<Vec<(EventId, u64)>>,
    unheard: AtomicU64,
}

impl Load {
    /// Request after request; each has a number of its own, whatever became of the one before.
    fn send(&self, hook: &Hook, mut chance: Chance) {
        let headers = [("content-type".to_owned(), "application/json".to_owned())];
        while !self.stop.load(Ordering::SeqCst) {
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            self.open.fetch_add(1, Ordering::SeqCst);
            let reply = hook.send_with(&headers, format!("{{\"n\":{n}}}").as_bytes());
            self.open.fetch_sub(1, Ordering::SeqCst);
            match reply {
                Ok(reply) if reply.status == 202 => {
                    let event = reply.event().expect("the header that promises").parse().expect("an event id");
                    self.promised.lock().expect("promises").push((event, n));
                }
                Ok(reply) => assert_eq!(reply.status, 503, "{}", reply.text()),
                Err(_) => _ = self.unheard.fetch_add(1, Ordering::SeqCst),
            }
            let until = Instant::now() + Duration::from_millis(chance.between(2, 25));
            while Instant::now() < until {
                tick();
            }
        }
    }
}

/// What a kill hit.
#[derive(Default)]
struct Kills {
    relay: usize,
    home: usize,
    with_requests: usize,
    with_waiting: usize,
}

#[test]
fn nothing_promised_by_a_relay_is_lost_or_runs_twice_whoever_is_killed() {
    let cycles = number("AURA_RELAY_KILLS", 6);
    let seed = seed();
    let mut chance = Chance(seed);
    println!("{cycles} cycles, AURA_SEED={seed}");
    let mut pair = Pair::start(&[]);
    pair.home.publish(FLOW);
    let hook = pair.at_relay(pair.home.open_hook("relayed"));
    let load = Arc::new(Load::default());
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (load, hook, chance) = (Arc::clone(&load), hook.clone(), Chance(chance.below(u64::MAX)));
            std::thread::spawn(move || load.send(&hook, chance))
        })
        .collect();
    let mut kills = Kills::default();
    for _ in 0..cycles {
        let moment = Instant::now() + Duration::from_millis(chance.between(20, 500));
        wait_until("the moment of a kill", LIMIT, || Instant::now() >= moment);
        kills.with_requests += usize::from(load.open.load(Ordering::SeqCst) > 0);
        kills.with_waiting += usize::from(pair.serving().waiting > 0);
        let which = chance.below(3);
        // One of the two, or both at once.
        if which != 1 {
            pair.relay.kill9();
            kills.relay += 1;
        }
        if which != 0 {
            pair.home.kill9();
            kills.home += 1;
        }
        // Who is not killed goes on alone for a while.
        let moment = Instant::now() + Duration::from_millis(chance.between(0, 150));
        wait_until("the other side to go on alone", LIMIT, || Instant::now() >= moment);
        if which != 1 {
            pair.relay.up();
        }
        if which != 0 {
            pair.home.up();
        }
    }
    load.stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().expect("a sender that hears promises or nothing");
    }
    wait_until("all that waits to be drained", Duration::from_secs(120), || pair.serving().waiting == 0);
    pair.home.wait_quiet(Duration::from_secs(120));
    assert!(pair.home.stop().success() && pair.relay.stop().success(), "{}", pair.home.place.said());
    judge(&pair, &load, &kills, seed);
}

fn judge(pair: &Pair, load: &Load, kills: &Kills, seed: u64) {
    let promised = load.promised.lock().expect("promises").clone();
    let mut evidence = Evidence::default();
    evidence.read(&pair.home.place.data(), MASTER);
    assert_eq!(evidence.reading, Vec::<String>::new(), "AURA_SEED={seed}");
    let mut by_event: BTreeMap<EventId, Vec<u64>> = BTreeMap::new();
    let mut by_request: BTreeMap<u64, usize> = BTreeMap::new();
    for run in &evidence.runs {
        assert_eq!(run.head.state, RunState::Succeeded, "{}", run.head.run);
        let records = run.journal.iter().flat_map(|(_, step)| &step.records);
        let started = records.filter_map(|record| match record {
            Record::RunStarted(started) => Some(&started.event),
            _ => None,
        });
        for event in started {
            let json: serde_json::Value = serde_json::from_slice(&event.body).expect("a body as it was sent");
            let n = json["n"].as_u64().expect("a number");
            by_event.entry(event.event).or_default().push(n);
            *by_request.entry(n).or_default() += 1;
        }
    }
    println!(
        "{} promises, {} requests without an answer, {} runs; killed: relay {}, home {}; with requests open {}, with \
         deliveries waiting {}",
        promised.len(),
        load.unheard.load(Ordering::SeqCst),
        evidence.runs.len(),
        kills.relay,
        kills.home,
        kills.with_requests,
        kills.with_waiting
    );
    let lost: Vec<_> = promised.iter().filter(|(event, n)| by_event.get(event) != Some(&vec![*n])).collect();
    assert!(lost.is_empty(), "AURA_SEED={seed}: promised, but not exactly one run: {lost:?}");
    let twice: Vec<_> = by_request.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "AURA_SEED={seed}: requests that ran more than once: {twice:?}");
    let unpromised = by_request.len() - promised.len();
    let unheard = usize::try_from(load.unheard.load(Ordering::SeqCst)).expect("few");
    assert!(unpromised <= unheard, "AURA_SEED={seed}: {unpromised} runs that nobody asked for");
    let distinct: BTreeSet<EventId> = promised.iter().map(|(event, _)| *event).collect();
    assert_eq!(distinct.len(), promised.len(), "AURA_SEED={seed}: one id for two promises");
    assert!(promised.len() > kills.relay + kills.home, "there was no load");
}
