//! A store as a busy afternoon leaves it: every run state, held events, one run that was retried.
//!
//! Invariant: fixed ids and times, so that snapshots say the same every day.

use aura_protocol::Value;
use aura_protocol::event::{Delivery, EventRow, EventState};
use aura_protocol::flow::{Effect, Finding, Severity};
use aura_protocol::ids::{EventId, FlowId, RunId};
use aura_protocol::rpc::{
    Activity, Backfilling, EventPage, EventQuery, FlowActivity, FlowDetail, FlowRow, LastRun, OutlineRow, RunDetail,
    ScheduleInfo, StatusReply, Webhook,
};
use aura_protocol::run::{
    Blocked, ErrorClass, Record, RunHead, RunStarted, RunState, ScopeKind, StepError, Transition,
};

use crate::catalog::FlowView;
use crate::event::Reply;
use crate::glyphs::Glyphs;
use crate::look::Look;
use crate::store::{Link, Store};
use crate::theme::Theme;

/// Sunday afternoon, 2026-11-22 14:00:00 UTC.
pub const NOW: i64 = 1_795_356_000_000;

/// A run's id by a small number.
pub fn run(number: u8) -> RunId {
    let at = u64::try_from(NOW).unwrap() - 100_000 + u64::from(number) * 1000;
    RunId::from_parts(at, &[number; 10])
}

/// An event's id by a small number.
pub fn event(number: u8) -> EventId {
    EventId::from_parts(u64::try_from(NOW).unwrap() + u64::from(number), &[number; 10])
}

/// Boxes, UTC, a theme.
pub fn look(theme: Theme) -> Look {
    Look { theme, glyphs: Glyphs::BOX, zone: jiff::tz::TimeZone::UTC }
}

/// A run's head.
pub fn head(number: u8, flow: &str, state: RunState) -> RunHead {
    let created = NOW - 100_000 + i64::from(number) * 1000;
    RunHead {
        run: run(number),
        flow_id: FlowId::from_parts(1, &[1; 10]),
        flow: flow.to_owned(),
        version: "5c1f0a9be2".to_owned(),
        trigger: "order_paid".to_owned(),
        event: event(number),
        state,
        created_ms: created,
        finished_ms: state.is_final().then_some(created + 1200),
        step: "charge_check".to_owned(),
        attempt: 1,
        steps_done: 3,
        steps_all: 10,
        blocked_by: None,
        error: None,
        transition: 9,
        origin: None,
    }
}

/// An error as providers give it.
pub fn error(step: &str) -> StepError {
    let mut error = StepError::new(ErrorClass::RateLimited, "Too many requests");
    error.step = step.to_owned();
    error.code = Some("429".to_owned());
    error
}

/// A held event.
pub fn held(number: u8) -> EventRow {
    EventRow {
        event: event(number),
        flow: "recover-abandoned-cart".to_owned(),
        trigger: "abandoned".to_owned(),
        state: EventState::Held,
        reason: "debounce: quiet for 1h".to_owned(),
        starts_at_ms: Some(NOW + 3_600_000),
        run: None,
        delivery: delivery(number),
    }
}

fn delivery(number: u8) -> Delivery {
    Delivery {
        event: event(number),
        trigger: "abandoned".to_owned(),
        method: "POST".to_owned(),
        query: String::new(),
        headers: vec![("x-shopify-topic".to_owned(), "checkouts/update".to_owned())],
        body: br#"{"id": 8801, "email": "ann@example.com", "total": 612.10}"#.to_vec(),
        blob: None,
        came: None,
        received_ms: NOW - 2000,
    }
}

/// The daemon's status.
pub fn status() -> StatusReply {
    StatusReply {
        build: "0.1.0".to_owned(),
        pid: 4711,
        state: "ready".to_owned(),
        profile: "shop-01".to_owned(),
        listen: "127.0.0.1:8443".to_owned(),
        data_dir: "/var/lib/aura".to_owned(),
        up_ms: 777_600_000,
        now_ms: NOW,
        store_bytes: 34_000_000,
        cursor: 1200,
        live: vec![(RunState::Running, 2)],
        held: 1,
        room: aura_protocol::rpc::RoomStatus::default(),
        checked: None,
        tunnel: None,
    }
}

