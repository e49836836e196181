//! Grammar, types, missing values, templates and references.

use super::{Fixture, check_all, run};
use crate::expr::{Reference, Template};
use crate::value::Value;

#[test]
fn operators_and_literals() {
    check_all(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 4 - 3", "3"),
        ("-2 - -3", "1"),
        ("7 / 2", "3.5"),
        ("6 / 2", "3"),
        ("7 % 4", "3"),
        ("0.1 + 0.2 == 0.3", "true"),
        ("1 == 1.0", "true"),
        ("1.10", "1.10"),
        ("trigger.body.total", "612.10"),
        ("trigger.body.total * 2", "1224.2"),
        ("trigger.body.big + 1", "18446744073709551617"),
        ("trigger.body.huge", "1e400"),
        ("trigger.body.huge > trigger.body.big", "true"),
        ("trigger.body.huge + 1", "! trigger.body.huge has more digits than can be calculated with"),
        ("trigger.body.items[0].price * (1 + vars.rate)", "23.7881"),
        ("'a' + 'b'", "\"ab\""),
        ("'it\\'s \\u00e9\\u{1f600}'", "\"it's é😀\""),
        (
            "\"1\" + 1",
            "! `+` cannot join text ('1') and an integer (1) ~ write `Number(x)` to add numbers, or a template string to join text",
        ),
        ("1 + null", "! `+` cannot join an integer (1) and null (null) ~ give a default with `??`"),
        (
            "trigger.body.note * 2",
            "! `*` cannot join null (trigger.body.note) and an integer (2) ~ give a default with `??`",
        ),
        ("'2' * 2", "! `*` cannot join text ('2') and an integer (2) ~ make a number of the text with `Number(x)`"),
        ("'a' < 1", "! `<` cannot join text ('a') and an integer (1) ~ make a number of the text with `Number(x)`"),
        ("1 / 0", "! 1 / 0: division by zero"),
        (
            "170141183460469231731687303715884105727 + 1",
            "! 170141183460469231731687303715884105727 + 1: the result has more digits than a number can hold",
        ),
        ("true && false || true", "true"),
        ("!trigger.body.paid", "false"),
        ("trigger.body.id && true", "! trigger.body.id must be true or false, it is an integer ~ ask with `x != 0`"),
        (
            "trigger.body.empty || 'x'",
            "! trigger.body.empty must be true or false, it is text ~ for a default write `??`; `||` and `&&` join conditions",
        ),
        ("!null", "! what stands after `!` must be true or false, it is null ~ write `?? false`"),
        (
            "false && missing.x",
            "! there is no name `missing` here ~ names are input, trigger, steps, item, index, vars, env, run, error; text stands in quotes",
        ),
        ("false && trigger.nope", "false"),
        ("trigger.body.paid ? 'yes' : 'no'", "\"yes\""),
        ("1 < 2 ? 'a' : 2 < 1 ? 'b' : 'c'", "\"a\""),
        ("1 ? 2 : 3", "! 1 must be true or false, it is an integer ~ ask with `x != 0`"),
        ("'1' == 1", "false"),
        ("'1' === '1'", "true"),
        ("null != false", "true"),
        ("[1, {a: 2}] == [1.0, {a: 2}]", "true"),
        ("{a: 1, b: 2} == {b: 2, a: 1}", "true"),
        ("'b' > 'a'", "true"),
        ("`${trigger.body.id}/${vars.name} ${`x${1}`}`", "\"4501/shop x1\""),
        ("`a\\`b \\${c}`", "\"a`b ${c}\""),
        ("`${null}`", "! null is null and cannot stand in text ~ write `?? ''` for nothing"),
        ("[1, ...[2, 3], 4]", "[1,2,3,4]"),
        (
            "{a: 1, 'b c': 2, [`k${1}`]: 3, ...trigger.headers}",
            "{\"a\":1,\"b c\":2,\"k1\":3,\"x-shopify-event-id\":\"ev-1\"}",
        ),
        ("{index, a: 1,}", "{\"index\":3,\"a\":1}"),
        ("{}", "{}"),
        ("[...1]", "! `...` in a list needs a list, this is an integer"),
        ("{[1.5]: 1}", "! a key must be text, 1.5 is a decimal"),
        ("[1, 2,].length", "2"),
        ("trigger.body.length", "7"),
        ("/a/", "! a regular expression is no result ~ call `.test(x)` on it"),
    ]);
}

