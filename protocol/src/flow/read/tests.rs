//! Bad files and the sentence each gets; what the reader makes of good ones.

use super::super::{Auth, ENTRIES_MAX, Kind, Reply, Sleep, Span, Stop, TEXT_MAX};
use super::*;
use crate::value::Value;

/// The start of a flow file; `flow_with` adds to it.
const HEAD: &str = "aura: 1\nflow: f\n";

/// All findings of a bad text, as `line:column path: message (hint)`.
fn refused(text: &str) -> String {
    let findings = read(text).expect_err("the text should be refused");
    let lines: Vec<String> = findings
        .iter()
        .map(|f| {
            let hint = f.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}:{} {}: {}{hint}", f.line, f.column, f.path, f.message)
        })
        .collect();
    lines.join("\n")
}

fn check(text: &str, expected: &str) {
    assert_eq!(refused(text), expected, "\n{text}");
}

fn check_step(step: &str, expected: &str) {
    check(&format!("{HEAD}steps:\n  - {{ id: a, {step} }}\n"), expected);
}

fn one_step(step: &str) -> Kind {
    let text = format!("{HEAD}steps:\n  - {{ id: a, {step} }}\n");
    let document = read(&text).unwrap_or_else(|findings| panic!("{text}\n{findings:#?}"));
    document.flow.steps[0].kind.clone()
}

#[test]
fn what_is_no_yaml_is_refused_where_it_breaks() {
    check("", "1:1 : the file is empty (`aura flow new` writes a first flow)");
    check("# only a comment\n", "1:1 : the file is empty (`aura flow new` writes a first flow)");
    check(
        "aura: 1\nflow: \"f\n",
        "2:7 flow: the YAML is broken: while scanning a quoted scalar, found unexpected end of stream (a quote is opened and not closed, or followed by more text)",
    );
    check("aura: 1\n\tflow: f\n", TAB);
    check(
        "aura: 1\nnote: this: that\n",
        "2:11 : the YAML is broken: mapping values are not allowed in this context (put quotes around a text that contains `: `)",
    );
}

const TAB: &str = "1:7 aura: the YAML is broken: while scanning a plain scalar, found a tab (indent with spaces; YAML takes no tabs there)";

#[test]
fn parts_of_yaml_that_the_format_leaves_out_are_refused() {
    check(
        "aura: 1\nsteps: &x []\n",
        "2:8 steps: anchors (`&name`) are not part of a flow file (write the value where it is used; put quotes around a text that begins with `&`)",
    );
    check(
        "aura: 1\nsteps: *x\n",
        "2:8 steps: aliases (`*name`) are not part of a flow file (write the value where it is used; put quotes around a text that begins with `*`)",
    );
    check(
        "aura: !!str 1\n",
        "1:7 aura: tags (`!!str`) are not part of a flow file (put quotes around a value that is text; write numbers without quotes)",
    );
    check(
        "aura: 1\nlabels:\n  <<: { a: b }\n",
        "3:3 labels: merge keys (`<<`) are not part of a flow file (write the keys where they are used)",
    );
    check("aura: 1\nflow: a\nflow: b\n", "3:1 flow: the key `flow` is written twice (keep one of the two)");
    check(
        "aura: 1\n---\naura: 1\n",
        "2:1 : the file holds more than one document (one file is one flow: remove `---` and what follows it)",
    );
    check(
        "aura: 1\ntitle: {{ trigger.body.id }}\n",
        "2:9 title: a key must be a text, this is a list or an object (an expression needs quotes around it: \"{{ … }}\")",
    );
    check(
        "- a\n",
        "1:1 : a flow file must be an object of keys and values, this is a list (begin the file with `aura: 1`)",
    );
}