/// All heads, newest first, as the daemon lists them.
pub fn heads() -> Vec<RunHead> {
    let mut heads = vec![
        head(20, "order-paid-fulfil", RunState::Running),
        head(19, "support-triage", RunState::Queued),
        head(18, "recover-abandoned-cart", RunState::Waiting),
        head(17, "refund-sync", RunState::Retrying),
        head(16, "refund-sync", RunState::InDoubt),
        head(15, "refund-sync", RunState::Failed),
        head(14, "order-paid-fulfil", RunState::Succeeded),
        head(13, "order-paid-fulfil", RunState::Cancelled),
        head(12, "monatsabschluss-größe-日本", RunState::Paused),
        head(11, "order-paid-fulfil", RunState::Succeeded),
    ];
    let blocked = |reason: &str, until_ms| Some(Blocked::because(reason, until_ms));
    for head in &mut heads {
        match head.state {
            RunState::Queued => head.blocked_by = blocked("waits for run 4XK2QW (concurrency key)", None),
            RunState::Waiting => head.blocked_by = blocked("sleeps until 13:00", Some(NOW + 82_800_000)),
            RunState::Retrying => head.blocked_by = blocked("tries again: Too many requests", Some(NOW + 9000)),
            RunState::InDoubt => head.blocked_by = blocked("in doubt: post_refund, no answer came", None),
            RunState::Failed => head.error = Some(error("post_refund")),
            _ => {}
        }
        if head.flow == "refund-sync" {
            head.step = "post_refund".to_owned();
            head.attempt = 2;
            head.steps_all = 4;
        }
    }
    heads
}

/// The store with its lists.
pub fn store() -> Store {
    let mut store = Store::default();
    store.apply(Reply::Status(status()));
    store.apply(Reply::Runs(heads()));
    store.held.insert(event(40), held(40));
    store.link = Link::Up;
    store
}

fn at(number: u64, at_ms: i64, records: Vec<Record>) -> Transition {
    Transition { number, at_ms, records }
}

/// The failed refund: a call that was tried three times, a branch, a mail with a payload.
pub fn detail() -> RunDetail {
    let begin = NOW - 85_000;
    let call = |path: &str, key: &str| Record::Scheduled {
        path: path.to_owned(),
        input: Value::object([
            ("method", Value::from("POST")),
            ("url", Value::from("/v1/refunds")),
            ("body", Value::object([("charge", Value::from("ch_3Nf")), ("amount", Value::from(6120_i64))])),
        ]),
        input_hash: String::new(),
        key: key.to_owned(),
        effect: Effect::Keyed,
        draws: Vec::new(),
        limit: None,
    };
    let done = |path: &str, attempt| Record::Completed {
        path: path.to_owned(),
        attempt,
        output: Value::object([("id", Value::from("re_8790")), ("total", Value::Dec("612.10".to_owned()))]),
    };
    let failed = |attempt, retry_at_ms| Record::Failed {
        path: "post_refund".to_owned(),
        attempt,
        error: error("post_refund"),
        retry_at_ms,
    };
    let start = RunStarted {
        caller: None,
        flow_id: FlowId::from_parts(1, &[1; 10]),
        flow: "refund-sync".to_owned(),
        version: "5c1f0a9be2".to_owned(),
        trigger: "refund_created".to_owned(),
        semantics: 1,
        event: delivery(15),
        events: vec![event(15)],
        events_more: 0,
        deadline_ms: None,
        refused: None,
        input: Value::Null,
        priority: 0,
        index: Vec::new(),
        vars: Value::Null,
        origin: None,
    };
    let journal = vec![
        at(
            1,
            begin,
            vec![Record::RunStarted(std::sync::Arc::new(start)), done("totals", 0), call("load_order", "aura_A")],
        ),
        at(
            2,
            begin + 480,
            vec![
                done("load_order", 1),
                Record::ScopeOpened { path: "is_big".to_owned(), scope: ScopeKind::Arm(0) },
                call("post_refund", "aura_B"),
            ],
        ),
        at(3, begin + 590, vec![failed(1, Some(begin + 2590))]),
        at(4, begin + 2590, vec![Record::TimerFired { path: "post_refund".to_owned() }]),
        at(5, begin + 2700, vec![failed(2, Some(begin + 6700))]),
        at(6, begin + 6700, vec![Record::TimerFired { path: "post_refund".to_owned() }]),
        at(
            7,
            begin + 6810,
            vec![
                failed(3, None),
                Record::Skipped {
                    path: "mark_done".to_owned(),
                    why: "a step before it failed".to_owned(),
                    spread: false,
                },
                Record::RunFinished { state: RunState::Failed, error: Some(error("post_refund")), output: Value::Null },
            ],
        ),
    ];
    let row = |step: &str, depth, kind: &str, scope: &str| OutlineRow {
        step: step.to_owned(),
        depth,
        kind: kind.to_owned(),
        scope: scope.to_owned(),
    };
    let mut head = heads().into_iter().find(|head| head.state == RunState::Failed).unwrap();
    head.steps_done = 4;
    head.transition = 7;
    head.finished_ms = Some(begin + 6810);
    RunDetail {
        head,
        journal,
        outline: vec![
            row("totals", 0, "set", "steps"),
            row("load_order", 0, "shopify.get_order", "steps"),
            row("is_big", 0, "branch", "steps"),
            row("post_refund", 1, "http", "when {{ steps.totals.output.sum > 100 }}"),
            row("mark_done", 0, "shopify.update_order", "steps"),
        ],
        cut: false,
    }
}

