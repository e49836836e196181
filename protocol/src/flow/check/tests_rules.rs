//! What check says about rule tables and about what reads them, with exact sentences.

use super::super::read;
use super::check;
use super::tests::case;

fn step(step: &str) -> String {
    format!("steps:\n  - {{ id: a, {step} }}")
}

/// A `set` step that decides by these rows.
fn ruled(rows: &str, more: &str) -> String {
    step(&format!(
        "set: {{ x: \"{{{{ decision }}}}\" }}, rules: {{ inputs: {{ t: \"{{{{ trigger.body.t }}}}\" }}, {more}rows: [{rows}] }}"
    ))
}

#[test]
fn gaps_overlaps_and_idle_rows_are_told() {
    case(&ruled("{ when: { t: \"< 5\" }, then: 1 }, { when: { t: \">= 5\" }, then: 2 }", ""), "");
    case(
        &ruled("{ when: { t: \"< 5\" }, then: 1 }, { when: { t: \"> 6\" }, then: 2 }", ""),
        "warning 4:92 steps[0].rules.rows: no row matches t [5..6]: the step fails then (add a row, or `else`)",
    );
    case(&ruled("{ when: { t: \"< 5\" }, then: 1 }, { when: { t: \"> 6\" }, then: 2 }", "else: 0, "), "");
    case(
        &ruled("{ when: { t: \"<= 5\" }, then: 1 }, { id: high, when: { t: \">= 5\" }, then: 2 }", ""),
        "error 4:133 steps[0].rules.rows[1]: the rows 1 and high both match t 5; `unique` takes one (narrow one of them, or write `hit: first`)",
    );
    case(&ruled("{ when: { t: \"<= 5\" }, then: 1 }, { when: { t: \">= 5\" }, then: 1 }", "hit: any, "), "");
    case(
        &ruled("{ when: { t: \"<= 5\" }, then: 1 }, { when: { t: \">= 5\" }, then: 2 }", "hit: any, "),
        "error 4:143 steps[0].rules.rows[1]: the rows 1 and 2 match t 5 and do not say the same (`any` needs that they do; narrow one of them)",
    );
    case(
        &ruled("{ when: {}, then: 1 }, { when: { t: 5 }, then: 2 }", "hit: first, "),
        "warning 4:134 steps[0].rules.rows[1]: this row is never taken: rows before it take all that it matches (put it before them, or leave it out)",
    );
    case(&ruled("{ when: { t: \">= 5\" }, then: 1 }, { when: { t: \">= 9\" }, then: 2 }", "hit: sum, "), "");
}

#[test]
fn cells_are_read_at_their_place() {
    case(
        &ruled("{ when: { t: \"> x\" }, then: 1 }", "else: 0, "),
        "error 4:118 steps[0].rules.rows[0].when.t: `x` has no order: `>` compares numbers and dates (dates are written as 2026-05-01 or 2026-05-01T10:00:00Z)",
    );
    case(
        &ruled("{ when: { u: 1 }, then: 1 }", "else: 0, "),
        "error 4:118 steps[0].rules.rows[0].when.u: `when` has no `u` (it has: t)",
    );
}

#[test]
fn a_decision_is_read_beside_its_rules_only() {
    case(
        &step("set: { x: 1 }, rules: { inputs: { t: 1 }, rows: [{ when: {}, then: 1 }] }"),
        "warning 4:29 steps[0].rules: nothing reads what these rules decide (write `\"{{ decision }}\"`)",
    );
    case(
        &step("set: { x: \"{{ decision }}\" }"),
        "error 4:28 steps[0].set.x: there is no name `decision` here (names are input, trigger, steps, item, index, vars, env, run, error; text stands in quotes)",
    );
    case(
        &step(
            "branch: [{ when: \"{{ decision == 'a' && matched.length == 1 }}\", steps: [{ id: in, set: { x: \"{{ decision }}\" } }] }], rules: { inputs: { t: 1 }, rows: [{ when: {}, then: a }] }",
        ),
        "error 4:111 steps[0].branch[0].steps[0].set.x: there is no name `decision` here (names are input, trigger, steps, item, index, vars, env, run, error; text stands in quotes)",
    );
    case(
        &ruled("{ when: {}, then: \"{{ decision }}\" }", ""),
        "error 4:121 steps[0].rules.rows[0].then: there is no name `decision` here (names are input, trigger, steps, item, index, vars, env, run, error; text stands in quotes)",
    );
}

#[test]
fn a_need_that_another_brings_is_noted() {
    let text = "aura: 1\nflow: f\nsteps:\n  - { id: a, set: {} }\n  - { id: b, set: {} }\n  - { id: c, needs: [a, b], set: {} }\n  - { id: d, needs: [{ step: a, when: succeeded }, b], set: {} }";
    let findings = check(&read(text).unwrap(), None);
    let told: Vec<String> = findings.iter().map(|it| format!("{} {}: {}", it.line, it.path, it.message)).collect();
    assert_eq!(told, ["6 steps[2].needs[0]: `a` can be left out: what else `c` needs has it settled"]);
}
