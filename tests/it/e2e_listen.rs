//! `aura listen`: deliveries of a daemon as copies to a program on this machine, over a socket and over what stands in
//! for ssh.
//!
//! The one invariant: the receiver gets what the sender signed, byte for byte, each once and in order, whoever is killed
//! meanwhile; signatures are checked here from the providers' documents.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use aura_protocol::rpc::FlowEnable;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::e2e_remote::{Road, address};
use crate::support::sender::{SECRET, hmac};
use crate::support::{Answer, Daemon, Hook, LIMIT, Receiver, Request, assert_says, wait_for, wait_until};

fn flow(name: &str, trigger: &str) -> String {
    format!(
        "aura: 1\nflow: {name}\ntriggers:\n  - id: in\n    on: webhook\n{trigger}steps:\n  - id: a\n    set: {{ got: true }}\n"
    )
}

const SIGNED: &str = "    auth: { scheme: standard_webhooks, secret: sender }\n";
const OPEN: &str = "    auth: none\n";

/// A daemon with a signed flow `orders` and an open one `other`.
fn shop() -> (Daemon, Hook, Hook) {
    let daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    daemon.publish(&flow("orders", SIGNED));
    daemon.publish(&flow("other", OPEN));
    let (orders, other) = (daemon.hook("orders"), daemon.open_hook("other"));
    (daemon, orders, other)
}

/// A running `aura listen --json`.
struct Listener {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Listener {
    fn start(command: &mut Command, arguments: &[&str]) -> Self {
        let mut child = command
            .args(["listen", "--json"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("aura starts");
        let (send, lines) = mpsc::channel();
        let (out, errors) = (child.stdout.take().expect("its output"), child.stderr.take().expect("its errors"));
        let read = |stream: Box<dyn std::io::Read + Send>, send: mpsc::Sender<Value>| {
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                    drop(send.send(value));
                }
            });
        };
        read(Box::new(out), send.clone());
        read(Box::new(errors), send);
        let listener = Self { child, lines };
        listener.wait("listening");
        listener
    }

    fn of(daemon: &Daemon, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_it-aura"));
        command.env("HOME", daemon.place.path("home")).arg("--socket").arg(daemon.place.socket());
        Self::start(&mut command, arguments)
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(LIMIT).expect("another line")
    }

    /// The next line of a kind; what comes before it must be news of the link.
    fn wait(&self, what: &str) -> Value {
        loop {
            let line = self.next();
            if line["what"] == what {
                return line;
            }
            assert_eq!(line["what"], "link", "{line}");
        }
    }

    /// Ctrl-C; gives the sum and the exit code.
    fn end(mut self) -> (Value, i32) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("a signal");
        let sum = self.wait("ended");
        let status = wait_for("aura to end", LIMIT, || self.child.try_wait().expect("its state"));
        (sum, status.code().expect("a code"))
    }

    fn code(&mut self) -> i32 {
        let status = wait_for("aura to end", LIMIT, || self.child.try_wait().expect("its state"));
        status.code().expect("a code")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether the provider's signature fits what the receiver got, by Standard Webhooks' own document.
fn verifies(request: &Request) -> bool {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("a base64 secret");
    let body = request.body.as_deref().expect("a whole body");
    let message = [format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes(), body].concat();
    header("webhook-signature") == format!("v1,{}", STANDARD.encode(hmac(&key, &message)))
}

#[test]
fn a_copy_is_what_came_and_the_providers_signature_fits_it() {
    let (daemon, orders, other) = shop();
    let receiver = Receiver::start();
    let listener = Listener::of(&daemon, &["orders", "--to", &receiver.url("/hook?from=aura")]);
    let large = format!("{{\"text\": \"{}\"}}", "ä ".repeat(120_000));
    let bodies = ["{\"id\":   1,\n\t\"sum\": 10.50}\r\n", "{\"name\":\"J\u{fc}rgen \u{1f6d2}\"}", &large];
    let mut events = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        other.send(&format!("other-{number}"), "{}").expect("an answer");
        let reply = orders.send(&format!("msg_{number}"), body).expect("an answer");
        assert_eq!(reply.status, 202, "{}", reply.text());
        // A repeat is none, and its body is kept nowhere.
        let again = orders.send(&format!("msg_{number}"), body).expect("an answer");
        assert_eq!(again.field("state"), "duplicate");
        events.push(reply.event().expect("a promise").to_owned());
    }
    for event in &events {
        let line = listener.wait("delivery");
        assert_eq!((&line["copy"]["status"], line["delivery"]["event"].as_str()), (&200.into(), Some(event.as_str())));
    }
    let got = receiver.log();
    assert_eq!(got.len(), 3, "neither the other flow's nor repeats: {got:#?}");
    for ((request, body), event) in got.iter().zip(bodies).zip(&events) {
        assert!(request.body.as_deref() == Some(body.as_bytes()), "byte for byte");
        assert!(verifies(request), "{:?}", request.headers);
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook?from=aura"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("aura-event-id"), Some(event.as_str()));
        assert_eq!(request.header("aura-delivery-path"), Some(orders.path.as_str()));
        assert_eq!(request.header("aura-delivery-endpoint"), Some("orders/in"));
        assert_ne!(request.header("host"), Some(orders.address.to_string().as_str()));
    }
    // The daemon's own runs went on.
    assert_eq!(daemon.runs("orders").len(), 3);
    let (sum, code) = listener.end();
    assert_eq!((code, &sum["deliveries"], &sum["taken"]), (0, &3.into(), &3.into()), "{sum}");
}

