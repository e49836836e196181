//! Replays and what people agreed to: a yes counts for what was seen, a link for the run that gave it out.

use aura_protocol::RunId;
use aura_protocol::run::RunState;

use crate::e2e_approvals::{anna, form, get};
use crate::e2e_effects::stage;
use crate::support::{Answer, Daemon, Receiver, assert_says};

const PAY: &str = r#"
steps:
  - id: check
    approval: { form: { sum: "{{ input.sum }}" }, approvers: [owner, anna], deadline: 2d }
  - id: pay
    http: { method: PUT, url: "RECEIVER/pay", body: { sum: "{{ input.sum }}" } }
"#;

fn again(daemon: &Daemon, arguments: &[&str]) -> RunId {
    let said = daemon.aura(&[&["run", "replay"], arguments, &["--json"]].concat()).success().json();
    said["run"]["run"].as_str().expect("a run").parse().expect("an id")
}

#[test]
fn a_yes_counts_for_no_other_input_than_was_seen() {
    let (daemon, receiver) = stage("paid", PAY);
    receiver.on("/pay", |_, _| Answer::status(422));
    let run = daemon.run("paid", r#"{"sum":1}"#);
    daemon.wait_state(run, RunState::Waiting);
    let id = run.to_string();
    daemon.aura(&["approve", &id]).success();
    daemon.wait_state(run, RunState::Failed);
    let edit = format!(r#"{{"method":"PUT","url":"{}","body":{{"sum":1000}}}}"#, receiver.url("/pay"));
    for more in [&["--preview"][..], &[]] {
        let arguments = [&["run", "replay", &id, "--from", "pay", "--input", &edit], more].concat();
        let refused = daemon.aura(&arguments);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert_says(&refused.err, &["check was approved before", "another input", "replay from the start"]);
    }
    receiver.on("/pay", |_, _| Answer::ok());
    // As it was approved it is paid, and nobody is asked again.
    daemon.wait_state(again(&daemon, &[&id, "--from", "pay"]), RunState::Succeeded);
    assert_eq!(receiver.on_path("/pay").last().expect("a call").json()["sum"], 1);
    // With another beginning people are asked anew.
    let asked = again(&daemon, &[&id, "--input", r#"{"sum":1000}"#]);
    daemon.wait_state(asked, RunState::Waiting);
    assert_eq!(receiver.on_path("/pay").len(), 2);
}

const EACH: &str = r#"
steps:
  - id: all
    map:
      over: "{{ input.list }}"
      key: "{{ item.id }}"
      on_item_error: continue
      steps:
        - id: check
          if: "{{ item.sum > 5 }}"
          approval: { form: { sum: "{{ item.sum }}" }, approvers: [owner], deadline: 2d }
        - id: pay
          http: { method: PUT, url: "RECEIVER/pay", body: { sum: "{{ item.sum }}" } }
  - id: told
    set: { n: "{{ len(steps.all.output) }}" }
"#;

#[test]
fn an_item_is_done_again_with_an_edit_beside_others_that_were_approved() {
    let (daemon, receiver) = stage("each", &EACH.replace("len(steps.all.output)", "steps.all.output.length"));
    let run = daemon.run("each", r#"{"list":[{"id":"A","sum":9},{"id":"B","sum":1}]}"#);
    daemon.wait_state(run, RunState::Waiting);
    let id = run.to_string();
    daemon.aura(&["approve", &id]).success();
    daemon.wait_state(run, RunState::Succeeded);
    let edited = again(&daemon, &[&id, "--item", "all:B", "--input", r#"{"id":"B","sum":2}"#]);
    daemon.wait_state(edited, RunState::Succeeded);
    assert_eq!(receiver.on_path("/pay").last().expect("a call").json()["sum"], 2);
    // The edited item asks for itself.
    let edited = again(&daemon, &[&id, "--item", "all:B", "--input", r#"{"id":"B","sum":7}"#]);
    daemon.wait_state(edited, RunState::Waiting);
    daemon.aura(&["run", "cancel", &edited.to_string()]).success();
    // Of that item, behind its own approval, no other input.
    let edit = format!(r#"{{"method":"PUT","url":"{}","body":{{"sum":1000}}}}"#, receiver.url("/pay"));
    let refused = daemon.aura(&["run", "replay", &id, "--from", "pay[A]", "--input", &edit]);
    assert_says(&refused.err, &["check[A] was approved before"]);
}

#[test]
fn whoever_decided_has_nothing_done_again_by_their_own_yes() {
    let (daemon, receiver) = (anna(), Receiver::start());
    receiver.on("/pay", |_, _| Answer::status(422));
    let steps = PAY.replace("deadline: 2d", "deadline: 2d, no_self: true").replace("input.sum", "trigger.body.sum");
    let steps = steps.replace("RECEIVER", &receiver.url(""));
    daemon.publish(&format!("aura: 1\nflow: theirs\ntriggers: [{{ id: in, on: webhook, auth: none }}]\n{steps}"));
    let hook = daemon.open_hook("theirs");
    assert_eq!(hook.send_with(&[], br#"{"sum":1}"#).expect("an answer").status, 202);
    let run =
        crate::support::wait_for("the run", crate::support::LIMIT, || daemon.runs("theirs").first().map(|it| it.run));
    daemon.wait_state(run, RunState::Waiting);
    let id = run.to_string();
    daemon.aura(&["approve", &id]).success();
    daemon.wait_state(run, RunState::Failed);
    let refused = daemon.aura(&["run", "replay", &id, "--from", "pay"]);
    assert_says(&refused.err, &["anna decided about check", "somebody else"]);
    assert_eq!(receiver.on_path("/pay").len(), 1);
    // From the question on somebody else decides.
    let asked = again(&daemon, &[&id, "--from", "check"]);
    daemon.wait_state(asked, RunState::Waiting);
    assert_says(&daemon.aura(&["approve", &asked.to_string()]).err, &["anna began this run"]);
}

const MAILED: &str = r#"
steps:
  - id: text
    set: { link: "{{ run.approvals.release.ben }}" }
  - id: mail
    http: { method: POST, url: "RECEIVER/mail", body: { to: ben, link: "{{ steps.text.output.link }}" } }
  - id: order
    http: { method: POST, url: "RECEIVER/order", body: { back: "{{ run.callbacks.paid }}" } }
  - id: book
    http: { method: PUT, url: "RECEIVER/book" }
  - id: release
    approval: { form: { sum: 1 }, approvers: [ben], deadline: 2d }
  - id: ship
    http: { method: PUT, url: "RECEIVER/ship" }
  - id: paid
    wait: { callback: true, deadline: 2d }
"#;

#[test]
fn a_message_with_the_address_of_another_run_is_sent_anew() {
    let (daemon, receiver) = stage("mailed", MAILED);
    for path in ["/book", "/ship"] {
        receiver.on(path, |_, _| Answer::status(422));
    }
    let run = daemon.run("mailed", "{}");
    daemon.wait_state(run, RunState::Failed);
    receiver.on("/book", |_, _| Answer::ok());
    let id = run.to_string();
    let preview = daemon.aura(&["run", "replay", &id, "--from", "book", "--preview"]).success();
    assert_says(&preview.out, &["mail", "it needs text"]);
    let second = again(&daemon, &[&id, "--from", "book"]);
    daemon.wait_state(second, RunState::Waiting);
    let link = |at: usize| {
        let mails = receiver.on_path("/mail");
        let link = mails[at].json()["link"].as_str().expect("a link").to_owned();
        link[link.find("/a/").expect("an address")..].to_owned()
    };
    assert_eq!((receiver.on_path("/mail").len(), receiver.on_path("/order").len()), (2, 2));
    assert_eq!(get(&daemon, &link(0), "*/*").status, 410, "the old one is over");
    let hash = get(&daemon, &link(1), "application/json").field("hash");
    assert_eq!(form(&daemon, &link(1), &format!("decision=approve&hash={hash}")).status, 200);
    daemon.wait_state(second, RunState::Failed);
    // What was decided is copied with its mail; who is to pay has no address yet.
    receiver.on("/ship", |_, _| Answer::ok());
    let preview = daemon.aura(&["run", "replay", &second.to_string(), "--from", "ship", "--preview"]).success();
    assert_says(&preview.out, &["order", "it gave out the address of paid, which is another one in a new run"]);
    let third = again(&daemon, &[&second.to_string(), "--from", "ship"]);
    daemon.wait_state(third, RunState::Waiting);
    receiver.wait("/order", 3);
    assert_eq!((receiver.on_path("/mail").len(), receiver.on_path("/book").len()), (2, 2));
    let back = receiver.on_path("/order")[2].json()["back"].as_str().expect("an address").to_owned();
    let back = &back[back.find("/c/").expect("an address")..];
    assert_eq!(form(&daemon, back, "a=1").status, 200);
    daemon.wait_state(third, RunState::Succeeded);
}
