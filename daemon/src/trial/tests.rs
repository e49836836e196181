//! Cases over small flows: what passes, what is said when something does not, and what a crash shows.

use std::time::Duration;

use aura_integrations::registry::Registry;
use aura_protocol::rpc::{CaseReport, FlowTest, FlowTested};
use aura_protocol::run::CallOutcome;

use super::run;
use crate::engine::core::bugs::{self, Bug};
use crate::engine::kinds::code;
use crate::runner::wire::Job;

const HOUR: Duration = Duration::from_secs(3600);

fn tested(flow: &str, cases: &str, crash: bool) -> FlowTested {
    let head = if flow.starts_with("aura:") { "" } else { "aura: 1\nflow: f\n" };
    let cases = if cases.starts_with("aura:") { cases.to_owned() } else { format!("aura: 1\ncases:\n{cases}") };
    let request = FlowTest { flow: format!("{head}{flow}"), cases, case: None, crash, ..FlowTest::default() };
    let tested = run(&request, &Registry::builtin(), &here, HOUR).unwrap();
    assert_eq!((&tested.flow_findings, &tested.case_findings), (&Vec::new(), &Vec::new()), "{flow}");
    tested
}

/// A script in this process: in tests nobody needs a runner.
fn here(job: &Job) -> CallOutcome {
    code::outcome(crate::runner::script::run(job))
}

fn one(flow: &str, case: &str, crash: bool) -> CaseReport {
    tested(flow, &format!("  - name: a\n{case}"), crash).cases.remove(0)
}

fn passes(flow: &str, case: &str) -> CaseReport {
    let report = one(flow, case, true);
    assert!(report.passed, "{flow}\n{case}\n{:#?}", report.problems);
    assert!(report.crashes.as_ref().unwrap().runs >= report.records / 8, "{report:?}");
    report
}

fn fails(flow: &str, case: &str, line: u32, says: &[&str]) {
    let report = one(flow, case, false);
    let text = format!("{:?}", report.problems);
    assert!(!report.passed, "{flow}\n{case}");
    for says in says {
        assert!(text.contains(says), "`{says}` is not in {text}");
    }
    assert!(report.problems.iter().any(|problem| problem.line == line), "line {line}: {text}");
}

