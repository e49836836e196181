//! What keeps strangers and mistakes out: schemes, tokens, aliases, overload, slow senders, egress, text.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use aura_protocol::run::RunState;
use aura_protocol::signature;

use crate::support::sender::SECRET;
use crate::support::{Answer, Daemon, Hook, LIMIT, Receiver, Setup, assert_says, now_ms, wait_until};

fn flow(name: &str, auth: &str, rest: &str) -> String {
    format!(
        "aura: 1\nflow: {name}\ntriggers:\n  - id: in\n    on: webhook\n    auth: {auth}\n{rest}steps:\n  - id: a\n    set: {{ got: \"{{{{ trigger.body }}}}\" }}\n"
    )
}

fn with(settings: &[(&str, &str)]) -> Setup {
    let environment = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Setup { environment, ..Setup::default() }
}

#[test]
fn every_scheme_lets_its_sender_in_once_and_nobody_else() {
    let daemon = Daemon::start();
    let body = br#"{"id": "evt_1", "type": "order.paid"}"#;
    for name in ["stripe", "github", "slack", "shopify_webhook", "standard_webhooks"] {
        let secret = if name == "standard_webhooks" { SECRET } else { "a secret of the sender" };
        let slug = name.replace('_', "-");
        daemon.secret(&format!("{name}_key"), secret);
        daemon.publish(&flow(&slug, &format!("{{ scheme: {name}, secret: {name}_key }}"), ""));
        let hook = daemon.open_hook(&slug);
        let scheme = signature::scheme(name).unwrap_or_else(|| panic!("no scheme {name}"));
        let send = |secret: &str, at_ms: i64| {
            let mut headers = signature::sign(scheme, secret, body, at_ms, "msg_1");
            headers.push(("content-type".into(), "application/json".into()));
            hook.send_with(&headers, body).expect("an answer")
        };
        let other = if name == "standard_webhooks" { "whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlciE=" } else { "guess" };
        let refused = send(other, now_ms());
        assert_eq!((refused.status, refused.event()), (401, None), "{name}: {}", refused.text());
        if scheme.window.is_some() {
            let stale = send(secret, now_ms() - 3_600_000);
            assert_eq!((stale.status, stale.event()), (401, None), "{name} stale: {}", stale.text());
        }
        let taken = send(secret, now_ms());
        assert!((200..300).contains(&taken.status) && taken.event().is_some(), "{name}: {}", taken.text());
        let again = send(secret, now_ms());
        if again.field("state") == "duplicate" {
            assert_eq!(again.event(), taken.event(), "{name}");
        } else {
            // A scheme without an id of its deliveries cannot tell a repeat.
            assert!(["slack"].contains(&name), "{name} takes the same delivery twice: {}", again.text());
        }
    }
}

#[test]
fn one_signed_delivery_sent_a_thousand_times_is_one_run() {
    let daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    daemon.publish(&flow("once", "{ scheme: standard_webhooks, secret: sender }", ""));
    let hook = daemon.hook("once");
    let headers = hook.signed("msg_1", now_ms() / 1000, b"{\"n\":1}");
    let repeats: Vec<(u16, String)> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let send = |_| hook.send_with(&headers, b"{\"n\":1}").expect("an answer");
                    (0..125).map(send).map(|reply| (reply.status, reply.field("event_id"))).collect::<Vec<_>>()
                })
            })
            .collect();
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect()
    });
    assert_eq!(repeats.len(), 1000);
    assert_eq!(repeats.iter().filter(|(status, _)| *status == 202).count(), 1, "one of them is new");
    assert!(repeats.iter().all(|(status, event)| [200, 202].contains(status) && *event == repeats[0].1));
    assert_eq!(daemon.runs("once").len(), 1);
    for seconds in [-301, -86_400, 301] {
        let headers = hook.signed("msg_2", now_ms() / 1000 + seconds, b"{}");
        let refused = hook.send_with(&headers, b"{}").expect("an answer");
        assert_eq!((refused.status, refused.event()), (401, None), "{seconds} s from now: {}", refused.text());
    }
    assert_eq!(daemon.runs("once").len(), 1);
}

