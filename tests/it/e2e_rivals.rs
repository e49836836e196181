//! What people suffer from elsewhere: each test first makes the condition, then shows what AURA does in it.
//!
//! The one invariant: no test here passes without the condition: it asserts that it was met. `docs/rivals.md` lists all of
//! them with those in other files; [`bugs`] switches the deliberate bug of each on and wants it to be found.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aura_protocol::RunId;
use aura_protocol::run::{Record, RunState};

use crate::e2e_code::runners;
use crate::e2e_effects::stage;
use crate::e2e_many::rss_mib;
use crate::support::{Answer, Daemon, Hook, LIMIT, Receiver, Setup, assert_says, tick, wait_until};

#[cfg(feature = "bugs")]
mod bugs;

/// What a sender has heard.
#[derive(Default)]
struct Heard {
    stop: AtomicBool,
    taken: AtomicUsize,
    runs: Mutex<Vec<RunId>>,
    wrong: Mutex<Vec<String>>,
}

/// A sender that never stops, each time with another event.
struct Knocking(Arc<Heard>, std::thread::JoinHandle<()>);

impl Knocking {
    fn at(hook: Hook) -> Self {
        let heard = Arc::new(Heard::default());
        let hears = Arc::clone(&heard);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !hears.stop.load(Ordering::Relaxed) {
                number += 1;
                // No answer at all is the daemon's death; this event was not promised.
                if let Ok(reply) = hook.send(&format!("event-{number}"), "{}") {
                    match (reply.status, reply.event()) {
                        (202, Some(_)) => {
                            hears.runs.lock().expect("the runs").extend(reply.field("run_id").parse::<RunId>());
                            hears.taken.fetch_add(1, Ordering::Relaxed);
                        }
                        (503, None) if reply.header("retry-after").is_some() => {}
                        _ => {
                            let wrong = format!("{}: {}", reply.status, reply.text());
                            hears.wrong.lock().expect("the answers").push(wrong);
                        }
                    }
                }
                tick();
            }
        });
        Self(heard, thread)
    }

    /// Waits for some more promises; meanwhile nothing else was heard.
    fn is_heard(&self, when: &str) {
        let goal = self.0.taken.load(Ordering::Relaxed) + 3;
        wait_until(&format!("events to be taken {when}"), LIMIT, || {
            let wrong = self.0.wrong.lock().expect("the answers");
            assert!(wrong.is_empty(), "{when}: {wrong:?}");
            self.0.taken.load(Ordering::Relaxed) >= goal
        });
    }

    /// The runs that it was promised.
    fn end(self) -> Vec<RunId> {
        let Self(heard, thread) = self;
        heard.stop.store(true, Ordering::Relaxed);
        thread.join().expect("the sender");
        assert_eq!(*heard.wrong.lock().expect("the answers"), Vec::<String>::new());
        std::mem::take(&mut *heard.runs.lock().expect("the runs"))
    }
}

#[test]
fn a_published_address_answers_whatever_is_done_to_its_flow() {
    let shop = |title: &str, version: u32| {
        format!(
            "aura: 1\nflow: shop\ntitle: {title}\ntriggers:\n  - {{ id: in, on: webhook, auth: none }}\nsteps:\n  - {{ id: a, set: {{ version: {version} }} }}\n"
        )
    };
    let mut daemon = Daemon::start();
    let first = daemon.publish(&shop("One", 1)).published.expect("a version");
    let hook = daemon.open_hook("shop");
    let sender = Knocking::at(hook.clone());
    sender.is_heard("after the first publication");
    daemon.apply(&shop("Two", 2)).expect("a draft");
    sender.is_heard("while there is a draft");
    daemon.apply(&shop("Two", 2).replace("set:", "sett:")).expect_err("a draft that is none");
    sender.is_heard("after a draft was refused");
    daemon.kill9();
    daemon.up();
    sender.is_heard("after a kill, with a draft");
    for version in 2..6 {
        daemon.publish(&shop("Three", version));
    }
    sender.is_heard("after several publications");
    daemon.aura(&["flow", "rollback", "shop", &first]).success();
    sender.is_heard("after a rollback");
    assert!(daemon.stop().success());
    daemon.up();
    sender.is_heard("after an orderly restart");
    daemon.aura(&["flow", "pause", "shop"]).success();
    sender.is_heard("while the flow is paused");
    daemon.aura(&["flow", "resume", "shop"]).success();
    sender.is_heard("after the pause");
    let runs = sender.end();
    assert_eq!(daemon.open_hook("shop").path, hook.path, "the address that the provider knows is the same");
    assert!(runs.len() >= 24, "{}", runs.len());
    daemon.wait_quiet(LIMIT);
    for run in runs {
        assert_eq!(daemon.show(run).head.state, RunState::Succeeded, "each promise became a run");
    }
}

