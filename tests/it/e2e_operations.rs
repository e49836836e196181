//! What people do with runs and flows: hold them, end them by hand, find them, put flows into the bin and back.

use aura_protocol::RunId;
use aura_protocol::TenantId;
use aura_protocol::rpc::*;
use aura_protocol::run::{Record, RunState};
use aura_storage::rows::{journal_key, run_key};
use aura_storage::{Store, StoreOptions, Table, Txn};

use crate::support::daemon::MASTER;
use crate::support::{Answer, Daemon, LIMIT, Receiver, assert_says, block_on, wait_until};

fn steps(name: &str, keys: &str, receiver: &Receiver) -> String {
    format!(
        "aura: 1\nflow: {name}\n{keys}triggers:\n  - {{ id: by_hand, on: manual }}\nsteps:\n  - id: first\n    effect: keyed\n    http: {{ method: POST, url: \"{}\" }}\n  - id: second\n    effect: keyed\n    http: {{ method: POST, url: \"{}\" }}\n",
        receiver.url("/first"),
        receiver.url("/second")
    )
}

fn run_ref(run: RunId) -> RunRef {
    RunRef(run.to_string())
}

#[test]
fn a_paused_run_keeps_what_comes_and_goes_on_after_a_kill_when_it_is_resumed() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    receiver.on("/first", |_, before| if before == 0 { Answer::hold() } else { Answer::ok() });
    daemon.publish(&steps("held", "", &receiver));
    let run = daemon.run("held", "{}");
    receiver.wait("/first", 1);
    let said = daemon.aura(&["run", "pause", &run.to_string(), "--reason", "the shop moves"]);
    assert_says(&said.out, &["paused", "the shop moves"]);
    receiver.release("/first");
    wait_until("the answer to be recorded", LIMIT, || {
        let detail = daemon.show(run);
        detail.journal.iter().flat_map(|it| &it.records).any(|it| matches!(it, Record::Completed { .. }))
    });
    assert_eq!(daemon.show(run).head.state, RunState::Paused);
    daemon.kill9();
    daemon.up();
    assert_eq!(daemon.show(run).head.state, RunState::Paused);
    assert_eq!(receiver.on_path("/second").len(), 0, "nothing begins while it is paused");
    assert_eq!(daemon.aura(&["run", "resume", &run.to_string()]).code, 0);
    daemon.wait_state(run, RunState::Succeeded);
    assert_eq!((receiver.on_path("/first").len(), receiver.on_path("/second").len()), (1, 1));
    assert_eq!(daemon.aura(&["run", "resume", &run.to_string()]).code, 5, "it has ended");
}

#[test]
fn a_call_that_waits_for_its_turn_does_not_leave_while_its_run_is_paused() {
    let daemon = Daemon::start();
    let receiver = Receiver::start();
    receiver.on("/one", |_, before| if before == 0 { Answer::hold() } else { Answer::ok() });
    daemon.publish(&format!(
        "aura: 1\nflow: one\ntriggers:\n  - {{ id: by_hand, on: manual }}\nsteps:\n  - id: call\n    effect: keyed\n    limit: {{ concurrency: 1 }}\n    http: {{ method: POST, url: \"{}\" }}\n",
        receiver.url("/one")
    ));
    let first = daemon.run("one", "{}");
    receiver.wait("/one", 1);
    let second = daemon.run("one", "{}");
    let pause = |paused| RunPause { run: run_ref(second), paused, reason: String::new() };
    daemon.ask().run_pause(pause(true)).expect("a pause");
    receiver.release("/one");
    daemon.wait_state(first, RunState::Succeeded);
    assert_eq!(receiver.on_path("/one").len(), 1);
    daemon.ask().run_pause(pause(false)).expect("a resume");
    daemon.wait_state(second, RunState::Succeeded);
    assert_eq!(receiver.on_path("/one").len(), 2);
}

