//! What check says about flows: the exact sentence for each rule, and nothing about good flows.

use super::super::read;
use super::*;
use crate::descriptor::{Action, Field, TriggerKind};
use crate::flow::Effect;

const EXAMPLE: &str = include_str!("../../../../docs/examples/recover-abandoned-carts.yaml");
const ITEMS: &str = include_str!("../../../../docs/examples/ship-order.yaml");
const HTTP: &str = include_str!("../../../../docs/examples/new-order-to-erp.yaml");

fn field(name: &str, kind: &str, required: bool) -> Field {
    Field {
        name: name.into(),
        required,
        secret: false,
        kind: kind.into(),
        default: None,
        help: String::new(),
        example: String::new(),
    }
}

fn action(id: &str, effect: Effect, input: Vec<Field>) -> Action {
    Action { id: id.into(), title: id.into(), effect, key_window_ms: 0, input }
}

fn connector(id: &str, actions: Vec<Action>, events: &[&str]) -> Connector {
    let triggers = events
        .iter()
        .map(|event| TriggerKind {
            id: (*event).into(),
            title: String::new(),
            scheme: String::new(),
            matches: Vec::new(),
            reply_within_ms: (*event == "bounce").then_some(8000),
            multipart: false,
            backfill: None,
        })
        .collect();
    Connector { id: id.into(), title: id.into(), fields: vec![field("token", "text", true)], actions, triggers }
}

/// A daemon with the three connectors of the example and a connection of each.
fn knowledge() -> Knowledge {
    let mail = vec![field("to", "text", true), field("template", "text", true), field("data", "object", false)];
    let post = vec![field("channel", "text", true), field("text", "text", true)];
    let get = action("get_abandoned_checkout", Effect::Read, vec![field("id", "any", true)]);
    let connection = |name: &str, of: &str| (name.to_owned(), of.to_owned());
    Knowledge {
        connectors: vec![
            connector("shopify", vec![get], &["checkout_updated"]),
            connector("sendgrid", vec![action("send_template", Effect::Once, mail)], &["bounce"]),
            connector("slack", vec![action("post_message", Effect::Once, post)], &["message"]),
        ],
        connections: Some(vec![
            connection("shop", "shopify"),
            connection("mail", "sendgrid"),
            connection("ops", "slack"),
        ]),
        secrets: Some(vec!["hook".to_owned()]),
        variables: Some(vec!["shop_url".to_owned()]),
    }
}

/// Findings as `level line:column path: message (hint)`.
fn said(text: &str, known: Option<&Knowledge>) -> String {
    let document = read(text).unwrap_or_else(|findings| panic!("{text}\n{findings:#?}"));
    let lines: Vec<String> = check(&document, known)
        .iter()
        .filter(|finding| finding.severity != Severity::Note)
        .map(|f| {
            let level = if f.severity == Severity::Error { "error" } else { "warning" };
            let hint = f.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{level} {}:{} {}: {}{hint}", f.line, f.column, f.path, f.message)
        })
        .collect();
    lines.join("\n")
}

/// Checks `body` under `aura: 1` and `flow: f`, offline.
pub(super) fn case(body: &str, expected: &str) {
    let text = format!("aura: 1\nflow: f\n{body}\n");
    assert_eq!(said(&text, None), expected, "\n{text}");
}

/// Checks one step.
pub(super) fn step(step: &str, expected: &str) {
    case(&format!("steps:\n  - {{ id: a, {step} }}"), expected);
}

/// Checks one trigger.
fn trigger(trigger: &str, expected: &str) {
    case(&format!("steps: [{{ id: a, set: {{}} }}]\ntriggers:\n  - {{ id: t, {trigger} }}"), expected);
}

#[test]
fn the_examples_are_taken() {
    for text in [EXAMPLE, HTTP, ITEMS] {
        let document = read(text).unwrap();
        let findings = check(&document, None);
        assert!(!is_refused(&findings), "{findings:#?}");
        assert_eq!(findings.len(), 1, "only the note that nobody knows connectors here: {findings:#?}");
        assert_eq!(findings[0].severity, Severity::Note);
    }
    assert_eq!(said(EXAMPLE, Some(&knowledge())), "");
}