#[test]
fn paths_and_what_is_missing() {
    check_all(&[
        ("trigger.body.items[1].sku", "\"B\""),
        ("trigger.headers['x-shopify-event-id']", "\"ev-1\""),
        ("trigger['body']['deep'].er.x", "1"),
        ("steps.fetch.output.ok", "true"),
        ("steps['my-step'].output", "7"),
        ("steps.my-step.output", "! there is no name `step` here ~ did you mean `steps`?"),
        ("steps", "! `steps` alone is no value ~ name a step: `steps.x.output`"),
        ("steps[vars.name]", "! the step in `steps[…]` must be written as a text ~ write `steps['x']`"),
        (
            "steps.later.output",
            "! steps.later has not run or is not settled here ~ write `steps.later?.output` if it may be missing",
        ),
        ("steps.later?.output", "null"),
        ("steps.later?.output.deep.er", "null"),
        ("steps.later.output ?? 'none'", "\"none\""),
        ("error.message", "! error is not there in this place ~ write `error ?? default` if it may be missing"),
        ("error?.message", "null"),
        (
            "trigger.body.nope",
            "! trigger.body.nope is not there ~ write `trigger.body?.nope` or `trigger.body.nope ?? default` if it may be missing",
        ),
        (
            "trigger.body.nope.deeper",
            "! trigger.body.nope is not there ~ write `trigger.body?.nope` or `trigger.body.nope ?? default` if it may be missing",
        ),
        ("trigger.body?.nope", "null"),
        (
            "trigger.body?.nope.deeper",
            "! trigger.body?.nope is not there ~ write `trigger.body?.nope` or `trigger.body?.nope ?? default` if it may be missing",
        ),
        ("trigger.body.nope?.deeper.x", "null"),
        ("trigger.body.nope.deeper.x ?? 5", "5"),
        ("trigger.body.nope.trim().length ?? 5", "5"),
        ("trigger.body.note ?? 'x'", "\"x\""),
        (
            "trigger.body.note.x",
            "! trigger.body.note is null and has no field `x` ~ write `trigger.body.note?.` if it may be null",
        ),
        ("trigger.body.note?.x", "null"),
        ("trigger.body.note == null", "true"),
        ("trigger.body.empty ?? 'x'", "\"\""),
        ("trigger.body.id.x ?? 1", "! trigger.body.id is an integer and has no field `x`"),
        (
            "trigger.body.items.sku",
            "! trigger.body.items is a list and has no field `sku` ~ take one item, `trigger.body.items[0].sku`, or all, `trigger.body.items.map(x => x.sku)`",
        ),
        (
            "trigger.body.items[9]",
            "! trigger.body.items[9] is not there ~ write `trigger.body.items[9] ?? default` if it may be missing",
        ),
        ("trigger.body.items[9] ?? null", "null"),
        ("trigger.body.items?.[9]", "null"),
        (
            "trigger.body.items[-1]",
            "! trigger.body.items[-1]: places in a list begin with 0 ~ the last item is `.last()` or `.at(-1)`",
        ),
        ("trigger.body['items'].length", "2"),
        ("trigger.body.items['a b']", "! trigger.body.items is a list and cannot be indexed with text ('a b')"),
        (
            "trigger.body.items[vars.name] ?? 1",
            "! trigger.body.items is a list and cannot be indexed with text (vars.name)",
        ),
        ("[1, null].map(x => x ?? 0)", "[1,0]"),
        ("null ?? null ?? 3", "3"),
        ("(null ?? 1) == 1 || false", "true"),
        (
            "null ?? 1 || true",
            "! `??` and `&&` or `||` stand together without parentheses ~ write `(a ?? b) || c` or `a ?? (b || c)`",
        ),
        ("[{a: {b: 1}}, {}].map(x => x.a?.b)", "[1,null]"),
    ]);
}

