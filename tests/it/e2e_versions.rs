//! Versions of flows, with the real binaries: history, differences, plans, many files at once, runs that move.
//!
//! The one invariant: what is refused changed nothing, and a run goes on under its version unless it can move.

use aura_protocol::run::RunState;

use crate::e2e_effects::stage;
use crate::support::{Answer, Daemon, Receiver, Setup, assert_says};

fn flow(name: &str, steps: &str) -> String {
    format!("aura: 1\nflow: {name}\ntriggers: [{{ id: hand, on: manual }}]\nsteps:\n{steps}")
}

/// The beginnings of the versions of a flow, newest first.
fn versions(daemon: &Daemon, name: &str) -> Vec<String> {
    let said = daemon.aura(&["flow", "log", name, "--json"]).success();
    let version = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        row["version"].as_str().expect("a version").chars().take(8).collect()
    };
    said.out.lines().map(version).collect()
}

#[test]
fn the_history_tells_what_changed_and_a_rollback_is_a_new_publication() {
    let mut daemon = Daemon::start();
    daemon.publish(&flow("cart", "  - { id: a, set: { x: 1 } }\n"));
    daemon.publish(&flow("cart", "  - { id: a, set: { x: 2 } }\n  - { id: b, set: { y: 1 } }\n"));
    daemon.apply(&flow("cart", "  - { id: a, set: { x: 3 } }\n  - { id: b, set: { y: 1 } }\n")).expect("a draft");
    let said = daemon.aura(&["flow", "log", "cart"]).success();
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", said.out);
    assert_says(lines[1], &["draft", "1 step changed"]);
    assert_says(lines[2], &["published", "1 step added, 1 step changed"]);
    let known = versions(&daemon, "cart");
    let said = daemon.aura(&["flow", "diff", "cart"]).success();
    assert_says(
        &said.out,
        &[
            "~ step a (set)",
            r#"set: {"x":2} -> {"x":3}"#,
            "-  - { id: a, set: { x: 2 } }",
            "+  - { id: a, set: { x: 3 } }",
        ],
    );
    let said = daemon.aura(&["flow", "diff", "cart", &known[2], &known[1], "--steps"]).success();
    assert_says(&said.out, &["+ step b (set)", "~ step a (set)"]);
    assert!(!said.out.contains("@@"), "{}", said.out);
    daemon.aura(&["flow", "rollback", "cart", &known[2]]).success();
    daemon.kill9();
    daemon.up();
    let again = versions(&daemon, "cart");
    assert_eq!(
        again,
        [&known[0], &known[2], &known[1], &known[2]].map(String::clone),
        "the draft stays, the old one is newest"
    );
    let journal = daemon.wait_state(daemon.run("cart", "{}"), RunState::Succeeded);
    assert_eq!(journal.output("a"), r#"{"x":1}"#);
    let said = daemon.aura(&["flow", "rollback", "cart", "0000"]);
    assert_eq!((said.code, said.err.contains("no version 0000")), (3, true), "{}", said.err);
}

#[test]
fn a_directory_is_applied_whole_or_not_at_all() {
    let daemon = Daemon::start();
    let folder = daemon.place.path("flows");
    std::fs::create_dir(&folder).expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
    let dir = folder.display().to_string();
    write("a.yaml", &flow("a", "  - { id: x, set: { n: 1 } }\n"));
    write("b.yaml", &flow("b", "  - { id: x, nothing: { n: 1 } }\n"));
    write("notes.txt", "no flow");
    let said = daemon.aura(&["flow", "plan", &dir]);
    assert_eq!(said.code, 4, "{said:?}");
    assert_says(&said.out, &["a: new", "refused"]);
    let said = daemon.aura(&["flow", "apply", &dir, "--publish", "--yes"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(daemon.ask().flow_list(()).expect("flows").is_empty(), "nothing was stored");
    // Also where only the daemon finds out: two files of one flow.
    write("b.yaml", &flow("a", "  - { id: x, set: { n: 2 } }\n"));
    let said = daemon.aura(&["flow", "apply", &dir, "--publish", "--yes"]);
    assert_says(&said.err, &["two of the files are of the flow a", "nothing was stored"]);
    assert!(daemon.ask().flow_list(()).expect("flows").is_empty());
    write("b.yaml", &flow("b", "  - { id: x, set: { n: 2 } }\n"));
    let said = daemon.aura(&["flow", "apply", &dir, "--publish"]);
    assert_says(&said.err, &["2 flows would be published, 2 of them new or changed", "--yes"]);
    daemon.aura(&["flow", "apply", &dir, "--publish", "--yes"]).success();
    let rows = daemon.ask().flow_list(()).expect("flows");
    assert!(rows.len() == 2 && rows.iter().all(|row| row.published.is_some() && row.draft.is_none()), "{rows:?}");
    let out = daemon.place.path("out").display().to_string();
    daemon.aura(&["flow", "export", "--dir", &out]).success();
    for name in ["a.yaml", "b.yaml"] {
        let text = |folder: &str| std::fs::read_to_string(format!("{folder}/{name}")).expect("a file");
        assert_eq!(text(&out), text(&dir), "what was applied is what is exported");
    }
    let again = daemon.aura(&["flow", "plan", &out]).success();
    assert_says(&again.out, &["a: same", "b: same"]);
}

#[test]
fn a_plan_names_what_is_missing_and_what_it_means_for_runs() {
    let (daemon, receiver) = stage("order", "steps:\n  - { id: a, http: { method: PUT, url: \"RECEIVER/a\" } }\n");
    receiver.on("/a", |_, _| Answer::hold());
    let run = daemon.run("order", "{}");
    receiver.wait("/a", 1);
    let file = daemon.place.path("order.yaml");
    let text = "aura: 1\nflow: order\ntriggers: [{ id: hand, on: manual }]\nsteps:\n  - { id: a, http: { method: PUT, url: \"RECEIVER/a\" } }\n  - { id: mail, uses: sendgrid.send_template, connection: post, with: { to: \"x@example.com\", template: t } }\n  - { id: b, set: { x: \"{{ vars.limit }}\" } }\n";
    std::fs::write(&file, text.replace("RECEIVER", &receiver.url(""))).expect("a file");
    let said = daemon.aura(&["flow", "plan", &file.display().to_string()]);
    assert_eq!(said.code, 4, "{said:?}");
    assert_says(
        &said.out,
        &[
            "order: changed 2 steps added",
            "missing: there is no connection `post`",
            "missing: the variable `limit` is not set",
            "1 unfinished run goes on",
            "1 of 1 looked at could move",
        ],
    );
    assert!(daemon.ask().flow_show("order".to_owned()).expect("the flow").draft.is_none(), "a plan stores nothing");
    receiver.release("/a");
    daemon.wait_state(run, RunState::Succeeded);
}

const LONG: &str = "
steps:
  - { id: a, http: { method: PUT, url: \"RECEIVER/a\" } }
  - { id: b, http: { method: PUT, url: \"RECEIVER/b\", body: { from: \"{{ steps.a.output.status }}\" } } }
  - { id: c, set: { old: true } }
";

#[test]
fn a_run_moves_only_if_what_it_did_is_the_same_and_says_why_not() {
    let (mut daemon, receiver) = stage("long", LONG);
    receiver.on("/b", |_, _| Answer::hold());
    let run = daemon.run("long", "{}");
    receiver.wait("/b", 1);
    let id = run.to_string();
    let publish = |daemon: &Daemon, text: &str| {
        let text = format!("aura: 1\nflow: long\ntriggers:\n  - {{ id: hand, on: manual }}\n{text}");
        daemon.publish(&text.replace("RECEIVER", &receiver.url("")));
    };
    publish(&daemon, &LONG.replace("/a\"", "/other\""));
    let said = daemon.aura(&["run", "migrate", &id]);
    assert_eq!(said.code, 5, "{said:?}");
    assert_says(&said.out, &["stays", "a: it is another step in this version"]);
    // What has not begun may be anything.
    publish(
        &daemon,
        &LONG.replace("{ id: c, set: { old: true } }", "{ id: new, http: { method: PUT, url: \"RECEIVER/new\" } }"),
    );
    let said = daemon.aura(&["run", "migrate", &id, "--plan"]).success();
    assert_says(&said.out, &["could move"]);
    assert_eq!(
        daemon.show(run).head.version,
        daemon.show(run).journal[0]
            .records
            .iter()
            .find_map(|record| match record {
                aura_protocol::run::Record::RunStarted(started) => Some(started.version.clone()),
                _ => None,
            })
            .expect("a begin"),
        "a plan moves nothing"
    );
    daemon.aura(&["run", "migrate", &id]).success();
    daemon.kill9();
    daemon.up();
    receiver.wait("/b", 2);
    receiver.release("/b");
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(receiver.on_path("/new").len(), 1, "it went on under the new version");
    assert_eq!(receiver.on_path("/a").len(), 1);
    assert!(!journal.0.journal.iter().any(|row| row.records.iter().any(|record| record.path() == Some("c"))));
    let published = daemon.ask().flow_show("long".to_owned()).expect("the flow").row.published;
    assert_eq!(Some(&journal.0.head.version), published.as_ref());
    let said = daemon.aura(&["run", "migrate", &id]);
    assert_says(&said.err, &["already ended"]);
    // A replay of it knows under which version it ended.
    let said = daemon.aura(&["run", "replay", &id, "--from", "new", "--json"]).success().json();
    let again = said["run"]["run"].as_str().expect("a run").parse().expect("an id");
    daemon.wait_state(again, RunState::Succeeded);
    assert_eq!((receiver.on_path("/b").len(), receiver.on_path("/new").len()), (2, 2));
}

#[test]
fn a_run_whose_call_waits_for_its_turn_does_not_move_under_it() {
    let environment = vec![("AURA_CALLS_MAX".to_owned(), "1".to_owned())];
    let (daemon, receiver) = (Daemon::start_with(Setup { environment, ..Setup::default() }), Receiver::start());
    let call = |id: &str| {
        let url = receiver.url(&format!("/{id}"));
        format!("  - {{ id: {id}, needs: [], http: {{ method: PUT, url: \"{url}\", body: {{ of: {id} }} }} }}\n")
    };
    for id in ["a", "b"] {
        receiver.on(&format!("/{id}"), |_, _| Answer::hold());
    }
    daemon.publish(&flow("wide", &[call("a"), call("b")].concat()));
    let run = daemon.run("wide", "{}");
    // One of them has the only place, the other waits for it and knows only where it stands in its version.
    let first = crate::support::wait_for("one call", crate::support::LIMIT, || {
        ["a", "b"].into_iter().find(|id| !receiver.on_path(&format!("/{id}")).is_empty())
    });
    let second = if first == "a" { "b" } else { "a" };
    daemon.publish(&flow(
        "wide",
        &["  - { id: z, needs: [], set: { n: 1 } }\n".to_owned(), call("a"), call("b")].concat(),
    ));
    let id = run.to_string();
    let said = daemon.aura(&["run", "migrate", &id]);
    assert_eq!(said.code, 5, "{said:?}");
    assert_says(format!("{}{}", said.out, said.err), &["about to be made"]);
    receiver.release(&format!("/{first}"));
    receiver.wait(&format!("/{second}"), 1);
    receiver.release(&format!("/{second}"));
    daemon.wait_state(run, RunState::Succeeded);
    for id in ["a", "b"] {
        let sent = receiver.on_path(&format!("/{id}"));
        assert_eq!((sent.len(), sent[0].json()["of"].as_str()), (1, Some(id)));
    }
}