#[test]
fn names_and_ids() {
    case(
        "steps: [{ id: A-1, set: {} }]",
        "error 3:11 steps[0].id: `A-1` cannot be an id (use a-z, 0-9 and `_`, a letter first, at most 64 of them)",
    );
    let twice = "aura: 1\nflow: My Flow\nsteps: []\n";
    assert_eq!(
        said(twice, None),
        "error 2:1 flow: `My Flow` cannot name a flow (use a-z, 0-9 and `-`, at most 64 of them; the title is for people)\n\
         error 3:1 steps: the flow has no steps"
    );
    case(
        "steps:\n  - id: a\n    branch:\n      - else: true\n        steps: [{ id: b, set: {} }]\n  - { id: b, set: {} }",
        "error 8:7 steps[1].id: the id `b` is already taken by steps[0].branch[0].steps[0] in line 7 (ids are unique over the whole flow)",
    );
}

#[test]
fn needs_name_siblings_without_cycles() {
    case(
        "steps:\n  - { id: a, set: {}, needs: [c] }\n  - { id: b, set: {}, needs: [d] }\n  - { id: c, set: {}, needs: [a] }",
        "error 4:23 steps[0].needs: these steps need each other and none can start: a → c → a (cycles exist only as `map` and `loop`)\n\
         error 5:31 steps[1].needs[0]: there is no step `d` (known are: a, c)",
    );
}

#[test]
fn what_this_build_does_not_execute_is_refused() {
    step(
        "set: {}, each: [1], redact: [a, output.token]",
        "error 4:34 steps[0].redact: `a` begins with neither `input` nor `output` (write paths such as `output.token`)",
    );
    step(
        "uses: a.b, effect: lookup, in_doubt: probe",
        "error 4:25 steps[0].effect: the effect `lookup` is not executed by this build (use `once`: what stays unknown goes to a person)\n\
         error 4:41 steps[0].in_doubt: the policy `in_doubt: probe` is not executed by this build (use `ask` or `fail`)",
    );
    trigger(
        "on: poll, with: { every: 1h }",
        "error 5:5 triggers[0]: the source does not say what is read (write `uses: shopify.list_orders` or `http: { url: \"https://…\" }`)\n\
         error 5:5 triggers[0]: the source does not say what tells its objects apart (write `key: \"{{ item.id }}\"`)",
    );
    trigger("on: webhok", "error 5:14 triggers[0].on: `webhok` is no kind of trigger (did you mean `webhook`?)");
    trigger(
        "on: manual, batch: {}",
        "error 5:26 triggers[0].batch: the trigger policy `batch` is not executed by this build (leave it out)",
    );
    case(
        "input: {}\nsteps: [{ id: a, set: {} }]",
        "error 3:1 input: the flow key `input` is not executed by this build (leave it out)",
    );
}

#[test]
fn limits_are_bounded_and_stand_where_something_is_called() {
    let bounds = "a rate counts from 1 to 1000000, this is 0";
    case(
        "rate: { count: 0, per: 1m }\npriority: 101\nindex: [steps.a, 'trigger.body.x']\nsteps: [{ id: a, set: {} }]",
        &format!(
            "error 3:9 rate.count: {bounds}\n\
             error 4:1 priority: a priority is an integer from -100 to 100, or an expression (runs of a higher one go first; the usual one is 0)\n\
             error 5:9 index[0]: `steps.a` is no path of what begins a run (write it without braces, as in `trigger.body.order.id` or `input.customer`)"
        ),
    );
    case(
        "rate: { key: '{{ steps.a.output }}', count: 5, per: 50ms }\nsteps: [{ id: a, set: {}, limit: { key: '{{ trigger.id }}' } }]",
        "error 3:9 rate.key: `steps` is not known here: the run is only being created (known here: trigger, input)\n\
         error 3:48 rate.per: a rate is of 100ms to 31d, this is 50ms\n\
         error 4:27 steps[0].limit: `limit` is for steps that call somebody; a `set` step does not (limit the steps in it, or the flow by `concurrency` and `rate`)\n\
         error 4:27 steps[0].limit: `limit` limits nothing (write `concurrency: 2` or `rate: { count: 40, per: 1m }`)",
    );
}

