//! Which names an expression may read in which place: rule 2 and the roots, with exact sentences.

use super::tests::{case, step};

#[test]
fn syntax_and_functions_are_checked_at_their_column() {
    let text = "aura: 1\nflow: f\nsteps:\n  - id: a\n    set:\n      x: \"é {{ trigger.body + }}\"\n";
    let document = super::super::read(text).unwrap();
    let findings = super::check(&document, None);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!((findings[0].line, findings[0].path.as_str()), (6, "steps[0].set.x"));
    assert!((12..=36).contains(&findings[0].column), "{findings:#?}");
}

#[test]
fn a_step_reads_what_has_certainly_settled() {
    case(
        "steps:\n  - { id: a, set: { x: 1 } }\n  - { id: b, set: { x: \"{{ steps.a.output.x }}\" } }\n  - { id: c, set: { x: \"{{ steps.a.output.x + steps.b.output.x }}\" } }",
        "",
    );
    case(
        "steps:\n  - { id: a, set: { x: \"{{ steps.b.output }}\" } }\n  - { id: b, set: {} }",
        "error 4:21 steps[0].set.x: `b` has not certainly settled when this is evaluated (move this step behind `b`, or read a maybe: `steps.b?.output`)",
    );
    case("steps:\n  - { id: a, set: { x: \"{{ steps.b?.output }}\" } }\n  - { id: b, set: {} }", "");
    step(
        "set: { x: \"{{ steps.aa.output }}\" }",
        "error 4:21 steps[0].set.x: there is no step `aa` (did you mean `a`?)",
    );
    step(
        "set: { x: \"{{ steps.a.output }}\" }",
        "error 4:21 steps[0].set.x: `a` cannot read itself, it has not run yet",
    );
    step(
        "set: { x: \"{{ steps.a?.output }}\" }",
        "error 4:21 steps[0].set.x: `a` cannot read itself, it has not run yet",
    );
}

/// A branch `b` after `first`, with one step in each arm; `x` is what the inner step reads.
fn branch(x: &str) -> String {
    format!(
        "steps:\n  - {{ id: first, set: {{}} }}\n  - id: b\n    branch:\n      - when: \"{{{{ trigger.body.ok }}}}\"\n        steps:\n          - {{ id: i, set: {{}} }}\n          - {{ id: j, set: {{ x: \"{{{{ {x} }}}}\" }} }}\n      - else: true\n        steps: [{{ id: k, set: {{}} }}]\n  - {{ id: last, set: {{}} }}"
    )
}

#[test]
fn a_body_reads_its_own_steps_and_what_was_before_the_scope() {
    case(&branch("steps.i.output"), "");
    case(&branch("steps.first.output"), "");
    case(&branch("steps.last?.output"), "");
    case(
        &branch("steps.last.output"),
        "error 10:29 steps[1].branch[0].steps[1].set.x: `last` has not certainly settled when this is evaluated (move this step behind `last`, or read a maybe: `steps.last?.output`)",
    );
    case(
        &branch("steps.b.output"),
        "error 10:29 steps[1].branch[0].steps[1].set.x: `b` has not settled while the steps inside it run",
    );
    case(
        &branch("steps.k?.output"),
        "error 10:29 steps[1].branch[0].steps[1].set.x: `k` is inside `b`, nothing in there can be read from here (read what `b` gives: `steps.b.output`)",
    );
}

#[test]
fn nothing_inside_a_scope_is_visible_outside() {
    let body = branch("steps.i.output").replace("id: last, set: {}", "id: last, set: { x: \"{{ steps.i?.output }}\" }");
    case(
        &body,
        "error 13:24 steps[2].set.x: `i` is inside `b`, nothing in there can be read from here (read what `b` gives: `steps.b.output`)",
    );
}

/// Step `a`, then the call `c` with a handler that reads `x`.
fn handler(x: &str) -> String {
    format!(
        "steps:\n  - {{ id: a, set: {{}} }}\n  - id: c\n    http: {{ url: \"https://e.org\" }}\n    on_error:\n      - {{ id: h, set: {{ x: \"{{{{ {x} }}}}\" }} }}\n  - {{ id: z, set: {{}} }}"
    )
}

#[test]
fn a_handler_reads_what_the_failing_step_could_read_and_the_error() {
    case(&handler("steps.a.output"), "");
    case(&handler("error.message"), "");
    case(
        &handler("steps.c.error"),
        "error 8:25 steps[1].on_error[0].set.x: `c` has not settled while the steps inside it run (in a handler, read `error`)",
    );
    case(
        &handler("steps.z.output"),
        "error 8:25 steps[1].on_error[0].set.x: `z` has not certainly settled when this is evaluated (move this step behind `z`, or read a maybe: `steps.z?.output`)",
    );
    case(
        "steps: [{ id: a, set: { x: \"{{ error.message }}\" } }]",
        "error 3:25 steps[0].set.x: `error` is known only in handlers (`on_error`, `catch`) (known here: input, trigger, steps, run, vars)",
    );
    case(
        &handler("error.message")
            .replace("id: z, set: {}", "id: z, set: { x: \"{{ steps.c.error?.message ?? '' }}\" }"),
        "",
    );
}

#[test]
fn the_end_of_a_flow_reads_steps_as_maybes() {
    for end in ["on_error", "finally"] {
        let flow = |x: &str| {
            format!(
                "steps: [{{ id: a, set: {{}} }}]\n{end}:\n  - {{ id: y, set: {{}} }}\n  - {{ id: z, set: {{ x: \"{{{{ {x} }}}}\" }} }}"
            )
        };
        case(&flow("steps.a?.output"), "");
        case(&flow("steps.y.output"), "");
        let path = format!("{end}[1].set.x");
        case(
            &flow("steps.a.output"),
            &format!("error 6:21 {path}: `a` has not certainly settled when this is evaluated (move this step behind `a`, or read a maybe: `steps.a?.output`)").replace("move this step behind `a`, or read", "read"),
        );
    }
}

#[test]
fn policies_read_only_what_exists_then() {
    let trigger = |policy: &str| {
        format!(
            "triggers:\n  - {{ id: t, on: webhook, auth: {{ bearer: hook }}, {policy} }}\nsteps: [{{ id: a, set: {{}} }}]"
        )
    };
    case(&trigger("filter: \"{{ trigger.body.ok }}\""), "");
    case(
        &trigger("filter: \"{{ steps.a.output }}\""),
        "error 4:51 triggers[0].filter: `steps` is not known here: a policy at the door reads only the event (known here: trigger)",
    );
    case(
        &trigger("dedupe: { key: \"{{ input.id }}\" }"),
        "error 4:61 triggers[0].dedupe.key: `input` is not known here: a policy at the door reads only the event (known here: trigger)",
    );
    case(
        "concurrency: { key: \"{{ steps.a.output }}\" }\nsteps: [{ id: a, set: {} }]",
        "error 3:16 concurrency.key: `steps` is not known here: the run is only being created (known here: trigger, input)",
    );
}

#[test]
fn roots_that_nothing_provides_are_refused() {
    step(
        "set: { x: \"{{ env.x }}\" }",
        "error 4:21 steps[0].set.x: `env` is not provided by this build (it provides: input, trigger, steps, item, index, vars, run, error)",
    );
    step(
        "set: { x: \"{{ item.x }}\" }",
        "error 4:21 steps[0].set.x: `item` is known only inside a map or loop (known here: input, trigger, steps, run, vars)",
    );
    step(
        "set: { x: \"{{ steps }}\" }",
        "error 4:28 steps[0].set.x: `steps` alone is no value (name a step: `steps.x.output`)",
    );
}
