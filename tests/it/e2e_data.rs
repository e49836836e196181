//! What flows keep: large values as blobs, names and values of `kv`, variables; also across SIGKILL.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aura_protocol::event::EventState;
use aura_protocol::rpc::{DoctorRequest, PayloadQuery, RunRef};
use aura_protocol::run::{Record, RunState};
use aura_protocol::variable::VarSet;
use aura_protocol::{Code, RunId, Value};

use crate::support::daemon::run_of;
use crate::support::{Answer, Daemon, LIMIT, Receiver, Setup, assert_says, tick, wait_until};

/// A list of items that no compressor makes small, as JSON, of about this many bytes.
fn catalogue(bytes: usize) -> String {
    let mut mixed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut items = Vec::new();
    for sku in 0..bytes / 64 {
        mixed = mixed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        items.push(format!(r#"{{"sku":{sku},"code":"{mixed:016x}","price":12.50}}"#));
    }
    format!(r#"{{"items":[{}]}}"#, items.join(","))
}

fn payload(daemon: &Daemon, run: RunId, step: &str, part: &str) -> String {
    let mut text = String::new();
    loop {
        let query = PayloadQuery {
            run: RunRef(run.to_string()),
            step: step.to_owned(),
            part: part.to_owned(),
            offset: u64::try_from(text.len()).expect("a length"),
            limit: 200_000,
        };
        let window = daemon.ask().run_payload(query).expect("a window");
        text.push_str(&window.text);
        if u64::try_from(text.len()).expect("a length") >= window.total {
            return text;
        }
    }
}

fn sound(daemon: &Daemon) {
    let found = daemon.ask().doctor(DoctorRequest { deep: true }).expect("findings");
    let damage: Vec<String> = found
        .iter()
        .map(|finding| format!("{finding:?}"))
        .filter(|text| text.contains("blob") || text.contains("stored value"))
        .collect();
    assert!(damage.is_empty(), "{damage:#?}");
}

#[test]
fn large_outputs_and_bodies_are_read_through_also_after_a_kill() {
    let receiver = Receiver::start();
    let list = catalogue(400_000);
    let served = list.clone();
    receiver.on("/catalogue", move |_, _| Answer::ok().header("content-type", "application/json").body(&served));
    receiver.on("/gate", |_, _| Answer::hold());
    receiver.on("/report", |_, _| Answer::ok());
    let mut daemon = Daemon::start();
    daemon.publish(
        &r#"
aura: 1
flow: large
triggers: [{ id: in, on: webhook, auth: none }]
steps:
  - id: fetch
    http: { url: "RECEIVER/catalogue" }
  - id: pick
    branch:
      - when: "{{ steps.fetch.output.body.items.length > 1000 }}"
        steps:
          - id: whole
            set: { items: "{{ steps.fetch.output.body.items }}" }
      - else: true
        steps: [{ id: none, set: {} }]
  - id: gate
    http: { url: "RECEIVER/gate" }
    retry: { attempts: 8, base: 20ms, cap: 100ms }
  - id: report
    http:
      method: PUT
      url: "RECEIVER/report"
      body:
        last: "{{ steps.fetch.output.body.items.last().code }}"
        sum: "{{ steps.pick.output.items.take(100).sumBy(i => i.price) }}"
        named: "{{ trigger.body.names.length }}"
        seen: "{{ trigger.body.names.last() }}"
"#
        .replace("RECEIVER", &receiver.url("")),
    );
    let names: Vec<String> = (0..9_000).map(|number| format!("\"name {number}\"")).collect();
    let body = format!("{{\"names\":[{}]}}", names.join(","));
    assert!(body.len() > 100_000);
    let run = run_of(&daemon.open_hook("large").send("1", &body).expect("a reply"), EventState::Started);
    receiver.wait("/gate", 1);
    let detail = daemon.show(run);
    let shown = aura_protocol::wire::encode(&detail.journal).expect("encoded").len();
    assert!(shown < 64 * 1024, "the journal is shown cut: {shown} bytes");
    daemon.kill9();
    receiver.on("/gate", |_, _| Answer::ok());
    receiver.release("/gate");
    daemon.up();
    daemon.wait_state(run, RunState::Succeeded);
    let report = receiver.wait("/report", 1)[0].json();
    let items: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let last = &items["items"].as_array().expect("a list").last().expect("an item")["code"];
    assert_eq!((&report["last"], &report["named"]), (last, &serde_json::json!(9_000)));
    assert_eq!((report["sum"].to_string(), &report["seen"]), ("1250".to_owned(), &serde_json::json!("name 8999")));
    let output: serde_json::Value =
        serde_json::from_str(&payload(&daemon, run, "fetch", "output")).expect("the whole output");
    assert_eq!(output["body"], items);
    let event: serde_json::Value = serde_json::from_str(&payload(&daemon, run, "", "input")).expect("the whole event");
    assert_eq!(event["body"]["names"].as_array().map(Vec::len), Some(9_000));
    let branch: serde_json::Value = serde_json::from_str(&payload(&daemon, run, "pick", "output")).expect("a payload");
    assert_eq!(branch["items"], items["items"]);
    // The export holds what fits a line, wherever it is stored, and the size of what does not.
    let exported = daemon.aura(&["flow", "export", "large", "--runs"]).success().out;
    let lines: Vec<serde_json::Value> =
        exported.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let bodies: Vec<String> = lines.iter().map(ToString::to_string).filter(|line| line.contains("name 8999")).collect();
    assert!(!bodies.is_empty(), "the event's body of {} bytes is in the export", body.len());
    assert_says(&exported, &["bytes …"]);
    assert!(exported.len() < 2_000_000, "{} bytes", exported.len());
    sound(&daemon);
    let said = daemon.aura(&["run", "show", &run.to_string(), "--json"]).success();
    assert_says(&said.out, &["bytes …"]);
    assert!(said.out.len() < 64 * 1024, "{} bytes are shown", said.out.len());
}

#[test]
fn what_is_too_large_fails_its_step_and_not_the_daemon() {
    let receiver = Receiver::start();
    let list = catalogue(700_000);
    receiver.on("/big", move |_, _| Answer::ok().header("content-type", "application/json").body(&list));
    for number in 1..=4 {
        let body = catalogue(420_000 + number * 64);
        let answer = move || Answer::ok().header("content-type", "application/json").body(&body);
        receiver.on(&format!("/many{number}"), move |_, _| answer());
    }
    let mut setup = Setup::default();
    setup.environment.push(("AURA_OUTPUT_MIB".to_owned(), "1".to_owned()));
    setup.environment.push(("AURA_RUN_MIB".to_owned(), "1".to_owned()));
    let daemon = Daemon::start_with(setup);
    let flow = r#"
aura: 1
flow: NAME
steps:
  - id: one
    http: { url: "RECEIVER/many1" }
    on_error: [{ id: told, set: { why: "{{ error.message }}" } }]
  - id: two
    http: { url: "RECEIVER/many2" }
    on_error: [{ id: told_too, set: { why: "{{ error.message }}" } }]
  - id: three
    http: { url: "RECEIVER/many3" }
  - id: four
    http: { url: "RECEIVER/many4" }
    on_error: [{ id: told_last, set: { why: "{{ error.message }}" } }]
"#
    .replace("RECEIVER", &receiver.url(""));
    let big = "aura: 1\nflow: one-output\nsteps:\n  - id: one\n    http: { url: \"RECEIVER/big\" }\n    on_error: [{ id: told, set: { why: \"{{ error.message }}\" } }]\n";
    daemon.publish(&big.replace("RECEIVER", &receiver.url("")));
    daemon.publish(&flow.replace("NAME", "one-run"));
    let run = daemon.run("one-output", "null");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_says(journal.output("told"), &["larger than 1 MiB"]);
    let run = daemon.run("one-run", "null");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_says(journal.output("told_last"), &["together more than 1 MiB"]);
    assert!(!journal.reached("told"), "the first fits");
    assert_eq!(
        receiver.log().iter().filter(|it| it.path.starts_with("/many")).count(),
        4,
        "what is too large is not asked for again"
    );
    sound(&daemon);
}

const COUNT: &str = r#"
aura: 1
flow: count
triggers: [{ id: in, on: webhook, auth: { scheme: standard_webhooks, secret: sender } }]
steps:
  - id: up
    kv: { incr: "orders", by: "{{ trigger.body.by }}" }
  - id: mark
    kv: { cas: "first", from: null, to: "{{ trigger.body.n }}" }
  - id: keep
    set: { count: "{{ steps.up.output }}", first: "{{ steps.mark.output.swapped }}" }
"#;

const READ: &str = r#"
aura: 1
flow: read
steps:
  - id: orders
    kv: { get: orders, default: 0 }
  - id: first
    kv: { get: first }
"#;

#[test]
fn a_counter_counts_every_run_once_whatever_is_killed() {
    let runs: usize = std::env::var("AURA_KV_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let mut daemon = Daemon::start();
    daemon.secret("sender", crate::support::sender::SECRET);
    daemon.publish(COUNT);
    daemon.publish(READ);
    let hook = daemon.hook("count");
    let (next, acked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let failed = Arc::new(Mutex::new(None::<String>));
    let senders: Vec<_> = (0..6)
        .map(|_| {
            let (hook, next, acked, failed) =
                (hook.clone(), Arc::clone(&next), Arc::clone(&acked), Arc::clone(&failed));
            std::thread::spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        return;
                    }
                    let begin = Instant::now();
                    while !hook
                        .send(&format!("m{number}"), &format!("{{\"n\":{number},\"by\":1}}"))
                        .is_ok_and(|reply| reply.event().is_some())
                    {
                        if begin.elapsed() > LIMIT {
                            *failed.lock().expect("a lock") = Some(format!("m{number} was never promised"));
                            return;
                        }
                        tick();
                    }
                    acked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut kills = 0;
    for cycle in 1..=5 {
        let goal = runs * cycle / 6;
        wait_until("some more to be promised", LIMIT, || {
            acked.load(Ordering::Relaxed) >= goal || failed.lock().expect("a lock").is_some()
        });
        daemon.kill9();
        kills += 1;
        daemon.up();
    }
    for sender in senders {
        sender.join().expect("a sender");
    }
    assert_eq!(*failed.lock().expect("a lock"), None);
    // As the list has it: what is counted in memory is ahead of it by a commit.
    daemon.wait_quiet_of("count", Duration::from_secs(30));
    let heads = daemon.runs("count");
    let mut counts = Vec::new();
    let mut firsts = 0;
    for head in &heads {
        assert_eq!(head.state, RunState::Succeeded, "{head:?}");
        let detail = daemon.show(head.run);
        let mut outputs =
            detail.journal.iter().flat_map(|transition| &transition.records).filter_map(|record| match record {
                Record::Completed { path, output, .. } if path == "keep" => Some(output.clone()),
                _ => None,
            });
        let output = outputs.next().expect("the step ended");
        counts.push(output.get("count").and_then(Value::as_int).expect("a count"));
        firsts += usize::from(output.get("first") == Some(&Value::Bool(true)));
    }
    counts.sort_unstable();
    let expected: Vec<i128> = (1..=i128::try_from(runs).expect("a number")).collect();
    assert_eq!(counts, expected, "every run counted once ({kills} kills)");
    assert_eq!(firsts, 1, "one run was the first");
    let run = daemon.run("read", "null");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("orders"), runs.to_string());
    assert_ne!(journal.output("first"), "null");
}

#[test]
fn names_are_kept_changed_and_forgotten() {
    let mut daemon = Daemon::start();
    daemon.publish(
        r#"
aura: 1
flow: keep
steps:
  - id: before
    kv: { set: "{{ input.name }}", value: "{{ input.value }}" }
  - id: swap
    kv: { cas: "{{ input.name }}", from: "{{ input.from ?? null }}", to: { n: 1.50 } }
  - id: short
    kv: { set: short, value: 1, ttl: 50ms }
  - id: text
    kv: { incr: "{{ input.name }}" }
    on_error: [{ id: why, set: { text: "{{ error.message }}" } }]
  - id: rest
    sleep: { for: 100ms }
  - id: gone
    kv: { get: short, default: none }
  - id: again
    kv: { get: "{{ input.name }}" }
"#,
    );
    let run = daemon.run("keep", r#"{"name": "cart-1", "value": [1, "a"], "from": [1.0, "a"]}"#);
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("before"), "null");
    assert_eq!(journal.output("swap"), r#"{"swapped":true,"value":{"n":1.50}}"#);
    assert_says(journal.output("why"), &["cart-1", "counted up"]);
    assert_eq!((journal.output("gone"), journal.output("again")), ("\"none\"".to_owned(), "{\"n\":1.50}".to_owned()));
    daemon.kill9();
    daemon.up();
    let run = daemon.run("keep", r#"{"name": "cart-1", "value": 2}"#);
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("before"), "{\"n\":1.50}");
    assert_eq!(journal.output("swap"), r#"{"swapped":false,"value":2}"#);
    assert_eq!(journal.output("text"), "3");
    let run = daemon.run("keep", &format!(r#"{{"name": "big", "value": "{}"}}"#, "x".repeat(70_000)));
    let journal = daemon.wait_state(run, RunState::Failed);
    assert_says(journal.error(), &["64 KiB"]);
    let bad = "aura: 1\nflow: bad\nsteps: [{ id: a, kv: { get: a, ttl: 1d } }]\n";
    let refused =
        daemon.apply(bad).map(|_| ()).or_else(|error| if error.findings.is_empty() { Ok(()) } else { Err(error) });
    let publish = daemon.ask().flow_publish("bad".to_owned());
    assert!(refused.is_err() || publish.is_err(), "check refuses what `get` does not have");
}

#[test]
fn a_run_keeps_the_variables_it_began_with() {
    let receiver = Receiver::start();
    receiver.on("/gate", |_, _| Answer::hold());
    let mut daemon = Daemon::start();
    daemon.publish(
        &r#"
aura: 1
flow: vary
steps:
  - id: one
    set: { limit: "{{ vars.limit }}", shop: "{{ vars?.shop ?? 'none' }}" }
  - id: gate
    http: { url: "RECEIVER/gate" }
    retry: { attempts: 8, base: 20ms, cap: 100ms }
  - id: two
    set: { limit: "{{ vars.limit }}" }
"#
        .replace("RECEIVER", &receiver.url("")),
    );
    let check =
        daemon.ask().flow_check("aura: 1\nflow: w\nsteps: [{ id: a, set: { x: \"{{ vars.limt }}\" } }]\n".to_owned());
    let said = daemon.run("vary", "null");
    let journal = daemon.wait_state(said, RunState::Failed);
    assert_says(journal.error(), &["vars.limit"]);
    daemon.aura(&["var", "set", "limit", "49.90"]).success();
    let refused = daemon.aura(&["var", "set", "bad-name", "1"]);
    assert_eq!(refused.code, i32::from(Code::Invalid.exit_code()), "{refused:?}");
    let run = daemon.run("vary", "null");
    receiver.wait("/gate", 1);
    daemon.ask().var_set(VarSet { name: "limit".to_owned(), value: Value::Int(7) }).expect("a variable");
    daemon.ask().var_set(VarSet { name: "shop".to_owned(), value: Value::from("north") }).expect("a variable");
    daemon.kill9();
    receiver.on("/gate", |_, _| Answer::ok());
    receiver.release("/gate");
    daemon.up();
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("one"), r#"{"limit":49.90,"shop":"none"}"#);
    assert_eq!(journal.output("two"), r#"{"limit":49.90}"#, "as it was when the run began");
    let run = daemon.run("vary", "null");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("one"), r#"{"limit":7,"shop":"north"}"#);
    let listed = daemon.aura(&["var", "list"]).success();
    assert_says(&listed.out, &["limit", "integer", "7", "shop", "north"]);
    let all = daemon.ask().var_list(()).expect("the variables");
    assert!(all.iter().all(|it| !it.by.is_empty() && it.changed_ms > 0), "{all:?}");
    daemon.aura(&["var", "unset", "shop"]).success();
    assert_eq!(daemon.aura(&["var", "unset", "shop"]).code, i32::from(Code::NotFound.exit_code()));
    assert_eq!(daemon.ask().var_list(()).expect("the variables").len(), 1);
    let _ = daemon.ask().var_unset("limit".to_owned()).expect("taken away");
    let findings = check.expect("findings");
    assert!(findings.iter().any(|it| it.message.contains("`limt` is not set")), "{findings:?}");
}