#[test]
fn events_of_a_paused_flow_are_kept_in_order_over_a_kill_and_use_the_version_of_the_resume() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    let text = |version: u32| {
        format!(
            "aura: 1\nflow: kept\ntriggers:\n  - {{ id: in, on: webhook, auth: none }}\nconcurrency: {{ limit: 1 }}\nsteps:\n  - id: call\n    effect: keyed\n    http: {{ method: POST, url: \"{}\", body: {{ n: \"{{{{ trigger.body.n }}}}\", version: {version} }} }}\n",
            receiver.url("/kept")
        )
    };
    daemon.publish(&text(1));
    assert_says(&daemon.aura(&["flow", "pause", "kept"]).out, &["is paused: its events are held"]);
    let hook = daemon.open_hook("kept");
    let send = |n: u32| {
        let reply =
            hook.send_with(&[("content-type".into(), "application/json".into())], format!("{{\"n\":{n}}}").as_bytes());
        reply.expect("an answer")
    };
    for n in 0..12 {
        let reply = send(n);
        assert_eq!((reply.status, reply.field("state").as_str()), (202, "held"), "{}", reply.text());
        if n == 5 {
            daemon.kill9();
            daemon.up();
        }
    }
    assert_eq!(daemon.runs("kept").len(), 0);
    assert_eq!(daemon.ask().status(()).expect("a status").held, 12);
    daemon.publish(&text(2));
    assert_says(&daemon.aura(&["flow", "list"]).out, &["paused, 12 held"]);
    assert_says(&daemon.aura(&["flow", "resume", "kept"]).out, &["goes on: 12 events were held"]);
    // Behind what was held, though it comes after the resume.
    send(12);
    wait_until("all of them to be done", LIMIT, || receiver.on_path("/kept").len() == 13);
    let got: Vec<(u64, u64)> = receiver
        .on_path("/kept")
        .iter()
        .map(|request| (request.json()["n"].as_u64().expect("n"), request.json()["version"].as_u64().expect("version")))
        .collect();
    assert_eq!(got, (0..13).map(|n| (n, 2)).collect::<Vec<_>>());
    daemon.wait_quiet(LIMIT);
}

#[test]
fn a_run_is_ended_by_hand_also_if_its_journal_is_damaged() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    receiver.on("/first", |_, _| Answer::hold());
    daemon.publish(&steps("stuck", "concurrency: { limit: 1 }\n", &receiver));
    let stuck = daemon.run("stuck", "{}");
    let queued = daemon.run("stuck", "{}");
    receiver.wait("/first", 1);
    daemon.kill9();
    {
        // A row of its journal is gone: the run cannot be read any more.
        let store = Store::open(&StoreOptions::in_dir(daemon.place.data(), MASTER)).expect("the store");
        let mut txn = Txn::new();
        txn.delete(Table::Journal, journal_key(TenantId::DEFAULT, stuck, 1));
        txn.expect_present(Table::Live, run_key(TenantId::DEFAULT, stuck));
        block_on(store.commit(txn)).expect("a commit");
        block_on(store.close());
    }
    daemon.up();
    let id = stuck.to_string();
    let cancel = RunCancel { run: run_ref(stuck), reason: "x".into() };
    assert!(daemon.ask().run_cancel(cancel).is_err(), "the usual way does not help");
    let refused = daemon.aura(&["run", "force-finish", &id, "--state", "failed", "--reason", " "]);
    assert_says(&refused.err, &["needs a reason"]);
    let said = daemon.aura(&["run", "force-finish", &id, "--state", "failed", "--reason", "ticket 77"]);
    assert_says(&said.out, &["failed", "ended by hand by", "ticket 77"]);
    let detail = daemon.show(stuck);
    assert_eq!(detail.head.state, RunState::Failed);
    let journaled = detail.journal.iter().flat_map(|it| &it.records).any(
        |record| matches!(record, Record::ForceFinished { reason, by, .. } if reason == "ticket 77" && !by.is_empty()),
    );
    assert!(journaled, "who and why stands in the journal");
    // Whoever waited behind it goes on.
    receiver.release("/first");
    daemon.wait_state(queued, RunState::Succeeded);
    assert_eq!(daemon.aura(&["run", "force-finish", &id, "--state", "succeeded", "--reason", "y"]).code, 5);
}

