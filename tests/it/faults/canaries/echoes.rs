//! Peers and senders that say secrets back: in every form, across chunks, in headers, in error pages, at cuts.
//!
//! The same is played with a daemon whose sink is broken on purpose: there every kind of place shows a secret, so this
//! test would see one.

use std::path::Path;

use aura_protocol::rpc::{ConnectionAdd, PayloadQuery, RunRef};
use aura_protocol::watch::{Subscription, WatchRequest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::planted::{Search, html, json, list, percent, secrets};
use crate::support::{Answer, Daemon, LIMIT, Receiver, Setup, wait_until};

/// Every form in which something is said here.
fn said(secret: &str) -> Vec<String> {
    vec![
        format!("it is {secret}"),
        format!("Basic {}", STANDARD.encode(format!("user:{secret}"))),
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(format!("ab{secret}")),
        hex::encode(secret),
        hex::encode_upper(secret),
        percent(secret),
        percent(&STANDARD.encode(secret)),
        secret.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        json(secret),
        json(&json(secret)),
        html(secret),
        list(secret),
    ]
}

/// Peers that answer with a secret: an answer, an error page in HTML over the cut, and one in JSON.
fn peers(receiver: &Receiver, number: usize, secret: &str) {
    let forms = said(secret);
    let mut body = serde_json::json!({ "forms": forms, "nested": { "deep": [{ "token": secret }] } });
    body[secret] = "a key".into();
    let (header, basic) = (secret.to_owned(), format!("Basic {}", STANDARD.encode(format!(":{secret}"))));
    let text = body.to_string();
    receiver.on(&format!("/echo/{number}"), move |_, _| {
        Answer::ok().body(&text).in_chunks(7).header("x-echo", &header).header("www-authenticate", &basic)
    });
    // What is kept of a page ends at 4,096 bytes: within the secret, further in each time.
    let before = "-".repeat(4096 - 9 - number);
    let page = format!("{before}{secret}\n{}", forms.iter().map(|form| html(form)).collect::<Vec<_>>().join("<br>"));
    receiver.on(&format!("/page/{number}"), move |_, seen| match seen % 2 {
        0 => Answer::status(404).body(&page).in_chunks(1000).header("content-type", "text/html"),
        _ => Answer::status(404).body(&serde_json::json!({ "error": { "message": forms } }).to_string()),
    });
}

fn flow(number: usize, base: &str) -> String {
    format!(
        r#"aura: 1
flow: echo-{number:02}
triggers:
  - id: in
    on: webhook
    auth: none
    reply: {{ respond: {{ wait: 20s, on_timeout: ack }} }}
steps:
  - id: get
    http: {{ method: GET, url: "{base}echo/{number}" }}
  - id: answer
    respond:
      status: 200
      headers: {{ x-said: "{{{{ steps.get.output.headers['x-echo'] }}}}" }}
      body: {{ peer: "{{{{ steps.get.output }}}}", sender: "{{{{ trigger.body }}}}" }}
  - id: page
    http: {{ method: GET, url: "{base}page/{number}" }}
    on_error:
      - id: again
        http: {{ method: GET, url: "{base}page/{number}" }}
"#
    )
}

/// Makes the daemon log a secret: a setting that is wrong, read again.
fn logged(daemon: &Daemon, settings: &Path, secret: &str) {
    std::fs::write(settings, format!("'{secret}=loud' = 1\n")).expect("settings");
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.pid()).expect("an id")).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("a signal");
    wait_until("the daemon to say what it thinks of the setting", LIMIT, || daemon.place.said().contains("=loud"));
}