#[test]
fn syntax_faults() {
    check_all(&[
        ("", "! the expression is empty or ends early ~ write an expression before `}}`"),
        ("1 +", "! the expression is empty or ends early ~ write an expression before `}}`"),
        ("(1", "! expected `)` after an expression in parentheses, found `}`"),
        ("[1", "! expected `]` at the end of a list, found `}`"),
        ("'abc", "! a text is not closed ~ end it with '"),
        ("1 2", "! expected `}}` or an operator, found `2`"),
        (
            "a b",
            "! there is no name `a` here ~ names are input, trigger, steps, item, index, vars, env, run, error; text stands in quotes",
        ),
        ("trigger.", "! expected a name after `.`, found `}`"),
        ("x = 1", "! `=` is not part of expressions ~ compare with `==`; an expression assigns nothing"),
        ("vars.x = 1", "! `=` is not part of expressions ~ compare with `==`; an expression assigns nothing"),
        ("1; 2", "! `;` is not part of expressions ~ write one expression"),
        ("2 ** 3", "! `**` is not part of expressions ~ write `x * x`"),
        ("+1", "! `+` in front of a value is not part of expressions ~ write `Number(x)`"),
        ("1a", "! this is no number that expressions know ~ write digits such as 1000 or 0.25"),
        ("007", "! this is no number that expressions know ~ write digits such as 1000 or 0.25"),
        (
            "trigger.body.email.tolowercase()",
            "! there is no function `.tolowercase()` ~ did you mean `.toLowerCase()`?",
        ),
        ("lenght(vars)", "! there is no function `lenght` ~ docs/expressions.md lists all functions"),
        ("trim(vars.name)", "! there is no function `trim` ~ write `text.trim()`"),
        ("vars.name.json()", "! there is no function `.json()` ~ write `json(x)`"),
        ("Math.flor(1)", "! there is no function `Math.flor` ~ did you mean `Math.floor`?"),
        ("Math.floor", "! `Math.floor` is a function ~ call it: `Math.floor(…)`"),
        ("now", "! there is no name `now` here ~ call it: `now(…)`"),
        ("Math.floor()", "! `Math.floor` does not take 0 arguments ~ write `Math.floor(a)`"),
        ("triger.body", "! there is no name `triger` here ~ did you mean `trigger`?"),
        (
            "$json.x",
            "! there is no name `$json` here ~ write `trigger.body`, or `steps.x.output` for the output of a step",
        ),
        (
            "typeof x",
            "! there is no name `typeof` here ~ ask with `Array.isArray(x)`, `Number.isInteger(x)` or `x == null`",
        ),
        (
            "x => x",
            "! there is no name `x` here ~ names are input, trigger, steps, item, index, vars, env, run, error; text stands in quotes",
        ),
        (
            "/(/.test('')",
            "! the regular expression is not understood: unclosed group ~ there is no look-around and no back-reference, so that matching stays fast",
        ),
        (
            "/(?=a)/.test('')",
            "! the regular expression is not understood: look-around, including look-ahead and look-behind, is not supported ~ there is no look-around and no back-reference, so that matching stays fast",
        ),
        ("/a/y.test('')", "! a regular expression has no flag `y` ~ flags are g, i, m, s and u"),
        (
            "/\\w{1000}{1000}/.test('')",
            "! the regular expression is too large ~ there is no look-around and no back-reference, so that matching stays fast",
        ),
        ("/abc", "! a regular expression is not closed ~ end it with / and its flags"),
        ("`abc ${1", "! a template string is not closed ~ end it with `"),
    ]);
}

#[test]
fn offsets_point_at_the_place() {
    let check = |text: &str, place: &str| {
        let error = run(text).unwrap_err();
        assert_eq!(error.offset, text.find(place).unwrap(), "{text}: {error}");
    };
    check("Hello {{ trigger.body.id }} {{ vars.nope }}", "vars.nope");
    check("ä {{ 1 + vars.nope }}", "vars.nope");
    check("{{ [1].map(x => x.foo) }}", "x.foo");
    check("{{ 'a'.trim() + 'b'.repeat(0 - 1) }}", ".repeat");
    check("{{ 1 + }}", "}}");
    check("{{ vars.name.trm() }}", "trm");
    check("{{ 'x' ", "{{");
    check("{{ 1 == 1 && vars.name }}", "vars.name");
}