/// The same run with steps side by side: a join that lost somebody, a map with a failed item, steps being undone.
pub fn items() -> RunDetail {
    let begin = NOW - 85_000;
    let row = |step: &str, depth, kind: &str, scope: &str| OutlineRow {
        step: step.to_owned(),
        depth,
        kind: kind.to_owned(),
        scope: scope.to_owned(),
    };
    let started = |path: &str| Record::Started { path: path.to_owned(), attempt: 1, lease: 1, epoch: 1 };
    let done =
        |path: &str| Record::Completed { path: path.to_owned(), attempt: 1, output: Value::from(i64::from(1_u8)) };
    let opened = |path: &str, scope| Record::ScopeOpened { path: path.to_owned(), scope };
    let listed =
        Record::Listed { path: "parcels".to_owned(), items: vec![Value::Null; 12], keys: Vec::new(), parallel: 4 };
    let failed = Record::Failed { path: "ship[A-18]".to_owned(), attempt: 1, error: error("ship"), retry_at_ms: None };
    let journal = vec![
        at(1, begin, vec![started("charge"), started("quick"), started("cheap")]),
        at(2, begin + 300, vec![done("charge")]),
        at(
            3,
            begin + 450,
            vec![
                done("quick"),
                Record::Lost { path: "cheap".to_owned(), join: "carrier".to_owned() },
                Record::Failed {
                    path: "cheap".to_owned(),
                    attempt: 1,
                    error: StepError::new(ErrorClass::Cancelled, "a join went on without this step"),
                    retry_at_ms: None,
                },
                done("carrier"),
                listed,
                opened("parcels", ScopeKind::Item(0)),
                started("ship[A-17]"),
                opened("parcels", ScopeKind::Item(1)),
                started("ship[A-18]"),
            ],
        ),
        at(
            4,
            begin + 900,
            vec![done("ship[A-17]"), done("label[A-17]"), Record::ItemDone { path: "parcels".to_owned(), index: 0 }],
        ),
        at(5, begin + 1000, vec![failed, opened("ship[A-17]", ScopeKind::Compensate), started("recall[A-17]")]),
        at(
            6,
            begin + 1400,
            vec![
                done("recall[A-17]"),
                Record::Compensated { path: "ship[A-17]".to_owned(), error: None },
                opened("charge", ScopeKind::Compensate),
                started("refund"),
            ],
        ),
    ];
    let mut detail = detail();
    detail.head.state = RunState::Running;
    detail.head.finished_ms = None;
    detail.head.flow = "ship-order".to_owned();
    detail.journal = journal;
    detail.outline = vec![
        row("charge", 0, "http", "steps"),
        row("refund", 1, "http", "compensate"),
        row("quick", 0, "http", "steps"),
        row("cheap", 0, "http", "steps"),
        row("carrier", 0, "set", "steps"),
        row("parcels", 0, "map", "steps"),
        row("ship", 1, "http", "map"),
        row("recall", 2, "http", "compensate"),
        row("label", 1, "set", "map"),
        row("note", 0, "http", "finally"),
    ];
    detail
}

