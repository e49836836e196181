//! A6 through the binaries: one byte of the database is flipped, then the daemon is started and asked.
//!
//! Whatever it answers is what was stored, or an error; never another value. `AURA_FLIPS` flips (default 200; the
//! same through the store's own API are 200 more, in `aura-storage`).

use std::fs;

use aura_protocol::rpc::{RunQuery, RunRef};
use serde_json::Value as Json;

use crate::support::sender::SECRET;
use crate::support::{Daemon, Setup, now_ms, run_of};

#[test]
fn a_flipped_byte_is_never_served_as_something_else() {
    let flips: usize = std::env::var("AURA_FLIPS").ok().map_or(200, |text| text.parse().expect("a number"));
    let mut daemon = Daemon::start_with(Setup::default());
    daemon.secret("sender", SECRET);
    daemon.publish(
        "aura: 1\nflow: flips\ntriggers:\n  - id: in\n    on: webhook\n    auth: { scheme: standard_webhooks, secret: sender }\nsteps:\n  - id: a\n    set: { got: \"{{ trigger.body }}\" }\n",
    );
    let hook = daemon.hook("flips");
    let runs: Vec<_> = (0..8)
        .map(|number| {
            let reply =
                hook.send(&format!("m{number}"), &format!("{{\"number\":{number},\"text\":\"{}\"}}", "y".repeat(400)));
            run_of(&reply.expect("an answer"), aura_protocol::event::EventState::Started)
        })
        .collect();
    daemon.wait_quiet(crate::support::LIMIT);
    let query = || RunQuery { flow: Some("flips".into()), limit: 100, ..Default::default() };
    let (heads, flow) = (daemon.runs("flips"), daemon.ask().flow_show("flips".into()).expect("the flow"));
    let shown: Vec<_> = runs.iter().map(|run| daemon.show(*run)).collect();
    assert!(daemon.stop().success());
    let file = daemon.place.data().join("aura.redb");
    let whole = fs::read(&file).expect("the database");
    let used: Vec<usize> = whole.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    let seed = std::env::var("AURA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now_ms);
    println!("{flips} flips among {} bytes in use, AURA_SEED={seed}", used.len());
    let mut random = u64::try_from(seed).expect("a positive seed");
    let (mut refused, mut errors, mut unseen) = (0, 0, 0);
    for _ in 0..flips {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = used[usize::try_from(random >> 24).expect("an index") % used.len()];
        let mut changed = whole.clone();
        changed[at] ^= 1 << (random % 8);
        fs::write(&file, &changed).expect("a changed database");
        if !daemon.try_up() {
            daemon.forget_process();
            refused += 1;
            continue;
        }
        let mut found = 0;
        match daemon.ask().run_list(query()) {
            Ok(mut now) => {
                now.sort_by_key(|head| head.run);
                // A flip in the tree can make a row vanish (design §2.8): the deep check must see that.
                assert!(now.iter().all(|head| heads.contains(head)), "byte {at}: a changed row is served");
                found += usize::from(now.len() != heads.len());
            }
            Err(_) => found += 1,
        }
        for (run, before) in runs.iter().zip(&shown) {
            match daemon.ask().run_show(RunRef(run.to_string())) {
                // Its version may be what was hit: then the outline is missing, and nothing of the run.
                Ok(now) if now.head == before.head && now.journal == before.journal => {
                    assert!(now.outline == before.outline || now.outline.is_empty(), "byte {at}: another outline");
                    found += usize::from(now.outline != before.outline);
                }
                // What its version redacts is not known then, so everything is.
                Ok(now) if now.outline.is_empty() && is_hidden(&json(&now.journal), &json(&before.journal)) => {
                    found += 1;
                }
                Ok(now) => {
                    assert!(
                        now.journal.len() < before.journal.len(),
                        "byte {at}: a changed journal is served: {now:?}"
                    );
                    found += 1;
                }
                Err(_) => found += 1,
            }
        }
        match daemon.ask().flow_show("flips".into()) {
            Ok(now) => {
                assert_eq!((now.published, now.draft), (flow.published.clone(), flow.draft.clone()), "byte {at}")
            }
            Err(_) => found += 1,
        }
        if found > 0 {
            errors += 1;
            let deep = daemon.aura(&["doctor", "--deep", "--json"]);
            assert!(deep.out.contains("fail"), "byte {at}: something is missing and doctor sees nothing: {deep:?}");
        } else {
            unseen += 1;
        }
        daemon.kill9();
    }
    fs::write(&file, &whole).expect("the whole database");
    println!("{refused} refused at the start, {errors} said and named, {unseen} in bytes that nothing read");
    assert!(refused + errors > 0, "no flip was noticed: the test reads nothing");
    daemon.up();
    assert_eq!(daemon.runs("flips"), heads, "the untouched file is as before");
}

fn json<T: serde::Serialize>(value: &T) -> Json {
    serde_json::to_value(value).expect("a journal as JSON")
}

/// Whether it is the same but for what was redacted.
fn is_hidden(now: &Json, before: &Json) -> bool {
    match (now, before) {
        (Json::String(text), _) if text == "[redacted]" => true,
        (Json::Array(now), Json::Array(before)) => {
            now.len() == before.len() && now.iter().zip(before).all(|(now, before)| is_hidden(now, before))
        }
        (Json::Object(now), Json::Object(before)) => {
            now.len() == before.len()
                && now.iter().all(|(key, now)| before.get(key).is_some_and(|before| is_hidden(now, before)))
        }
        _ => now == before,
    }
}
