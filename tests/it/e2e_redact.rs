//! What a step hides with `redact` reaches the other side and no person.

use aura_protocol::rpc::{PayloadQuery, RunRef};
use aura_protocol::run::RunState;

use crate::e2e_effects::stage;
use crate::support::Answer;

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
