//! Bar 2: `aurad` is killed with SIGKILL at random moments under load, again and again; then it is judged.
//!
//! The one invariant: a sender repeats a delivery with the same id until it hears a promise, and nothing
//! but that promise counts. The load is bounded, the kill moments are random and a histogram says what
//! they hit; see [`crate::judge`] for the rules. `AURA_KILL_CYCLES` sets the cycles (default 50),
//! `AURA_SEED` repeats the random choices.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aura_protocol::run::{Record, RunState};

use crate::judge::{Acked, Evidence};
use crate::support::daemon::MASTER;
use crate::support::sender::SECRET;
use crate::support::{Answer, Daemon, Hook, LIMIT, Receiver, now_ms, tick, wait_until};

const SENDERS: usize = 10;

/// What differs between the two loops.
struct Shape {
    flow: &'static str,
    text: &'static str,
    /// Of 50.
    cycles: usize,
    /// Longest life of a daemon in milliseconds.
    life_ms: u64,
    /// Different customers, for the key of the debounce.
    customers: u64,
}

const STEPS: Shape = Shape {
    flow: "kill-loop",
    text: r#"
aura: 1
flow: kill-loop
triggers:
  - id: in
    on: webhook
    auth: { scheme: standard_webhooks, secret: sender }
steps:
  - id: facts
    set: { n: "{{ trigger.body.n }}", large: "{{ trigger.body.amount > 50 }}" }
  - id: size
    branch:
      - when: "{{ steps.facts.output.large }}"
        steps:
          - id: big
            set: { name: large }
      - else: true
        steps:
          - id: small
            set: { name: small }
  - id: reserve
    http: { method: POST, url: "RECEIVER/reserve", body: { n: "{{ steps.facts.output.n }}" } }
    effect: keyed
    retry: { attempts: 12, base: 20ms, cap: 200ms }
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { n: "{{ steps.facts.output.n }}" } }
    effect: once
  - id: rest
    sleep: { for: 1s }
  - id: receipt
    http: { method: POST, url: "RECEIVER/receipt", body: { n: "{{ steps.facts.output.n }}" } }
    effect: keyed
    retry: { attempts: 12, base: 20ms, cap: 200ms }
"#,
    cycles: 50,
    life_ms: 400,
    customers: 40,
};

const DEBOUNCED: Shape = Shape {
    flow: "kill-debounce",
    text: r#"
aura: 1
flow: kill-debounce
triggers:
  - id: in
    on: webhook
    auth: { scheme: standard_webhooks, secret: sender }
    debounce: { key: "{{ trigger.body.customer }}", for: 1s, max: 3s }
steps:
  - id: reserve
    http: { method: POST, url: "RECEIVER/reserve", body: { n: "{{ trigger.body.n }}" } }
    effect: keyed
    retry: { attempts: 12, base: 20ms, cap: 200ms }
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { n: "{{ trigger.body.n }}" } }
    effect: once
"#,
    cycles: 15,
    life_ms: 900,
    customers: 300,
};

/// A small generator of our own: the same seed, the same choices.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }
}

pub fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The senders' side.
#[derive(Default)]
pub struct Load {
    pub stop: AtomicBool,
    pub next: AtomicU64,
    /// Deliveries whose bytes have left and that were not answered.
    pub open: AtomicUsize,
    pub repeats: AtomicUsize,
    pub acks: Mutex<Vec<Acked>>,
}

impl Load {
    /// One sender: message after message, each repeated until it is promised.
    pub fn send(&self, hook: &Hook, customers: u64, mut chance: Chance) {
        while !self.stop.load(Ordering::SeqCst) {
            let message = self.next.fetch_add(1, Ordering::SeqCst);
            let (amount, customer) = (chance.below(100), chance.below(customers));
            let body = format!("{{\"n\":{message},\"amount\":{amount},\"customer\":\"c{customer}\"}}");
            let event = loop {
                let noted = AtomicBool::new(false);
                let reply = hook.send_noting(&format!("msg_{message}"), &body, || {
                    noted.store(true, Ordering::SeqCst);
                    self.open.fetch_add(1, Ordering::SeqCst);
                });
                if noted.load(Ordering::SeqCst) {
                    self.open.fetch_sub(1, Ordering::SeqCst);
                }
                match reply {
                    Ok(reply) if (200..300).contains(&reply.status) => break reply.event().map(str::to_owned),
                    Ok(reply) => assert!([429, 503].contains(&reply.status), "{} {}", reply.status, reply.text()),
                    Err(_) => _ = self.repeats.fetch_add(1, Ordering::SeqCst),
                }
                tick();
            };
            let event = event.expect("a success answer with the header that promises").parse().expect("an event id");
            self.acks.lock().expect("acks").push(Acked { message, event });
            let until = Instant::now() + Duration::from_millis(chance.between(5, 40));
            while Instant::now() < until {
                tick();
            }
        }
    }
}

/// What a kill hit.
struct Kill {
    at_ms: i64,
    deliveries: usize,
    calls: usize,
}