#[test]
fn a_bearer_token_opens_its_endpoint_only() {
    let daemon = Daemon::start();
    daemon.secret("token", "the-token");
    daemon.publish(&flow("guarded", "{ bearer: token }", ""));
    let hook = daemon.open_hook("guarded");
    let send = |token: Option<&str>| {
        let headers: Vec<(String, String)> =
            token.map(|token| ("authorization".to_owned(), token.to_owned())).into_iter().collect();
        hook.send_with(&headers, b"{}").expect("an answer")
    };
    for wrong in [None, Some("Bearer "), Some("Bearer the-toke"), Some("Bearer the-tokens"), Some("Basic the-token")] {
        let refused = send(wrong);
        assert_eq!((refused.status, refused.event()), (401, None), "{wrong:?}: {}", refused.text());
    }
    let taken = send(Some("Bearer the-token"));
    assert_eq!(taken.status, 202, "{}", taken.text());
    let run = taken.field("run_id").parse().expect("a run");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert!(!format!("{journal:?}").contains("the-token"), "the token is not stored with the delivery");
}

#[test]
fn an_alias_exists_only_where_senders_prove_themselves() {
    let daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    daemon.publish(&flow("proved", "{ scheme: standard_webhooks, secret: sender }", ""));
    daemon.publish(&flow("open", "none", ""));
    let webhooks = daemon.ask().webhook_list(()).expect("the endpoints");
    let of = |flow: &str| webhooks.iter().find(|webhook| webhook.flow == flow).expect("an endpoint");
    assert_eq!(of("open").alias, None, "an address that can be guessed needs a proof");
    let alias = of("proved").alias.clone().expect("an alias");
    let path = alias.find("/hooks/").or_else(|| alias.find("/webhooks/")).map(|at| alias[at..].to_owned());
    let hook = Hook { path: path.expect("a path"), ..daemon.hook("proved") };
    assert_eq!(hook.send("m1", "{}").expect("an answer").status, 202, "{alias}");
    let guess = Hook { path: hook.path.replace("proved", "open"), ..hook };
    assert_eq!(guess.send("m2", "{}").expect("an answer").status, 404);
    let endpoint = of("open").url.rsplit('/').next().expect("a name").to_owned();
    assert_eq!(endpoint.len(), 26, "26 random characters: {endpoint}");
}

#[test]
fn too_much_at_once_is_refused_with_the_time_to_come_again() {
    let daemon = Daemon::start_with(with(&[("AURA_HTTP_IN_FLIGHT_MAX", "2")]));
    let receiver = Receiver::start();
    receiver.on("/slow", |_, _| Answer::hold());
    daemon.publish(&format!(
        "aura: 1\nflow: busy\ntriggers:\n  - id: in\n    on: webhook\n    auth: none\n    reply: {{ respond: {{ wait: 20s }} }}\nsteps:\n  - id: ask\n    http: {{ url: \"{}\" }}\n  - id: answer\n    respond: {{ body: done }}\n",
        receiver.url("/slow")
    ));
    let hook = daemon.open_hook("busy");
    let senders: Vec<_> = (0..2)
        .map(|number| {
            let hook = hook.clone();
            std::thread::spawn(move || hook.send(&format!("s{number}"), "{}"))
        })
        .collect();
    receiver.wait("/slow", 2);
    let refused = hook.send("late", "{}").expect("an answer");
    assert!([429, 503].contains(&refused.status), "{} {}", refused.status, refused.text());
    assert_eq!(refused.event(), None, "not promised");
    let again = refused.header("retry-after").and_then(|text| text.parse::<u32>().ok()).expect("whole seconds");
    assert!((1..=60).contains(&again));
    assert_eq!(daemon.runs("busy").len(), 2, "nothing of it is stored");
    receiver.release("/slow");
    for sender in senders {
        let reply = sender.join().expect("a sender").expect("an answer");
        assert_eq!((reply.status, reply.text().as_str()), (200, "done"));
    }
    assert_eq!(hook.send("late", "{}").expect("an answer").text(), "done", "with the same id, later");
    assert_eq!(daemon.runs("busy").len(), 3);
}

#[test]
fn senders_that_are_slow_on_purpose_are_dropped() {
    let daemon = Daemon::start_with(with(&[
        ("AURA_HTTP_HEAD_SECONDS", "1"),
        ("AURA_HTTP_BODY_IDLE_SECONDS", "1"),
        ("AURA_HTTP_BODY_SECONDS", "2"),
    ]));
    daemon.publish(&flow("slow", "none", ""));
    let hook = daemon.open_hook("slow");
    let head = format!("POST {} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n", hook.path);
    for (case, sent) in
        [("nothing", ""), ("half a head", head.as_str()), ("half a body", &format!("{head}\r\n{{\"a\""))]
    {
        let mut stream = TcpStream::connect(hook.address).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream.write_all(sent.as_bytes()).expect("written");
        let begin = Instant::now();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the end of the connection");
        assert!(begin.elapsed() < Duration::from_secs(8), "{case}: dropped after {:?}", begin.elapsed());
        assert!(!String::from_utf8_lossy(&answer).contains("aura-event-id"), "{case} was promised something");
    }
    assert!(daemon.runs("slow").is_empty());
    assert_eq!(hook.send("1", "{}").expect("an answer").status, 202, "others are served");
}

