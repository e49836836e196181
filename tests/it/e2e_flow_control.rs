//! Limits by key: each case first makes what elsewhere runs over (a full pool, a rate, many of one customer), then
//! shows that what is beyond waits in order, says why, survives a kill and is never lost.

use std::time::Duration;

use aura_protocol::RunId;
use aura_protocol::rpc::{RunCancel, RunRef};
use aura_protocol::run::RunState;

use crate::support::{Answer, Daemon, LIMIT, Receiver, assert_says, wait_until};

/// A flow that makes one call, with further keys of the flow and of the step.
fn flow(name: &str, keys: &str, url: &str, step: &str) -> String {
    format!(
        "aura: 1\nflow: {name}\ntriggers:\n  - {{ id: by_hand, on: manual }}\n{keys}steps:\n  - id: call\n    effect: keyed\n{step}    http: {{ method: POST, url: \"{url}\", body: {{ n: \"{{{{ input.n }}}}\", who: \"{{{{ input.who }}}}\" }} }}\n"
    )
}

fn begin(daemon: &Daemon, flow: &str, who: &str, numbers: std::ops::Range<u32>) -> Vec<RunId> {
    numbers.map(|n| daemon.run(flow, &format!("{{\"n\":{n},\"who\":\"{who}\",\"priority\":{}}}", n % 3))).collect()
}

fn numbers(receiver: &Receiver, path: &str) -> Vec<u64> {
    receiver.on_path(path).iter().map(|request| request.json()["n"].as_u64().expect("its number")).collect()
}

fn blocked(daemon: &Daemon, run: RunId) -> String {
    daemon.show(run).head.blocked_by.map(|blocked| blocked.reason).unwrap_or_default()
}

/// The most requests of a log within any stretch of so many milliseconds.
fn most_in(receiver: &Receiver, path: &str, ms: i64) -> usize {
    let times: Vec<i64> = receiver.on_path(path).iter().map(|request| request.at_ms).collect();
    times.iter().map(|from| times.iter().filter(|at| **at >= *from && **at < from + ms).count()).max().unwrap_or(0)
}

#[test]
fn runs_beyond_the_rate_of_their_flow_wait_and_start_in_time_by_priority_also_after_a_kill() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    let keys = "rate: { key: \"{{ trigger.body.who }}\", count: 1, per: 700ms }\npriority: \"{{ input.priority }}\"\n";
    daemon.publish(&flow("paced", keys, &receiver.url("/paced"), ""));
    let runs = begin(&daemon, "paced", "ada", 0..6);
    let other = begin(&daemon, "paced", "bob", 6..7);
    daemon.wait_state(other[0], RunState::Succeeded);
    let queued = || daemon.runs("paced").iter().filter(|head| head.state == RunState::Queued).count();
    assert!(queued() >= 3, "the other key has a rate of its own");
    let why = blocked(&daemon, runs[3]);
    assert_says(&why, &["1 in 700ms are used up", "the next at", "\"ada\""]);
    let said = daemon.aura(&["run", "list", "--flow", "paced", "--state", "queued"]);
    assert_says(&said.out, &["used up", "ahead"]);
    // What was used is not forgotten by a kill.
    daemon.kill9();
    daemon.up();
    wait_until("all of them to end", LIMIT, || {
        runs.iter().all(|run| daemon.show(*run).head.state == RunState::Succeeded)
    });
    let of_ada = || receiver.on_path("/paced").into_iter().filter(|request| request.json()["who"] == "ada");
    let times: Vec<i64> = of_ada().map(|request| request.at_ms).collect();
    let within = |from: &i64| times.iter().filter(|at| **at >= *from && **at < from + 400).count();
    assert!(times.iter().all(|from| within(from) <= 1), "{times:?}");
    let order: Vec<u64> = of_ada().map(|request| request.json()["n"].as_u64().expect("n")).collect();
    assert_eq!(order, [0, 2, 5, 1, 4, 3], "those that waited: the higher priority first");
}

