//! Bar 6 and A16: twenty planted secrets, used by flows, echoed by peers; then looked for everywhere.
//!
//! Places: database, backup, logs at trace, answers of every list and show, exports, screens, `/proc`. [`planted`] has
//! the secrets, the forms and the search; [`echoes`] what peers and senders say back in every form.

mod echoes;
mod planted;

use std::path::Path;

use aura_protocol::run::RunState;

use crate::support::{Answer, Daemon, LIMIT, Receiver, Setup, wait_until};
use planted::{Search, secrets};

#[test]
fn twenty_planted_secrets_are_found_nowhere() {
    let secrets = secrets();
    let receiver = Receiver::start();
    // A peer that says what it was sent: in its body, its headers, its errors.
    for (path, status) in [("/v3/mail/send", 202), ("/api/chat.postMessage", 200), ("/api/conversations.open", 200)] {
        receiver.on(path, move |request, seen| {
            let said: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let body = serde_json::json!({ "ok": true, "echo": said, "errors": [{ "message": said.join("; ") }] });
            let status = if seen == 0 { 400 } else { status };
            let header = request.header("authorization").unwrap_or_default().to_owned();
            Answer::status(status).body(&body.to_string()).header("x-echo", &header)
        });
    }
    let setup = Setup { arguments: vec!["--log".into(), "trace".into()], ..Setup::default() };
    let mut daemon = Daemon::start_with(setup);
    let base = receiver.url("");
    let mut flows = Vec::new();
    for (number, secret) in secrets.iter().enumerate() {
        let name = format!("canary{number:02}");
        let (auth, steps) = match number % 4 {
            0 => {
                daemon.connect(
                    &name,
                    "sendgrid",
                    &[("base_url", base.trim_end_matches('/')), ("api_key", secret), ("from", "a@b.example")],
                );
                let step = format!(
                    "uses: sendgrid.send_template\n    connection: {name}\n    with: {{ to: c@d.example, template: d-1, data: {{}} }}"
                );
                ("none".to_owned(), step)
            }
            1 => {
                daemon.connect(&name, "slack", &[("base_url", base.trim_end_matches('/')), ("bot_token", secret)]);
                let step = format!(
                    "uses: slack.post_message\n    connection: {name}\n    with: {{ channel: C1, text: hello }}"
                );
                ("none".to_owned(), step)
            }
            2 => {
                daemon.secret(&name, secret);
                (format!("{{ bearer: {name} }}"), "set: { got: \"{{ trigger.headers }}\" }".to_owned())
            }
            _ => {
                daemon.secret(&name, secret);
                (format!("{{ scheme: stripe, secret: {name} }}"), "set: { got: \"{{ trigger.body }}\" }".to_owned())
            }
        };
        let flow = format!("canary-{number:02}");
        daemon.publish(&format!(
            "aura: 1\nflow: {flow}\ntriggers:\n  - id: in\n    on: webhook\n    auth: {auth}\nsteps:\n  - id: a\n    {steps}\n"
        ));
        let hook = daemon.open_hook(&flow);
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = b"{\"id\":\"evt_1\"}";
        match number % 4 {
            2 => headers.push(("authorization".to_owned(), format!("Bearer {secret}"))),
            3 => {
                let scheme = aura_protocol::signature::scheme("stripe").expect("a scheme");
                headers.extend(aura_protocol::signature::sign(scheme, secret, body, crate::support::now_ms(), "m"));
            }
            _ => {}
        }
        // Refused and taken, so that both ways are logged. Twice with errors of the peer for connectors.
        let _ = hook.send_with(&[("authorization".to_owned(), format!("Bearer {secret}x"))], b"not json");
        for _ in 0..2 {
            let _ = hook.send_with(&headers, body);
        }
        flows.push(flow);
    }
    wait_until("the runs to settle", LIMIT, || {
        let status = daemon.ask().status(()).expect("a status");
        status.live.iter().all(|(state, count)| *count == 0 || *state == RunState::InDoubt)
    });
    let mut search = Search::of(&secrets);

    let backup = daemon.place.path("canaries.aurabk");
    let bundle = daemon.place.path("bundle.tar");
    let commands: Vec<Vec<String>> = [
        "status",
        "doctor",
        "doctor --deep",
        "flow list",
        "run list",
        "connection list",
        "webhook list",
        "config show",
        "schedule list",
        "du",
        "var list",
        "connector list",
    ]
    .iter()
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .chain([
        vec!["backup".into(), "--to".into(), backup.display().to_string()],
        vec!["support".into(), "bundle".into(), "--yes".into(), "--file".into(), bundle.display().to_string()],
    ])
    .chain(flows.iter().flat_map(|flow| {
        [vec!["flow".into(), "show".into(), flow.clone()], vec!["webhook".into(), "show".into(), flow.clone()]]
    }))
    .collect();
    let mut ran = 0;
    for command in &commands {
        for json in [false, true] {
            let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            if json {
                arguments.push("--json");
            }
            let said = daemon.aura(&arguments);
            ran += usize::from(said.code == 0);
            search.look(&format!("aura {}", command.join(" ")), format!("{}{}", said.out, said.err).as_bytes());
        }
    }
    let mut failed = 0;
    for flow in &flows {
        for head in daemon.runs(flow) {
            failed += usize::from(head.state == RunState::Failed);
            for view in [vec!["run", "show"], vec!["run", "logs"], vec!["run", "show", "--json"]] {
                let id = head.run.to_string();
                let mut arguments = view.clone();
                arguments.push(&id);
                let said = daemon.aura(&arguments);
                search.look(
                    &format!("aura {} of {flow}", view.join(" ")),
                    format!("{}{}", said.out, said.err).as_bytes(),
                );
            }
        }
    }
    assert!(failed > 0, "no peer's error with an echo was recorded");
    assert!(ran > 20, "only {ran} commands worked");
    assert!(backup.exists() && bundle.exists(), "no backup or no bundle was made");
    search.file(&backup);
    search.file(&bundle);
    let process = daemon.pid();
    for file in ["environ", "cmdline", "status"] {
        search.file(Path::new(&format!("/proc/{process}/{file}")));
    }
    search.look("the log at trace", daemon.place.said().as_bytes());
    assert!(daemon.place.said().len() > 10_000, "the log at trace is nearly empty");
    assert!(daemon.stop().success());
    search.folder(&daemon.place.data());
    search.look("the log of the end", daemon.place.said().as_bytes());
    println!(
        "{} secrets in {} forms, {} places, {} bytes",
        secrets.len(),
        search.needles.len(),
        search.places,
        search.bytes
    );
    assert!(search.hits.is_empty(), "{:#?}", search.hits);
}
