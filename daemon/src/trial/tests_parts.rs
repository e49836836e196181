//! Parts of flows: what runs, what is given, and where each value is said to come from.

use std::time::Duration;

use aura_integrations::registry::Registry;
use aura_protocol::rpc::{CaseReport, DataFrom, FlowPart, FlowTest};
use aura_protocol::run::CallOutcome;

use super::run;
use crate::engine::kinds::code;
use crate::runner::wire::Job;

fn here(job: &Job) -> CallOutcome {
    code::outcome(crate::runner::script::run(job))
}

fn simulated(flow: &str, case: &str, part: Option<FlowPart>, generate: bool) -> Result<CaseReport, String> {
    let request = FlowTest {
        flow: format!("aura: 1\nflow: f\n{flow}"),
        cases: format!("aura: 1\ncases:\n  - name: a\n{case}"),
        part,
        generate,
        ..FlowTest::default()
    };
    let tested = run(&request, &Registry::builtin(), &here, Duration::from_secs(60)).map_err(|error| error.message)?;
    assert_eq!((&tested.flow_findings, &tested.case_findings), (&Vec::new(), &Vec::new()), "{flow}");
    Ok(tested.cases.into_iter().next().unwrap())
}

fn to(step: &str) -> Option<FlowPart> {
    Some(FlowPart::To(step.to_owned()))
}

fn only(step: &str) -> Option<FlowPart> {
    Some(FlowPart::Only(step.to_owned()))
}

/// Steps that are shown, with where they came from.
fn path(report: &CaseReport) -> Vec<String> {
    report.path.iter().map(|row| format!("{} {} {}", row.step, row.state, row.from.word())).collect()
}

