//! Endpoints as people run them: the log of deliveries, claims, replays, rotation, closing, networks that may send.
//!
//! The one invariant: whatever came has one row that says what its sender heard and which part differed, and nothing that
//! was refused begins a run by itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aura_protocol::event::EventState;
use aura_protocol::rpc::{DeliveryDetail, DeliveryQuery, DeliveryRow, FlowEnable, RunRef, Verdict, WebhookRedeliver};
use aura_protocol::run::RunState;

use crate::support::daemon::run_of;
use crate::support::sender::{SECRET, exchange, shopify};
use crate::support::{Daemon, Hook, Reply, Setup, assert_says, now_ms, wait_until};

fn flow(name: &str, trigger: &str) -> String {
    format!(
        "aura: 1\nflow: {name}\ntriggers:\n  - id: in\n    on: webhook\n{trigger}steps:\n  - id: a\n    set: {{ got: \"{{{{ trigger.body }}}}\" }}\n"
    )
}

const SIGNED: &str = "    auth: { scheme: standard_webhooks, secret: sender }\n";
const OPEN: &str = "    auth: none\n";

fn signed() -> (Daemon, Hook) {
    let daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    daemon.publish(&flow("orders", SIGNED));
    let hook = daemon.hook("orders");
    (daemon, hook)
}

fn rows(daemon: &Daemon, query: DeliveryQuery) -> Vec<DeliveryRow> {
    daemon.ask().webhook_deliveries(DeliveryQuery { limit: 200, ..query }).expect("the deliveries").deliveries
}

fn all(daemon: &Daemon) -> Vec<DeliveryRow> {
    rows(daemon, DeliveryQuery::default())
}

fn failed(daemon: &Daemon) -> Vec<DeliveryRow> {
    rows(daemon, DeliveryQuery { failed: true, ..DeliveryQuery::default() })
}

