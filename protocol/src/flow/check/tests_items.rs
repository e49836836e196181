//! What check says about needs, joins, maps, `each` and compensation, with exact sentences.

use super::tests::{case, step};

/// Two steps that begin at once, and `c` with what joins them.
fn joined(c: &str) -> String {
    format!(
        "steps:\n  - {{ id: a, set: {{ x: 1 }} }}\n  - {{ id: b, needs: [], set: {{ x: 2 }} }}\n  - {{ id: c, {c} }}"
    )
}

#[test]
fn a_step_reads_what_it_needs_and_what_that_needs() {
    case(&joined("needs: [a, b], set: { x: \"{{ steps.a.output.x + steps.b.output.x }}\" }"), "");
    case(
        &joined("needs: [b], set: { x: \"{{ steps.a.output.x }}\" }"),
        "error 6:33 steps[2].set.x: `a` has not certainly settled when this is evaluated (add `a` to `needs`, or read a maybe: `steps.a?.output`)",
    );
    case(&joined("needs: [b], set: { x: \"{{ steps.a?.output }}\" }"), "");
    case(
        &joined("needs: [a, b], join: any, set: { x: \"{{ steps.a.output.x }}\" }"),
        "error 6:47 steps[2].set.x: `a` has not certainly settled when this is evaluated (add `a` to `needs`, or read a maybe: `steps.a?.output`)",
    );
    // Whichever of two of three comes, one of any two that both bring `a` has come.
    let three = |join: &str| {
        format!(
            "steps:\n  - {{ id: a, set: {{}} }}\n  - {{ id: b, set: {{}} }}\n  - {{ id: c, needs: [a], set: {{}} }}\n  - {{ id: d, needs: [], set: {{}} }}\n  - {{ id: e, needs: [b, c, d], join: {join}, set: {{ x: \"{{{{ steps.a.output }}}}\" }} }}"
        )
    };
    case(&three("{ n_of: 2 }"), "");
    case(
        &three("any"),
        "error 8:50 steps[4].set.x: `a` has not certainly settled when this is evaluated (add `a` to `needs`, or read a maybe: `steps.a?.output`)",
    );
}

#[test]
fn needs_stay_in_their_scope() {
    case(
        "steps:\n  - id: a\n    branch: [{ else: true, steps: [{ id: in, set: {} }] }]\n  - { id: b, needs: [in], set: {} }\n  - { id: c, needs: [bb], set: {} }",
        "error 6:22 steps[1].needs[0]: `in` is a step of another scope (`needs` names siblings only; need the step it is inside of)\n\
         error 7:22 steps[2].needs[0]: there is no step `bb` (did you mean `b`?)",
    );
    case(
        &joined("needs: [a, b, a], set: {}"),
        "error 6:28 steps[2].needs[2]: `a` is needed twice (leave one of the two out)",
    );
    case(
        &joined("needs: [{ step: a, when: failed }, b], set: {}"),
        "warning 6:22 steps[2].needs[0]: `a` never counts as failed here: a failure that it does not handle ends the scope (give `a` an `on_error`)",
    );
}

#[test]
fn a_join_can_come_true() {
    case(
        &joined("needs: [a], join: any, set: {}"),
        "error 6:26 steps[2].join: `join` says how several `needs` are joined, this step has 1 (write `needs: [a, b]`, or leave `join` out)",
    );
    case(
        &joined("needs: [a, b], join: { n_of: 3 }, set: {}"),
        "error 6:37 steps[2].join.n_of: `n_of` must be from 1 to 2, the number of `needs`, this is 3",
    );
    case(
        &joined("needs: [a, b], losers: cancel, set: {}"),
        "error 6:29 steps[2].losers: nobody loses a join that waits for all of its `needs` (write `join: any` or `join: { n_of: 2 }`, or leave `losers` out)",
    );
    case(&joined("needs: [a, b], join: any, losers: cancel, set: {}"), "");
}