#[test]
fn what_was_refused_or_came_nowhere_comes_only_if_it_is_asked_for() {
    let (daemon, orders, other) = shop();
    let receiver = Receiver::start();
    let plain = Listener::of(&daemon, &["--to", &receiver.url("/plain")]);
    let to = receiver.url("/in/");
    let all = Listener::of(&daemon, &["orders", "--refused", "--unclaimed", "--to", &to]);
    let wrong = Hook { secret: "whsec_b3RoZXI=".to_owned(), ..orders.clone() };
    assert_eq!(wrong.send("msg_1", "{\"a\":1}").expect("an answer").status, 401);
    let nowhere = Hook { path: format!("/hooks/{}", "z".repeat(26)), ..other.clone() };
    assert_eq!(nowhere.send("msg_2", "{\"b\":2}").expect("an answer").status, 404);
    daemon.ask().flow_enable(FlowEnable { flow: "orders".to_owned(), enabled: false }).expect("a disabled flow");
    assert_eq!(orders.send("msg_3", "{\"c\":3}").expect("an answer").status, 404);
    assert_eq!(other.send("msg_4", "{\"d\":4}").expect("an answer").status, 202);
    let seen: Vec<String> = (0..3)
        .map(|_| {
            let line = all.wait("delivery");
            assert_eq!(line["copy"]["status"], 200, "{line}");
            line["delivery"]["verdict"].as_str().expect("a verdict").to_owned()
        })
        .collect();
    assert_eq!(seen, ["digest", "no_endpoint", "disabled"]);
    let got = receiver.log();
    let on = |path: &str| got.iter().find(|request| request.path == format!("/in{path}")).expect("its own path");
    assert_eq!(on(&nowhere.path).body.as_deref(), Some(&b"{\"b\":2}"[..]));
    assert_eq!(on(&nowhere.path).header("aura-delivery-verdict"), Some("no endpoint"));
    assert!(on(&nowhere.path).header("aura-event-id").is_none());
    let line = plain.wait("delivery");
    assert_eq!((line["delivery"]["flow"].as_str(), receiver.count("/plain")), (Some("other"), 1));
    assert_eq!((all.end().1, plain.end().1), (0, 0));
    // Later, from the list: oldest first, and it ends by itself.
    let mut later = Listener::of(
        &daemon,
        &["--since", "1h", "--count", "4", "--refused", "--unclaimed", "--to", &receiver.url("/late")],
    );
    assert_eq!(later.code(), 0);
    let late: Vec<Value> = receiver.on_path("/late").iter().map(Request::json).collect();
    assert_eq!(
        late,
        [
            serde_json::json!({"a":1}),
            serde_json::json!({"b":2}),
            serde_json::json!({"c":3}),
            serde_json::json!({"d":4})
        ]
    );
}