/// Flows whose runs never end by themselves, with what such a run is until then. One at a time each.
const STUCK: &[(&str, &str, RunState)] = &[
    (
        "no-answer",
        "  - id: ask\n    effect: keyed\n    timeout: 1d\n    http: { method: POST, url: \"RECEIVER/held\" }\n",
        RunState::Running,
    ),
    ("no-callback", "  - { id: paid, wait: { callback: true, deadline: 30d } }\n", RunState::Waiting),
    ("in-doubt", "  - { id: charge, http: { method: POST, url: \"RECEIVER/lost\" } }\n", RunState::InDoubt),
    ("no-child", "  - { id: ask, call: { flow: child } }\n", RunState::Waiting),
    (
        "for-ever",
        "  - id: again\n    loop: { while: true, max_iterations: 100000, max_duration: 365d, steps: [{ id: nap, sleep: { for: 1h } }] }\n",
        RunState::Waiting,
    ),
];

#[test]
fn a_run_that_nothing_ends_is_ended_by_hand_and_stays_ended() {
    let (mut daemon, receiver) = (Daemon::start(), Receiver::start());
    receiver.on("/held", |_, _| Answer::hold());
    receiver.on("/lost", |_, _| Answer::close());
    let text = |name: &str, rest: &str| format!("aura: 1\nflow: {name}\n{rest}").replace("RECEIVER", &receiver.url(""));
    daemon.publish(&text(
        "child",
        "triggers: [{ id: asked, on: called }]\nsteps:\n  - { id: rest, wait: { callback: true, deadline: 30d } }\n",
    ));
    let mut stuck = Vec::new();
    for (name, steps, state) in STUCK {
        let head = "triggers: [{ id: hand, on: manual }]\nconcurrency: { limit: 1 }\nsteps:\n";
        daemon.publish(&text(name, &format!("{head}{steps}")));
        let run = daemon.run(name, "{}");
        daemon.wait_state(run, *state);
        stuck.push((run, daemon.run(name, "{}"), *state));
    }
    receiver.wait("/held", 1);
    daemon.kill9();
    daemon.up();
    // The condition: a restart helps nobody, each holds up the next one, and each says why.
    receiver.wait("/held", 2);
    for (run, next, state) in &stuck {
        let head = daemon.wait_state(*run, *state).0.head;
        assert!(*state == RunState::Running || head.blocked_by.is_some(), "{head:?}");
        assert_eq!(daemon.show(*next).head.state, RunState::Queued);
    }
    let by_hand = |run: RunId| {
        daemon.aura(&["run", "force-finish", &run.to_string(), "--state", "failed", "--reason", "ticket 77"])
    };
    for (run, next, _) in &stuck {
        assert_says(by_hand(*run).success().out, &["ended by hand by", "ticket 77"]);
        wait_until("the next one to begin", LIMIT, || daemon.show(*next).head.state != RunState::Queued);
    }
    wait_until("the called run to be ended too", LIMIT, || daemon.runs("child")[0].state.is_final());
    let ended = |daemon: &Daemon| -> Vec<(RunState, usize)> {
        let one = |(run, ..): &(RunId, RunId, RunState)| {
            let detail = daemon.show(*run);
            let who = detail.journal.iter().flat_map(|it| &it.records).any(
                |record| matches!(record, Record::ForceFinished { by, reason, .. } if !by.is_empty() && reason == "ticket 77"),
            );
            assert!(who, "who ended it and why stands in its journal");
            (detail.head.state, detail.journal.len())
        };
        stuck.iter().map(one).collect()
    };
    let before = ended(&daemon);
    assert!(before.iter().all(|(state, _)| *state == RunState::Failed), "{before:?}");
    daemon.kill9();
    daemon.up();
    // What comes too late finds nobody, and no start brings them back.
    receiver.release("/held");
    let (callback, doubt, asks) = (stuck[1].0.to_string(), stuck[2].0.to_string(), stuck[0].1);
    assert_says(daemon.aura(&["run", "signal", &callback, "paid", "--data", "1"]).err, &["ended"]);
    assert_says(daemon.aura(&["run", "resolve", &doubt, "charge", "--retry"]).err, &["ended"]);
    daemon.wait_state(asks, RunState::Succeeded);
    assert_eq!(ended(&daemon), before);
    let live: u64 = daemon.ask().status(()).expect("a status").live.iter().map(|(_, count)| count).sum();
    assert_eq!(live, 5, "of five flows four next ones, and one called");
}