const CHARGE: &str = "steps:
  - id: charge
    http: { method: POST, url: https://pay.example/charges, body: { sum: \"{{ input.sum }}\" } }
    retry: { attempts: 3 }
  - id: later
    sleep: { for: 23h }
  - id: tell
    uses: slack.post_message
    connection: ops
    with: { channel: \"#pay\", text: \"{{ steps.charge.output.body.id }}\" }
";

#[test]
fn a_day_is_tested_at_once_and_everything_that_is_expected_is_looked_at() {
    let report = passes(
        CHARGE,
        r##"    input: { sum: 5 }
    pins: { charge: [{ status: 429, headers: { retry-after: 30 } }, { status: 201, body: { id: ch_1 } }] }
    expect:
      path: [charge, later, tell]
      passes: [charge, tell]
      effects:
        - { step: charge, action: "POST https://pay.example/charges", input: { body: { sum: 5 } }, times: 2 }
        - { step: tell, action: slack.post_message, input: { text: ch_1 } }
      outputs: { charge: { status: 201, headers: {}, body: { id: ch_1 } }, later: null }
      calls: { charge: { method: POST } }
"##,
    );
    assert!(report.took_us < 5_000_000, "{} us", report.took_us);
    assert_eq!(report.lived_ms / 1000, 23 * 3600 + 30, "the peer's own wait, then a day");
    assert!(report.notes[0].contains("recorded examples: tell"), "{:?}", report.notes);
    assert!(report.crashes.unwrap().in_doubt > 0, "a POST that was out when the daemon died is in doubt");
}

#[test]
fn what_differs_is_said_at_its_line_and_as_people_read_it() {
    let good = |expect: &str| {
        format!(
            "    input: {{ sum: 5 }}\n    pins: {{ charge: {{ status: 201, body: {{ id: a }} }} }}\n    expect: {expect}\n"
        )
    };
    let check = |expect: &str, says: &[&str]| fails(CHARGE, &good(expect), 6, says);
    let number = good("{}").replace("id: a", "id: 1");
    fails(CHARGE, &number, 6, &["in tell: slack.post_message: input `text` must be text, not integer"]);
    check("{ run: failed }", &["the run succeeded and was to be failed"]);
    check("{ path: [charge, tell] }", &["did not settle as expected", "+ later", "  charge"]);
    check("{ passes: [tell, charge] }", &["charge did not settle as succeeded"]);
    check("{ effects: [tell] }", &["other calls left", "+ charge: POST https://pay.example/charges"]);
    check("{ effects: [{ step: charge, input: { body: { sum: 6 } } }, tell] }", &["- body.sum: 6", "+ body.sum: 5"]);
    check("{ effects: [{ step: charge, times: 2 }, tell] }", &["was sent 1 times, 2 were expected"]);
    check("{ outputs: { later: 1 } }", &["the output of later", "- 1", "+ null"]);
    check("{ outputs: { nobody: 1 } }", &["the flow has no step `nobody`"]);
    check("{ calls: { tell: null } }", &["tell made a call and must not"]);
    check("{ takes: 1d }", &["the run lived 23h, 1d were expected"]);
    check("{ error: no }", &["there is nothing: the error"]);
    check("{ reply: { status: 200 } }", &["there is nothing: the answer to the sender"]);
    fails(CHARGE, "    input: { sum: 5 }\n", 3, &["no answer is pinned: add `pins: { charge: { output: … } }`"]);
    fails(CHARGE, "    input: {}\n    expect: {}\n", 5, &["the run failed in charge", "input.sum is not there"]);
    fails("steps: [{ id: a, set: { x: 1 } }]", "    pins: { b: { output: 1 } }\n", 4, &["the flow has no step `b`"]);
    fails("steps: [{ id: a, set: { x: 1 } }]", "    trigger: { id: x }\n", 4, &["the flow has no triggers"]);
}

#[test]
fn an_unknown_outcome_goes_by_the_effect_of_the_call() {
    let step = |more: &str| {
        format!(
            "steps:\n  - id: a\n    http: {{ method: POST, url: https://e.org/ }}\n{more}  - id: b\n    set: {{ x: 1 }}\n"
        )
    };
    let lost = "    pins: { a: [{ lost: answer }, { status: 200 }] }\n";
    passes(
        &step(""),
        &format!(
            "{lost}    expect: {{ run: in_doubt, path: [{{ a: in_doubt }}], effects: [{{ step: a, times: 1 }}], takes: 30s }}\n"
        ),
    );
    passes(
        &step(""),
        &format!(
            "{lost}    resolve: {{ a: {{ done: 7 }} }}\n    expect: {{ outputs: {{ a: 7 }}, effects: [{{ step: a, times: 1 }}] }}\n"
        ),
    );
    passes(
        &step(""),
        &format!("{lost}    resolve: {{ a: retry }}\n    expect: {{ effects: [{{ step: a, times: 2 }}] }}\n"),
    );
    passes(
        &step(""),
        &format!(
            "{lost}    resolve: {{ a: fail }}\n    expect: {{ run: failed, error: {{ class: in_doubt, step: a }} }}\n"
        ),
    );
    passes(
        &step("    effect: keyed\n    timeout: 2s\n"),
        &format!("{lost}    expect: {{ effects: [{{ step: a, times: 2 }}] }}\n"),
    );
    passes(
        &step("    timeout: 2s\n"),
        "    pins: { a: { output: 1, after: 1m } }\n    expect: { run: in_doubt, takes: 2s }\n",
    );
    let refused = "    pins: { a: { error: too heavy, class: conflict, code: E7 } }\n";
    passes(
        &step(""),
        &format!(
            "{refused}    expect: {{ run: failed, error: {{ message: too heavy, class: conflict, code: E7 }} }}\n"
        ),
    );
}

#[test]
fn signals_come_early_late_and_twice() {
    let flow = "steps:
  - { id: nap, sleep: { for: 1h } }
  - { id: paid, wait: { callback: true, deadline: 2h } }
  - { id: end, set: { sum: \"{{ steps.paid.output.sum }}\" } }
";
    let early = "    signals:
      - { step: paid, at: 1m, data: { sum: 1 }, taken: true }
      - { step: paid, at: 2m, data: { sum: 2 }, taken: false }
    expect: { outputs: { end: { sum: 1 } }, takes: 1h }
";
    passes(flow, early);
    passes(
        flow,
        "    pins: { paid: { output: { sum: 3 }, after: 30m } }\n    expect: { outputs: { end: { sum: 3 } }, takes: 90m }\n",
    );
    passes(
        flow,
        "    signals: [{ step: paid, at: 4h, taken: false }]\n    expect: { run: failed, error: { class: timeout }, takes: 3h }\n",
    );
    passes(
        flow,
        "    faults: [{ cancel: 90m }]\n    expect: { run: cancelled, path: [nap, { paid: cancelled }], takes: 90m }\n",
    );
    fails(
        flow,
        "    signals: [{ step: paid, at: 1m, taken: false }]\n    expect: { run: failed }\n",
        4,
        &["was taken and must not be"],
    );
}

#[test]
fn other_flows_names_replies_and_filters_are_there() {
    let flow = r#"aura: 1
flow: f
triggers:
  - { id: t, on: webhook, auth: none, filter: "{{ trigger.body.n > 0 }}", reply: { respond: { wait: 5s } } }
steps:
  - { id: count, kv: { incr: seen } }
  - { id: answer, respond: { status: 201, body: { n: "{{ steps.count.output }}" } } }
  - { id: refund, call: { flow: refund-order, input: { n: 1 } }, on_error: [{ id: hand, set: { why: "{{ error.message }}" } }] }
  - { id: link, set: { when: "{{ now() }}", shop: "{{ vars.shop }}" } }
"#;
    passes(
        flow,
        r#"    trigger: { body: { n: 1 } }
    vars: { shop: here }
    kv: { seen: 41 }
    clock: 2026-03-01T09:00:00Z
    pins: { refund: { error: the bank refused, after: 1h } }
    expect:
      path: [count, answer, { refund: failed }, hand, link]
      reply: { status: 201, body: { n: 42 } }
      kv: { seen: 42 }
      effects: [{ step: refund, action: call refund-order, input: { input: { n: 1 } } }]
      outputs: { hand: { why: the bank refused } }
      takes: 1h
"#,
    );
    passes(flow, "    trigger: { body: { n: 0 } }\n    expect: { run: dropped, path: [] }\n");
    passes(flow, "    trigger: { body: {} }\n    expect: { run: failed, effects: [] }\n");
    fails(flow, "    trigger: { body: { n: 1 } }\n", 3, &["refund runs another flow and no answer is pinned"]);
}

#[test]
fn a_crash_that_a_case_asks_for_is_met() {
    let flow = "steps:\n  - { id: a, http: { method: POST, url: https://e.org/ }, in_doubt: fail }\n  - { id: b, set: { x: 1 } }\n";
    // Behind `Started`: whether its bytes left is not known.
    let crashed = "    pins: { a: { status: 200 } }\n    faults: [{ crash: 3 }]\n    expect: { run: failed, error: { class: in_doubt } }\n";
    let report = one(flow, crashed, false);
    assert!(report.passed, "{:#?}", report.problems);
    let report = one(flow, "    pins: { a: { status: 200 } }\n", true);
    let said = format!("{:?}", report.problems);
    assert!(!report.passed && said.contains("with a crash behind record"), "the step says that it fails then: {said}");
}

#[test]
fn people_decide_and_events_go_out() {
    let flow = "steps:
  - { id: ask, approval: { form: { sum: 5 }, approvers: [ada, finance], quorum: 2, deadline: 2d } }
  - { id: out, emit: { event: paid, body: { sum: 5 } } }
";
    let agreed = "    pins: { ask: { output: {}, after: 3h } }
    expect: { path: [ask, out], effects: [{ step: out, action: emit paid, input: { body: { sum: 5 } } }], takes: 3h }
";
    passes(flow, agreed);
    passes(
        flow,
        "    pins: { ask: { error: too dear } }\n    expect: { run: failed, error: { class: conflict, code: rejected }, effects: [] }\n",
    );
    passes(flow, "    expect: { run: failed, error: { class: timeout }, takes: 2d }\n");
}

#[test]
fn scripts_are_run_unless_they_are_pinned() {
    let flow = "steps:
  - { id: sum, code: { js: 'return input.map(n => n * 2).reduce((a, b) => a + b, 0)', input: '{{ input.list }}' } }
  - { id: end, set: { sum: '{{ steps.sum.output }}' } }
";
    passes(
        flow,
        "    input: { list: [1, 2] }\n    expect: { outputs: { end: { sum: 6 } }, calls: { sum: { input: [1, 2] } }, effects: [] }\n",
    );
    passes(
        flow,
        "    input: { list: [1, 2] }\n    pins: { sum: { output: 7 } }\n    expect: { outputs: { end: { sum: 7 } } }\n",
    );
}

/// Found by the simulator: what undoes a step counted as lost when the step stood in a part that had lost a join.
#[test]
fn what_was_done_in_a_part_that_lost_a_join_is_undone() {
    let flow = "steps:
  - id: parcels
    map:
      over: [1]
      steps:
        - id: book
          http: { method: PUT, url: https://e.org/book }
          compensate: [{ id: cancel, http: { method: POST, url: https://e.org/cancel } }]
        - { id: slow, sleep: { for: 1h } }
  - { id: fast, needs: [], sleep: { for: 1m } }
  - { id: first, needs: [parcels, fast], join: any, losers: cancel, set: { x: 1 } }
  - { id: no, stop: { fail: no } }
";
    let case = "    pins: { book: { status: 200 }, cancel: { status: 200 } }
    expect: { run: failed, passes: [first, 'cancel[0]', { 'book[0]': undone }], effects: ['book[0]', 'cancel[0]'] }
";
    passes(flow, case);
    let bug = bugs::with(Some(Bug::UndoOfLosersIsLost), || one(flow, case, false));
    assert!(!bug.passed, "the deliberate bug is not found");
}

#[test]
fn what_is_wrong_with_a_file_is_found_before_anything_runs() {
    let run_of = |flow: &str, cases: &str, case: Option<&str>| {
        let request = FlowTest {
            flow: flow.into(),
            cases: cases.into(),
            case: case.map(str::to_owned),
            crash: false,
            ..FlowTest::default()
        };
        run(&request, &Registry::builtin(), &here, HOUR)
    };
    let flow = "aura: 1\nflow: f\nsteps: [{ id: a, set: { x: 1 } }]";
    let bad = run_of("aura: 1\nflow: f\nsteps: [{ id: a, sett: {} }]", "aura: 1\ncases: [{ name: a }]", None).unwrap();
    assert!(!bad.flow_findings.is_empty() && bad.cases.is_empty());
    let bad = run_of(flow, "aura: 1\ncases: [{ nam: a }]", None).unwrap();
    assert!(!bad.case_findings.is_empty() && bad.cases.is_empty());
    let none = run_of(flow, "aura: 1\ncases: [{ name: a }]", Some("b")).unwrap_err();
    assert!(none.message.contains("no case `b`; there are a"), "{none}");
    let late = run(
        &FlowTest {
            flow: flow.into(),
            cases: "aura: 1\ncases: [{ name: a }]".into(),
            case: None,
            crash: false,
            ..FlowTest::default()
        },
        &Registry::builtin(),
        &here,
        Duration::ZERO,
    );
    assert_eq!(late.unwrap().not_run.as_deref(), Some("a"));
}