fn detail(daemon: &Daemon, row: &DeliveryRow) -> DeliveryDetail {
    daemon.ask().webhook_delivery(row.id.to_string()).expect("the delivery")
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_delivery_has_a_row_that_says_what_differed() {
    let (mut daemon, hook) = signed();
    let good = hook.send("msg_1", r#"{"id": 1}"#).expect("an answer");
    let run = run_of(&good, EventState::Started);
    daemon.wait_state(run, RunState::Succeeded);
    let again = hook.send("msg_1", r#"{"id": 1}"#).expect("an answer");
    assert_eq!(again.field("state"), "duplicate");
    let body = b"{\"id\": 2}\r\n\xc3\xa4 not json";
    let now = now_ms() / 1000;
    let other = Hook { secret: "whsec_b3RoZXI=".to_owned(), ..hook.clone() };
    let check = |headers: Vec<(String, String)>, status: u16, verdict: Verdict, part: &str| {
        let reply = hook.send_with(&headers, body).expect("an answer");
        assert_eq!(reply.status, status, "{}", reply.text());
        let row = failed(&daemon).into_iter().next().expect("a row");
        assert_eq!((row.verdict, row.status), (verdict, Some(status)), "{row:?}");
        assert_says(&row.why, &[part]);
        assert_eq!((row.from.as_str(), row.flow.as_str(), row.trigger.as_str()), ("127.0.0.1", "orders", "in"));
        assert!(row.took_us.is_some() && row.event.is_none() && row.run.is_none());
        let detail = detail(&daemon, &row);
        assert_eq!(detail.body, body, "byte for byte");
        assert!(!detail.advice.is_empty() && !detail.cut);
        detail
    };
    check(pairs(&[("content-type", "text/plain")]), 401, Verdict::HeaderMissing, "`webhook-signature` is missing");
    check(hook.signed("m", now - 400, body), 401, Verdict::Stale, "400 s old");
    check(hook.signed("m", now + 4000, body), 401, Verdict::Ahead, "ahead of our clock");
    check(other.signed("m", now, body), 401, Verdict::Digest, "matches");
    let mut formless = hook.signed("m", now, body);
    formless.last_mut().expect("headers").1 = "v9,abc".to_owned();
    check(formless, 401, Verdict::HeaderForm, "version");
    let mut twice = hook.signed("m", now, body);
    twice.push(("webhook-id".to_owned(), "n".to_owned()));
    let reply = hook.send_with(&twice, body).expect("an answer");
    assert_eq!((reply.status, failed(&daemon)[0].verdict), (400, Verdict::HeaderTwice));
    let json = check(hook.signed("m", now, body), 400, Verdict::Body, "not JSON");
    assert_eq!(json.headers.iter().filter(|(name, _)| name == "webhook-signature").count(), 1, "signatures are kept");
    let large = vec![b'x'; 1 << 21];
    let reply = hook.send_with(&hook.signed("m", now, &large), &large).expect("an answer");
    assert_eq!((reply.status, failed(&daemon)[0].verdict), (413, Verdict::TooLarge));

    let seen = all(&daemon);
    let accepted: Vec<&DeliveryRow> = seen.iter().filter(|row| row.accepted()).collect();
    let [repeat, first] = accepted.as_slice() else { panic!("{accepted:#?}") };
    assert_eq!((repeat.state, repeat.status, repeat.run), (Some(EventState::Duplicate), Some(200), Some(run)));
    assert_eq!((first.state, first.status, first.run), (Some(EventState::Started), Some(202), Some(run)));
    assert_eq!((first.verdict, first.from.as_str()), (Verdict::Proved, "127.0.0.1"));
    assert_eq!(first.event.map(|event| event.to_string()).as_deref(), good.event());
    assert!(first.took_us.is_some_and(|took| took > 0));
    assert_eq!(seen.len(), 10, "{seen:#?}");
    assert!(seen.is_sorted_by(|a, b| a.id > b.id), "newest first");
    // Pages put together are the whole.
    let mut pages = Vec::new();
    let mut query = DeliveryQuery { limit: 3, ..DeliveryQuery::default() };
    loop {
        let page = daemon.ask().webhook_deliveries(query.clone()).expect("a page");
        assert!(page.deliveries.len() <= 3);
        pages.extend(page.deliveries);
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(pages, seen);
    let found = detail(&daemon, first);
    assert_eq!(found.body, br#"{"id": 1}"#);

    let said = daemon.aura(&["webhook", "deliveries", "orders", "--failed"]).success();
    assert_says(&said.out, &["digest differs", "stale time", "header missing", "orders/in"]);
    let said = daemon.aura(&["webhook", "deliveries", "--filter", "trigger.body.id=1 since=1h", "--json"]).success();
    assert_eq!(said.json()["verdict"], "proved");
    let id = failed(&daemon)[2].id.to_string();
    let said = daemon.aura(&["webhook", "delivery", &id]).success();
    assert_says(&said.out, &[&id, "header    webhook-signature", "do        "]);
    assert_eq!(daemon.aura(&["webhook", "delivery", "nothing"]).code, 2);
    assert_eq!(daemon.aura(&["webhook", "delivery", "dlv_00000000000000000000000000"]).code, 3);

    // A killed daemon has what it wrote, and accepted ones are where their runs are.
    daemon.kill9();
    daemon.up();
    let after = all(&daemon);
    assert!(after.iter().any(|row| row.run == Some(run) && row.status == Some(202)), "{after:#?}");
    assert_eq!(after.iter().filter(|row| !row.accepted()).count(), 8);
}

#[test]
fn what_came_too_early_is_claimed_and_proved_over_what_came() {
    let daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    let unknown =
        Hook { address: daemon.address(), path: "/hooks/not-yet-there".to_owned(), secret: SECRET.to_owned() };
    let reply = unknown.send("msg_7", r#"{"id": 7}"#).expect("an answer");
    let nothing = Hook { path: "/".to_owned(), ..unknown.clone() }.send("x", "{}").expect("an answer");
    assert_eq!((reply.status, reply.text()), (nothing.status, nothing.text()), "unknown ones are alike");
    let stranger = Hook { secret: "whsec_b3RoZXI=".to_owned(), ..unknown.clone() };
    stranger.send("msg_8", "{}").expect("an answer");
    daemon.publish(&flow("orders", SIGNED));
    let hook = daemon.hook("orders");
    let early = rows(&daemon, DeliveryQuery { unclaimed: true, ..DeliveryQuery::default() });
    assert_eq!(early.len(), 3, "{early:#?}");
    let wanted = early.iter().find(|row| row.bytes == 9).expect("its row").id.to_string();
    let bad = early[0].id.to_string();
    let said = daemon.aura(&["webhook", "unclaimed"]).success();
    assert_says(&said.out, &["/hooks/not-yet-there", "no endpoint", &wanted]);

    let dry = daemon.aura(&["webhook", "claim", &wanted, "orders/in", "--dry-run"]).success();
    assert_says(&dry.out, &["orders/in", "run"]);
    assert!(daemon.runs("orders").is_empty());
    let said = daemon.aura(&["webhook", "claim", &wanted, "orders/in", "--json"]).success();
    assert_eq!((said.json()["verdict"].as_str(), said.json()["refused"].as_bool()), (Some("proved"), Some(false)));
    let run = daemon.runs("orders")[0].run;
    assert_eq!(daemon.wait_state(run, RunState::Succeeded).output("a"), r#"{"got":{"id":7}}"#);
    let twice = daemon.aura(&["webhook", "claim", &wanted, "orders/in"]);
    assert_says(&twice.err, &["was claimed before"]);
    assert_eq!(twice.code, 5);
    let refused = daemon.aura(&["webhook", "claim", &bad, "orders/in"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_says(&refused.out, &["refused"]);
    // The sender comes again with the same id: it was taken already.
    let again = hook.send("msg_7", r#"{"id": 7}"#).expect("an answer");
    assert_eq!(again.field("state"), "duplicate");
    assert_eq!(daemon.runs("orders").len(), 1);

    // Two at once, for different endpoints: one of them has it.
    daemon.publish(&flow("first", OPEN));
    daemon.publish(&flow("second", OPEN));
    let codes = std::thread::scope(|scope| {
        let claim = |to: &'static str| daemon.aura(&["webhook", "claim", &bad, to]).code;
        let both = ["first/in", "second/in"].map(|to| scope.spawn(move || claim(to)));
        both.map(|one| one.join().expect("a claim"))
    });
    assert!(codes == [0, 5] || codes == [5, 0], "{codes:?}");
    assert_eq!(daemon.runs("first").len() + daemon.runs("second").len(), 1);

    // A closed endpoint and a disabled flow hear the same, and what comes is kept for a claim.
    daemon.aura(&["webhook", "disable", "orders/in"]).success();
    let closed = hook.send("msg_9", r#"{"id": 9}"#).expect("an answer");
    assert_eq!((closed.status, closed.text()), (nothing.status, nothing.text()));
    assert_eq!(failed(&daemon)[0].verdict, Verdict::Closed);
    daemon.aura(&["webhook", "enable", "orders/in"]).success();
    daemon.aura(&["flow", "disable", "orders"]).success();
    assert_eq!(hook.send("msg_10", "{}").expect("an answer").text(), nothing.text());
    let row = failed(&daemon).remove(0);
    assert_eq!(row.verdict, Verdict::Disabled);
    let still = daemon.aura(&["webhook", "claim", &row.id.to_string(), "orders/in"]);
    assert_says(&still.out, &["takes no deliveries now"]);
    daemon.aura(&["flow", "enable", "orders"]).success();
    daemon.aura(&["webhook", "claim", &row.id.to_string(), "orders/in"]).success();
    assert_eq!(daemon.runs("orders").len(), 2);
}

#[test]
fn what_was_refused_is_delivered_again_once_the_secret_is_mended() {
    let (daemon, hook) = signed();
    daemon.secret("sender", "whsec_d3Jvbmc=");
    for number in 0..5 {
        let reply = hook.send(&format!("msg_{number}"), &format!("{{\"id\": {number}}}")).expect("an answer");
        assert_eq!(reply.status, 401);
    }
    let early = daemon.aura(&["webhook", "replay", "--filter", "all", "--failed", "--yes"]);
    assert_eq!(early.code, 1, "{early:?}");
    assert!(daemon.runs("orders").is_empty());
    daemon.secret("other", SECRET);
    let row = failed(&daemon).remove(0);
    let found = detail(&daemon, &row).findings;
    assert_says(found.join("\n"), &["signed with `value` of the connection other"]);
    daemon.secret("sender", SECRET);
    assert_says(detail(&daemon, &row).findings.join("\n"), &["the secret of now fits"]);
    let dry = daemon
        .aura(&["webhook", "replay", "--filter", "since=1h", "--flow", "orders", "--failed", "--dry-run"])
        .success();
    assert_eq!(dry.out.lines().count(), 5, "{dry:?}");
    assert!(daemon.runs("orders").is_empty(), "dry");
    let filter = ["webhook", "replay", "--filter", "trigger.body.id=3", "--failed", "--yes"];
    daemon.aura(&filter).success();
    let run = daemon.runs("orders")[0].run;
    assert_eq!(daemon.wait_state(run, RunState::Succeeded).output("a"), r#"{"got":{"id":3}}"#);
    // An accepted one again, with another body: its event is another one, and the row says of which it comes.
    let accepted = all(&daemon).into_iter().find(DeliveryRow::accepted).expect("an accepted one");
    let id = accepted.id.to_string();
    daemon.aura(&["webhook", "replay", &id, "--body", r#"{"id": "edited"}"#]).success();
    wait_until("the second run", crate::support::LIMIT, || daemon.runs("orders").len() == 2);
    let second = daemon.runs("orders")[1].run;
    assert_eq!(daemon.wait_state(second, RunState::Succeeded).output("a"), r#"{"got":{"id":"edited"}}"#);
    let again = all(&daemon).into_iter().find(|row| row.run == Some(second)).expect("its row");
    assert_says(&again.why, &["delivered again from", &id]);
    assert_ne!(again.event, accepted.event);
    // A request that is repeated delivers nothing twice.
    let request = WebhookRedeliver { ids: vec![id], ..WebhookRedeliver::default() };
    let answer = daemon.ask().webhook_redeliver(request).expect("an answer");
    assert!(answer.rows[0].run.is_some() && !answer.rows[0].refused, "{answer:?}");
    let show = daemon.ask().run_show(RunRef(second.to_string())).expect("the run");
    assert_eq!(show.head.trigger, "in");
}

#[test]
fn secrets_and_addresses_are_rotated_with_an_overlap_and_the_log_says_which_proved() {
    let (daemon, old) = signed();
    let file = daemon.place.path("new-secret.txt");
    let path = file.display().to_string();
    let said = daemon.aura(&["webhook", "rotate", "orders/in", "--generate", &path, "--keep", "1h"]).success();
    assert_says(&said.out, &["sender.value", "goes on until"]);
    let secret = std::fs::read_to_string(&file).expect("the secret").trim().to_owned();
    assert!(secret.starts_with("whsec_") && !said.out.contains(&secret) && !daemon.place.said().contains(&secret));
    let new = Hook { secret, ..old.clone() };
    for (number, (hook, verdict)) in [(&old, Verdict::ProvedBefore), (&new, Verdict::Proved)].into_iter().enumerate() {
        let reply = hook.send(&format!("msg_{number}"), "{}").expect("an answer");
        assert_eq!(reply.status, 202, "{}", reply.text());
        assert_eq!(all(&daemon)[0].verdict, verdict);
    }
    daemon.aura(&["webhook", "rotate", "orders/in", "--address", "--keep", "1h"]).success();
    let moved = Hook { secret: new.secret.clone(), ..daemon.hook("orders") };
    assert_ne!(moved.path, new.path);
    for (number, hook) in [&new, &moved].into_iter().enumerate() {
        assert_eq!(hook.send(&format!("addr_{number}"), "{}").expect("an answer").status, 202);
    }
    // Without an overlap the address before is gone at once, and hears what every unknown one hears.
    daemon.aura(&["webhook", "rotate", "orders", "--address", "--keep", "0s"]).success();
    assert_eq!(moved.send("late", "{}").expect("an answer").status, 404);
    assert_eq!(failed(&daemon)[0].verdict, Verdict::AddressOver);
    assert_eq!(new.send("still", "{}").expect("an answer").status, 202, "the first rotation's hour goes on");
    let help = daemon.aura(&["webhook", "rotate", "orders", "--secret", "typed-in-clear"]);
    assert!(help.code == 2 && !help.err.contains("typed-in-clear"), "{help:?}");
}

fn via(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut bytes =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| bytes.push_str(&format!("{name}: {value}\r\n")));
    bytes.push_str(&format!("\r\n{body}"));
    exchange(daemon.address(), bytes.as_bytes(), || ()).expect("an answer")
}

#[test]
fn who_may_send_is_told_by_network_user_and_header_and_what_proves_is_never_kept() {
    let setup =
        Setup { environment: vec![("AURA_TRUSTED_PROXIES".to_owned(), "127.0.0.1".to_owned())], ..Setup::default() };
    let daemon = Daemon::start_with(setup);
    daemon.secret("pass", "open-sesame-7");
    daemon.publish(&flow("user", "    auth: { basic: { user: shop, secret: pass } }\n"));
    daemon.publish(&flow("own", "    auth: { header: { name: X-Hook-Key, secret: pass } }\n"));
    daemon.publish(&flow("near", "    auth: none\n    allow: [203.0.113.0/24, \"2001:db8::/32\"]\n"));
    let path = |flow: &str| daemon.open_hook(flow).path;
    let (user, own, near) = (path("user"), path("own"), path("near"));
    // base64 of shop:open-sesame-7 and shop:wrong
    let (right, wrong) = ("Basic c2hvcDpvcGVuLXNlc2FtZS03", "Basic c2hvcDp3cm9uZw==");
    assert_eq!(via(&daemon, &user, &[("authorization", right)], "{}").status, 202);
    for (headers, verdict) in [
        (vec![("authorization", wrong)], Verdict::Token),
        (vec![("authorization", "Bearer x")], Verdict::HeaderForm),
        (vec![], Verdict::HeaderMissing),
    ] {
        assert_eq!(via(&daemon, &user, &headers, "{}").status, 401);
        assert_eq!(failed(&daemon)[0].verdict, verdict);
    }
    assert_eq!(via(&daemon, &own, &[("x-hook-key", "open-sesame-7")], "{}").status, 202);
    assert_eq!(via(&daemon, &own, &[("x-hook-key", "open-sesame-8")], r#"{"a":1}"#).status, 401);
    let row = failed(&daemon).remove(0);
    let seen = detail(&daemon, &row);
    assert_eq!((row.verdict, seen.withheld.as_slice()), (Verdict::Token, &["x-hook-key".to_owned()][..]));
    // What sounds like a secret is not kept of a refused one, whoever it was for.
    let headers = [("x-hook-key", "no"), ("x-shop-token", "tok-1"), ("x-shop-topic", "orders")];
    assert_eq!(via(&daemon, &format!("{own}?a=1&api_key=tok-2"), &headers, "{}").status, 401);
    let kept = detail(&daemon, &failed(&daemon)[0]);
    assert_eq!(
        (kept.withheld.as_slice(), kept.query.as_str()),
        (&["x-hook-key".to_owned(), "x-shop-token".to_owned()][..], "a=1&api_key=[secret]")
    );
    assert!(kept.headers.iter().any(|(name, _)| name == "x-shop-topic") && !format!("{kept:?}").contains("tok-"));
    let run = daemon.runs("own")[0].run;
    let journal = format!("{:?}", daemon.show(run));
    assert!(!journal.contains("x-hook-key") && !journal.contains("open-sesame"), "{journal}");
    // Whether it would fit is told from a hash: still refused after the secret changed to another one, taken once it fits.
    let replay = |daemon: &Daemon| daemon.aura(&["webhook", "replay", &row.id.to_string()]);
    assert_eq!(replay(&daemon).code, 1);
    daemon.secret("pass", "open-sesame-8");
    replay(&daemon).success();

    for (from, status) in [("203.0.113.9", 202), ("198.51.100.1", 403), ("2001:db8::5", 202)] {
        let reply = via(&daemon, &near, &[("x-forwarded-for", from)], "{}");
        assert_eq!(reply.status, status, "{from}");
        let row = all(&daemon).remove(0);
        assert_eq!((row.from.as_str(), row.status), (from, Some(status)));
    }
    assert_eq!(failed(&daemon)[0].verdict, Verdict::NotAllowed);
    assert_eq!(via(&daemon, &near, &[], "{}").status, 403, "the proxy itself is none of them");
    let file = daemon.place.path("bad.yaml");
    std::fs::write(&file, flow("bad", "    auth: none\n    allow: [everywhere]\n")).expect("a file");
    let check = daemon.aura(&["flow", "check", &file.display().to_string()]);
    assert_says(format!("{}{}", check.out, check.err), &["is no address and no network"]);
}

#[test]
fn a_flood_of_refused_deliveries_is_bounded_counted_and_costs_nobody_else_his_row() {
    let (daemon, hook) = signed();
    let other = flow("quiet", SIGNED);
    daemon.publish(&other);
    let quiet = Hook { secret: "whsec_b3RoZXI=".to_owned(), ..daemon.hook("quiet") };
    quiet.send("one", "{}").expect("an answer");
    // Headers and bodies may be anything: nothing of it is shown raw by a command.
    let topic = daemon.open_hook("quiet");
    topic.send_with(&shopify("x", "a\tb", "e", b"\x1b[2J"), b"\x1b[2J").expect("an answer");
    let id = failed(&daemon)[0].id.to_string();
    let said = daemon.aura(&["webhook", "delivery", &id]).success();
    assert!(!said.out.contains('\x1b'), "{said:?}");
    let body = vec![b'x'; 200_000];
    let headers = pairs(&[("content-type", "text/plain")]);
    for _ in 0..150 {
        assert_eq!(hook.send_with(&headers, &body).expect("an answer").status, 401);
    }
    let page = daemon
        .ask()
        .webhook_deliveries(DeliveryQuery { failed: true, limit: 200, ..Default::default() })
        .expect("a page");
    let kept = page.deliveries.iter().filter(|row| row.flow == "orders").count();
    assert!(kept < 150 && page.unkept > 0, "{kept} kept, {} not", page.unkept);
    assert_eq!(u64::try_from(kept).expect("a count") + page.unkept, 150);
    let one = page.deliveries.iter().find(|row| row.flow == "orders").expect("a row");
    let seen = detail(&daemon, one);
    assert_eq!((one.bytes, seen.body.len(), seen.cut), (200_000, 64 * 1024, true), "bounded, and it says so");
    assert!(page.deliveries.iter().any(|row| row.flow == "quiet"));
}

#[test]
fn an_open_endpoint_says_so_and_a_browser_is_told_apart() {
    let daemon = Daemon::start();
    let made = daemon.aura(&["webhook", "create", "door", "--open"]).success();
    assert_says(&made.out, &["door/in", "/hooks/", "anybody who knows the URL may send"]);
    assert_eq!(daemon.aura(&["webhook", "create", "door", "--open"]).code, 5);
    assert_ne!(daemon.aura(&["webhook", "create", "other", "--secret", "nobody"]).code, 0, "no such secret");
    assert_eq!(daemon.ask().flow_list(()).expect("the flows").len(), 1, "all or nothing");
    let hook = daemon.open_hook("door");
    assert_eq!(hook.send("1", "{}").expect("an answer").status, 202);
    assert_eq!(all(&daemon)[0].verdict, Verdict::Open);
    // What is required afterwards does not make it proved.
    daemon.secret("sender", SECRET);
    daemon.publish(&flow("door", SIGNED));
    assert_eq!(all(&daemon)[0].verdict, Verdict::Open);
    let get = format!("GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", hook.path);
    assert_eq!(exchange(daemon.address(), get.as_bytes(), || ()).expect("an answer").status, 404);
    assert_eq!(failed(&daemon)[0].verdict, Verdict::Method);
    let hooks = daemon.ask().webhook_list(()).expect("the endpoints");
    assert_eq!((hooks[0].accepted, hooks[0].refused, hooks[0].last_ms.is_some()), (1, 1, true));
}

/// How long routes are changed under load; a minute in `.ci/full`.
fn changing() -> Duration {
    let seconds = std::env::var("AURA_PUBLISH_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(4))
}

#[test]
fn no_request_to_a_trigger_that_is_published_all_the_while_is_refused_while_others_come_and_go() {
    let daemon = Daemon::start();
    let text = |name: &str, number: u64| {
        let more = match number % 3 {
            0 => String::new(),
            _ => "  - id: more\n    on: webhook\n    auth: none\n".to_owned(),
        };
        format!(
            "aura: 1\nflow: {name}\ntriggers:\n  - id: in\n    on: webhook\n    auth: none\n{more}steps:\n  - id: a\n    set: {{ version: {number} }}\n"
        )
    };
    for name in ["steady", "republished", "switched"] {
        daemon.publish(&text(name, 0));
    }
    let path = |name: &str| daemon.open_hook(name).path;
    // Even: takes deliveries, and did all the while since the number was even.
    let (over, phase) = (AtomicBool::new(false), AtomicU64::new(0));
    let (taken, turned_away) = (AtomicU64::new(0), AtomicU64::new(0));
    let address = daemon.address();
    std::thread::scope(|scope| {
        for (number, name) in ["steady", "republished", "switched", "switched"].into_iter().enumerate() {
            let hook = Hook { address, path: path(name), secret: String::new() };
            let (over, phase, taken, turned_away) = (&over, &phase, &taken, &turned_away);
            scope.spawn(move || {
                for count in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let before = phase.load(Ordering::SeqCst);
                    let reply = hook.send(&format!("{number}-{count}"), "{}").expect("an answer");
                    let all_the_while =
                        name != "switched" || (before % 2 == 0 && phase.load(Ordering::SeqCst) == before);
                    if reply.status == 202 {
                        taken.fetch_add(1, Ordering::SeqCst);
                    } else {
                        assert!(!all_the_while, "{name}: {} {}", reply.status, reply.text());
                        assert_eq!(reply.status, 404, "{}", reply.text());
                        turned_away.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let until = Instant::now() + changing();
        let mut number = 0;
        while Instant::now() < until {
            number += 1;
            daemon.publish(&text("republished", number));
            let hooks = daemon.ask().webhook_list(()).expect("the endpoints");
            let more = hooks.iter().find(|hook| hook.flow == "republished" && hook.trigger == "more");
            assert_eq!(more.is_some(), number % 3 != 0, "routes are those of the publish that was answered");
            if let Some(more) = more {
                let path = more.url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path");
                let reply =
                    Hook { address, path, secret: String::new() }.send(&format!("m{number}"), "{}").expect("an answer");
                assert_eq!(reply.status, 202, "at once behind its publish: {}", reply.text());
            }
            let enable = |enabled| FlowEnable { flow: "switched".to_owned(), enabled };
            phase.fetch_add(1, Ordering::SeqCst);
            daemon.ask().flow_enable(enable(false)).expect("a disabled flow");
            daemon.ask().flow_enable(enable(true)).expect("an enabled flow");
            phase.fetch_add(1, Ordering::SeqCst);
            daemon.publish(&text("switched", number));
        }
        over.store(true, Ordering::SeqCst);
    });
    assert!(taken.load(Ordering::SeqCst) > 100, "{taken:?}");
    assert!(turned_away.load(Ordering::SeqCst) > 0, "some came while it was disabled");
}

#[test]
fn the_doctor_proves_an_address_end_to_end_and_says_what_is_wrong() {
    let lines = |daemon: &Daemon, flow: &str| {
        let said = daemon.aura(&["webhook", "doctor", flow, "--json"]);
        let lines: Vec<serde_json::Value> =
            said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (said.code, lines)
    };
    let level = |lines: &[serde_json::Value], subject: &str| {
        let line = lines.iter().find(|line| line["subject"] == subject);
        line.map(|line| line["level"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    let (daemon, _) = signed();
    let (code, found) = lines(&daemon, "orders/in");
    assert_eq!(code, 0, "{found:#?}");
    for subject in ["endpoint", "secret", "name", "reachable", "body", "clock", "proxy"] {
        assert_eq!(level(&found, subject), "ok", "{subject}: {found:#?}");
    }
    assert_eq!(level(&found, "address"), "warn", "no public_url");
    daemon.aura(&["webhook", "disable", "orders"]).success();
    let (code, found) = lines(&daemon, "orders");
    assert_eq!((code, level(&found, "endpoint").as_str()), (1, "fail"));
    assert_eq!(daemon.aura(&["webhook", "doctor", "nobody"]).code, 3);

    // Something else answers there: a server that is not this daemon.
    let stranger = crate::support::Receiver::start();
    let setup = Setup {
        environment: vec![("AURA_PUBLIC_URL".to_owned(), stranger.url("").trim_end_matches('/').to_owned())],
        ..Setup::default()
    };
    let daemon = Daemon::start_with(setup);
    daemon.publish(&flow("door", OPEN));
    let (code, found) = lines(&daemon, "door");
    assert_eq!((code, level(&found, "reachable").as_str()), (1, "fail"), "{found:#?}");
    let nobody = Setup {
        environment: vec![("AURA_PUBLIC_URL".to_owned(), "http://127.0.0.1:9".to_owned())],
        ..Setup::default()
    };
    let daemon = Daemon::start_with(nobody);
    daemon.publish(&flow("door", OPEN));
    let said = daemon.aura(&["webhook", "doctor", "door"]);
    assert_eq!(said.code, 1);
    assert_says(&said.out, &["was not reached from here", "do: "]);
}

#[test]
fn a_sample_of_the_provider_is_what_its_endpoint_takes() {
    let daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    let schemes = [
        "stripe",
        "github",
        "slack",
        "shopify_webhook",
        "standard_webhooks",
        "hubspot_v3",
        "notion",
        "klaviyo",
        "woocommerce",
        "meta",
    ];
    for scheme in schemes {
        let name = scheme.replace('_', "-");
        daemon.publish(&flow(&name, &format!("    auth: {{ scheme: {scheme}, secret: sender }}\n")));
        let said = daemon.aura(&["webhook", "test", &name, "--provider-sample", "--json"]).success().json();
        let headers: Vec<(String, String)> = said["headers"]
            .as_array()
            .expect("headers")
            .iter()
            .map(|pair| (pair[0].as_str().expect("a name").to_owned(), pair[1].as_str().expect("a value").to_owned()))
            .collect();
        let body = said["body"].as_str().expect("a body");
        assert!(said["curl"].as_str().expect("a line").starts_with("curl -i -X POST 'http"));
        let reply = daemon.open_hook(&name).send_with(&headers, body.as_bytes()).expect("an answer");
        assert!((200..300).contains(&reply.status) && reply.event().is_some(), "{scheme}: {}", reply.text());
    }
    daemon.secret("word", "open-sesame-7");
    daemon.publish(&flow("token", "    auth: { bearer: word }\n"));
    let said = daemon.aura(&["webhook", "test", "token", "--provider-sample"]).success();
    assert!(said.out.contains("$TOKEN") && !said.out.contains("sesame"), "{said:?}");
}

#[test]
fn a_deleted_endpoint_is_taken_out_of_its_flow_and_answers_404() {
    let daemon = Daemon::start();
    let text =
        flow("orders", OPEN).replace("steps:", "  # the other one\n  - { id: other, on: webhook, auth: none }\nsteps:");
    daemon.publish(&text);
    let hooks = daemon.ask().webhook_list(()).expect("the endpoints");
    let of = |trigger: &str| {
        let hook = hooks.iter().find(|hook| hook.trigger == trigger).expect("an endpoint");
        Hook { path: format!("/hooks/{}", hook.url.rsplit('/').next().expect("a name")), ..daemon.open_hook("orders") }
    };
    let (first, other) = (of("in"), of("other"));
    assert_eq!(daemon.aura(&["webhook", "delete", "orders"]).code, 3, "which one?");
    let unasked = daemon.aura(&["webhook", "delete", "orders/in"]);
    assert_eq!(unasked.code, 2, "{unasked:#?}");
    assert_says(unasked.out.as_str(), &["orders: changed", "in"]);
    assert_eq!(first.send("m1", "{}").expect("an answer").status, 202, "nobody agreed");
    daemon.apply(&text.replace("trigger.body", "trigger.query")).expect("a draft");
    let draft = daemon.aura(&["webhook", "delete", "orders/in", "--yes"]);
    assert_eq!(draft.code, 5, "{draft:#?}");
    daemon.apply(&text).expect("the draft as it is published");
    daemon.aura(&["webhook", "delete", "orders/in", "--yes"]).success();
    assert_eq!(first.send("m2", "{\"n\":2}").expect("an answer").status, 404);
    assert_eq!(other.send("m3", "{}").expect("an answer").status, 202);
    let unclaimed = rows(&daemon, DeliveryQuery { unclaimed: true, ..DeliveryQuery::default() });
    assert_eq!(unclaimed.len(), 1, "{unclaimed:#?}");
    let left = daemon.ask().flow_show("orders".to_owned()).expect("the flow").published.expect("its text");
    assert!(left.contains("# the other one") && !left.contains("id: in\n"), "{left}");
    let last = daemon.aura(&["webhook", "delete", "orders", "--yes"]).success();
    assert_says(last.err.as_str(), &["nothing starts orders any more but `aura flow run`"]);
    assert_eq!(other.send("m4", "{}").expect("an answer").status, 404);
    assert_eq!(daemon.aura(&["webhook", "delete", "orders", "--yes"]).code, 3);
}
