//! Loops, tries and time limits of steps with steps in them, with the real binaries and across a SIGKILL.
//!
//! The one invariant: an iteration that has ended is never done again, and what failed in a body ends in its `catch`.

use aura_protocol::run::{ErrorClass, Record, RunState, ScopeKind, StepState};

use crate::e2e_effects::stage;
use crate::support::{Answer, LIMIT, assert_says, wait_for};

const POLL: &str = r#"
steps:
  - id: ready
    loop:
      until: "{{ steps.look.output.body.done }}"
      max_iterations: 10
      max_duration: 1h
      steps:
        - id: look
          http: { method: PUT, url: "RECEIVER/look", body: { n: "{{ index }}", before: "{{ item?.body.n ?? null }}" } }
  - id: end
    set: { gave: "{{ steps.ready.output.body.n }}" }
"#;

#[test]
fn a_loop_goes_on_in_its_iteration_after_a_kill() {
    let (mut daemon, receiver) = stage("poll", POLL);
    receiver.on("/look", |_, before| match before {
        0 | 1 => Answer::ok().body(&format!(r#"{{"done":false,"n":{before}}}"#)),
        2 => Answer::hold().body(r#"{"done":false,"n":2}"#),
        _ => Answer::ok().body(r#"{"done":true,"n":99}"#),
    });
    let run = daemon.run("poll", "{}");
    receiver.wait("/look", 3);
    daemon.kill9();
    daemon.up();
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("end"), r#"{"gave":99}"#);
    let asked: Vec<String> = receiver
        .on_path("/look")
        .iter()
        .map(|request| format!("{} after {}", request.json()["n"], request.json()["before"]))
        .collect();
    assert_eq!(asked, ["0 after null", "1 after 0", "2 after 1", "2 after 1"], "the third is asked again, no other is");
    let shown = daemon.aura(&["run", "show", &run.to_string()]).success();
    assert_says(&shown.out, &["ready", "3 iterations", "look[0]", "look[2]"]);
}

#[test]
fn a_loop_that_does_not_end_fails_at_its_cap_and_break_if_ends_one() {
    let (daemon, _receiver) = stage(
        "caps",
        r#"
steps:
  - id: never
    loop:
      until: false
      max_iterations: 3
      max_duration: 1h
      steps:
        - id: turn
          set: { n: "{{ index }}" }
    on_error:
      - id: why
        set: { text: "{{ error.message }}", class: "{{ error.class }}" }
  - id: found
    loop:
      while: true
      break_if: "{{ (steps.try_one?.output.n ?? 0) >= 2 }}"
      max_iterations: 100
      max_duration: 1h
      steps:
        - id: try_one
          set: { n: "{{ index }}" }
        - id: next
          set: { never: "at the last" }
"#,
    );
    let run = daemon.run("caps", "{}");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_says(journal.output("never"), &["did not end within 3 iterations", "timeout"]);
    assert_eq!(journal.output("found"), r#"{"n":2}"#);
    let turns = journal.of("never").filter(|record| matches!(record, Record::ItemDone { .. })).count();
    assert_eq!(turns, 3);
    assert!(!journal.reached("next[2]"), "break_if came before it");
}

#[test]
fn what_fails_in_a_try_is_caught_and_what_fails_in_its_catch_is_not() {
    let (daemon, receiver) = stage(
        "caught",
        r#"
steps:
  - id: quote
    try:
      steps:
        - id: fast
          http: { method: PUT, url: "RECEIVER/fast" }
          retry: { attempts: 1 }
        - id: price
          set: { price: "{{ steps.fast.output.body.price }}" }
      catch:
        - id: guess
          set: { price: "{{ input.guess }}", why: "{{ error.step }}" }
  - id: after
    set: { price: "{{ steps.quote.output.price }}" }
"#,
    );
    receiver
        .on("/fast", |_, before| if before == 1 { Answer::ok().body(r#"{"price":3}"#) } else { Answer::status(404) });
    let journal = daemon.wait_state(daemon.run("caught", r#"{"guess":7}"#), RunState::Succeeded);
    assert_eq!(journal.output("quote"), r#"{"price":7,"why":"fast"}"#);
    assert_eq!(journal.state("quote"), StepState::Succeeded);
    assert!(!journal.reached("price"), "its list had failed");
    let journal = daemon.wait_state(daemon.run("caught", "{}"), RunState::Succeeded);
    assert_eq!(journal.output("after"), r#"{"price":3}"#);
    assert!(!journal.reached("guess"), "nothing failed");
    let journal = daemon.wait_state(daemon.run("caught", "{}"), RunState::Failed);
    assert_says(journal.error(), &["guess"]);
}

#[test]
fn when_time_is_over_waits_are_dropped_and_what_is_out_is_left_to_end() {
    let (daemon, receiver) = stage(
        "limits",
        r#"
steps:
  - id: quick
    timeout: 300ms
    try:
      steps:
        - id: pay
          http: { method: POST, url: "RECEIVER/pay" }
        - id: pause
          needs: []
          sleep: { for: 23h }
      catch:
        - id: told
          set: { class: "{{ error.class }}" }
"#,
    );
    receiver.on("/pay", |_, _| Answer::hold().body(r#"{"paid":true}"#));
    let run = daemon.run("limits", "{}");
    receiver.wait("/pay", 1);
    let over = wait_for("the time to be over", LIMIT, || {
        let detail = daemon.show(run);
        let mut records = detail.journal.iter().flat_map(|transition| &transition.records);
        records.any(|record| matches!(record, Record::TimedOut { path, .. } if path == "quick")).then_some(detail.head)
    });
    assert!(!over.state.is_final(), "a started `once` call is left to end: {:?}", over.state);
    receiver.release("/pay");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("quick"), r#"{"class":"timeout"}"#);
    assert_says(journal.output("pay"), &["paid"]);
    let dropped = journal
        .of("pause")
        .any(|record| matches!(record, Record::Failed { error, .. } if error.class == ErrorClass::Cancelled));
    assert!(dropped, "nobody waits for 23 hours");
    assert_eq!(receiver.on_path("/pay").len(), 1);
    let catches =
        journal.of("quick").filter(|record| matches!(record, Record::ScopeOpened { scope: ScopeKind::Catch, .. }));
    assert_eq!(catches.count(), 1);
}
