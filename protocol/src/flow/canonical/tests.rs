//! The canonical form does not depend on how a flow was written, and is itself a flow file.

use proptest::prelude::*;

use super::*;
use crate::flow::{
    Batch, Concurrency, Debounce, Dedupe, Effect, InDoubtPolicy, OnExcess, Rate, Respond, Throttle, keys, read,
};

const EXAMPLE: &str = include_str!("../../../../docs/examples/recover-abandoned-carts.yaml");

fn hash(text: &str) -> String {
    version_hash(&read(text).unwrap_or_else(|findings| panic!("{text}\n{findings:#?}")).flow)
}

#[test]
fn the_version_of_the_example_is_stable() {
    assert_eq!(hash(EXAMPLE), "aaabcad100e0d912c24d1d8bb27edbc0870b3982cbce87d2d9b7cef31896c99c");
}

#[test]
fn comments_order_quotes_and_json_do_not_change_the_version() {
    let expected = hash(
        "aura: 1\nflow: f\ntitle: A\nsteps:\n  - id: a\n    set: { x: 1, y: two }\n  - { id: b, sleep: { for: 2h } }\n",
    );
    for text in [
        "# why\nflow: 'f' # name\nsteps:\n- set:\n    \"y\": \"two\"\n    x: 1\n  id: \"a\"\n- id: b\n  sleep:\n    for: 120m\naura: 1\ntitle: \"A\"\n",
        "{\"steps\":[{\"id\":\"a\",\"set\":{\"x\":1,\"y\":\"two\"}},{\"sleep\":{\"for\":\"2h\"},\"id\":\"b\"}],\"title\":\"A\",\"flow\":\"f\",\"aura\":1}",
        "aura: 1\nflow: f\ntitle: A\nlabels: {}\ntriggers: []\non_error: []\nsteps:\n  - { id: a, set: { x: 1, y: two }, i_accept_duplicates: false }\n  - { id: b, sleep: { for: 2h } }\n",
    ] {
        assert_eq!(hash(text), expected, "{text}");
    }
}

#[test]
fn a_change_of_meaning_changes_the_version() {
    let base = "aura: 1\nflow: f\nsteps:\n  - { id: a, set: { x: 1 } }\n";
    for other in [
        base.replace("x: 1", "x: \"1\""),
        base.replace("x: 1", "x: 1.0"),
        base.replace("id: a", "id: b"),
        format!("{base}  - {{ id: b, set: {{}} }}\n"),
        format!("{base}timeout: 1h\n"),
    ] {
        assert_ne!(hash(base), hash(&other), "{other}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(Value::Int),
        "-?(0|[1-9][0-9]{0,4})\\.[0-9]{1,4}".prop_map(Value::Dec),
        "\\PC{0,12}".prop_map(Value::Str),
        "[\\x00-\\x7f\u{80}-\u{a0}\u{2028}\u{fffd}]{0,8}".prop_map(Value::Str),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec(("[a-zA-Z .:#'\"{-]{1,8}", inner), 0..4).prop_map(|entries| {
                Value::Map(entries.into_iter().map(|(key, value)| (key.replace("{{", "x"), value)).collect())
            }),
        ]
    })
}

fn object() -> impl Strategy<Value = Map> {
    proptest::collection::vec(("[a-z]{1,6}", value()), 0..4).prop_map(|entries| entries.into_iter().collect())
}

fn span() -> impl Strategy<Value = Span> {
    (0_u64..10_000_000).prop_map(Span::from_ms)
}

fn maybe<T: std::fmt::Debug + Clone>(inner: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(inner)
}

fn condition() -> impl Strategy<Value = String> {
    "[a-z]{1,4}".prop_map(|name| format!("{{{{ {name} == 1 }}}}"))
}

