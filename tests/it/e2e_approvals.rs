//! People decide, with the real binaries: by command, by link, about what they saw, across a SIGKILL.
//!
//! The one invariant: a run goes on only if enough of those who are asked agreed, and nobody is told so before the
//! commit.

use std::os::unix::fs::MetadataExt;

use aura_protocol::rpc::{RunDelegate, RunRef, RunVote};
use aura_protocol::run::{Record, RunState};
use aura_protocol::{Code, RunId, Value};

use crate::support::sender::exchange;
use crate::support::{Daemon, Hook, LIMIT, Reply, Screen, Setup, assert_says, wait_for};

const PAY: &str = r#"aura: 1
flow: pay
triggers: [{ id: hand, on: manual }]
steps:
  - id: check
    approval:
      form: { sum: "{{ input.sum }}", limit: { ask: number } }
      approvers: [owner]
      deadline: 2d
    on_error:
      - id: told
        set: { why: "{{ error.message }}", code: "{{ error.code }}" }
  - id: end
    set: { limit: "{{ steps.check.output?.form?.limit ?? null }}" }
"#;

/// A daemon whose own user is called anna.
pub fn anna() -> Daemon {
    let uid = std::fs::metadata("/proc/self").map(|meta| meta.uid()).expect("a user");
    let accounts = format!("anna:{uid}:operator,ben:70001:viewer,carl:70002:viewer");
    Daemon::start_with(Setup { environment: vec![("AURA_ACCOUNTS".to_owned(), accounts)], ..Setup::default() })
}

fn waits(daemon: &Daemon, run: RunId) -> String {
    daemon.wait_state(run, RunState::Waiting).0.head.blocked_by.expect("why it does not move").reason
}