fn flow_row(number: u8, flow: &str, enabled: bool, published: bool, draft: bool) -> FlowRow {
    FlowRow {
        id: FlowId::from_parts(1, &[number; 10]),
        flow: flow.to_owned(),
        title: format!("Title of {flow}"),
        enabled,
        paused: false,
        held: 0,
        published: published.then(|| "5c1f0a9be2d3".to_owned()),
        draft: draft.then(|| "77aa0a9be2d3".to_owned()),
        triggers: vec!["abandoned: shopify.checkout_updated".to_owned(), "by_hand: manual".to_owned()],
        next_ms: (number == 4).then_some(NOW + 600_000),
        changed_ms: NOW - 900_000,
    }
}

/// The text of the open flow's draft.
const DRAFT: &str = "aura: 1
flow: refund-sync
triggers:
  - id: abandoned
    on: shopify.checkout_updated
    connection: shop
steps:
  - id: post_refund
    usess: http
  - id: mark_done
    stop: { ok: done }
";

/// The text of a flow that can be tried, with steps in steps.
pub const TRIABLE: &str = "aura: 1
flow: refund-sync
triggers: [{ id: abandoned, on: webhook, auth: none }]
steps:
  - id: lookup
    http: { url: \"https://e.org/refunds\" }
  - id: large
    branch:
      - when: \"{{ steps.lookup.output.body.cents > 5000 }}\"
        steps:
          - id: ask_the_one_who_signs_for_large_refunds
            approval: { form: { sum: \"{{ steps.lookup.output.body.cents }}\" }, approvers: [admin], deadline: 1d }
      - else: true
        steps:
          - id: post_refund
            http: { method: POST, url: \"https://e.org/refunds\" }
            on_error:
              - id: tell
                set: { said: \"{{ error.message }}\" }
finally:
  - { id: mark_done, set: { done: true } }
";

/// The store with flows, one of them open, and events.
pub fn catalog() -> Store {
    let mut store = open();
    let rows = vec![
        flow_row(1, "monatsabschluss-größe-日本", true, true, false),
        flow_row(2, "order-paid-fulfil", true, true, false),
        flow_row(3, "refund-sync", true, true, true),
        flow_row(4, "support-triage", false, true, false),
        flow_row(5, "new-idea", false, false, true),
        flow_row(6, "recover-abandoned-cart", true, true, false),
    ];
    let last = |number: u8, state: RunState, error: &str| {
        Some(LastRun { run: run(number), state, created_ms: NOW - 60_000, finished_ms: None, error: error.to_owned() })
    };
    let activity = |flow: &str, last, runs, failed, held| FlowActivity {
        flow: flow.to_owned(),
        last,
        runs,
        failed,
        held,
        next_held_ms: (held > 0).then_some(NOW + 3_600_000),
    };
    let flows = vec![
        activity("order-paid-fulfil", last(20, RunState::Running, ""), 1240, 0, 0),
        activity("refund-sync", last(15, RunState::Failed, "429 Too many requests"), 31, 7, 0),
        activity("recover-abandoned-cart", last(18, RunState::Waiting, ""), 12, 0, 3),
    ];
    store.apply(Reply::Flows(rows.clone(), Activity { flows, since_ms: NOW - 86_400_000 }));
    let finding = |severity, line, message: &str, hint: Option<&str>| Finding {
        severity,
        line,
        column: 5,
        path: "steps[0]".to_owned(),
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    };
    store.apply(Reply::Flow(Box::new(FlowView {
        detail: FlowDetail {
            row: rows[2].clone(),
            published: Some(DRAFT.replace("usess", "uses")),
            draft: Some(DRAFT.to_owned()),
        },
        hooks: vec![Webhook {
            flow: "refund-sync".to_owned(),
            trigger: "abandoned".to_owned(),
            on: "shopify.checkout_updated".to_owned(),
            url: "http://127.0.0.1:8470/hooks/abcdefghjkmnpqrstvwxyz1234".to_owned(),
            alias: None,
            auth: "shopify_webhook".to_owned(),
            secret_set: true,
            enabled: true,
            offered: None,
            last_event: Some(event(15)),
            ..Webhook::default()
        }],
        forms: Vec::new(),
        polls: Vec::new(),
        backfills: Vec::new(),
        findings: vec![
            finding(Severity::Error, 9, "`usess` is no key of a step", Some("did you mean `uses`?")),
            finding(Severity::Warning, 0, "the flow has no title", None),
        ],
    })));
    let mut dropped = held(41);
    dropped.state = EventState::Dropped;
    dropped.reason = "its trigger's filter is false".to_owned();
    dropped.starts_at_ms = None;
    let mut repeat = held(42);
    repeat.state = EventState::Duplicate;
    repeat.reason = format!("repeats event {}", event(40));
    repeat.starts_at_ms = None;
    repeat.run = Some(run(18));
    let events = vec![repeat, dropped, held(40)];
    store.apply(Reply::Events(EventQuery::default(), EventPage { events, next: Some(event(40)) }));
    store.apply(Reply::Schedules(schedules()));
    store.catalog.stale = false;
    hooks(&mut store);
    store.apply(Reply::Subscriptions(subscriptions()));
    store.apply(Reply::Sendings("acme-orders".to_owned(), sendings()));
    store
}

fn schedule(flow: &str, trigger: &str, rule: &str, next: &[i64]) -> ScheduleInfo {
    ScheduleInfo {
        flow: flow.to_owned(),
        trigger: trigger.to_owned(),
        rule: rule.to_owned(),
        zone: "Europe/Berlin".to_owned(),
        catch_up: "latest".to_owned(),
        overlap: "skip".to_owned(),
        enabled: true,
        next: next.to_vec(),
        last_ms: None,
        last_run: None,
        missed: 0,
        last_note: String::new(),
        jitter_ms: 0,
        begins: Vec::new(),
        paused_by: None,
        backfill: None,
    }
}

/// Schedules in all their states.
pub fn schedules() -> Vec<ScheduleInfo> {
    const HOUR: i64 = 3_600_000;
    let hours: Vec<i64> = (1..=10).map(|hour| NOW + hour * HOUR).collect();
    let days: Vec<i64> = (1..=10).map(|day| NOW + 3 * HOUR + day * 24 * HOUR).collect();
    vec![
        ScheduleInfo {
            last_ms: Some(NOW - HOUR),
            last_run: Some(run(18)),
            missed: 3,
            last_note: "caught up; 3 before it were left out".to_owned(),
            jitter_ms: 300_000,
            begins: hours.iter().map(|hour| hour + 41_000).collect(),
            ..schedule("refund-sync", "hourly", "every 1h", &hours)
        },
        ScheduleInfo {
            last_ms: Some(NOW - 24 * HOUR),
            last_run: Some(run(15)),
            backfill: Some(Backfilling {
                from_ms: NOW - 720 * HOUR,
                to_ms: NOW - 24 * HOUR,
                at_ms: NOW - 500 * HOUR,
                made: 12,
                left: 17,
                by: "anna".to_owned(),
            }),
            ..schedule("monatsabschluss-größe-日本", "jeden-tag", "30 6 * * * Europe/Berlin", &days)
        },
        ScheduleInfo {
            paused_by: Some("anna".to_owned()),
            ..schedule("order-paid-fulfil", "sweep", "*/5 * * * * UTC, 2 exceptions", &[])
        },
        ScheduleInfo {
            enabled: false,
            ..schedule("support-triage", "digest", "FREQ=WEEKLY;BYDAY=MO Europe/Berlin", &[])
        },
    ]
}

/// Endpoints, and what came to them.
fn hooks(store: &mut Store) {
    use aura_protocol::ids::DeliveryId;
    use aura_protocol::rpc::{DeliveryDetail, DeliveryPage, DeliveryRow, Verdict};
    let hook = |flow: &str, trigger: &str, auth: &str| Webhook {
        flow: flow.to_owned(),
        trigger: trigger.to_owned(),
        on: "webhook".to_owned(),
        url: "https://hooks.northwind.example/hooks/abcdefghjkmnpqrstvwxyz1234".to_owned(),
        auth: auth.to_owned(),
        secret_set: true,
        enabled: true,
        accepted: 1204,
        last_ms: Some(NOW - 5_000),
        ..Webhook::default()
    };
    let rows = vec![
        hook("order-paid-fulfil", "paid", "stripe"),
        Webhook { refused: 7, secret_until_ms: Some(NOW + 3_600_000), ..hook("refund-sync", "in", "github") },
        Webhook { closed: true, accepted: 0, ..hook("support-triage", "mail", "bearer") },
    ];
    store.apply(Reply::Hooks(rows));
    let row = |number: u8, flow: &str, status: u16, verdict: Verdict, why: &str| DeliveryRow {
        id: DeliveryId::from(event(number)),
        at_ms: NOW - 60_000 + i64::from(number) * 500,
        flow: flow.to_owned(),
        trigger: if flow.is_empty() { String::new() } else { "in".to_owned() },
        method: "POST".to_owned(),
        path: "/hooks/01hqz".to_owned(),
        from: "203.0.113.7".to_owned(),
        status: Some(status),
        verdict,
        why: why.to_owned(),
        took_us: Some(u64::from(number) * 317),
        bytes: 51,
        event: None,
        state: (status == 202).then_some(EventState::Started),
        run: (status == 202).then(|| run(9)),
        relay: None,
    };
    let stale = "the timestamp in `stripe-signature` is 412 s old and 300 s are allowed";
    let deliveries = vec![
        row(30, "order-paid-fulfil", 202, Verdict::Proved, "became a run"),
        row(29, "refund-sync", 401, Verdict::Digest, "no signature in `x-hub-signature-256` matches"),
        row(28, "refund-sync", 202, Verdict::ProvedBefore, "became a run"),
        row(27, "order-paid-fulfil", 401, Verdict::Stale, stale),
        row(26, "", 404, Verdict::NoEndpoint, "no endpoint has this address"),
    ];
    let open = DeliveryDetail {
        row: deliveries.get(1).cloned().unwrap_or_default(),
        headers: vec![("x-hub-signature-256".to_owned(), "sha256=aa00".to_owned())],
        withheld: vec!["cookie".to_owned()],
        body: br#"{"action":"opened","number":7}"#.to_vec(),
        advice: Verdict::Digest.advice().to_owned(),
        findings: vec!["it is signed with `value` of the connection old-hook".to_owned()],
        ..DeliveryDetail::default()
    };
    let page = DeliveryPage { deliveries, next: None, unkept: 12 };
    store.apply(Reply::Deliveries(Default::default(), Default::default(), page));
    store.apply(Reply::Delivery(Box::new(open)));
    store.hooks.stale = false;
}

/// Who is sent what: one that is well, one that fails, one that the daemon disabled, one that is off.
pub fn subscriptions() -> Vec<aura_protocol::outgoing::Subscription> {
    use aura_protocol::outgoing::{Cause, Health, Subscription};
    let row = |number: u64, name: &str, types: &[&str], health: Health| Subscription {
        id: aura_protocol::SubscriptionId::from_parts(number, &[0; 10]),
        name: name.to_owned(),
        url: format!("https://{name}.example/hooks/\u{1b}[2J"),
        types: types.iter().map(|pattern| (*pattern).to_owned()).collect(),
        customer: (number == 1).then(|| "acme".to_owned()),
        note: String::new(),
        headers: Vec::new(),
        rate: None,
        ordered: false,
        enabled: health.disabled.is_none() && number != 4,
        rotating_until_ms: None,
        created_ms: NOW - 9_000_000,
        changed_ms: NOW - 9_000_000,
        health,
    };
    let failing = Health { waiting: 12_345, failing_since_ms: Some(NOW - 7_200_000), ..Health::default() };
    let gone = Health { disabled: Some((NOW - 86_400_000, Cause::Gone)), waiting: 1, ..Health::default() };
    vec![
        row(1, "acme-orders", &["order.*"], failing),
        row(2, "erp", &["*"], Health::default()),
        row(3, "old-partner", &["order.paid", "order.shipped"], gone),
        row(4, "warehouse", &["stock.*"], Health::default()),
    ]
}

/// What was sent to the one that fails.
pub fn sendings() -> aura_protocol::outgoing::SendingPage {
    use aura_protocol::outgoing::{Attempt, Sending, SendingPage, SendingState};
    let attempt = |number: u32, status: Option<u16>, error: &str| Attempt {
        number,
        at_ms: NOW - 60_000,
        took_ms: 1_234,
        status,
        error: error.to_owned(),
        answer: "try \u{1b}[31mlater".to_owned(),
    };
    let sending = |number: u8, state, next_ms, attempts: Vec<Attempt>| Sending {
        message: aura_protocol::MessageId::from_parts(u64::from(number), &[number; 10]),
        subscription: "acme-orders".to_owned(),
        kind: "order.paid".to_owned(),
        state,
        created_ms: NOW - 3_600_000 * i64::from(number),
        next_ms,
        reason: if state == SendingState::Failed { "given up after 10 attempts".to_owned() } else { String::new() },
        attempts,
    };
    let busy = || attempt(2, Some(503), "the answer has status 503");
    let sendings = vec![
        sending(1, SendingState::Waiting, Some(NOW + 300_000), vec![busy()]),
        sending(2, SendingState::Waiting, Some(NOW), Vec::new()),
        sending(3, SendingState::Failed, None, vec![attempt(10, None, "no answer of acme-orders.example within 20s")]),
        sending(4, SendingState::Succeeded, None, vec![attempt(1, Some(204), "")]),
    ];
    SendingPage { sendings, next: None }
}

/// The store with the failed refund open.
pub fn open() -> Store {
    let mut store = store();
    store.apply(Reply::Run(Box::new(detail())));
    store
}

/// What running the failed refund again from its call would do, and what was asked.
pub fn replay() -> (aura_protocol::rpc::RunReplay, aura_protocol::rpc::ReplayPreview) {
    use aura_protocol::flow::Effect;
    use aura_protocol::rpc::{Fate, ReplayCall, ReplayPreview, RunRef, RunReplay, VersionOf};
    use aura_protocol::run::Point;
    let run = detail().head.run;
    let point = Point::Step("post_refund".to_owned());
    let request = RunReplay {
        run: RunRef(run.to_string()),
        point: point.clone(),
        input: None,
        version: VersionOf::Run,
        reuse_keys: false,
        preview: true,
    };
    let call = |path: &str, calls: &str, effect, fate, why: &str| ReplayCall {
        path: path.to_owned(),
        calls: calls.to_owned(),
        effect,
        fate,
        why: why.to_owned(),
    };
    let calls = vec![
        call("post_refund", "http POST", Effect::Keyed, Fate::NewKey, "the replay begins here"),
        call(
            "mark_done",
            "shopify.update_order",
            Effect::Idempotent,
            Fate::NewKey,
            "the run did not come to it; only if this one does",
        ),
        call("load_order", "shopify.get_order", Effect::Read, Fate::Copied, ""),
    ];
    let preview = ReplayPreview {
        of: run,
        flow: "refund-sync".to_owned(),
        point,
        version: "5c1f0a9be2".to_owned(),
        same_version: true,
        copied: 2,
        again: 3,
        calls,
        more: 0,
    };
    (request, preview)
}