fn kind(body: BoxedStrategy<Vec<Step>>) -> impl Strategy<Value = Kind> {
    let arm = (maybe(condition()), body.clone()).prop_map(|(when, steps)| Arm { when, steps });
    let http = (
        proptest::sample::select(crate::flow::keys::METHODS),
        "\\PC{0,9}",
        object(),
        object(),
        maybe(value()),
        maybe(object()),
    );
    let http = http.prop_map(|(method, url, query, headers, body, form)| {
        Kind::Http(Http { method: method.to_owned(), url, query, headers, body, form })
    });
    let respond = (maybe(value()), object(), maybe(value()));
    prop_oneof![
        ("[a-z]{1,4}\\.[a-z]{1,4}", maybe("[a-z]{1,4}"), object()).prop_map(|(action, connection, with)| Kind::Uses {
            action,
            connection,
            with
        }),
        http,
        object().prop_map(Kind::Set),
        ("\\PC{0,9}", value())
            .prop_map(|(js, input)| Kind::Code(Value::object([("js", Value::from(js.as_str())), ("input", input)]))),
        proptest::collection::vec(arm, 0..3).prop_map(Kind::Branch),
        (value(), body.clone())
            .prop_map(|(over, steps)| Kind::Map { with: Map::from([("over".to_owned(), over)]), steps }),
        (body.clone(), body).prop_map(|(steps, catch)| Kind::Try { steps, catch }),
        span().prop_map(|span| Kind::Sleep(Sleep::For(span.to_string()))),
        condition().prop_map(|text| Kind::Sleep(Sleep::Until(text))),
        object().prop_map(|event| Kind::Wait(Value::object([("event", Value::Map(event))]))),
        value().prop_map(|body| Kind::Emit(Value::object([("event", Value::from("e")), ("body", body)]))),
        respond.prop_map(|(status, headers, body)| Kind::Respond(Respond { status, headers, body })),
        value().prop_map(|reason| Kind::Stop(Stop::Ok(reason))),
        value().prop_map(|reason| Kind::Stop(Stop::Fail(reason))),
    ]
}

fn a_step(body: BoxedStrategy<Vec<Step>>) -> impl Strategy<Value = Step> {
    let need = ("[a-z]{1,4}", proptest::sample::select(&["settled", "succeeded", "failed"][..]))
        .prop_map(|(step, when)| Need { step, when: when.to_owned() });
    let retry = (any::<u32>(), span(), any::<u32>(), span(), maybe(span())).prop_map(
        |(attempts, base, factor_milli, cap, max_elapsed)| Retry { attempts, base, factor_milli, cap, max_elapsed },
    );
    let effects = [Effect::Read, Effect::Idempotent, Effect::Keyed, Effect::Lookup, Effect::Once];
    let policies = [InDoubtPolicy::Ask, InDoubtPolicy::Probe, InDoubtPolicy::Fail, InDoubtPolicy::Retry];
    let first = ("\\PC{0,6}", kind(body.clone()), maybe(condition()), maybe(proptest::collection::vec(need, 0..3)));
    let second = (maybe(retry), maybe(span()), body.clone(), body);
    let rules = maybe(object().prop_map(Value::Map));
    let third = (
        rules,
        maybe(proptest::sample::select(effects.to_vec())),
        maybe(proptest::sample::select(policies.to_vec())),
        any::<bool>(),
        proptest::collection::vec("\\PC{0,6}", 0..2),
        maybe("\\PC{0,9}"),
    );
    (first, second, third).prop_map(
        |(
            (id, kind, when, needs),
            (retry, timeout, on_error, compensate),
            (rules, effect, in_doubt, i_accept_duplicates, redact, note),
        )| Step {
            id,
            rules: rules.filter(|_| keys::WITH_RULES.contains(&kind.name())),
            kind,
            when,
            needs,
            retry,
            timeout,
            on_error,
            compensate,
            effect,
            in_doubt,
            i_accept_duplicates,
            redact,
            note,
            ..Step::default()
        },
    )
}

fn list() -> BoxedStrategy<Vec<Step>> {
    let none = Just(Vec::new()).boxed();
    let inner = proptest::collection::vec(a_step(none), 0..2).boxed();
    let rarely = prop_oneof![4 => Just(Vec::new()), 1 => inner].boxed();
    proptest::collection::vec(a_step(rarely), 0..3).boxed()
}

fn a_hmac() -> impl Strategy<Value = Hmac> {
    let usual = Hmac::default();
    let text = || "[a-z0-9=]{1,4}";
    let first = (text(), text(), prop_oneof![Just(String::new()), text().boxed()]);
    let words = (prop_oneof![Just(usual.encoding), text().boxed()], prop_oneof![Just(usual.algorithm), text().boxed()]);
    (first, words, maybe(text()), maybe(span()), maybe("[{}a-z.]{1,9}"), maybe(text())).prop_map(
        |((secret, header, prefix), (encoding, algorithm), timestamp, tolerance, signed, id)| Hmac {
            secret,
            header,
            prefix,
            encoding,
            algorithm,
            timestamp,
            tolerance,
            signed,
            id,
        },
    )
}