#[test]
fn a_held_event_is_copied_when_it_comes_and_not_again_when_it_starts() {
    let daemon = Daemon::start();
    daemon.publish(&flow("calm", "    auth: none\n    debounce: { key: \"{{ trigger.body.id }}\", for: 300ms }\n"));
    let hook = daemon.open_hook("calm");
    let receiver = Receiver::start();
    let listener = Listener::of(&daemon, &["--to", &receiver.url("/hook")]);
    for number in 0..3 {
        hook.send(&format!("m{number}"), &format!("{{\"id\":1,\"n\":{number}}}")).expect("an answer");
    }
    wait_until("the run of the three", LIMIT, || daemon.runs("calm").iter().any(|head| head.state.is_final()));
    hook.send("m3", "{\"id\":2,\"n\":3}").expect("an answer");
    let seen: Vec<Value> = receiver.wait("/hook", 4).iter().map(|request| request.json()["n"].clone()).collect();
    assert_eq!(seen, [0, 1, 2, 3], "each once");
    (0..4).for_each(|_| drop(listener.wait("delivery")));
    assert_eq!(listener.end().0["deliveries"], 4);
}

#[test]
fn what_waits_for_its_turn_is_copied_when_it_comes_and_what_begins_inside_is_not() {
    let daemon = Daemon::start();
    let trigger = "    auth: none\n  - { id: hand, on: manual }\nconcurrency: { key: \"{{ 'all' }}\", limit: 1, when_full: queue }\n";
    daemon.publish(&flow("line", trigger).replace("set: { got: true }", "sleep: { for: 400ms }"));
    let hook = daemon.open_hook("line");
    let receiver = Receiver::start();
    let listener = Listener::of(&daemon, &["--to", &receiver.url("/hook")]);
    daemon.run("line", "{}");
    for number in 0..2 {
        let reply = hook.send(&format!("m{number}"), &format!("{{\"n\":{number}}}")).expect("an answer");
        assert_eq!(reply.field("state"), "queued");
    }
    let seen: Vec<Value> = receiver.wait("/hook", 2).iter().map(|request| request.json()["n"].clone()).collect();
    assert_eq!(seen, [0, 1]);
    wait_until("all runs to end", LIMIT, || {
        daemon.runs("line").iter().filter(|head| head.state.is_final()).count() == 3
    });
    hook.send("m2", "{\"n\":2}").expect("an answer");
    let last = receiver.wait("/hook", 3);
    assert_eq!((last.len(), last[2].json()["n"].as_i64()), (3, Some(2)), "each once, and no run by hand");
    (0..3).for_each(|_| drop(listener.wait("delivery")));
    assert_eq!(listener.end().0["deliveries"], 3);
}

#[test]
fn over_a_lost_link_and_a_killed_daemon_none_is_missing_and_none_comes_twice() {
    let (mut daemon, orders, _) = shop();
    let receiver = Receiver::start();
    let road = Road::new("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_it-aura"));
    command.env_clear().env("HOME", road.path("")).env("AURA_SSH", road.ssh()).env("PATH", "/usr/bin:/bin");
    command.args(["-H", &address(&daemon.place.socket())]);
    let listener = Listener::start(&mut command, &["--to", &receiver.url("/hook"), "orders"]);
    let mut sent = Vec::new();
    let mut send = |orders: &Hook, count: usize| {
        for _ in 0..count {
            let body = format!("{{\"n\":{}}}", sent.len());
            let reply = orders.send(&format!("msg_{}", sent.len()), &body).expect("an answer");
            assert_eq!(reply.status, 202);
            sent.push(body);
        }
        sent.len()
    };
    for round in 0..4 {
        // All have come, so the link is up; then it is cut, or the daemon killed, while copies are on their way.
        let count = send(&orders, 2);
        receiver.wait("/hook", count);
        let before = road.pid();
        send(&orders, 4);
        if round % 2 == 0 {
            road.cut();
            send(&orders, 3);
            wait_until("a new link", LIMIT, || road.pid() != before);
        } else {
            daemon.kill9();
            daemon.up();
            send(&orders, 3);
        }
    }
    let got: Vec<String> = receiver
        .wait("/hook", sent.len())
        .iter()
        .map(|request| {
            assert!(verifies(request));
            String::from_utf8_lossy(request.body.as_deref().expect("a body")).into_owned()
        })
        .collect();
    assert_eq!(got, sent, "in order");
    let (sum, code) = {
        let mut links = (0, 0);
        let mut copies = 0;
        while copies < sent.len() {
            let line = listener.next();
            match line["what"].as_str() {
                Some("link") if line["up"] == true => links.1 += 1,
                Some("link") => links.0 += 1,
                Some("delivery") => copies += 1,
                _ => panic!("{line}"),
            }
        }
        // A link that is cut before it is up again is lost once.
        assert!(links.0 >= 2 && links.0 == links.1, "it says so: {links:?}");
        listener.end()
    };
    assert_eq!((code, &sum["taken"], receiver.count("/hook")), (0, &sent.len().into(), sent.len()));
}