#[test]
fn a_schedule_says_when_and_has_no_sender() {
    trigger("on: schedule, with: { every: 1h }", "");
    trigger("on: schedule, with: { cron: \"0 9 * * 1-5\", zone: Europe/Berlin, catch_up: all, overlap: queue }", "");
    trigger(
        "on: schedule",
        "error 5:5 triggers[0]: the schedule does not say when (write `with: { cron: \"0 9 * * MON-FRI\", zone: Europe/Berlin }` or `with: { every: 5m }`)",
    );
    trigger(
        "on: schedule, with: { every: 1h, zone: Europe/Bonn }",
        "error 5:47 triggers[0].with.zone: there is no zone `Europe/Bonn` here (write a name like Europe/Berlin, America/New_York or UTC)",
    );
    trigger(
        "on: schedule, with: { cron: \"0 0 30 2 *\" }",
        "error 5:36 triggers[0].with.cron: this schedule is never due (no such day exists)",
    );
    trigger(
        "on: schedule, with: { every: 1h }, filter: true",
        "error 5:49 triggers[0].filter: `filter` has no meaning on a schedule trigger (a schedule starts runs by itself; use `if` on the first step to leave one out)",
    );
}

#[test]
fn a_webhook_says_how_deliveries_prove_themselves() {
    trigger(
        "on: webhook",
        "error 5:5 triggers[0]: the webhook does not say how deliveries prove themselves (write `auth: { scheme: github, secret: NAME }`, `auth: { bearer: NAME }` or `auth: none`)",
    );
    trigger(
        "on: webhook, auth: none",
        "warning 5:27 triggers[0].auth: anybody who knows the address can start runs (use a signature scheme or a bearer secret)",
    );
    trigger(
        "on: webhook, auth: { scheme: githup, secret: hook }",
        "error 5:35 triggers[0].auth.scheme: `githup` is no signature scheme (did you mean `github`?)",
    );
    trigger(
        "on: webhook, auth: { bearer: \"s3cret value\" }",
        "error 5:35 triggers[0].auth.bearer: this is not the name of a secret (write the name under which the secret was added, never its value)",
    );
    trigger(
        "on: shopify.checkout_updated",
        "error 5:5 triggers[0]: the trigger `shopify.checkout_updated` needs a connection (write `connection:` and the name of a shopify connection)",
    );
    trigger("on: webhook, auth: { bearer: hook }", "");
}

#[test]
fn policies_at_the_door_have_their_limits() {
    let hook = "on: webhook, auth: { bearer: hook }";
    trigger(
        &format!("{hook}, dedupe: {{ key: \"{{{{ trigger.body.id }}}}\", window: 24h }}"),
        "error 5:91 triggers[0].dedupe.window: the dedupe window is 1d, it must be at least 72h (providers send again for up to three days; without `window` it is 7d)",
    );
    trigger(
        &format!("{hook}, debounce: {{ key: \"{{{{ trigger.body.id }}}}\", for: 2h, max: 1h }}"),
        "error 5:102 triggers[0].debounce.max: `max` is shorter than `for` (`max` counts from the first event and must not be shorter than `for`)",
    );
    let unanswered =
        "the sender waits for an answer and no step gives one (add a `respond` step or write `reply: ack`)";
    trigger(
        &format!("{hook}, reply: {{ respond: {{ wait: 26s }} }}"),
        &format!(
            "warning 5:51 triggers[0].reply: {unanswered}\n\
             error 5:71 triggers[0].reply.respond.wait: `wait` is 26s, a sender is kept waiting at most 25s"
        ),
    );
    trigger(
        "on: webhook, auth: { scheme: slack, secret: hook }, reply: { respond: { wait: 4s } }",
        &format!(
            "warning 5:66 triggers[0].reply: {unanswered}\n\
             error 5:86 triggers[0].reply.respond.wait: `wait` is 4s, Slack gives up after 3s (write `wait: 3s` or less, or leave it out)"
        ),
    );
    case(
        "concurrency: { limit: 0 }\nsteps: [{ id: a, set: {} }]",
        "error 3:16 concurrency.limit: `limit: 0` would never start a run (write 1 or more)",
    );
    trigger(
        "on: manual, dedupe: { key: \"{{ trigger.body.id }}\" }",
        "error 5:26 triggers[0].dedupe: `dedupe` has no meaning on a manual trigger (runs by hand start at once and answer with the run)",
    );
}