fn kill_under_load(shape: &Shape, seed: u64) {
    let cycles = number("AURA_KILL_CYCLES", STEPS.cycles) * shape.cycles / STEPS.cycles;
    let mut chance = Chance(seed);
    println!("{}: {cycles} cycles, AURA_SEED={seed}", shape.flow);
    let receiver = Receiver::start();
    for path in ["/reserve", "/receipt", "/charge"] {
        let moods = Mutex::new(Chance(chance.below(u64::MAX)));
        receiver.on(path, move |request, _| {
            let mut chance = moods.lock().expect("moods");
            let delay = Duration::from_millis(chance.between(5, 60));
            // A `once` call is always answered: only a kill may leave it in doubt.
            match chance.below(40) {
                0 if request.path != "/charge" => Answer::close(),
                1..=3 if request.path != "/charge" => Answer::status(503).after(delay),
                _ => Answer::ok().after(delay),
            }
        });
    }
    let mut daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    daemon.publish(&shape.text.replace("RECEIVER", &receiver.url("")));
    let hook = daemon.hook(shape.flow);
    let load = Arc::new(Load { next: AtomicU64::new(1), ..Load::default() });
    let customers = shape.customers;
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (load, hook, chance) = (Arc::clone(&load), hook.clone(), Chance(chance.below(u64::MAX)));
            std::thread::spawn(move || load.send(&hook, customers, chance))
        })
        .collect();
    let mut kills = Vec::new();
    let mut slowest = Duration::ZERO;
    for _ in 0..cycles {
        let moment = Instant::now() + Duration::from_millis(chance.between(30, shape.life_ms));
        let latest = moment + Duration::from_millis(200);
        let in_flight = || (load.open.load(Ordering::SeqCst), receiver.open());
        // A random moment, or the first one after it at which something is in flight.
        wait_until("the moment of a kill", LIMIT, || {
            let now = Instant::now();
            now >= latest || (now >= moment && in_flight() != (0, 0))
        });
        let (deliveries, calls) = in_flight();
        daemon.kill9();
        kills.push(Kill { at_ms: now_ms(), deliveries, calls });
        let begin = Instant::now();
        daemon.up();
        slowest = slowest.max(begin.elapsed());
        assert_eq!(daemon.address(), hook.address, "the daemon came back elsewhere");
    }
    load.stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().expect("a sender that hears a promise for each message");
    }
    daemon.wait_quiet(Duration::from_secs(180));
    assert!(daemon.stop().success(), "the daemon ends well:\n{}", daemon.place.said());

    let mut evidence = Evidence {
        acks: load.acks.lock().expect("acks").clone(),
        kills: kills.iter().map(|kill| kill.at_ms).collect(),
        requests: receiver.log(),
        ..Evidence::default()
    };
    evidence.read(&daemon.place.data(), MASTER);
    println!("slowest start {slowest:?}, repeated deliveries {}", load.repeats.load(Ordering::SeqCst));
    report(&evidence, &kills);
    let faults = evidence.faults();
    let shown: Vec<&String> = faults.iter().take(30).collect();
    assert!(faults.is_empty(), "{} faults with AURA_SEED={seed}: {shown:#?}", faults.len());
    assert_eq!(evidence.acks.len(), usize::try_from(load.next.load(Ordering::SeqCst)).expect("few") - 1);
    let hit = kills.iter().filter(|kill| kill.deliveries + kill.calls > 0).count();
    assert!(hit * 100 >= kills.len() * 80, "only {hit} of {} kills hit something in flight", kills.len());
    if cycles >= 10 {
        let doubt = evidence.runs.iter().filter(|run| run.head.state == RunState::InDoubt).count();
        assert!(doubt > 0, "no kill hit a `once` call: the loop does not test what it should");
        assert!(evidence.runs.len() > cycles, "only {} runs: there was no load", evidence.runs.len());
    }
}

/// Prints the histogram and what came of the load.
fn report(evidence: &Evidence, kills: &[Kill]) {
    let name = |count: usize| match count {
        0 => "0",
        1..=2 => "1-2",
        3..=5 => "3-5",
        6..=10 => "6-10",
        _ => "more",
    };
    println!("in flight at a kill:   0   1-2   3-5  6-10  more");
    for (what, counts) in [
        ("deliveries", kills.iter().map(|kill| kill.deliveries).collect::<Vec<_>>()),
        ("calls", kills.iter().map(|kill| kill.calls).collect()),
        ("either", kills.iter().map(|kill| kill.deliveries + kill.calls).collect()),
    ] {
        let mut buckets: BTreeMap<&str, usize> = BTreeMap::new();
        counts.iter().for_each(|count| *buckets.entry(name(*count)).or_default() += 1);
        let cells: Vec<String> = ["0", "1-2", "3-5", "6-10", "more"]
            .iter()
            .map(|name| format!("{:>5}", buckets.get(name).copied().unwrap_or(0)))
            .collect();
        println!("  {what:<17} {}", cells.join(" "));
    }
    let doubt = evidence.runs.iter().filter(|run| run.head.state == RunState::InDoubt).count();
    let repeated: usize = evidence
        .runs
        .iter()
        .flat_map(|run| &run.journal)
        .flat_map(|(_, step)| &step.records)
        .filter(|record| matches!(record, Record::Failed { retry_at_ms: Some(_), .. }))
        .count();
    println!(
        "{} promises, {} runs, {doubt} in doubt, {} requests at the receiver, {repeated} attempts repeated",
        evidence.acks.len(),
        evidence.runs.len(),
        evidence.requests.len()
    );
}

pub fn seed() -> u64 {
    let now = u64::try_from(now_ms()).expect("a time after 1970");
    std::env::var("AURA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(now)
}

#[test]
fn kill_loop_keeps_every_promise() {
    kill_under_load(&STEPS, seed());
}

#[test]
fn kill_loop_with_debounce_keeps_every_promise() {
    kill_under_load(&DEBOUNCED, seed());
}
