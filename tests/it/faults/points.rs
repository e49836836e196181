//! A3: the daemon is killed in the n-th write or fsync of its life, one life per point, over one run each.
//!
//! `strace` delivers SIGKILL as the n-th call of a thread is entered, so the write does not happen. Lives begin on the data
//! that the one before left. `AURA_KILL_POINTS_STEP` is the distance of points (default 3; 1 in the long gate).

use std::collections::BTreeMap;
use std::process::Command;

use aura_protocol::run::{RunHead, RunState};

use crate::support::sender::SECRET;
use crate::support::{Daemon, LIMIT, Receiver, tick, wait_until};

const FLOW: &str = r#"
aura: 1
flow: points
triggers:
  - id: in
    on: webhook
    auth: { scheme: standard_webhooks, secret: sender }
steps:
  - id: reserve
    http: { method: POST, url: "RECEIVER/reserve", body: { n: "{{ trigger.body.n }}" } }
    effect: keyed
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { n: "{{ trigger.body.n }}" } }
    effect: once
  - id: rest
    sleep: { for: 1ms }
  - id: receipt
    http: { method: PUT, url: "RECEIVER/receipt", body: { n: "{{ trigger.body.n }}" } }
"#;

/// Most points of one test: a life has far fewer writes.
const POINTS_MAX: usize = 2_000;

#[test]
fn a_kill_at_any_write_loses_nothing_and_repeats_no_effect() {
    if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
        println!("not run: strace is not installed");
        return;
    }
    let distance: usize =
        std::env::var("AURA_KILL_POINTS_STEP").ok().map_or(3, |text| text.parse().expect("a number")).max(1);
    let receiver = Receiver::start();
    let mut daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    daemon.publish(&FLOW.replace("RECEIVER", &receiver.url("")));
    let hook = daemon.hook("points");
    assert!(daemon.stop().success());

    let mut promised: BTreeMap<usize, String> = BTreeMap::new();
    let (mut died_starting, mut died_working) = (0, 0);
    let mut point = 1;
    loop {
        assert!(point < POINTS_MAX, "a life has more writes than {POINTS_MAX}");
        let inject = format!("inject=pwrite64,fdatasync:signal=KILL:when={point}");
        let traced = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64,fdatasync", "-e", &inject];
        daemon.place.wrapper = traced.iter().map(|part| (*part).to_owned()).collect();
        let (id, body) = (format!("msg_{point}"), format!("{{\"n\":{point}}}"));
        let mut heard = |event: String| {
            let first = promised.entry(point).or_insert_with(|| event.clone());
            assert_eq!(*first, event, "a repeat of message {point} became another event");
        };
        let survived = daemon.try_up();
        if survived {
            // The point may lie in its acceptance or in anything after it.
            let mut sent = false;
            wait_until("the run to end or the daemon to die", LIMIT, || {
                if !sent
                    && let Ok(reply) = hook.send(&id, &body)
                    && (200..300).contains(&reply.status)
                {
                    heard(reply.event().expect("a promise").to_owned());
                    sent = true;
                }
                daemon.is_over() || (sent && settled(&daemon, point))
            });
        }
        let over = !survived || daemon.is_over();
        match (survived, over) {
            (false, _) => died_starting += 1,
            (true, true) => died_working += 1,
            (true, false) => {}
        }
        if over {
            daemon.forget_process();
        } else {
            daemon.kill9();
        }
        daemon.place.wrapper.clear();
        daemon.up();
        wait_until("the message to be promised", LIMIT, || match hook.send(&id, &body) {
            Ok(reply) if (200..300).contains(&reply.status) => {
                heard(reply.event().expect("a promise").to_owned());
                true
            }
            _ => {
                tick();
                false
            }
        });
        daemon.wait_quiet(LIMIT);
        assert!(daemon.stop().success(), "{}", daemon.place.said());
        if !over {
            break;
        }
        point += distance;
    }

    daemon.up();
    println!("killed at {died_starting} points of a start and {died_working} points of work, every {distance}.");
    assert!(died_working > 0, "no point hit the work");
    let runs = daemon.runs("points");
    for (message, event) in &promised {
        let of: Vec<&RunHead> = runs.iter().filter(|head| head.event.to_string() == *event).collect();
        assert_eq!(of.len(), 1, "message {message} has {} runs", of.len());
        assert!(matches!(of[0].state, RunState::Succeeded | RunState::InDoubt), "message {message}: {:?}", of[0]);
    }
    assert_eq!(runs.len(), promised.len(), "a run that nobody was promised");
    for path in ["/reserve", "/charge"] {
        let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for request in receiver.on_path(path) {
            let Some(body) = &request.body else { continue };
            keys.entry(String::from_utf8_lossy(body).into_owned()).or_default().push(request.key().to_owned());
        }
        for (body, keys) in keys {
            assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{path} {body} with different keys: {keys:?}");
            assert!(path != "/charge" || keys.len() == 1, "{body} was charged {} times", keys.len());
        }
    }
}

/// Whether the newest run of this message needs nothing more.
fn settled(daemon: &Daemon, point: usize) -> bool {
    let query = aura_protocol::rpc::RunQuery { flow: Some("points".into()), limit: 1, ..Default::default() };
    let Ok(runs) = daemon.ask().run_list(query) else { return false };
    let newest = runs.first().is_some_and(|head| head.state.is_final() || head.state == RunState::InDoubt);
    newest && point > 0
}