#[test]
fn kinds_have_their_rules() {
    step("branch: []", "error 4:14 steps[0].branch: the branch has no arms (write `- when: \"{{ … }}\"` with `steps`)");
    step(
        "branch: [{ else: true, steps: [] }, { when: true, steps: [] }]",
        "error 4:23 steps[0].branch[0]: `else` must be the last arm (the arms after it would never be taken)",
    );
    step(
        "uses: slack",
        "error 4:14 steps[0].uses: `slack` names no action (write `connector.action`, as in `slack.post_message`)",
    );
    step(
        "http: { url: example.org, body: x, form: {} }",
        "error 4:22 steps[0].http.url: `example.org` is no web address (it begins with https:// or http://, or is an expression)\n\
         warning 4:40 steps[0].http.body: a GET request with a `body` is ignored by most servers (write `method: POST`, or use `query`)\n\
         error 4:49 steps[0].http.form: a request has either a `body` or a `form` (keep one of the two)\n\
         warning 4:49 steps[0].http.form: a GET request with a `form` is ignored by most servers (write `method: POST`, or use `query`)",
    );
    step(
        "http: { url: \"https://e.org\", headers: { \"a b\": 1, c: [1] } }",
        "error 4:55 steps[0].http.headers[\"a b\"]: `a b` is no name of a header (use letters, digits and `-`)\n\
         error 4:65 steps[0].http.headers.c: a header must be a text, this is list",
    );
    case(
        "steps:\n  - { id: a, stop: { ok: x } }\n  - { id: b, set: {} }",
        "warning 5:5 steps[1]: this step never starts: `a` ends the run before it",
    );
    case(
        "steps: [{ id: a, set: {} }]\nfinally:\n  - { id: b, branch: [{ else: true, steps: [{ id: c, stop: { ok: x } }] }] }",
        "error 5:54 finally[0].branch[0].steps[0].stop: `stop` cannot stand in `finally`: the run has its end already (leave it out)",
    );
    case(
        "triggers: [{ id: t, on: webhook, auth: { bearer: hook }, reply: { respond: {} } }]\nsteps: [{ id: a, respond: { headers: { x-n: 1, x-m: \"a\\nb\" } } }]",
        "error 4:40 steps[0].respond.headers.x-n: a header must be a text, this is integer\n\
         error 4:48 steps[0].respond.headers.x-m: a header has no control characters (remove line breaks and tabs)",
    );
    case(
        "steps: [{ id: a, respond: { status: 99 } }, { id: b, respond: {} }]",
        "warning 3:9 steps[0]: nobody waits for this answer: every trigger replies `ack` (write `reply: { respond: {} }` on the webhook trigger)\n\
         error 3:29 steps[0].respond.status: `status` must be an integer from 200 to 599\n\
         error 3:54 steps[1].respond: a run answers once, and `a` has answered already (keep one of the two)",
    );
}

#[test]
fn modifiers_of_calls_stand_only_on_calls() {
    step(
        "set: {}, timeout: 1s, retry: {}, effect: once",
        "error 4:23 steps[0].timeout: `timeout` belongs to a call (`uses` or `http`), this is a `set` step (leave it out)\n\
         error 4:36 steps[0].retry: `retry` belongs to a call (`uses` or `http`), this is a `set` step (leave it out)\n\
         error 4:47 steps[0].effect: `effect` belongs to a call (`uses` or `http`), this is a `set` step (leave it out)",
    );
    step(
        "uses: a.b, retry: { attempts: 0, factor: 0.5, base: 2s, cap: 1s }",
        "error 4:34 steps[0].retry.attempts: `attempts` must be from 1 to 100, this is 0 (the first attempt counts: 1 never tries again)\n\
         error 4:47 steps[0].retry.factor: `factor` must be at least 1 (2 doubles the pause each time)\n\
         error 4:70 steps[0].retry.cap: `cap` (1s) is shorter than `base` (2s)",
    );
    step(
        "uses: a.b, in_doubt: retry",
        "error 4:25 steps[0].in_doubt: `in_doubt: retry` may do it twice outside (write `i_accept_duplicates: true` beside it if twice is acceptable)",
    );
    step("uses: a.b, in_doubt: retry, i_accept_duplicates: true, effect: once, retry: { attempts: 6 }", "");
    step(
        "http: { url: \"https://e.org\" }, in_doubt: fail",
        "warning 4:46 steps[0].in_doubt: this call is never in doubt (a call that may be repeated is repeated)",
    );
    step("http: { url: \"https://e.org\", method: POST, body: {} }, effect: read", "");
}

