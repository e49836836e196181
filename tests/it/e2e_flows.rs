//! Flow files that are refused: a sentence with its place, from the command and from the daemon, and
//! nothing is stored.

use std::fs;

use aura_protocol::Code;

use crate::support::{Daemon, Setup, assert_says, aura};

const GOOD: &str = r#"aura: 1
flow: good
triggers:
  - id: in
    on: webhook
    auth: none
steps:
  - id: a
    set: { got: "{{ trigger.body }}" }
  - id: b
    set: { again: "{{ steps.a.output.got }}" }
"#;

/// What is changed in the good flow, what the finding says, and on which line (0: any).
const BAD: &[(&str, &str, &str, &[&str], u32)] = &[
    ("broken YAML", "    set: { got: \"{{ trigger.body }}\" }", "    set: { got: [", &[], 0),
    ("a tab", "  - id: a", "\t- id: a", &["tab"], 0),
    ("unknown key of the flow", "aura: 1", "aura: 1\nstpes: []", &["stpes"], 2),
    ("unknown key of a step", "  - id: a", "  - id: a\n    retries: 3", &["retries"], 9),
    ("a key twice", "flow: good", "flow: good\nflow: better", &["flow"], 3),
    ("another format", "aura: 1", "aura: 2", &["aura", "1"], 1),
    ("a wrong name", "flow: good", "flow: Good Flow", &["flow"], 2),
    ("undefined reference", "steps.a.output", "steps.x.output", &["x"], 11),
    ("unsettled reference", "\"{{ trigger.body }}\"", "\"{{ steps.b.output }}\"", &["b"], 9),
    ("its own output", "\"{{ trigger.body }}\"", "\"{{ steps.a.output }}\"", &["a"], 9),
    ("duplicate ids", "  - id: b", "  - id: a", &["a"], 10),
    (
        "unknown connector",
        "set: { again: \"{{ steps.a.output.got }}\" }",
        "uses: shopfy.get_order\n    connection: shop",
        &["shopfy"],
        11,
    ),
    (
        "unknown action",
        "set: { again: \"{{ steps.a.output.got }}\" }",
        "uses: shopify.get_ordr\n    connection: shop",
        &["get_ordr"],
        11,
    ),
    (
        "a kind that is not executed yet",
        "set: { again: \"{{ steps.a.output.got }}\" }",
        "map: { over: \"{{ [1] }}\", as: item, steps: [] }",
        &["map"],
        11,
    ),
    ("no kind", "    set: { again: \"{{ steps.a.output.got }}\" }\n", "", &["b"], 0),
    ("two kinds", "  - id: b", "  - id: b\n    stop: { ok: yes }", &["stop"], 0),
    (
        "a modifier that is not executed yet",
        "  - id: b",
        "  - id: b\n    limit: { key: a, concurrency: 1 }",
        &["limit"],
        11,
    ),
    (
        "a poll that reads nothing",
        "on: webhook\n    auth: none",
        "on: poll\n    with: { every: 5m }",
        &["does not say what is read"],
        0,
    ),
    ("an effect that is not executed yet", "  - id: b", "  - id: b\n    effect: lookup", &["lookup"], 11),
    ("a webhook without auth", "    auth: none\n", "", &["auth"], 0),
    ("syntax of an expression", "{{ trigger.body }}", "{{ trigger.body + }}", &[], 9),
    ("an unknown function", "{{ trigger.body }}", "{{ trigger.body.explode() }}", &["explode"], 9),
    ("an unknown name", "{{ trigger.body }}", "{{ tigger.body }}", &["tigger"], 9),
    ("a wrong duration", "  - id: b", "  - id: b\n    timeout: 5 minutes", &["5 minutes"], 11),
    ("an anchor", "auth: none", "auth: &a none", &["anchor"], 6),
    ("need of a stranger", "  - id: b", "  - id: b\n    needs: [c]", &["c"], 11),
    ("a cycle", "  - id: a", "  - id: a\n    needs: [b]", &["a", "b"], 0),
    ("doubts ignored", "  - id: b", "  - id: b\n    in_doubt: retry", &["i_accept_duplicates"], 0),
];

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the good flow has no {from:?}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn the_command_refuses_a_bad_flow_without_a_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("flow.yaml");
    let path = file.to_str().expect("a path");
    fs::write(&file, GOOD).expect("written");
    aura(&["flow", "check", path]).success();
    for (case, from, to, says, line) in BAD {
        fs::write(&file, changed(from, to)).expect("written");
        let said = aura(&["flow", "check", path]);
        if case.contains("connector") || case.contains("action") {
            // Only a daemon knows its connectors: the command says that it did not check them.
            assert_says(&said.out, &["connectors", "not checked"]);
            continue;
        }
        assert_eq!(said.code, i32::from(Code::FlowRefused.exit_code()), "{case}: {said:?}");
        let text = format!("{}{}", said.out, said.err);
        assert_says(&text, says);
        if *line > 0 {
            assert!(text.contains(&format!("{line}:")), "{case}: not on line {line}: {text}");
        }
        assert!(!text.contains("panicked"), "{case}: {text}");
    }
}