#[test]
fn flows_do_not_reach_this_machine_unless_allowed() {
    let daemon = Daemon::start_with(with(&[("AURA_EGRESS_PRIVATE", "false")]));
    let receiver = Receiver::start();
    let port = receiver.url("").rsplit(':').next().expect("a port").to_owned();
    for (number, host) in
        ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433", "169.254.169.254"].into_iter().enumerate()
    {
        let name = format!("inward-{number}");
        daemon.publish(&format!(
            "aura: 1\nflow: {name}\ntriggers:\n  - {{ id: hand, on: manual }}\nsteps:\n  - id: a\n    http: {{ method: POST, url: \"http://{host}:{port}/inside\", body: {{ a: 1 }} }}\n    retry: {{ attempts: 1 }}\n"
        ));
        let run = daemon.run(&name, "{}");
        let journal = daemon.wait_state(run, RunState::Failed);
        assert_says(journal.error(), &["egress"]);
    }
    assert!(receiver.log().is_empty(), "{:?}", receiver.log());
}

#[test]
fn control_sequences_from_outside_never_reach_the_terminal() {
    let daemon = Daemon::start();
    daemon.publish("aura: 1\nflow: hostile\ntriggers:\n  - { id: in, on: webhook, auth: none }\nsteps:\n  - id: a\n    set: { got: \"{{ trigger.body.name }}\" }\n  - id: b\n    stop: { fail: \"{{ trigger.body.name }}\" }\n");
    let hook = daemon.open_hook("hostile");
    let body = r#"{"name": "\u001b[2J\u001b]0;owned\u0007\u009b31m\u202egnihton\u0000\r"}"#;
    let reply = hook.send("1", body).expect("an answer");
    let run = reply.field("run_id").parse().expect("a run");
    daemon.wait_state(run, RunState::Failed);
    let id = run.to_string();
    for command in [&["run", "list"][..], &["run", "show", &id], &["run", "logs", &id], &["run", "list", "--json"]] {
        let said = daemon.aura(command);
        let shown = format!("{}{}", said.out, said.err);
        assert!(shown.contains("hostile") || shown.contains("owned"), "{command:?} shows nothing of it: {shown}");
        let bad = |letter: &char| letter.is_control() && *letter != '\n' || ('\u{202a}'..='\u{202e}').contains(letter);
        assert_eq!(shown.chars().find(bad), None, "{command:?}: {shown:?}");
    }
    assert!(!daemon.place.said().contains('\u{1b}'), "nor the log");
}

#[test]
fn cases_of_signatures_are_judged_without_a_daemon() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/tests/data/signatures.json");
    let cases: serde_json::Value =
        serde_json::from_slice(&std::fs::read(file).expect("the vectors")).expect("a file of cases");
    let cases = cases["cases"].as_array().expect("cases");
    assert!(cases.len() > 20, "only {} cases", cases.len());
    for json in [&[][..], &["--json"]] {
        let said = crate::support::aura(&[&["webhook", "verify", "--cases", file], json].concat()).success();
        let lines: Vec<serde_json::Value> = said
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        assert_eq!(lines.len(), cases.len(), "a line per case");
        for (line, case) in lines.iter().zip(cases) {
            assert_eq!(line["id"], case["id"]);
            assert!(line["reason"].is_string(), "{line}");
            if case["must"] == true {
                assert_eq!(line["verdict"], case["expect"], "{line} of {case}");
            }
        }
    }
}

#[test]
fn a_daemon_that_is_asked_to_end_takes_no_more_and_finishes_what_it_has() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    daemon.publish(&format!(
        "aura: 1\nflow: ending\ntriggers:\n  - {{ id: in, on: webhook, auth: none }}\nsteps:\n  - id: a\n    http: {{ method: POST, url: \"{}\" }}\n",
        receiver.url("/a")
    ));
    receiver.on("/a", |_, _| Answer::ok().after(Duration::from_millis(500)));
    let hook = daemon.open_hook("ending");
    assert_eq!(hook.send("1", "{}").expect("an answer").status, 202);
    receiver.wait("/a", 1);
    assert!(daemon.stop().success());
    assert!(hook.send("2", "{}").is_err(), "nobody listens");
    assert!(!daemon.place.socket().exists(), "the socket is gone");
    daemon.up();
    wait_until("the run to end", LIMIT, || daemon.runs("ending").iter().all(|head| head.state == RunState::Succeeded));
    assert_eq!(receiver.on_path("/a").len(), 1);
}