#[test]
fn a_program_that_stalls_or_fails_is_said_and_does_not_stop_what_comes_behind() {
    let (daemon, _, other) = shop();
    let receiver = Receiver::start();
    receiver
        .on("/slow", |_, before| if before == 0 { Answer::hold() } else { Answer::status(409).body("taken\u{1b}[2J") });
    let arguments = ["--to", &receiver.url("/slow"), "--timeout", "300ms", "--count", "2"];
    let mut listener = Listener::of(&daemon, &arguments);
    other.send("m1", "{\"n\":1}").expect("an answer");
    other.send("m2", "{\"n\":2}").expect("an answer");
    let line = listener.wait("delivery");
    assert_eq!(
        (&line["copy"]["status"], line["copy"]["error"].as_str()),
        (&Value::Null, Some("no answer within 300ms"))
    );
    assert_eq!(listener.wait("delivery")["copy"]["status"], 409);
    let sum = listener.wait("ended");
    assert_eq!((&sum["not_sent"], &sum["refused_here"], listener.code()), (&1.into(), &1.into(), 1), "{sum}");

    receiver.on("/flaky", |_, before| match before {
        0 => Answer::close(),
        1 => Answer::status(503),
        _ => Answer::ok().after(Duration::from_millis(1)),
    });
    let arguments = ["--to", &receiver.url("/flaky"), "--retry", "5", "--since", "1h", "--count", "2", "other/in"];
    let mut listener = Listener::of(&daemon, &arguments);
    let line = listener.wait("delivery");
    assert_eq!((&line["copy"]["status"], &line["copy"]["attempts"]), (&200.into(), &3.into()), "{line}");
    assert_eq!(listener.code(), 0);
    let order: Vec<i64> = receiver.on_path("/flaky").iter().map(|it| it.json()["n"].as_i64().expect("n")).collect();
    assert_eq!(order, [1, 1, 1, 2], "what comes behind waits");

    let text = daemon.aura(&["listen", "--since", "1h", "--count", "1", "--print-body"]).success();
    assert_says(text.out.as_str(), &["listening for deliveries to every endpoint", "other/in  open", "\"n\": 1"]);
    let dead = daemon.aura(&["listen", "--since", "1h", "--once", "--to", "http://127.0.0.1:1/x"]);
    assert_says(dead.out.as_str(), &["failed: nobody listens there", "the daemon's own runs go on as always"]);
    assert_eq!(dead.code, 1);
    let wrong = daemon.aura(&["listen", "orders/nothing"]);
    assert_eq!(wrong.code, 3, "{wrong:#?}");
    assert_says(wrong.err.as_str(), &["orders has no endpoint nothing; it has in"]);
    assert_eq!(daemon.aura(&["listen", "nobody"]).code, 3);
    assert_eq!(daemon.aura(&["listen", "--to", "https://127.0.0.1/"]).code, 2);
}

#[test]
fn who_may_not_see_bodies_gets_the_list_and_no_copy() {
    // Another user of this machine can be made by root only; `rpc::feed` has the rule's own test.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let environment = vec![("AURA_ACCOUNTS".to_owned(), "carl:70002:viewer".to_owned())];
    let daemon = Daemon::start_with(crate::support::Setup { environment, ..crate::support::Setup::default() });
    daemon.publish(&flow("other", OPEN));
    daemon.open_hook("other").send("m1", "{\"n\":1}").expect("an answer");
    for name in ["", "run", "run/aurad.sock"] {
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(daemon.place.path(name), mode).expect("a mode");
    }
    let program = daemon.place.path("aura");
    // By a program of its own: a child of another test that is just being made would hold our file open.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_it-aura")).arg(&program).status().expect("cp starts");
    assert!(copied.success(), "a copy that others may run");
    let listen = |arguments: &[&str]| {
        let output = Command::new(&program)
            .uid(70002)
            .env_clear()
            .args(["--socket", &daemon.place.socket().display().to_string(), "listen", "--since", "1h", "--once"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("aura starts");
        crate::support::Said::from(output)
    };
    assert_says(listen(&[]).success().out.as_str(), &["other/in  open"]);
    for arguments in [&["--to", "http://127.0.0.1:1/"][..], &["--print-body"]] {
        let said = listen(arguments);
        assert_eq!(said.code, 6, "{said:#?}");
        assert_says(said.err.as_str(), &["carl has the role viewer", "operators and above"]);
    }
}