const ORDER: &str = "steps:
  - { id: stock, needs: [], http: { url: https://e.org/stock } }
  - { id: charge, needs: [], http: { method: POST, url: https://e.org/charge, body: { sum: \"{{ input.sum }}\" } } }
  - { id: total, needs: [charge], set: { cents: \"{{ steps.charge.output.body.cents * 2 }}\" } }
  - id: big
    needs: [total, stock]
    branch:
      - when: \"{{ steps.total.output.cents > 100 }}\"
        steps:
          - { id: note, set: { text: \"{{ steps.total.output.cents > 5 ? 'big' : 'small' }}\" } }
          - id: mail
            http: { method: POST, url: https://e.org/mail, body: { a: \"{{ steps.note.output.text }}\", b: \"{{ steps.charge.output.body.id }}\" } }
            on_error: [{ id: tell, http: { method: POST, url: https://e.org/tell, body: \"{{ error.message }}\" } }]
      - else: true
        steps: [{ id: none, stop: { ok: small } }]
";

#[test]
fn up_to_a_step_only_what_it_needs_runs() {
    let pins = "    input: { sum: 7 }\n    pins: { charge: { status: 200, body: { cents: 300, id: c-1 } } }\n";
    let report = simulated(ORDER, pins, to("total"), true).unwrap();
    assert_eq!(path(&report), ["charge succeeded pinned", "total succeeded computed"]);
    assert!(report.calls.iter().all(|call| call.step != "stock"), "{:?}", report.calls);
    let asked = report.asked.unwrap();
    assert_eq!((asked.state.as_str(), asked.output.as_deref()), ("succeeded", Some(r#"{"cents":600}"#)));
    assert_eq!(asked.given, [("charge".to_owned(), DataFrom::Pinned)]);

    // Of what nobody says a value is made up that the flow can go on with.
    let pins = "    input: { sum: 7 }\n    pins: { charge: { output: { body: { cents: 600, id: 1 } } } }\n";
    let report = simulated(ORDER, pins, to("mail"), true).unwrap();
    let mut met = path(&report);
    met.sort();
    assert_eq!(
        met,
        [
            "charge succeeded pinned",
            "mail succeeded generated",
            "note succeeded computed",
            "stock succeeded generated",
            "total succeeded computed"
        ]
    );
    // And where it goes another way, that is said.
    let report = simulated(ORDER, "    input: { sum: 7 }\n", to("mail"), true).unwrap();
    assert!(report.problems[0].message.contains("did not come to mail, it is succeeded"), "{:?}", report.problems);
}

#[test]
fn without_leave_nothing_is_made_up() {
    let report = simulated(ORDER, "    input: { sum: 7 }\n", to("total"), false).unwrap();
    assert!(!report.passed && report.problems[0].message.contains("no answer is pinned"), "{:?}", report.problems);
}

#[test]
fn a_step_alone_is_given_what_it_reads() {
    let check = |case: &str, step: &str, expected: &[&str], input: Option<&str>, given: &[(&str, DataFrom)]| {
        let report = simulated(ORDER, case, only(step), true).unwrap();
        let asked = report.asked.clone().unwrap();
        assert_eq!(path(&report), expected, "{report:#?}");
        assert_eq!(asked.input.as_deref().map(|it| it.split("\"body\":").nth(1).unwrap_or(it)), input, "{asked:?}");
        let given: Vec<(String, DataFrom)> = given.iter().map(|(name, from)| ((*name).to_owned(), *from)).collect();
        assert_eq!(asked.given, given);
        assert_eq!(report.calls.len(), usize::from(input.is_some()), "{:?}", report.calls);
    };
    use DataFrom::{Generated, Pinned};
    check(
        "    pins: { charge: { status: 200, body: { cents: 3, id: c-9 } }, note: { output: { text: hi } } }\n",
        "mail",
        &["charge succeeded pinned", "note succeeded pinned", "mail succeeded generated"],
        Some(r#"{"a":"hi","b":"c-9"}}"#),
        &[("charge", Pinned), ("note", Pinned)],
    );
    check(
        "    pins: { note: { output: { text: hi } } }\n",
        "mail",
        &["charge succeeded generated", "note succeeded pinned", "mail succeeded generated"],
        Some(r#"{"a":"hi","b":"generated id"}}"#),
        &[("charge", Generated), ("note", Pinned)],
    );
    // Values of what is given are computed.
    check(
        "    input: { sum: 1 }\n    pins: { charge: { status: 200, body: { cents: 3, id: c-9 } } }\n",
        "mail",
        &["charge succeeded pinned", "total succeeded computed", "note succeeded computed", "mail succeeded generated"],
        Some(r#"{"a":"big","b":"c-9"}}"#),
        &[("charge", Pinned), ("note", DataFrom::Computed), ("total", DataFrom::Computed)],
    );
    // A handler alone: what it handles fails.
    check(
        "    pins: { mail: { error: no such address } }\n",
        "tell",
        &["tell succeeded generated"],
        Some(r#""no such address"}"#),
        &[("the error of mail", Pinned)],
    );
    check(
        "    input: {}\n",
        "tell",
        &["tell succeeded generated"],
        Some(r#""mail failed (generated)"}"#),
        &[("the error of mail", Generated)],
    );
}

#[test]
fn what_a_step_is_made_of_is_known_behind_what_is_computed() {
    let flow = "steps:
  - { id: lines, http: { url: https://e.org/lines } }
  - { id: rate, set: { r: \"{{ vars.factor * 2 }}\", of: \"{{ steps.lines.output.body.of }}\" } }
  - id: all
    map:
      over: \"{{ steps.lines.output.body.items }}\"
      as: line
      steps:
        - { id: ship, http: { method: PUT, url: \"https://e.org/{{ line.sku }}\" } }
  - { id: mail, http: { method: POST, url: \"https://e.org/mail\", body: { r: \"{{ steps.rate.output.r }}\" } } }
";
    let given = |part| simulated(flow, "    input: {}\n", part, true).unwrap().asked.unwrap().given;
    let named = |given: Vec<(String, DataFrom)>| given.into_iter().map(|(name, from)| (name, from.word())).collect();
    let mail: Vec<(String, &str)> = named(given(only("mail")));
    let of = |name: &str, word| (name.to_owned(), word);
    assert_eq!(mail, [of("rate", "computed"), of("variables (factor)", "generated"), of("lines", "generated")]);
    let ship: Vec<(String, &str)> = named(given(only("ship")));
    assert_eq!(ship, [of("lines", "generated")], "the list decides on what it is done");
    // Without a key it is the first item that comes.
    let two = "    pins: { lines: { status: 200, body: { of: 1, items: [{ sku: a }, { sku: b }] } } }\n";
    for part in [to("ship"), only("ship")] {
        let asked = simulated(flow, two, part, true).unwrap().asked.unwrap();
        assert_eq!((asked.step.as_str(), asked.state.as_str()), ("ship[0]", "succeeded"));
        assert!(asked.input.unwrap().contains("https://e.org/a"));
    }
}

#[test]
fn one_item_of_a_map_is_a_step_too() {
    let flow = "steps:
  - { id: list, http: { url: https://e.org/list } }
  - id: ship
    each: { over: \"{{ steps.list.output.body.lines }}\", key: \"{{ item.sku }}\" }
    http: { method: PUT, url: \"https://e.org/{{ item.sku }}\", body: { q: \"{{ item.qty }}\" } }
";
    let lines = "    pins: { list: { status: 200, body: { lines: [{ sku: a, qty: 1 }, { sku: b, qty: 2 }] } } }\n";
    let check = |part, expected: &[&str], url: &str| {
        let report = simulated(flow, lines, part, true).unwrap();
        assert_eq!(path(&report), expected);
        assert_eq!(report.calls.iter().filter(|call| call.step.starts_with("ship")).count(), 1, "{:?}", report.calls);
        assert!(report.asked.as_ref().unwrap().input.as_ref().unwrap().contains(url), "{report:?}");
    };
    check(to("ship[b]"), &["list succeeded pinned", "ship[b] succeeded generated"], "https://e.org/b");
    check(only("ship[b]"), &["list succeeded pinned", "ship[b] succeeded generated"], "https://e.org/b");
    let whole = simulated(flow, lines, to("ship"), true).unwrap();
    assert_eq!(whole.asked.unwrap().output.unwrap().matches("\"status\":200").count(), 2);
    let none = simulated(flow, lines, to("ship[c]"), true).unwrap();
    assert!(none.problems[0].message.contains("did not come to ship[c], it is"), "{:?}", none.problems);
    assert!(none.problems[0].message.contains("items: a, b"), "{:?}", none.problems);
    // Without a list of its own one is made up.
    let report = simulated(flow, "    clock: 2026-03-01T09:00:00Z\n", only("ship"), true).unwrap();
    assert_eq!(report.asked.unwrap().state, "succeeded");
}

#[test]
fn what_is_no_step_is_said() {
    let says = |part, says: &str| {
        let message = simulated(ORDER, "    input: {}\n", part, true).unwrap_err();
        assert!(message.contains(says), "{message}");
    };
    says(to("maill"), "the flow has no step maill; it has stock, charge");
    says(only("mail[3]"), "in no map or loop with so many keys: say mail");
    says(to("mail[3"), "is no step: write STEP");
}