fn a_trigger() -> impl Strategy<Value = Trigger> {
    let auth = prop_oneof![
        Just(Auth::None),
        "[a-z]{1,4}".prop_map(Auth::Bearer),
        ("[a-z]{1,4}", "[a-z]{1,4}").prop_map(|(scheme, secret)| Auth::Scheme { scheme, secret }),
        a_hmac().prop_map(|hmac| Auth::Hmac(Box::new(hmac))),
    ];
    let dedupe = (condition(), span()).prop_map(|(key, window)| Dedupe { key, window });
    let debounce = (condition(), span(), maybe(span())).prop_map(|(key, quiet, max)| Debounce { key, quiet, max });
    let batch = (maybe(condition()), 0_u32..2000, span()).prop_map(|(key, max, within)| Batch { key, max, within });
    let excess = prop_oneof![Just(OnExcess::Queue), Just(OnExcess::Drop)];
    let throttle = (maybe(condition()), 0_u32..99, span(), excess).prop_map(|(key, limit, per, on_excess)| Throttle {
        key,
        limit,
        per,
        on_excess,
    });
    let reply = prop_oneof![Just(Reply::Ack), span().prop_map(|wait| Reply::Respond { wait })];
    let first = ("\\PC{0,6}", "[a-z.]{0,6}", maybe("[a-z]{1,4}"), object());
    let policies = (maybe(dedupe), maybe(debounce), maybe(batch), maybe(throttle));
    let who = (maybe(auth), prop::collection::vec("[0-9./]{1,9}", 0..3));
    (first, who, policies, maybe(condition()), reply).prop_map(
        |((id, on, connection, with), (auth, allow), (dedupe, debounce, batch, throttle), filter, reply)| Trigger {
            id,
            on,
            connection,
            with,
            auth,
            allow,
            dedupe,
            debounce,
            batch,
            throttle,
            filter,
            reply,
        },
    )
}

/// Any flow that the reader could give.
pub(in crate::flow) fn a_flow() -> impl Strategy<Value = Flow> {
    let concurrency = (maybe(condition()), any::<u32>(), any::<bool>()).prop_map(|(key, limit, replace)| Concurrency {
        key,
        limit,
        when_full: if replace { WhenFull::Replace } else { WhenFull::Queue },
    });
    let rate = (maybe(condition()), any::<u32>(), span()).prop_map(|(key, count, per)| Rate { key, count, per });
    let limits = (maybe(concurrency), maybe(rate), maybe(value()), proptest::collection::vec("[a-z.]{1,9}", 0..3));
    let first = ("[a-z-]{0,6}", maybe("\\PC{0,9}"), proptest::collection::btree_map("[a-z]{1,3}", "\\PC{0,6}", 0..3));
    let second = (proptest::collection::vec(a_trigger(), 0..3), limits, maybe(span()), maybe(value()));
    (first, second, list(), list(), list()).prop_map(
        |((flow, title, labels), (triggers, limits, timeout, input), steps, on_error, finally)| Flow {
            flow,
            title,
            labels,
            triggers,
            concurrency: limits.0,
            rate: limits.1,
            priority: limits.2,
            index: limits.3,
            timeout,
            input,
            steps,
            on_error,
            finally,
            ..Flow::default()
        },
    )
}

/// A YAML writer that writes nothing like the canonical form: block style, quoted keys, comments, reversed order.
fn scribble(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Map(map) if !map.is_empty() => {
            out.push('\n');
            for (key, value) in map.iter().rev() {
                out.push_str(&format!("{pad}{}: # {indent}", Value::from(key.as_str()).to_json()));
                out.push('\n');
                out.push_str(&" ".repeat(indent + 1));
                scribble(value, indent + 1, out);
            }
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                out.push_str(&format!("{pad}-\n{pad} "));
                scribble(item, indent + 1, out);
            }
        }
        other => {
            out.push_str(&other.to_json());
            out.push_str(" # x\n\n");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_canonical_form_reads_back_as_the_same_flow(flow in a_flow()) {
        let text = canonical_text(&flow);
        match read(&text) {
            Ok(document) => prop_assert_eq!(document.flow, flow),
            Err(findings) => prop_assert!(false, "{}\n{:#?}", text, findings),
        }
    }

    #[test]
    fn the_version_does_not_depend_on_how_a_flow_is_written(flow in a_flow()) {
        let mut text = String::new();
        scribble(&canonical(&flow), 0, &mut text);
        match read(&text) {
            Ok(document) => prop_assert_eq!(version_hash(&document.flow), version_hash(&flow)),
            Err(findings) => prop_assert!(false, "{}\n{:#?}", text, findings),
        }
    }
}