#[test]
fn limits_hold_without_overflowing_the_stack() {
    let deep = "lists and objects nest deeper than 64";
    for (open, close) in [("[", "]"), ("{ a: ", "}"), ("- ", "")] {
        let text = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let findings = read(&text).unwrap_err();
        assert!(findings[0].message.contains(deep), "{open}: {findings:?}");
        assert_eq!(findings[0].line, 1);
    }
    let wide = format!("{HEAD}input: [{}]\nsteps: []\n", "1,".repeat(ENTRIES_MAX + 1));
    assert!(refused(&wide).contains("the file has more than 20000 values"));
    let long = format!("{HEAD}note: {}\n", "x".repeat(TEXT_MAX));
    assert!(refused(&long).contains("a flow file may have 1048576"));
}

#[test]
fn no_large_text_takes_long() {
    for piece in [
        "[", "{", "- ", "? ", "a: ", "\"\n", "'a\n", "a\n", "#\n", "!a ", "&a ", "|\n a\n", "\"\\n", "{a: ", "[a, ",
        "\t", "%", "---\n", ": ",
    ] {
        for head in ["", "a: ", "{", "\""] {
            let text = format!("{head}{}", piece.repeat(TEXT_MAX / 4 / piece.len()));
            let begin = std::time::Instant::now();
            let _ = read(&text);
            assert!(begin.elapsed().as_secs() < 10, "{head}{piece}: {:?}", begin.elapsed());
        }
    }
}

