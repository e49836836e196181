//! Text from outside never reaches the terminal as anything but visible text.

use aura_protocol::Value;
use aura_protocol::run::{Record, RunState, Transition};

use super::{app, press};
use crate::event::{Event, Reply};
use crate::fixture;
use crate::term::Canvas;

const EVIL: &str = "x\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{e0041}\r\n\u{8}y";

/// Every place of a frame that shows text from outside.
fn frames() -> Vec<Vec<u8>> {
    let mut detail = fixture::detail();
    let mut head = fixture::head(50, EVIL, RunState::Failed);
    head.step = EVIL.into();
    head.trigger = EVIL.into();
    head.version = EVIL.into();
    let mut error = fixture::error(EVIL);
    error.message = EVIL.into();
    error.code = Some(EVIL.into());
    head.error = Some(error.clone());
    detail.head = head.clone();
    detail.outline[0].step = EVIL.into();
    detail.outline[1].kind = EVIL.into();
    detail.outline[3].scope = EVIL.into();
    let last = detail.journal.len() as u64;
    detail.journal.push(Transition {
        number: last + 1,
        at_ms: fixture::NOW,
        records: vec![
            Record::Log { path: EVIL.into(), level: EVIL.into(), message: EVIL.into() },
            Record::CancelRequested { by: EVIL.into(), reason: EVIL.into() },
            Record::Completed {
                path: "load_order".into(),
                attempt: 1,
                output: Value::object([(EVIL, Value::from(EVIL)), ("number", Value::Dec("1.0".into()))]),
            },
            Record::Failed { path: "post_refund".into(), attempt: 9, error, retry_at_ms: None },
        ],
    });
    let mut held = fixture::held(60);
    held.flow = EVIL.into();
    held.reason = EVIL.into();
    held.trigger = EVIL.into();
    let mut app = app(fixture::store());
    app.store.held.insert(held.event, held);
    app.store.status.as_mut().unwrap().profile = EVIL.into();
    app.store.status.as_mut().unwrap().state = EVIL.into();
    app.handle(Event::Link(Box::new(Reply::Runs(vec![head]))));
    app.handle(Event::Notice(EVIL.into()));
    let mut canvas = Canvas::new(false);
    let mut frames = Vec::new();
    let mut shoot = |app: &mut crate::app::App| {
        canvas.forget();
        frames.extend(canvas.frame((200, 60), |buf, area| app.draw(buf, area)).unwrap());
    };
    shoot(&mut app);
    press(&mut app, "j j");
    shoot(&mut app);
    press(&mut app, ":");
    shoot(&mut app);
    app.handle(Event::Paste(EVIL.into()));
    shoot(&mut app);
    press(&mut app, "esc enter");
    app.handle(Event::Link(Box::new(Reply::Run(Box::new(detail)))));
    shoot(&mut app);
    for keys in ["i", "o", "e", "g", "j", "j o", "j", "j e", "tab", "tab", "z"] {
        press(&mut app, keys);
        shoot(&mut app);
    }
    let mut rows: Vec<_> = fixture::catalog().catalog.rows.into_values().collect();
    let mut view = fixture::catalog().catalog.open.unwrap();
    let mut activity = aura_protocol::rpc::Activity::default();
    for row in &mut rows {
        row.title = EVIL.into();
        row.triggers = vec![EVIL.into()];
        activity.flows.push(aura_protocol::rpc::FlowActivity {
            flow: row.flow.clone(),
            last: Some(aura_protocol::rpc::LastRun {
                run: fixture::run(1),
                state: RunState::Failed,
                created_ms: fixture::NOW,
                finished_ms: None,
                error: EVIL.into(),
            }),
            ..Default::default()
        });
    }
    view.detail.draft = Some(format!("aura: 1\n{EVIL}\n"));
    view.detail.row.title = EVIL.into();
    view.hooks[0].url = EVIL.into();
    view.hooks[0].auth = EVIL.into();
    view.findings[0].message = EVIL.into();
    view.findings[0].hint = Some(EVIL.into());
    view.findings[0].line = 2;
    let mut event = fixture::held(61);
    event.flow = EVIL.into();
    event.reason = EVIL.into();
    event.delivery.query = EVIL.into();
    event.delivery.headers = vec![(EVIL.into(), EVIL.into())];
    event.delivery.body = EVIL.as_bytes().to_vec();
    app.handle(Event::Link(Box::new(Reply::Flows(rows, activity))));
    let page = aura_protocol::rpc::EventPage { events: vec![event], next: None };
    app.handle(Event::Link(Box::new(Reply::Events(Default::default(), page))));
    app.handle(Event::Link(Box::new(Reply::Flow(Box::new(view)))));
    let known = fixture::catalog().hooks;
    let mut rows = known.rows;
    (rows[0].flow, rows[0].trigger, rows[0].url, rows[0].auth) = (EVIL.into(), EVIL.into(), EVIL.into(), EVIL.into());
    let mut detail = known.open.unwrap_or_default();
    (detail.row.why, detail.row.from, detail.row.path, detail.row.flow) =
        (EVIL.into(), EVIL.into(), EVIL.into(), EVIL.into());
    (detail.headers, detail.withheld) = (vec![(EVIL.into(), EVIL.into())], vec![EVIL.into()]);
    (detail.body, detail.query, detail.findings) = (EVIL.as_bytes().to_vec(), EVIL.into(), vec![EVIL.into()]);
    let page = aura_protocol::rpc::DeliveryPage { deliveries: vec![detail.row.clone()], ..Default::default() };
    app.handle(Event::Link(Box::new(Reply::Hooks(rows))));
    app.handle(Event::Link(Box::new(Reply::Deliveries(Default::default(), Default::default(), page))));
    app.handle(Event::Link(Box::new(Reply::Delivery(Box::new(detail)))));
    let said = crate::commands::Finished { line: EVIL.into(), code: None, output: EVIL.into() };
    app.context_name = Some(EVIL.into());
    for size in [(80, 24), (200, 60)] {
        let mut shoot = |app: &mut crate::app::App| {
            canvas.forget();
            frames.extend(canvas.frame(size, |buf, area| app.draw(buf, area)).unwrap());
        };
        for keys in [
            "2", "j j j j", "enter", "tab z", "z", "r", "esc", "3", "tab", "z", "z tab", "5", "j j", "k k tab", "tab",
            "z", "z", "@", ":", "esc",
        ] {
            press(&mut app, keys);
            shoot(&mut app);
        }
        app.handle(Event::Finished(Box::new(said.clone())));
        shoot(&mut app);
        app.handle(Event::Link(Box::new(Reply::Refused(aura_protocol::WireError::internal(EVIL)))));
        press(&mut app, "esc @");
        shoot(&mut app);
    }
    frames
}

#[test]
fn no_control_sequence_and_no_invisible_character_leaves_the_client() {
    let frames = frames();
    assert!(frames.len() > 10);
    let mut seen = false;
    for bytes in frames {
        let text = String::from_utf8(bytes).unwrap();
        let body = text.replace("\u{1b}[?2026h", "").replace("\u{1b}[?2026l", "").replace("\u{1b}[2J", "<clear>");
        assert_eq!(body.matches("<clear>").count(), 1, "only our own clear");
        for risky in
            ["\u{1b}]", "\u{7}", "\u{9b}", "\u{202e}", "\u{2066}", "\u{200b}", "\u{e0041}", "\u{8}", "\r", "\n"]
        {
            assert!(!body.contains(risky), "{risky:?} in {body:?}");
        }
        seen |= body.contains("]52;c;");
    }
    assert!(seen, "the text itself is shown, made visible");
}