#[test]
fn a_daemon_knows_connectors_actions_inputs_and_connections() {
    let known = knowledge();
    let check = |step: &str, expected: &str| {
        let text = format!("aura: 1\nflow: f\nsteps:\n  - {{ id: a, {step} }}\n");
        assert_eq!(said(&text, Some(&known)), expected, "\n{text}");
    };
    check("uses: slak.post_message", "error 4:14 steps[0].uses: there is no connector `slak` (did you mean `slack`?)");
    check(
        "uses: slack.post_mesage, connection: ops",
        "error 4:14 steps[0].uses: the connector `slack` has no action `post_mesage` (did you mean `post_message`?)",
    );
    check(
        "uses: slack.post_message, connection: ops, with: { chanel: x, text: 1 }",
        "error 4:57 steps[0].with: `post_message` needs the input `channel`\n\
         error 4:65 steps[0].with.chanel: `post_message` takes no input `chanel` (did you mean `channel`?)\n\
         error 4:76 steps[0].with.text: `text` must be text, this is integer",
    );
    check(
        "uses: slack.post_message, with: { channel: a, text: b }",
        "error 4:5 steps[0]: `slack.post_message` needs a connection (write `connection:` and the name of a slack connection)",
    );
    check(
        "uses: slack.post_message, connection: mail, with: { channel: a, text: b }",
        "error 4:40 steps[0].connection: the connection `mail` is one of sendgrid, this needs one of slack",
    );
    check(
        "uses: slack.post_message, connection: opps, with: { channel: a, text: b }",
        "error 4:40 steps[0].connection: there is no connection `opps` (did you mean `ops`?)",
    );
    check(
        "uses: slack.post_message, connection: ops, effect: idempotent, with: { channel: a, text: b }",
        "error 4:57 steps[0].effect: `post_message` is declared `once`, a step cannot make it `idempotent` (an effect may be narrowed (towards `once`), never widened)",
    );
    let slow = "aura: 1\nflow: f\ntriggers:\n  - { id: t, on: sendgrid.bounce, connection: mail, reply: { respond: { wait: 9s } } }\nsteps: [{ id: a, respond: {} }]\n";
    assert_eq!(
        said(slow, Some(&known)),
        "error 4:73 triggers[0].reply.respond.wait: `wait` is 9s, the sender of `sendgrid.bounce` gives up after 8s (write `wait: 8s` or less)"
    );
    let text = "aura: 1\nflow: f\ntriggers:\n  - { id: t, on: shopify.checkout, connection: shop }\n  - { id: u, on: webhook, auth: { bearer: other } }\nsteps: [{ id: a, set: {} }]\n";
    assert_eq!(
        said(text, Some(&known)),
        "error 4:14 triggers[0].on: the connector `shopify` has no event `checkout` (known are: checkout_updated)\n\
         warning 5:27 triggers[1].auth: the secret `other` is not set (deliveries are refused until it is added with `aura connection add`)"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    #[test]
    fn any_flow_is_checked_without_a_panic_and_by_its_paths(flow in crate::flow::canonical::tests::a_flow()) {
        let document = read(&crate::flow::canonical_text(&flow)).unwrap();
        for finding in check(&document, Some(&knowledge())) {
            assert!(finding.line > 0 && finding.column > 0 && !finding.message.is_empty(), "{finding:?}");
        }
        assert_eq!(crate::flow::outline(&flow).len(), crate::flow::scopes::Scopes::of(&flow).steps().count());
    }
}

#[test]
fn a_large_flow_is_checked_quickly() {
    let mut text = "aura: 1\nflow: f\nsteps:\n".to_owned();
    for n in 0..900 {
        let last = if n == 0 { "trigger.body".to_owned() } else { format!("steps.s{}.output", n - 1) };
        text.push_str(&format!(
            "  - {{ id: s{n}, set: {{ x: \"{{{{ {last} }}}}\", y: \"{{{{ steps.t{n}.output }}}}\" }} }}\n"
        ));
    }
    let begin = std::time::Instant::now();
    let findings = check(&read(&text).unwrap(), None);
    assert!(findings.len() <= FINDINGS_MAX);
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
}

#[test]
fn many_warnings_do_not_hide_an_error() {
    let mut text = "aura: 1\nflow: f\ntriggers:\n".to_owned();
    for n in 0..2 * FINDINGS_MAX {
        text.push_str(&format!("  - {{ id: t{n}, on: webhook, auth: none }}\n"));
    }
    text.push_str("steps: [{ id: a, code: { js: \"\" } }]\n");
    let findings = check(&read(&text).unwrap(), None);
    assert_eq!(findings.len(), FINDINGS_MAX);
    assert!(is_refused(&findings));
}