/// Plays the echoes of some secrets and gives what was found where.
fn play(secrets: &[String], mut environment: Vec<(String, String)>) -> Search {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("aurad.toml");
    std::fs::write(&settings, "").expect("settings");
    environment.push(("AURA_CONFIG".to_owned(), settings.display().to_string()));
    let arguments = vec!["--log".to_owned(), "trace".to_owned()];
    let mut daemon = Daemon::start_with(Setup { arguments, environment, ..Setup::default() });
    let mut search = Search::of(secrets);
    for (number, secret) in secrets.iter().enumerate() {
        daemon.secret(&format!("canary{number:02}"), secret);
        peers(&receiver, number, secret);
        daemon.publish(&flow(number, &receiver.url("/")));
    }
    // One was rotated and still counts; a start later nothing but the store says so.
    let fields = vec![("value".to_owned(), "whsec_another0Secret1Of2This3".to_owned())];
    let (name, connector, keep_ms) = ("canary00".to_owned(), "secret".to_owned(), Some(3_600_000));
    daemon.ask().connection_add(ConnectionAdd { name, connector, fields, keep_ms }).expect("a rotated secret");
    assert!(daemon.stop().success());
    daemon.up();

    for (number, secret) in secrets.iter().enumerate() {
        let name = format!("echo-{number:02}");
        let body = serde_json::json!({ "token": secret, "forms": said(secret), "pad": "x".repeat(300) });
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = [header("content-type", "application/json"), header("x-note", secret)];
        let reply = daemon.open_hook(&name).send_with(&headers, body.to_string().as_bytes()).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.header("x-said").is_some() && reply.text().contains("\"deep\""), "the flow's own answer");
        search.look("the door's answer", reply.text().as_bytes());
        search.look("the door's headers", format!("{:?}", reply.headers).as_bytes());
        daemon.wait_quiet_of(&name, LIMIT);
        for head in daemon.runs(&name) {
            let run = head.run.to_string();
            let steps = [("", "input"), ("get", "output"), ("page", "error"), ("again", "error")];
            for (step, part) in steps {
                let mut whole = String::new();
                loop {
                    let query = PayloadQuery {
                        run: RunRef(run.clone()),
                        step: step.to_owned(),
                        part: part.to_owned(),
                        offset: u64::try_from(whole.len()).expect("a length"),
                        limit: 300,
                    };
                    let window = daemon.ask().run_payload(query).expect("a window");
                    whole.push_str(&window.text);
                    if u64::try_from(whole.len()).expect("a length") >= window.total || window.text.is_empty() {
                        break;
                    }
                }
                search.look("windows of a payload", whole.as_bytes());
                // The beginning of a page was cut within the secret: nothing of it may be left before the cut.
                let beginning = secret.chars().take(8).collect::<String>();
                if part == "error" && whole.contains(&beginning) {
                    search.hits.push(format!("secret {number} in pieces in {step}.{part}"));
                }
            }
            // One view of each: the frames behind them are the same.
            let views = [vec!["run", "show"], vec!["run", "show", "--json"], vec!["run", "logs"]];
            for arguments in views.into_iter().skip((number + 1) % 3).take(1) {
                let arguments: Vec<&str> = arguments.into_iter().chain([run.as_str()]).collect();
                let said = daemon.aura(&arguments);
                search.look("a shown run", format!("{}{}", said.out, said.err).as_bytes());
            }
        }
    }
    let mut cursor = Some(0);
    loop {
        let subscriptions =
            vec![Subscription::Runs, Subscription::Transitions, Subscription::Events, Subscription::Catalog];
        let request = WatchRequest { subscriptions, cursor, max_items: 1000, max_bytes: 256 * 1024, wait_ms: 0 };
        let reply = daemon.ask().watch(request).expect("news");
        search.look("the tail", serde_json::to_string(&reply.items).expect("JSON").as_bytes());
        cursor = Some(reply.cursor);
        if reply.items.is_empty() && !reply.more {
            break;
        }
    }
    for arguments in [vec!["flow", "export", "--runs"], vec!["run", "list", "--json"], vec!["event", "list", "--json"]]
    {
        let said = daemon.aura(&arguments);
        search.look(&format!("aura {}", arguments.join(" ")), format!("{}{}", said.out, said.err).as_bytes());
    }
    logged(&daemon, &settings, &secrets[0]);
    let bundle = daemon.place.path("bundle.tar");
    let path = bundle.display().to_string();
    let _ = daemon.aura(&["support", "bundle", "--yes", "--file", &path]);
    search.file(&bundle);
    assert!(daemon.stop().success());
    search.look("the log at trace", daemon.place.said().as_bytes());
    search.folder(&daemon.place.data());
    search
}

#[test]
fn what_peers_and_senders_say_back_is_shown_nowhere() {
    let secrets = secrets();
    let search = play(&secrets, Vec::new());
    println!("{} forms, {} places, {} bytes", search.needles.len(), search.places, search.bytes);
    assert!(search.hits.is_empty(), "{:#?}", search.hits);
}

#[test]
fn without_the_sink_the_secrets_would_be_seen() {
    let secrets: Vec<String> = secrets().into_iter().take(1).collect();
    let search = play(&secrets, vec![("AURA_IT_LEAKS".to_owned(), "1".to_owned())]);
    for place in [
        "the door's answer",
        "the door's headers",
        "windows of a payload",
        "a shown run",
        "the tail",
        "the log at trace",
        "aura flow export",
    ] {
        for number in 0..secrets.len() {
            let begins = format!("secret {number} in {place}");
            assert!(search.hits.iter().any(|hit| hit.starts_with(&begins)), "{begins}: {:#?}", search.hits);
        }
    }
    assert!(search.hits.iter().any(|hit| hit.contains("in pieces in page.error")), "{:#?}", search.hits);
}

#[test]
fn a_flow_never_holds_what_a_connection_holds() {
    let daemon = Daemon::start();
    let secret = &secrets()[0];
    let text = |value: &str| {
        format!(
            "aura: 1\nflow: held\ntriggers: [{{ id: m, on: manual }}]\nsteps:\n  - id: a\n    set: {{ x: \"{value}\" }}\n"
        )
    };
    daemon.apply(&text(secret)).expect("nobody knows yet that it is one");
    daemon.secret("late", secret);
    daemon.secret("weak", "orders");
    let shown = daemon.ask().flow_show("held".to_owned()).expect("the flow").draft.expect("a draft");
    assert_eq!(shown, text("[secret]"));
    for (given, says) in [(text(secret), "a secret of a connection stands"), (shown, "was taken out when it was shown")]
    {
        let error = daemon.apply(&given).expect_err("a refusal");
        assert!(error.message.contains(says) && error.hint.is_some(), "{error}");
    }
    daemon.apply(&text("{{ run.id }}")).expect("without it");
    daemon.apply(&text("[secret]")).expect("nothing was taken out of any flow now");
    let findings = daemon.ask().doctor(aura_protocol::rpc::DoctorRequest { deep: false }).expect("findings");
    let weak: Vec<&str> =
        findings.iter().filter(|found| found.subject == "secrets").map(|f| f.message.as_str()).collect();
    assert!(weak.len() == 1 && weak[0].starts_with("weak.value: too short or too plain"), "{weak:?}");
}