#[test]
fn long_keys_do_not_make_long_paths() {
    let text = format!("{HEAD}input:\n  ? {}\n  : [1, 2]\nsteps: []\n", "k".repeat(257));
    check(&text, "4:5 input: a key is longer than 256 characters (a key is a short name; put long text into a value)");
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_screen() {
    let text = format!("{HEAD}\"a\\u001b[31m\\u202e\": 1\nsteps: []\n");
    let said = refused(&text);
    assert!(!said.contains(['\u{1b}', '\u{202e}']) && said.contains("is not known in a flow file"), "{said}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    check(
        "aura: 1\nflow: f\ntirggers: []\nsteps: []\n",
        "3:1 tirggers: the key `tirggers` is not known in a flow file (did you mean `triggers`?)",
    );
    check_step(
        "set: {}, on_eror: []",
        "4:23 steps[0].on_eror: the key `on_eror` is not known in a step (did you mean `on_error`?)",
    );
    check_step(
        "http: { url: u, verb: GET }",
        "4:30 steps[0].http.verb: the key `verb` is not known in `http` (known are: method, url, query, headers, body, form)",
    );
    check_step(
        "agent: {}",
        "4:14 steps[0].agent: steps of kind `agent` come with a later format (known are: id, uses, http, set, code, branch, map, loop, try, sleep, wait, approval, call, emit, kv, respond, stop, with, connection, rules, if, needs, join, losers, each, retry, timeout, on_error, compensate, effect, in_doubt, i_accept_duplicates, limit, redact, note)",
    );
}

#[test]
fn a_step_has_exactly_one_kind() {
    check_step(
        "set: {}, uses: x.y",
        "4:23 steps[0].uses: the step has two kinds, `set` and `uses` (make it two steps)",
    );
    check_step(
        "note: n",
        "4:5 steps[0]: the step has no kind: write exactly one (known are: uses, http, set, code, branch, map, loop, try, sleep, wait, approval, call, emit, kv, respond, stop)",
    );
    check_step(
        "sleep: { for: 1s }, rules: {}",
        "4:34 steps[0].rules: `rules` stand beside `set` or `branch`, this is a `sleep` step (decide in a `set` step before this one, and read its output)",
    );
    check_step("set: {}, with: {}", "4:23 steps[0].with: `with` stands only beside `uses`, this is a `set` step");
}

#[test]
fn an_expression_stands_in_braces() {
    check_step(
        "set: {}, if: steps.a.output",
        "4:27 steps[0].if: `if` must be an expression, this is the text `steps.a.output` (an expression stands in braces: \"{{ steps.a.output }}\")",
    );
    check_step(
        "set: {}, if: \"is {{ a }}\"",
        "4:27 steps[0].if: `if` must be one expression, there is text around it (a condition is true or false: \"{{ a == b && c }}\")",
    );
    check(
        "aura: 1\nflow: f\nconcurrency: { key: shop, limit: 1 }\nsteps: []\n",
        "3:21 concurrency.key: `key` must be an expression, this is the text `shop` (an expression stands in braces: \"{{ shop }}\")",
    );
    check_step(
        "set: { \"{{ a }}\": 1 }",
        "4:21 steps[0].set[\"{{ a }}\"]: a key cannot hold an expression (a key is always plain text; build the object with an expression as the whole value)",
    );
}

#[test]
fn values_of_the_wrong_shape_say_what_they_should_be() {
    check(
        "aura: 2\nflow: f\nsteps: []\n",
        "1:1 aura: format 2 is not known (this build reads format 1: `aura: 1`)".replace("1:1", "1:7").as_str(),
    );
    check(
        "flow: 12\nsteps: {}\n",
        "1:1 : the key `aura` is missing (begin the file with `aura: 1`)\n\
         1:7 flow: `flow` must be a text, this is a number (put it in quotes: \"12\")\n\
         2:8 steps: `steps` must be a list, this is an object (write each item on its own line after `- `)",
    );
    check_step(
        "sleep: { for: 3 hours }",
        "4:28 steps[0].sleep.for: `3 hours` is not a duration (write an integer and a unit, like 500ms, 30s, 5m, 23h, 7d or 2w)",
    );
    check_step(
        "sleep: { until: tomorrow }",
        "4:30 steps[0].sleep.until: `tomorrow` is not a time (write a time like 2026-11-27T08:00:00Z, or an expression that gives one: \"{{ … }}\")",
    );
    check_step(
        "stop: ok",
        "4:20 steps[0].stop: `stop` says neither `ok` nor `fail` (write `stop: { ok: reason }` or `stop: { fail: reason }`)",
    );
    check_step("uses: a.b, effect: onse", "4:33 steps[0].effect: `effect` cannot be `onse` (did you mean `once`?)");
    check_step(
        "set: { zip: 01234 }",
        "4:26 steps[0].set.zip: `01234` would lose its leading zeros as a number (if it is text, write \"01234\"; as a number write it without them)",
    );
    check_step(
        "branch: [{ steps: [] }]",
        "4:23 steps[0].branch[0]: the arm has neither `when` nor `else` (write `when: \"{{ … }}\"`, or `else: true` in the last arm)",
    );
    check_step(
        "branch: [{ else: false, steps: [] }]",
        "4:31 steps[0].branch[0].else: `else` can only be true (write `else: true`)",
    );
    check_step(
        "loop: { while: \"{{ a }}\", max_iterations: 3, steps: [] }",
        "4:20 steps[0].loop: the key `max_duration` is missing (every loop has a limit: write `max_iterations` and `max_duration`)",
    );
    check_step(
        "uses: a.b, retry: { factor: fast }",
        "4:42 steps[0].retry.factor: `factor` must be a number like 2 or 1.5",
    );
}

#[test]
fn all_findings_are_shown_at_once() {
    let text = refused("aura: 1\ncolor: red\nsteps:\n  - id: a\n    sett: {}\n");
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn numbers_in_a_flow_keep_their_digits() {
    let Kind::Set(values) = one_step("set: { a: 612.10, b: 12345678901234567890123, c: \"7\", d: 1e400 }") else {
        panic!()
    };
    assert_eq!(values["a"], Value::Dec("612.10".into()));
    assert_eq!(values["b"], Value::Int(12_345_678_901_234_567_890_123));
    assert_eq!(values["c"], Value::from("7"));
    assert_eq!(values["d"], Value::Dec("1e400".into()));
}

#[test]
fn kinds_are_read_with_their_defaults() {
    assert_eq!(one_step("sleep: { for: 90m }"), Kind::Sleep(Sleep::For("90m".into())));
    assert_eq!(one_step("sleep: { for: 120m }"), Kind::Sleep(Sleep::For("2h".into())));
    assert_eq!(one_step("stop: { ok: done }"), Kind::Stop(Stop::Ok(Value::from("done"))));
    let Kind::Http(http) = one_step("http: { url: \"http://x\" }") else { panic!() };
    assert_eq!(http.method, "GET");
}

#[test]
fn triggers_are_read_with_their_defaults() {
    let text = format!(
        "{HEAD}triggers:\n  - {{ id: a, on: webhook, auth: none }}\n  - {{ id: b, on: webhook, auth: {{ bearer: t }}, reply: {{ respond: {{}} }} }}\n  - {{ id: c, on: slack.message, reply: {{ respond: {{}} }}, dedupe: {{ key: '{{{{ trigger.body.id }}}}' }} }}\nsteps: []\n"
    );
    let flow = read(&text).unwrap().flow;
    assert_eq!(flow.triggers[0].auth, Some(Auth::None));
    assert_eq!(flow.triggers[1].reply, Reply::Respond { wait: Span::from_secs(10) });
    assert_eq!(flow.triggers[2].reply, Reply::Respond { wait: Span::from_secs(3) }, "Slack gives up after 3 s");
    assert_eq!(flow.triggers[2].dedupe.as_ref().unwrap().window, Span::from_secs(7 * 86_400));
}

#[test]
fn json_is_a_flow_file_with_its_escapes() {
    let text = "{\"aura\":1,\"flow\":\"f\",\"title\":\"\\ud83d\\ude00 \\\\ud83d \\/\",\"steps\":[{\"id\":\"a\",\"set\":{\"n\":1.50}}]}";
    let flow = read(text).unwrap().flow;
    assert_eq!(flow.title.as_deref(), Some("\u{1f600} \\ud83d /"));
    let tabs = "{\n\t\"aura\": 1,\n\t\"flow\": \"f\",\n\t\"steps\": []\n}\n";
    assert_eq!(read(tabs).unwrap().flow.flow, "f");
}

#[test]
fn a_document_knows_where_its_parts_stand() {
    let document = read("aura: 1\nflow: f\nsteps:\n  - id: a\n    set:\n      x: \"{{ 1 }}\"\n").unwrap();
    assert_eq!(document.place("steps[0].set.x"), (6, 7));
    assert_eq!(document.place("steps[0].timeout"), (4, 5), "absent: the step it would be in");
    assert_eq!(document.place(""), (1, 1));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_damaged_flow_never_panics(at in 0_usize..1800, cut in 0_usize..12, put in "[\\[\\]{}:,\"'#&*!|>@`%\\-? \na-c0-9\\\\]{0,4}") {
            let example = include_str!("../../../../docs/examples/recover-abandoned-carts.yaml");
            let start = example.floor_char_boundary(at);
            let end = example.floor_char_boundary((start + cut).max(start));
            let text = [&example[..start], &put, &example[end..]].concat();
            if let Ok(document) = read(&text) {
                let _ = crate::flow::check(&document, None);
            }
        }

        #[test]
        fn random_text_never_panics(text in "\\PC{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn random_yaml_never_panics(parts in proptest::collection::vec(prop_oneof![
            Just("aura: 1\n"), Just("steps:"), Just("\n"), Just("  "), Just("- "), Just("id: a"), Just("{"), Just("}"),
            Just("["), Just("]"), Just(","), Just(": "), Just("\""), Just("'"), Just("|\n"), Just(">-\n"), Just("&a "),
            Just("*a"), Just("!!x "), Just("? "), Just("#"), Just("---\n"), Just("...\n"), Just("%YAML 1.1\n"), Just("\t"),
            Just("\\ud83d"), Just("branch:"), Just("uses: a.b"), Just("\u{feff}"), Just("{{ x }}"), Just("\r"),
        ], 0..60)) {
            let _ = read(&parts.concat());
        }
    }
}