#[test]
fn calls_beyond_the_limit_of_a_step_wait_by_key_and_say_why() {
    let daemon = Daemon::start();
    let receiver = Receiver::start();
    receiver.on("/slow", |request, _| match request.json()["who"].as_str() {
        Some("ada") => Answer::hold(),
        _ => Answer::ok(),
    });
    let limit = "    limit: { key: \"{{ input.who }}\", concurrency: 1 }\n";
    daemon.publish(&flow("limited", "", &receiver.url("/slow"), limit));
    let ada = begin(&daemon, "limited", "ada", 0..4);
    receiver.wait("/slow", 1);
    let bob = begin(&daemon, "limited", "bob", 4..6);
    for run in bob {
        daemon.wait_state(run, RunState::Succeeded);
    }
    assert_eq!(numbers(&receiver, "/slow"), [0, 4, 5], "a full key holds up its own only");
    assert_says(blocked(&daemon, ada[2]), &["1 of 1 calls are at work", "limit of call", "1 ahead"]);
    let reason = "by a test".to_owned();
    daemon.ask().run_cancel(RunCancel { run: RunRef(ada[1].to_string()), reason }).expect("a cancel");
    daemon.wait_state(ada[1], RunState::Cancelled);
    receiver.release("/slow");
    for run in [ada[0], ada[2], ada[3]] {
        daemon.wait_state(run, RunState::Succeeded);
    }
    assert_eq!(numbers(&receiver, "/slow"), [0, 4, 5, 2, 3]);
}

#[test]
fn all_flows_share_the_budget_of_a_connection_and_a_kill_forgets_no_call() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    receiver.on("/api/chat.postMessage", |_, _| Answer::ok().body("{\"ok\":true,\"channel\":\"C1\",\"ts\":\"1.1\"}"));
    let base = receiver.url("/");
    let fields = |rate: &str| {
        [
            ("base_url".to_owned(), base.trim_end_matches('/').to_owned()),
            ("bot_token".to_owned(), "xoxb-token".to_owned()),
            ("rate".to_owned(), rate.to_owned()),
        ]
    };
    let connect = |rate: &str| {
        let fields = fields(rate);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        daemon.connect("ops", "slack", &fields);
    };
    connect("3/2s");
    for name in ["one", "two"] {
        daemon.publish(&format!(
            "aura: 1\nflow: {name}\ntriggers:\n  - {{ id: by_hand, on: manual }}\nsteps:\n  - id: post\n    uses: slack.post_message\n    connection: ops\n    with: {{ channel: C1, text: \"n {{{{ input.n }}}}\" }}\n"
        ));
    }
    let runs: Vec<RunId> =
        (0..4).flat_map(|n| ["one", "two"].map(|flow| daemon.run(flow, &format!("{{\"n\":{n}}}")))).collect();
    let done = || runs.iter().filter(|run| daemon.show(**run).head.state == RunState::Succeeded).count();
    wait_until("the budget to be used", LIMIT, || done() >= 3);
    let waiting = runs.iter().find(|run| daemon.show(**run).head.state == RunState::Running).expect("one that waits");
    assert_says(blocked(&daemon, *waiting), &["3 in 2s are used up", "(connection)", "ahead"]);
    daemon.kill9();
    daemon.up();
    wait_until("all of them to end", LIMIT, || {
        runs.iter().all(|run| daemon.show(*run).head.state == RunState::Succeeded)
    });
    let times: Vec<i64> = receiver.log().iter().map(|request| request.at_ms).collect();
    assert_eq!(times.len(), 8, "each is posted once");
    let within = |from: &i64| times.iter().filter(|at| **at >= *from && **at < from + 1900).count();
    assert!(times.iter().all(|from| within(from) <= 3), "{times:?}");
    let said = daemon.aura(&["connection", "add", "ops", "slack", "bot_token=xoxb-token", "rate=often"]);
    assert_says(&said.err, &["`often` is no rate", "40/1m"]);
}