#[test]
fn texts_are_split() {
    let check = |text: &str, expected: &str| {
        let got =
            run(text).map(|evaluated| evaluated.value.to_json()).unwrap_or_else(|error| format!("! {}", error.message));
        assert_eq!(got, expected, "{text}");
    };
    check("plain", "\"plain\"");
    check("{{ 1 }}", "1");
    check("{{1}}", "1");
    check("{{ 1 }}\n", "1");
    check(" {{ 1 }}", "\" 1\"");
    check("{{ 1 }}{{ 2 }}", "\"12\"");
    check(
        "Order {{ trigger.body.id }} of {{ trigger.body.total }}: {{ trigger.body.paid }}.",
        "\"Order 4501 of 612.10: true.\"",
    );
    check("{{ {a: {b: 1}} }}", "{\"a\":{\"b\":1}}");
    check("{{{a: {b: 1}}}}", "{\"a\":{\"b\":1}}");
    check("{{ '}}' }}", "\"}}\"");
    check("x {{ '{{' }} y }}", "\"x {{ y }}\"");
    check("{{ `a}}${'}'}` }}", "\"a}}}\"");
    check("{{ /}}/.test('}}') }}", "true");
    check("{{\n  [1, 2]\n    .map(x => x)\n}}", "[1,2]");
    check("x {{ trigger.body.tags }}", "! trigger.body.tags is a list and cannot stand in text");
    check("x {{ trigger.body.note }}", "! trigger.body.note is null and cannot stand in text");
    // What moves the cursor of a terminal is not said back, however it was written.
    check("x {{ /a\tb/ }}", "! /a    b/ is a regular expression and cannot stand in text");
    check("x {{ trigger.body['\u{9}\u{202e}'] }}", "! trigger.body['    \\u{202e}'] is not there");
    check("x {{ trigger.body['\\u001b[31m'] }}", "! trigger.body['␛[31m'] is not there");
    check("x {{ trigger.body.note ?? '' }}", "\"x \"");
    check("x {{ 1", "! `{{` is not closed");
    check("x {{ 1 } y", "! an expression ends with one brace");
    check("{ {1} }", "\"{ {1} }\"");
}