#[test]
fn items_are_read_where_there_are_items() {
    step(
        "map: { over: \"{{ trigger.body }}\", key: \"{{ item.id }}\", steps: [{ id: s, set: { x: \"{{ item.n + index }}\" } }] }",
        "",
    );
    step("map: { over: [1], as: order, steps: [{ id: s, set: { x: \"{{ order }}\" } }] }", "");
    step(
        "map: { over: \"{{ item }}\", steps: [{ id: s, set: {} }] }",
        "error 4:21 steps[0].map.over: `item` is known only inside a map or loop (known here: input, trigger, steps, run, vars)",
    );
    step(
        "map: { over: [1], as: order, steps: [{ id: s, set: { x: \"{{ ordr }}\" } }] }",
        "error 4:74 steps[0].map.steps[0].set.x: there is no name `ordr` here (did you mean `order`?)",
    );
    step("set: { x: \"{{ item.id }}\" }, each: \"{{ trigger.body }}\"", "");
    step("set: { x: \"{{ order.id }}\" }, each: { over: [1], as: order, on_item_error: continue }", "");
    step(
        "http: { url: \"https://e.org/{{ item }}\" }, each: [1], compensate: [{ id: u, set: { x: \"{{ item }}\" } }], on_error: [{ id: h, set: { x: \"{{ item }}\" } }]",
        "",
    );
    case(
        "steps:\n  - { id: a, map: { over: [1], steps: [{ id: s, set: {} }] } }\n  - { id: b, set: { x: \"{{ steps.s.output }}\" } }",
        "error 5:21 steps[1].set.x: `s` is inside `a`, nothing in there can be read from here (read what `a` gives: `steps.a.output`)",
    );
}

#[test]
fn a_map_has_its_rules() {
    let body = "steps: [{ id: s, set: {} }]";
    let map = |settings: &str| format!("map: {{ {settings}, {body} }}");
    step(
        "map: { over: [1], steps: [] }",
        "error 4:14 steps[0].map: the map has no steps (write `steps` with what to do for each `item`)",
    );
    step(
        &map("over: 3"),
        "error 4:21 steps[0].map.over: a map goes over a list, this is integer (write an expression that gives one: \"{{ trigger.body.items }}\")",
    );
    step(
        &map("over: [1], max_parallel: 1001"),
        "error 4:32 steps[0].map.max_parallel: `max_parallel` must be an integer from 1 to 1000, this is 1001",
    );
    step(
        &map("over: [1], key: x"),
        "error 4:32 steps[0].map.key: the key must be different for each item, this is always \"x\" (write an expression: \"{{ item.id }}\")",
    );
    step(
        &map("over: [1], on_item_error: ignore"),
        "error 4:32 steps[0].map.on_item_error: `on_item_error` cannot be \"ignore\" (known are: fail, continue)",
    );
    step(
        &map("over: [1], as: steps"),
        "error 4:32 steps[0].map.as: `steps` means something else already (take another name)",
    );
    step(
        "respond: {}, each: [1]",
        "warning 4:5 steps[0]: nobody waits for this answer: every trigger replies `ack` (write `reply: { respond: {} }` on the webhook trigger)\n\
         error 4:27 steps[0].each: `each` repeats one plain step, this is a `respond` step (write a `map` with this step in its `steps`)",
    );
    step(
        "set: {}, each: { over: [1], paralel: 3 }",
        "error 4:42 steps[0].each.paralel: `each` has no setting `paralel` (known are: over, as, key, max_parallel, batch, on_item_error)",
    );
}

#[test]
fn what_undoes_is_not_undone() {
    case(
        "steps:\n  - id: a\n    set: {}\n    compensate:\n      - { id: u, set: { x: \"{{ steps.a?.output }} {{ error.message }}\" }, compensate: [{ id: v, set: {} }] }\n",
        "error 7:75 steps[0].compensate[0].compensate: what runs in `compensate` is never undone (leave it out)",
    );
}
