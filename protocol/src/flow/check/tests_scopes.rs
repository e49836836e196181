//! Cases of `loop`, `try` and the timeouts of steps with steps in them.

use super::tests::{case, step};

#[test]
fn a_loop_has_caps_and_conditions() {
    step(
        "loop: { until: \"{{ steps.b.output.ok }}\", max_iterations: 9, max_duration: 1h, steps: [{ id: b, set: { ok: \"{{ item == null && index > 2 }}\" } }] }",
        "",
    );
    step(
        "loop: { while: true, max_iterations: 0, max_duration: soon, steps: [{ id: b, set: {} }] }",
        "error 4:35 steps[0].loop.max_iterations: `max_iterations` must be an integer from 1 to 100000, this is 0\n\
         error 4:54 steps[0].loop.max_duration: `max_duration` must be a duration, this is \"soon\" (write a duration such as `30m` or `7d`)",
    );
    step(
        "loop: { until: done, max_iterations: 3, max_duration: 1h, steps: [] }, timeout: 2h",
        "error 4:14 steps[0].loop: the loop has no steps (write `steps` with what to do in each iteration)\n\
         error 4:22 steps[0].loop.until: `until` must be a condition, this is \"done\" (write an expression: \"{{ … }}\")\n\
         warning 4:85 steps[0].timeout: `max_duration` (1h) and `timeout` (2h) are the same limit (the shorter one counts; keep one of the two)",
    );
}

#[test]
fn conditions_of_a_loop_read_its_body() {
    let flow = |conditions: &str| {
        format!(
            "steps:\n  - id: a\n    loop:\n      {conditions}\n      max_iterations: 9\n      max_duration: 1h\n      steps:\n        - {{ id: b, set: {{}} }}\n        - {{ id: c, set: {{}} }}"
        )
    };
    case(&flow("{ until: x }").replace("{ until: x }", "until: \"{{ steps.b.output.x == steps.c.output.x }}\""), "");
    case(
        &flow("until: \"{{ steps.c.output.x }}\"\n      break_if: \"{{ steps.b.output.x }}\""),
        "error 7:7 steps[0].loop.break_if: `b` has not certainly settled when this is evaluated (read a maybe: `steps.b?.output`)",
    );
    case(&flow("until: true\n      break_if: \"{{ steps.b?.output.x ?? false }}\""), "");
    case(
        &flow("while: \"{{ steps.b.output.x }}\""),
        "error 6:7 steps[0].loop.while: `b` is inside `a`, nothing in there can be read from here (read what `a` gives: `steps.a.output`)",
    );
}

#[test]
fn a_try_has_steps_and_a_catch() {
    step(
        "try: { steps: [{ id: b, set: {} }], catch: [{ id: c, set: { why: \"{{ error.message }}\" } }] }, timeout: 5m",
        "",
    );
    step(
        "try: { steps: [{ id: b, set: {} }] }",
        "error 4:14 steps[0].try: a try says in `catch` what happens when its steps fail (write `catch` with what to do then; a `set` is enough to go on)",
    );
    step(
        "branch: [{ else: true, steps: [] }], timeout: 0s",
        "error 4:51 steps[0].timeout: a timeout of 0 ends the step before it starts",
    );
}