#[test]
fn runs_are_found_by_words_by_indexed_values_and_by_what_came_in() {
    let daemon = Daemon::start();
    let flow = |name: &str, keys: &str| {
        format!(
            "aura: 1\nflow: {name}\nlabels: {{ team: growth }}\n{keys}triggers:\n  - {{ id: by_hand, on: manual }}\nsteps:\n  - id: end\n    if: \"{{{{ input.n > 2 }}}}\"\n    stop: {{ fail: too many }}\n"
        )
    };
    daemon.publish(&flow("indexed", "subject: \"{{ trigger.body.mail }}\"\nindex: [trigger.body.n, input.note]\n"));
    daemon.publish(&flow("plain", "").replace("growth", "sales"));
    for n in 0..5 {
        for name in ["indexed", "plain"] {
            let run = daemon.run(name, &format!("{{\"n\":{n},\"note\":\"x{n}\",\"mail\":\"m{}@e.org\"}}", n % 2));
            wait_until("its end", LIMIT, || daemon.show(run).head.state.is_final());
        }
    }
    let count = |words: &str| {
        let query = RunQuery { filter: Some(words.to_owned()), limit: 100, ..RunQuery::default() };
        daemon.ask().run_page(query).expect(words).runs.len()
    };
    for (words, expected) in [
        ("", 10),
        ("state=failed", 4),
        ("state=failed flow=plain", 2),
        ("label.team=sales", 5),
        ("since=1h !state=failed", 6),
        ("until=1h", 0),
        ("\"too many\" flow:index", 2),
        ("trigger.body.n=3", 1),
        ("flow=plain trigger.body.n=3", 1),
        ("flow=indexed input.note=x4", 1),
        ("label.team=sales trigger.body.n=3", 1),
        ("label.team=growth trigger.body.n=3", 1),
        ("!flow=indexed trigger.body.n=3", 1),
        ("subject=m1@e.org", 2),
        ("trigger.body.n>=3 flow=plain", 2),
        ("input.note:x flow=indexed", 5),
    ] {
        assert_eq!(count(words), expected, "{words}");
    }
    let csv = daemon.aura(&["run", "list", "--filter", "flow=indexed state=failed", "--csv"]).out;
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.starts_with("STATE,RUN,FLOW,"), "{csv}");
    let refused = daemon.aura(&["run", "list", "--filter", "colour=red"]);
    assert_says(&refused.err, &["`colour=red` is no part of a filter"]);
    assert_eq!(refused.code, 2);
    let gone = daemon.aura(&["run", "delete", "--filter", "trigger.body.n>2 flow=indexed", "--yes"]);
    assert_says(&gone.out, &["2 runs deleted"]);
    assert_eq!((count("flow=indexed"), count("trigger.body.n=3"), count("flow=plain")), (3, 0, 5));
    // Nobody knows any more under which hashes the runs of a flow stand that is not there.
    daemon.aura(&["flow", "delete", "plain"]).success();
    assert_eq!((count("flow=plain trigger.body.n=3"), count("flow=indexed,plain trigger.body.n=2")), (1, 2));
}

#[test]
fn what_is_deleted_comes_back_whole_and_what_is_needed_is_not_deleted() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    receiver.on("/first", |_, _| Answer::hold());
    daemon.secret("hook", "a long enough secret");
    let child = steps("child", "", &receiver).replace("triggers:\n", "triggers:\n  - { id: called, on: called }\n");
    daemon.publish(&child);
    daemon.publish("aura: 1\nflow: parent\ntriggers:\n  - { id: in, on: webhook, auth: { bearer: hook } }\n  - { id: by_hand, on: manual }\nsteps:\n  - { id: ask, call: { flow: child } }\n");
    let refused = |arguments: &[&str], says: &[&str]| {
        let said = daemon.aura(arguments);
        assert_eq!(said.code, 5, "{arguments:?}: {}", said.out);
        assert_says(&said.err, says);
    };
    refused(&["flow", "delete", "child"], &["flows that take events call it: parent"]);
    refused(&["connection", "delete", "hook"], &["flows that take events use it: parent"]);
    let run = daemon.run("parent", "{}");
    receiver.wait("/first", 1);
    daemon.ask().flow_enable(FlowEnable { flow: "parent".into(), enabled: false }).expect("disabled");
    refused(&["flow", "delete", "parent"], &["has not ended and needs it"]);
    refused(&["flow", "delete", "child"], &["has not ended and needs it"]);
    receiver.release("/first");
    daemon.wait_state(run, RunState::Succeeded);
    let before = daemon.ask().webhook_list(()).expect("endpoints");
    assert_says(&daemon.aura(&["flow", "delete", "parent"]).out, &["in the bin", "restored until"]);
    assert_says(&daemon.aura(&["connection", "delete", "hook"]).out, &["in the bin"]);
    assert_eq!(daemon.aura(&["flow", "show", "parent"]).code, 3);
    assert_eq!(daemon.ask().webhook_list(()).expect("endpoints").len(), 0);
    assert_eq!(daemon.show(run).head.flow, "parent", "its runs are still there");
    daemon.kill9();
    daemon.up();
    assert_says(&daemon.aura(&["flow", "list", "--deleted"]).out, &["parent"]);
    assert_says(&daemon.aura(&["connection", "list", "--deleted"]).out, &["hook"]);
    assert_eq!(daemon.aura(&["connection", "restore", "hook"]).code, 0);
    assert_says(&daemon.aura(&["flow", "restore", "parent"]).out, &["parent restored"]);
    let after = daemon.ask().webhook_list(()).expect("endpoints");
    assert_eq!(after[0].url, before[0].url, "its address is the same");
    daemon.ask().flow_enable(FlowEnable { flow: "parent".into(), enabled: true }).expect("enabled");
    let reply =
        daemon.open_hook("parent").send_with(&[("authorization".into(), "Bearer a long enough secret".into())], b"{}");
    assert_eq!(reply.expect("an answer").status, 202);
    assert_eq!(daemon.aura(&["flow", "restore", "parent"]).code, 3, "it is not in the bin any more");
}
