//! What a step hides with `redact` reaches the other side and no person.

use aura_protocol::rpc::{PayloadQuery, RunRef};
use aura_protocol::run::RunState;

use crate::e2e_effects::stage;
use crate::support::{Answer, LIMIT, wait_for};

const CARD: &str = r#"
steps:
  - id: known
    branch:
      - else: true
        steps:
          - id: card
            http: { url: "RECEIVER/card" }
            redact: [output.body.number]
  - id: charge
    http: { method: PUT, url: "RECEIVER/charge", body: { number: "{{ steps.known.output.body.number }}", sum: 7 } }
    redact: [input.body.number]
"#;

#[test]
fn a_redacted_value_is_used_and_nowhere_shown() {
    let (daemon, receiver) = stage("card", CARD);
    receiver.on("/card", |_, _| {
        Answer::ok().header("content-type", "application/json").body(r#"{"number":"4242-4242","kind":"visa"}"#)
    });
    let run = daemon.run("card", "{}");
    daemon.wait_state(run, RunState::Succeeded);
    receiver.wait("/charge", 1);
    assert_eq!(receiver.on_path("/charge")[0].json()["number"], "4242-4242", "the run reads it");
    let id = run.to_string();
    let payload = |step: &str, part: &str| {
        let query = PayloadQuery {
            run: RunRef(id.clone()),
            step: step.to_owned(),
            part: part.to_owned(),
            offset: 0,
            limit: 100_000,
        };
        daemon.ask().run_payload(query).expect("a payload").text
    };
    let mut shown = vec![
        daemon.aura(&["run", "show", &id, "--json"]).success().out,
        daemon.aura(&["run", "logs", &id, "--json"]).success().out,
        daemon.aura(&["run", "tail", &id, "--json"]).success().out,
        daemon.aura(&["flow", "export", "--runs"]).success().out,
    ];
    for (step, part) in [("card", "output"), ("known", "output"), ("charge", "input")] {
        shown.push(payload(step, part));
    }
    for text in shown {
        assert!(text.contains("[redacted]") && !text.contains("4242-4242"), "{text}");
    }
}

const LEAKY: &str = r#"
steps:
  - id: card
    http: { url: "RECEIVER/card" }
    redact: [output.body.number]
"#;

#[test]
fn what_a_peer_says_of_a_failure_is_hidden_too_also_from_those_who_are_told() {
    let (daemon, receiver) = stage("leaky", LEAKY);
    receiver.on("/card", |_, _| {
        Answer::status(422).header("content-type", "application/json").body(r#"{"number":"4242-4242"}"#)
    });
    daemon.publish("aura: 1\nflow: outer\nsteps: [{ id: ask, call: { flow: inner } }]");
    let inner = LEAKY.replace("RECEIVER", &receiver.url(""));
    daemon.publish(&format!("aura: 1\nflow: inner\ntriggers: [{{ id: in, on: called }}]\n{inner}"));
    daemon.publish("aura: 1\nflow: told\ntriggers: [{ id: in, on: flow_failed }]\nsteps: [{ id: why, set: { e: \"{{ trigger.body.error }}\" } }]");
    let runs = [daemon.run("leaky", "{}"), daemon.run("outer", "{}")];
    for run in runs {
        daemon.wait_state(run, RunState::Failed);
    }
    let told = wait_for("those who are told", LIMIT, || {
        let told = daemon.runs("told");
        (told.len() == 3).then_some(told)
    });
    for head in &told {
        daemon.wait_state(head.run, RunState::Succeeded);
    }
    let payload = |run: &str, step: &str| {
        let query = PayloadQuery {
            run: RunRef(run.to_owned()),
            step: step.to_owned(),
            part: "error".to_owned(),
            offset: 0,
            limit: 100_000,
        };
        daemon.ask().run_payload(query).expect("a payload").text
    };
    let id = runs[0].to_string();
    let mut shown = vec![
        daemon.aura(&["run", "list", "--json"]).success().out,
        daemon.aura(&["flow", "export", "--runs"]).success().out,
        daemon.aura(&["flow", "test", "-", "--record", &id]).out,
        payload(&id, "card"),
        payload(&id, ""),
        payload(&runs[1].to_string(), "ask"),
    ];
    for run in runs.into_iter().chain(told.iter().map(|head| head.run)) {
        shown.push(daemon.aura(&["run", "show", &run.to_string(), "--json"]).success().out);
    }
    for text in shown {
        assert!(text.contains("the answer has status 422") || text.contains("[redacted]"), "{text}");
        assert!(!text.contains("4242-4242"), "{text}");
    }
}

const RECORDED: &str = r#"
steps:
  - id: card
    http: { url: "RECEIVER/card" }
    redact: [output.body.card]
  - id: say
    set: { last: "{{ steps.card.output.body.card.number }} of {{ input.holder }}" }
"#;

#[test]
fn a_recorded_case_holds_no_redacted_object_and_says_so() {
    let (daemon, receiver) = stage("recorded", RECORDED);
    receiver.on("/card", |_, _| {
        Answer::ok()
            .header("content-type", "application/json")
            .body(r#"{"card":{"number":"4242-4242","cvc":9911,"of":{"holder":"Ada Byron"}},"id":7}"#)
    });
    let run = daemon.run("recorded", r#"{"holder":"Ada Byron","pin":9911}"#);
    daemon.wait_state(run, RunState::Succeeded);
    let file = daemon.aura(&["flow", "test", "-", "--record", &run.to_string()]).success().out;
    for secret in ["4242", "9911", "Ada Byron"] {
        assert!(!file.contains(secret), "{secret} in {file}");
    }
    assert!(file.contains("card: \"[redacted]\"") || file.contains("card: '[redacted]'"), "{file}");
    assert!(file.contains("1 values that the flow redacts stand here as [redacted]"), "{file}");
}