#[test]
fn values_are_evaluated_through_and_through() {
    let source = Value::from_json(
        br#"{"to": "{{ trigger.body.email }}", "n": 5, "list": ["{{ index }}", "x{{ index }}", {"deep": "{{ vars }}"}], "plain": {"a": "b"}}"#,
    )
    .unwrap();
    let template = Template::parse(&source).unwrap();
    assert!(!template.is_constant());
    assert_eq!(
        template.eval(&Fixture::new()).unwrap().value.to_json(),
        r#"{"to":"Ada@Example.com","n":5,"list":[3,"x3",{"deep":{"rate":0.19,"name":"shop"}}],"plain":{"a":"b"}}"#
    );
    let constant = Value::from_json(br#"{"a": ["b", 1.50]}"#).unwrap();
    let template = Template::parse(&constant).unwrap();
    assert!(template.is_constant());
    assert_eq!(template.eval(&Fixture::new()).unwrap().value, constant);

    let message = |json: &str| {
        let source = Value::from_json(json.as_bytes()).unwrap();
        Template::parse(&source).and_then(|template| template.eval(&Fixture::new())).unwrap_err().message
    };
    assert_eq!(message(r#"{"a": {"b": ["x", "{{ vars.nope }}"]}}"#), "in `a.b[1]`: vars.nope is not there");
    assert_eq!(message(r#"{"a": "{{ vars. }}"}"#), "in `a`: expected a name after `.`, found `}`");
    assert_eq!(message(r#"{"{{ a }}": 1}"#), "the key `{{ a }}` holds an expression, which is not evaluated");
}

#[test]
fn payloads_are_never_evaluated() {
    struct Hostile(Value);
    impl crate::expr::Scope for Hostile {
        fn root(&self, _name: &str) -> Option<&Value> {
            Some(&self.0)
        }
        fn step(&self, _id: &str) -> Option<&Value> {
            None
        }
        fn now_ms(&self) -> i64 {
            0
        }
        fn entropy(&self, _n: u32) -> [u8; 16] {
            [0; 16]
        }
    }
    let scope = Hostile(Value::from("{{ 1 + 1 }} $1 $&"));
    let check = |text: &str, expected: &str| {
        assert_eq!(Template::parse_text(text).unwrap().eval(&scope).unwrap().value, Value::from(expected), "{text}");
    };
    check("{{ trigger }}", "{{ 1 + 1 }} $1 $&");
    check("a {{ trigger }}", "a {{ 1 + 1 }} $1 $&");
    check("{{ trigger.replace('{{ 1 + 1 }}', '1') }}", "1 $1 $&");
    check("{{ 'x'.replace('x', trigger) }}", "{{ 1 + 1 }} $1 $&");
}

#[test]
fn references_are_found() {
    let check = |text: &str, expected: &[(&str, Option<&str>, bool)]| {
        let expected: Vec<Reference> = expected
            .iter()
            .map(|(root, step, maybe)| Reference {
                root: (*root).to_owned(),
                step: step.map(str::to_owned),
                maybe: *maybe,
            })
            .collect();
        assert_eq!(Template::parse_text(text).unwrap().references(), expected, "{text}");
    };
    check("plain", &[]);
    check("{{ trigger.body }} {{ trigger.id }}", &[("trigger", None, false)]);
    check("{{ steps.a.output + steps['b-c'].output }}", &[("steps", Some("a"), false), ("steps", Some("b-c"), false)]);
    check("{{ steps.a?.output }}", &[("steps", Some("a"), true)]);
    check("{{ steps.a?.['output'] }}", &[("steps", Some("a"), true)]);
    check("{{ steps.a.output?.x }}", &[("steps", Some("a"), false)]);
    check("{{ steps.a.output ?? 1 }}", &[("steps", Some("a"), false)]);
    check("{{ steps.a?.output ?? steps.a.output }}", &[("steps", Some("a"), true), ("steps", Some("a"), false)]);
    check("{{ [1].map(x => steps.a.output[vars.k]) }}", &[("steps", Some("a"), false), ("vars", None, false)]);
    check("{{ [item].map(item => item.x) }}", &[("item", None, false)]);
    check("{{ `${error.message}` }}", &[("error", None, false)]);
    check("{{ {a: steps.b.output, ...input} }}", &[("steps", Some("b"), false), ("input", None, false)]);
}

#[test]
fn conditions_must_be_boolean() {
    let check = |text: &str, expected: Result<bool, &str>| {
        let got = Template::parse_text(text).unwrap().eval_bool(&Fixture::new()).map(|(yes, _)| yes);
        assert_eq!(
            got.as_ref().map_err(|error| error.message.as_str()),
            expected.as_ref().map_err(|text| *text),
            "{text}"
        );
    };
    check("{{ index > 1 }}", Ok(true));
    check("{{ trigger.body.paid && index == 4 }}", Ok(false));
    check("{{ index }}", Err("a condition must be true or false, this is an integer"));
    check("{{ trigger.body.note }}", Err("a condition must be true or false, this is null"));
    check("true", Err("a condition must be true or false, this is text"));
}

#[test]
fn draws_are_handed_back_in_order() {
    let evaluated = run("{{ [now(), random() < 1, uuid(), Date.now()] }}").unwrap();
    let draws: Vec<String> = evaluated.draws.iter().map(Value::to_json).collect();
    assert_eq!(draws.len(), 4);
    assert_eq!(draws[0], "\"2026-01-02T03:04:05.678Z\"");
    assert_eq!(draws[2], "\"01070707-0707-4707-8707-070707070707\"");
    assert_eq!(draws[3], "1767323045678");
    assert_eq!(run("{{ 1 }}").unwrap().draws, Vec::<Value>::new());
}

#[test]
fn a_template_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&Template::parse_text("{{ /a/.test(vars.name) }}").unwrap());
}