#[test]
fn a_full_key_queues_by_priority_and_another_limit_lets_more_in() {
    let mut daemon = Daemon::start();
    let receiver = Receiver::start();
    // The one that holds the key is called twice: the kill comes while it is out.
    receiver.on("/held", |_, before| if before < 2 { Answer::hold() } else { Answer::ok() });
    let keys = "concurrency: { limit: 1 }\npriority: \"{{ trigger.body.priority }}\"\n";
    daemon.publish(&flow("one-by-one", keys, &receiver.url("/held"), ""));
    let runs = begin(&daemon, "one-by-one", "ada", 0..6);
    receiver.wait("/held", 1);
    daemon.kill9();
    daemon.up();
    receiver.wait("/held", 2);
    assert_says(blocked(&daemon, runs[1]), &[&runs[0].to_string(), "2 ahead"]);
    receiver.release("/held");
    wait_until("all of them to end", LIMIT, || {
        runs.iter().all(|run| daemon.show(*run).head.state == RunState::Succeeded)
    });
    let order: Vec<u64> = numbers(&receiver, "/held").into_iter().skip(2).collect();
    assert_eq!(order, [2, 5, 1, 4, 3], "after a kill too");
}

#[test]
fn a_limit_that_only_says_who_goes_first_counts_too() {
    let daemon = Daemon::start();
    let receiver = Receiver::start();
    let limit = "    limit: { rate: { count: 2, per: 300ms }, priority: \"{{ input.priority }}\" }\n";
    daemon.publish(&flow("first", "", &receiver.url("/first"), limit));
    let runs = begin(&daemon, "first", "ada", 0..5);
    wait_until("all of them to end", LIMIT, || {
        runs.iter().all(|run| daemon.show(*run).head.state == RunState::Succeeded)
    });
    assert!(most_in(&receiver, "/first", 250) <= 2);
    assert_eq!(receiver.on_path("/first").len(), 5);
    assert!(Duration::from_millis(600) <= LIMIT);
}

#[test]
fn one_that_waits_for_its_rate_begins_though_nothing_else_happens() {
    let daemon = Daemon::start();
    let receiver = Receiver::start();
    let keys = "rate: { count: 1, per: 700ms }\n";
    daemon.publish(&flow("alone", keys, &receiver.url("/alone"), ""));
    let first = begin(&daemon, "alone", "ada", 0..1);
    daemon.wait_state(first[0], RunState::Succeeded);
    // Nobody ends, comes or asks from here on.
    let second = begin(&daemon, "alone", "ada", 1..2);
    receiver.wait("/alone", 2);
    daemon.wait_state(second[0], RunState::Succeeded);
}

#[test]
fn a_call_that_takes_longer_than_its_rate_counts_holds_nobody_up() {
    let daemon = Daemon::start();
    let receiver = Receiver::start();
    // While it is out its use is over, but its place is taken: only its end makes room.
    receiver.on("/slow", |_, before| if before == 0 { Answer::hold() } else { Answer::ok() });
    let limit = "    limit: { concurrency: 1, rate: { count: 1, per: 100ms } }\n";
    daemon.publish(&flow("slow", "", &receiver.url("/slow"), limit));
    let runs = begin(&daemon, "slow", "ada", 0..3);
    receiver.wait("/slow", 1);
    wait_until("its turn behind the place", LIMIT, || blocked(&daemon, runs[1]).contains("1 of 1 calls are at work"));
    let began = std::time::Instant::now();
    // The daemon answers all the while.
    wait_until("the rate to be free again", LIMIT, || {
        began.elapsed() > Duration::from_millis(300) && blocked(&daemon, runs[2]).contains("1 ahead")
    });
    receiver.release("/slow");
    wait_until("all of them to end", LIMIT, || {
        runs.iter().all(|run| daemon.show(*run).head.state == RunState::Succeeded)
    });
}