#[test]
fn a_list_of_a_hundred_thousand_and_a_long_loop_cost_little_memory_and_fail_their_step_at_most() {
    const RUNS: usize = 6;
    let (daemon, receiver) = stage(
        "large",
        r#"
steps:
  - id: list
    http: { url: "RECEIVER/list" }
  - id: last
    set: { n: "{{ steps.list.output.body.last().n }}", count: "{{ steps.list.output.body.length }}" }
  - id: copied
    set: { all: "{{ steps.list.output.body.map(row => row.text + '!') }}" }
    on_error:
      - id: why
        set: { text: "{{ error.message }}" }
  - id: turns
    loop: { while: true, break_if: "{{ index >= 1499 }}", max_iterations: 2000, max_duration: 1h, steps: [{ id: turn, set: { n: "{{ index }}" } }] }
  - id: rest
    http: { url: "RECEIVER/rest" }
"#,
    );
    let rows: Vec<String> = (0..100_000).map(|n| format!(r#"{{"n":{n},"text":"row {n}"}}"#)).collect();
    let body = format!("[{}]", rows.join(","));
    assert!(body.len() > 3_000_000, "{}", body.len());
    receiver.on("/list", move |_, _| Answer::ok().body(&body));
    receiver.on("/rest", |_, _| Answer::hold());
    let before = rss_mib(daemon.pid());
    let runs: Vec<RunId> = (0..RUNS).map(|_| daemon.run("large", "{}")).collect();
    // They are at work, in memory, all at once; meanwhile the daemon answers.
    wait_until("all of them to have read it", LIMIT * 2, || {
        let asked = Instant::now();
        daemon.ask().status(()).expect("a status");
        assert!(asked.elapsed() < LIMIT / 3, "{:?}", asked.elapsed());
        receiver.count("/rest") == RUNS
    });
    let grown = rss_mib(daemon.pid()).saturating_sub(before);
    println!("{RUNS} runs took {grown} MiB");
    assert!(grown < 200, "{RUNS} runs of such a list take {grown} MiB");
    receiver.release("/rest");
    for run in runs {
        let journal = daemon.wait_state(run, RunState::Succeeded);
        assert_eq!(journal.output("last"), r#"{"n":99999,"count":100000}"#);
        assert_says(journal.output("copied"), &["more than"]);
        assert_eq!(journal.output("turns"), r#"{"n":1499}"#);
    }
}

#[test]
fn a_script_that_waits_longer_for_a_runner_than_it_may_take_does_not_time_out() {
    let environment = vec![("AURA_SCRIPTS_MAX".to_owned(), "1".to_owned())];
    let daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    let script = |name: &str, js: &str, time: &str| {
        format!("aura: 1\nflow: {name}\nsteps:\n  - id: script\n    timeout: {time}\n    code: {{ js: \"{js}\" }}\n")
    };
    daemon.publish(&script("hog", "while (true) {}", "3s"));
    daemon.publish(&script("small", "return 1", "1s"));
    let hog = daemon.run("hog", "{}");
    wait_until("the only runner to be at work", LIMIT, || runners(&daemon).len() == 1);
    let begin = Instant::now();
    let small: Vec<RunId> = (0..8).map(|_| daemon.run("small", "{}")).collect();
    // The condition: the pool is full for longer than a small one may take.
    wait_until("longer than a small one may take", LIMIT, || begin.elapsed() > Duration::from_millis(1_500));
    for run in &small {
        assert_eq!(daemon.show(*run).head.state, RunState::Running, "it waits");
    }
    assert_eq!(daemon.show(hog).head.state, RunState::Running);
    for run in small {
        assert_eq!(daemon.wait_state(run, RunState::Succeeded).output("script"), "1");
    }
    daemon.wait_state(hog, RunState::Failed);
    assert!(runners(&daemon).len() <= 1, "one at a time");
}

#[test]
fn what_is_deleted_gives_its_room_back_and_the_file_shrinks() {
    const QUOTA: u64 = 8;
    const SENT: u64 = 60;
    let environment = vec![("AURA_QUOTA_MIB".to_owned(), QUOTA.to_string())];
    let daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    daemon.publish("aura: 1\nflow: grows\ntriggers: [{ id: in, on: webhook, auth: none }]\nsteps:\n  - { id: a, set: { n: \"{{ trigger.body.n }}\" } }\n");
    let hook = daemon.open_hook("grows");
    let mut random = 1_u64;
    for number in 0..SENT {
        // Letters that nothing can press together much.
        let letter = |_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + u8::try_from((random >> 40) % 90).expect("a small number"))
        };
        let text: String = (0..300 * 1024).map(letter).filter(|it| !matches!(it, '"' | '\\')).collect();
        let body = format!(r#"{{"n":{number},"text":"{text}"}}"#);
        // Full: told to come again; what is oldest goes meanwhile.
        wait_until("an event to be taken", LIMIT, || {
            let reply = hook.send(&number.to_string(), &body).expect("an answer");
            let later = matches!(reply.status, 429 | 503) && reply.header("retry-after").is_some();
            assert!(reply.status == 202 || later, "{} {}", reply.status, reply.text());
            reply.status == 202
        });
    }
    let mib = |bytes: u64| bytes / 1024 / 1024;
    let stored = || daemon.ask().status(()).expect("a status").room.stored;
    wait_until("the oldest to go", LIMIT, || mib(stored()) < QUOTA);
    let runs = daemon.runs("grows");
    assert!(!runs.is_empty() && runs.len() < 40, "{} of {SENT} are left", runs.len());
    assert_eq!(daemon.wait_state(runs[runs.len() - 1].run, RunState::Succeeded).output("a"), r#"{"n":59}"#);
    let file = daemon.place.data().join("aura.redb");
    let size = || std::fs::metadata(&file).expect("the file").len();
    let before = size();
    daemon.aura(&["compact"]).success();
    let after = size();
    println!("{} MiB stored, the file had {} MiB and has {}", mib(stored()), mib(before), mib(after));
    assert!(after < before && mib(after) <= 2 * QUOTA, "{before} bytes, then {after} for {}", stored());
}

#[test]
fn retries_end_when_their_time_is_over_and_not_only_when_their_attempts_are() {
    let (daemon, receiver) = stage(
        "patient",
        r#"
steps:
  - id: soon
    http: { url: "RECEIVER/soon" }
    retry: { attempts: 100, base: 60ms, factor: 1, cap: 60ms, max_elapsed: 600ms }
    on_error: [{ id: told, set: { class: "{{ error.class }}" } }]
  - id: later
    http: { url: "RECEIVER/later" }
    retry: { attempts: 100, max_elapsed: 10s }
"#,
    );
    receiver.on("/soon", |_, _| Answer::status(503));
    // Who is told to come in an hour and has ten seconds need not wait for them.
    receiver.on("/later", |_, _| Answer::status(429).header("retry-after", "3600"));
    let begin = Instant::now();
    let journal = daemon.wait_state(daemon.run("patient", "{}"), RunState::Failed);
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let times: Vec<i64> = receiver.on_path("/soon").iter().map(|request| request.at_ms).collect();
    assert!((3..90).contains(&times.len()), "{} attempts", times.len());
    assert_eq!(journal.output("told"), r#"{"class":"transient"}"#);
    assert_eq!(receiver.on_path("/later").len(), 1);
    assert_eq!(journal.0.head.error.as_ref().expect("an error").class.word(), "rate_limited");
}

#[test]
fn other_titles_break_nothing_and_a_name_that_nobody_has_is_never_published() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    receiver.on("/order", |_, _| Answer::hold().body(r#"{"n":7}"#));
    let flow = r#"aura: 1
flow: orders
title: Orders
triggers:
  - { id: in, on: webhook, auth: none }
steps:
  - id: order
    note: asks the shop
    http: { method: PUT, url: "RECEIVER/order" }
  - id: each
    each: "{{ trigger.body.items }}"
    http: { method: PUT, url: "RECEIVER/item", body: { n: "{{ steps.order.output.body.n }}", item: "{{ item }}" } }
"#
    .replace("RECEIVER", &receiver.url(""));
    daemon.publish(&flow);
    let hook = daemon.open_hook("orders");
    let send = |id: &str| -> RunId {
        let reply = hook.send(id, r#"{"items":["b","a"]}"#).expect("an answer");
        reply.field("run_id").parse().unwrap_or_else(|_| panic!("{} {}", reply.status, reply.text()))
    };
    let run = send("1");
    receiver.wait("/order", 1);
    // The condition: everything that people read is called otherwise while a run is at work.
    let renamed = flow
        .replace("title: Orders", "title: \"Bestellungen (new)\"\nlabels: { team: shop }")
        .replace("note: asks the shop", "note: \"fragt: den Shop\"");
    daemon.publish(&renamed);
    daemon.kill9();
    daemon.up();
    receiver.wait("/order", 2);
    receiver.release("/order");
    daemon.wait_state(run, RunState::Succeeded);
    let again = send("2");
    daemon.wait_state(again, RunState::Succeeded);
    let items: Vec<String> = receiver.on_path("/item").iter().map(|request| request.json().to_string()).collect();
    for item in ["a", "b"] {
        let of = format!(r#"{{"item":"{item}","n":7}}"#);
        assert_eq!(items.iter().filter(|it| **it == of).count(), 2, "{items:?}");
    }
    assert_eq!(daemon.runs("orders").len(), 2, "it is the same flow");
    // A step has another id, and somebody still speaks of the old one.
    let published = daemon.ask().flow_show("orders".to_owned()).expect("the flow").row.published;
    let broken = renamed.replace("id: order\n", "id: bestellung\n");
    let refused = match daemon.apply(&broken) {
        Err(error) => error,
        Ok(row) => daemon.ask().flow_publish(row.flow).expect_err("nothing with a name that nobody has"),
    };
    let says = format!("{refused} {:?}", refused.findings);
    assert_says(&says, &["order", "each"]);
    assert!(refused.findings.iter().any(|finding| finding.line == 13), "{says}");
    let file = daemon.place.path("orders.yaml");
    std::fs::write(&file, &broken).expect("a file");
    assert_eq!(daemon.aura(&["flow", "check", &file.display().to_string()]).code, 4);
    assert_eq!(daemon.ask().flow_show("orders".to_owned()).expect("the flow").row.published, published);
    daemon.wait_state(send("3"), RunState::Succeeded);
}

#[test]
fn a_run_ends_under_the_version_with_which_it_began() {
    let (mut daemon, receiver) = (Daemon::start(), Receiver::start());
    receiver.on("/hold", |_, _| Answer::hold());
    let flow = |path: &str| {
        format!(
            "aura: 1\nflow: pinned\ntriggers: [{{ id: hand, on: manual }}]\nsteps:\n  - {{ id: hold, http: {{ method: PUT, url: \"RECEIVER/hold\" }} }}\n  - {{ id: nap, sleep: {{ for: 300ms }} }}\n  - {{ id: tell, http: {{ method: PUT, url: \"RECEIVER/{path}\" }} }}\n"
        )
        .replace("RECEIVER", &receiver.url(""))
    };
    let old = daemon.publish(&flow("old")).published;
    let run = daemon.run("pinned", "{}");
    receiver.wait("/hold", 1);
    // The condition: the flow is another one when the run goes on, and memory knows nothing of before.
    let new = daemon.publish(&flow("new")).published;
    assert_ne!(old, new);
    daemon.kill9();
    daemon.up();
    receiver.wait("/hold", 2);
    receiver.release("/hold");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!((Some(&journal.0.head.version), receiver.count("/old")), (old.as_ref(), 1));
    assert_eq!(receiver.count("/new"), 0);
    let next = daemon.wait_state(daemon.run("pinned", "{}"), RunState::Succeeded);
    assert_eq!((Some(&next.0.head.version), receiver.count("/new")), (new.as_ref(), 1));
}

#[test]
fn a_flood_under_one_key_holds_up_neither_another_key_nor_what_is_urgent() {
    const FLOOD: usize = 150;
    let (mut daemon, receiver) = (Daemon::start(), Receiver::start());
    receiver.on(
        "/ship",
        |request, before| {
            if request.json()["who"] == "ada" && before < 3 { Answer::hold() } else { Answer::ok() }
        },
    );
    daemon.publish(&format!(
        "aura: 1\nflow: ship\ntriggers: [{{ id: hand, on: manual }}]\nconcurrency: {{ key: \"{{{{ input.who }}}}\", limit: 1 }}\npriority: \"{{{{ input.urgent }}}}\"\nsteps:\n  - id: ship\n    http: {{ method: PUT, url: \"{}\", body: {{ who: \"{{{{ input.who }}}}\", n: \"{{{{ input.n }}}}\" }} }}\n",
        receiver.url("/ship")
    ));
    let begin = |who: &str, n: usize, urgent: u32| {
        daemon.run("ship", &format!(r#"{{"who":"{who}","n":{n},"urgent":{urgent}}}"#))
    };
    let flood: Vec<RunId> = (0..FLOOD).map(|n| begin("ada", n, 0)).collect();
    let urgent = begin("ada", 999, 5);
    receiver.wait("/ship", 1);
    let bob = begin("bob", 1, 0);
    // The condition: hundreds wait, and the first of them does not move.
    let queued = |daemon: &Daemon| daemon.runs("ship").iter().filter(|head| head.state == RunState::Queued).count();
    daemon.wait_state(bob, RunState::Succeeded);
    assert_eq!(queued(&daemon), FLOOD);
    daemon.kill9();
    daemon.up();
    receiver.wait("/ship", 3);
    let why = daemon.show(flood[FLOOD - 1]).head.blocked_by.expect("why it waits").reason;
    assert_says(why, &[&flood[0].to_string(), "149 ahead"]);
    receiver.release("/ship");
    daemon.wait_state(urgent, RunState::Succeeded);
    daemon.wait_state(flood[FLOOD - 1], RunState::Succeeded);
    let order: Vec<u64> = receiver
        .on_path("/ship")
        .iter()
        .filter(|request| request.json()["who"] == "ada")
        .map(|request| request.json()["n"].as_u64().expect("its number"))
        .collect();
    let expected: Vec<u64> = [0, 0, 999].into_iter().chain(1..u64::try_from(FLOOD).expect("a number")).collect();
    assert_eq!(order, expected, "after the one at work (asked again after the kill) the urgent one, then as they came");
}