#[test]
fn an_approval_is_given_once_about_what_was_seen_and_survives_a_kill() {
    let mut daemon = Daemon::start();
    daemon.publish(PAY);
    let run = daemon.run("pay", r#"{"sum":12.50}"#);
    assert_says(waits(&daemon, run), &["check waits for approval by owner (0 of 1 agreed) until"]);
    daemon.kill9();
    daemon.up();
    let text = run.to_string();
    let refused = daemon.aura(&["approve", &text]);
    assert_says(&refused.err, &["the form asks for `limit` (number)"]);
    let vote = |hash: &str| RunVote {
        run: RunRef(text.clone()),
        step: "check".to_owned(),
        approve: true,
        hash: hash.to_owned(),
        form: Value::object([("limit", 5_i64)]),
        comment: String::new(),
    };
    let error = daemon.ask().run_vote(vote("00")).expect_err("another form was seen");
    assert_eq!(error.code, Code::Conflict);
    let shown = daemon.aura(&["approve", &text, "--show"]).success();
    assert_says(&shown.out, &["sum: 12.50", "to fill in: limit (number)", "hash: "]);
    assert_eq!(daemon.show(run).head.state, RunState::Waiting, "showing decides nothing");
    let said = daemon.aura(&["approve", &text, "--field", "limit=500", "--comment", "fine"]).success();
    assert_says(&said.out, &["sum: 12.50"]);
    // Said is durable.
    daemon.kill9();
    daemon.up();
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"limit":500}"#);
    assert_eq!(journal.of("check").filter(|record| matches!(record, Record::Voted { .. })).count(), 1);
    assert_says(journal.output("check"), &[r#""approved":true"#, r#""comment":"fine""#]);
    let again = daemon.aura(&["approve", &text, "--form", r#"{"limit":1}"#]);
    assert_says(&again.err, &["asks nobody now"]);
}

#[test]
fn a_refusal_fails_the_step_and_nobody_in_time_does_too() {
    let daemon = Daemon::start();
    daemon.publish(PAY);
    let run = daemon.run("pay", r#"{"sum":1}"#);
    daemon.wait_state(run, RunState::Waiting);
    daemon.aura(&["reject", &run.to_string(), "check", "--comment", "wrong account"]).success();
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_says(journal.output("check"), &["rejected by", "wrong account", r#""code":"rejected""#]);
    daemon.publish(&PAY.replace("deadline: 2d", "deadline: 200ms").replace("flow: pay", "flow: late"));
    let journal = daemon.wait_state(daemon.run("late", "{\"sum\":1}"), RunState::Succeeded);
    assert_says(journal.output("check"), &["nobody decided until the deadline"]);
}

#[test]
fn who_is_not_asked_or_began_the_run_does_not_decide_and_may_hand_it_on() {
    let daemon = anna();
    daemon.publish(&PAY.replace("[owner]", "[ben]").replace("flow: pay", "flow: others"));
    let run = daemon.run("others", r#"{"sum":1}"#);
    daemon.wait_state(run, RunState::Waiting);
    let refused = daemon.aura(&["approve", &run.to_string(), "--form", r#"{"limit":1}"#]);
    assert_says(&refused.err, &["anna is not asked by this step"]);
    let rule = "deadline: 2d\n      no_self: true";
    daemon.publish(&PAY.replace("[owner]", "[anna]").replace("deadline: 2d", rule).replace("flow: pay", "flow: own"));
    let run = daemon.run("own", r#"{"sum":1}"#);
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_says(journal.output("check"), &["whoever began the run does not decide", r#""code":"rejected""#]);
    let rule = "deadline: 2d\n      no_self: true\n      delegate: true";
    let text =
        PAY.replace("[owner]", "[anna, admin]").replace("deadline: 2d", rule).replace("flow: pay", "flow: handed");
    daemon.publish(&text);
    // Also not through a flow that anna has call it.
    let text = text.replace("on: manual", "on: called").replace("flow: handed", "flow: inner");
    daemon.publish(&text);
    daemon.publish("aura: 1\nflow: outer\nsteps: [{ id: ask, call: { flow: inner, input: { sum: 1 } } }]");
    daemon.run("outer", "{}");
    let inner = wait_for("the called run", LIMIT, || daemon.runs("inner").first().map(|head| head.run));
    daemon.wait_state(inner, RunState::Waiting);
    for run in [daemon.run("handed", r#"{"sum":1}"#), inner] {
        daemon.wait_state(run, RunState::Waiting);
        let run = run.to_string();
        let refused = daemon.aura(&["approve", &run, "--form", r#"{"limit":1}"#]);
        assert_says(&refused.err, &["anna began this run"]);
        let refused = daemon.aura(&["run", "delegate", &run, "--to", "nobody"]);
        assert_says(&refused.err, &["there is no account nobody"]);
        daemon.aura(&["run", "delegate", &run, "--to", "ben"]).success();
        let shown = daemon.aura(&["run", "show", &run]).success();
        assert_says(&shown.out, &["ben"]);
        let request = RunDelegate { run: RunRef(run), step: "check".to_owned(), to: "carl".to_owned() };
        assert_eq!(daemon.ask().run_delegate(request).expect_err("once").code, Code::Forbidden);
    }
}

#[test]
fn whoever_has_a_run_done_again_does_not_decide_about_it() {
    let daemon = anna();
    let rule = "deadline: 2d\n      no_self: true";
    let text = PAY.replace("[owner]", "[anna, ben]").replace("deadline: 2d", rule).replace("flow: pay", "flow: theirs");
    let text = text.replace("input.sum", "trigger.body.sum");
    daemon.publish(&text.replace("on: manual", "on: event, with: { name: bought }"));
    daemon.publish("aura: 1\nflow: shop\ntriggers: [{ id: in, on: webhook, auth: none }]\nsteps: [{ id: say, emit: { event: bought, body: { sum: 1 } } }]");
    let other = daemon.open_hook("shop");
    assert_eq!(other.send_with(&[], b"{}").expect("an answer").status, 202);
    let told = |times: usize| {
        wait_for("the run that was told", LIMIT, || {
            let runs = daemon.runs("theirs");
            (runs.len() == times).then(|| runs[times - 1].run)
        })
    };
    let approve = |run: RunId| {
        daemon.wait_state(run, RunState::Waiting);
        daemon.aura(&["approve", &run.to_string(), "--form", r#"{"limit":1}"#])
    };
    // Nobody of ours began it.
    let first = told(1);
    approve(first).success();
    daemon.wait_state(first, RunState::Succeeded);
    // Anna has it done again; and again; and the run that led to it.
    let again = |run: RunId| {
        let said = daemon.aura(&["run", "replay", &run.to_string(), "--json"]).success().json();
        said["run"]["run"].as_str().expect("a run").parse::<RunId>().expect("an id")
    };
    let second = again(first);
    assert_says(&approve(second).err, &["anna began this run"]);
    daemon.aura(&["run", "cancel", &second.to_string()]).success();
    daemon.wait_state(second, RunState::Cancelled);
    assert_says(&approve(again(second)).err, &["anna began this run"]);
    let led = daemon.runs("shop")[0].run;
    daemon.wait_state(led, RunState::Succeeded);
    again(led);
    assert_says(&approve(told(4)).err, &["anna began this run"]);
}

#[test]
fn others_are_asked_too_when_nobody_decides() {
    let daemon = Daemon::start();
    let rule = "deadline: 2d\n      escalate: { after: 200ms, approvers: [owner] }";
    daemon.publish(&PAY.replace("[owner]", "[anna]").replace("deadline: 2d", rule).replace("flow: pay", "flow: up"));
    let run = daemon.run("up", r#"{"sum":1}"#);
    wait_for("the escalation", LIMIT, || {
        let reason = daemon.show(run).head.blocked_by?.reason;
        reason.contains("anna, owner").then_some(())
    });
    daemon.aura(&["approve", &run.to_string(), "--field", "limit=1"]).success();
    daemon.wait_state(run, RunState::Succeeded);
}

const LINKS: &str = r#"aura: 1
flow: links
steps:
  - id: mail
    set: { ben: "{{ run.approvals.release['ben@shop.example'] }}", carl: "{{ run.approvals.release.carl }}" }
  - id: release
    approval:
      form: { sum: "{{ input.sum }}", note: "{{ input.note }}", limit: { ask: number }, fast: { ask: boolean } }
      approvers: ["ben@shop.example", carl]
      quorum: 2
      deadline: 2d
  - id: end
    set: { form: "{{ steps.release.output.form }}", by: "{{ steps.release.output.votes.map(v => v.by) }}" }
"#;

pub fn get(daemon: &Daemon, path: &str, accept: &str) -> Reply {
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
    exchange(daemon.address(), head.as_bytes(), || ()).expect("an answer")
}

pub fn form(daemon: &Daemon, path: &str, body: &str) -> Reply {
    let door = Hook { address: daemon.address(), path: path.to_owned(), secret: String::new() };
    let kind = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
    door.send_with(&[kind], body.as_bytes()).expect("an answer")
}

#[test]
fn a_link_shows_the_question_and_decides_once_also_after_a_kill() {
    let mut daemon = Daemon::start();
    daemon.publish(LINKS);
    let run = daemon.run("links", r#"{"sum":12.50,"note":"<script>alert(1)</script>"}"#);
    let journal = daemon.wait_state(run, RunState::Waiting);
    let mails = Value::from_json(journal.output("mail").as_bytes()).expect("JSON");
    let path = |name: &str| {
        let link = mails.get(name).and_then(Value::as_str).expect("a link");
        link.find("/a/").map(|at| link[at..].to_owned()).expect("an address of the door")
    };
    let (ben, carl) = (path("ben"), path("carl"));
    assert_ne!(ben, carl, "a link is one person's");
    daemon.kill9();
    daemon.up();
    // Looking decides nothing, however often programs look.
    for accept in ["text/html", "*/*", "application/json"] {
        let page = get(&daemon, &ben, accept);
        assert_eq!(page.status, 200, "{accept}: {}", page.text());
        assert_says(page.text(), &["ben@shop.example", "12.50", "limit"]);
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(!page.text().contains("<script>") || accept != "text/html", "{}", page.text());
    }
    assert_eq!(daemon.show(run).head.state, RunState::Waiting);
    let hash = get(&daemon, &ben, "application/json").field("hash");
    let mut forged = ben.clone().into_bytes();
    forged[12] = if forged[12] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("text");
    let unknown = get(&daemon, "/a/AAAA", "*/*");
    assert_eq!((get(&daemon, &forged, "*/*").text(), unknown.status), (unknown.text(), 404));
    let check = |path: &str, body: &str, status: u16, says: &str| {
        let reply = form(&daemon, path, body);
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        assert_says(reply.text(), &[says]);
    };
    check(&forged, &format!("decision=approve&hash={hash}"), 404, "no such");
    check(&ben, "decision=approve&hash=00&field.limit=1", 409, "has changed");
    check(&ben, &format!("decision=approve&hash={hash}"), 400, "the form asks for `limit` (number)");
    check(&ben, &format!("decision=maybe&hash={hash}"), 400, "approve or reject");
    check(&ben, &format!("decision=approve&hash={hash}&field.limit=5.50"), 200, "recorded: approved");
    daemon.kill9();
    daemon.up();
    let check = |path: &str, body: &str, status: u16, says: &str| {
        let reply = form(&daemon, path, body);
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        assert_says(reply.text(), &[says]);
    };
    check(&ben, &format!("decision=reject&hash={hash}"), 410, "this was decided");
    assert_eq!(get(&daemon, &ben, "text/html").status, 410);
    assert_says(waits(&daemon, run), &["carl (1 of 2 agreed)"]);
    check(&carl, &format!("decision=approve&hash={hash}&field.limit=7&field.fast=true"), 200, "recorded");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"form":{"limit":7,"fast":true},"by":["ben@shop.example","carl"]}"#);
    assert_eq!(get(&daemon, &carl, "text/html").status, 410, "it is decided");
}

#[test]
fn a_person_decides_on_the_screen() {
    let daemon = Daemon::start();
    daemon.publish(PAY);
    let run = daemon.run("pay", r#"{"sum":12.50}"#);
    daemon.wait_state(run, RunState::Waiting);
    let mut screen = Screen::open(&daemon.place.socket(), 100, 30, &[]);
    screen.wait("the run", |text| text.contains("pay"));
    screen.type_keys("\r");
    screen.wait("its screen", |text| text.contains("follow: on") && text.contains("12.50"));
    screen.type_keys("a");
    screen.wait("the question", |text| text.contains("reject"));
    screen.type_keys("a");
    screen.wait("the field", |text| text.contains("limit (number)"));
    screen.type_keys("70\r");
    screen.type_keys("fine\r");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"limit":70}"#);
    screen.wait("that it was taken", |text| text.contains("approved"));
}