#[test]
fn the_daemon_refuses_a_bad_flow_and_stores_nothing() {
    let daemon = Daemon::start_with(Setup::default());
    for (case, from, to, says, _) in BAD {
        let before = daemon.ask().status(()).expect("a status").cursor;
        let text = changed(from, to);
        // A draft may be kept unfinished; it must not become a version.
        let error = match daemon.apply(&text) {
            Err(error) => error,
            Ok(row) => daemon.ask().flow_publish(row.flow).expect_err(case),
        };
        assert_eq!(error.code, Code::FlowRefused, "{case}: {error:?}");
        assert!(!error.findings.is_empty(), "{case}: {error:?}");
        assert_says(format!("{error} {:?}", error.findings), says);
        let published = daemon.ask().flow_list(()).expect("the flows").iter().any(|row| row.published.is_some());
        assert!(!published, "{case} was published");
        assert_eq!(daemon.ask().status(()).expect("a status").cursor, before, "{case} changed something");
    }
    daemon.publish(GOOD);
}

#[test]
fn deep_and_large_flows_are_refused_quickly() {
    let daemon = Daemon::start();
    let begin = std::time::Instant::now();
    let deep = format!("aura: 1\nflow: deep\nsteps: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
    daemon.apply(&deep).expect_err("too deep");
    let expression = format!(
        "aura: 1\nflow: deep\ntriggers:\n  - {{ id: hand, on: manual }}\nsteps:\n  - id: a\n    set: {{ b: \"{{{{ {}1{} }}}}\" }}\n",
        "(".repeat(10_000),
        ")".repeat(10_000)
    );
    daemon.apply(&expression).map(|row| daemon.ask().flow_publish(row.flow)).map_or_else(
        |_| (),
        |published| {
            published.expect_err("an expression that is too deep");
        },
    );
    let large = format!("aura: 1\nflow: large\nnote: {}\n", "x".repeat(3_500_000));
    daemon.apply(&large).expect_err("too large");
    daemon.ask().status(()).expect("the daemon goes on");
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn a_published_version_stays_and_a_draft_does_not_run() {
    let daemon = Daemon::start();
    let first = daemon.publish(GOOD);
    let draft = GOOD.replace("got:", "have:").replace("output.got", "output.have");
    let row = daemon.apply(&draft).expect("a draft");
    assert_eq!(row.published, first.published);
    assert!(row.draft.is_some() && row.draft != row.published);
    let hook = daemon.open_hook("good");
    let reply = hook.send("1", "5").expect("an answer");
    let run = reply.field("run_id").parse().expect("a run");
    let journal = daemon.wait_state(run, aura_protocol::run::RunState::Succeeded);
    assert_eq!(journal.output("a"), r#"{"got":5}"#, "the published version runs");
    let second = daemon.ask().flow_publish("good".into()).expect("published");
    assert_ne!(second.published, first.published);
    assert_eq!(daemon.open_hook("good").path, hook.path, "an endpoint is stable over versions");
    let reply = hook.send("2", "5").expect("an answer");
    let journal =
        daemon.wait_state(reply.field("run_id").parse().expect("a run"), aura_protocol::run::RunState::Succeeded);
    assert_eq!(journal.output("a"), r#"{"have":5}"#);
}
