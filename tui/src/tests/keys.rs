//! Key scripts: a store and keys lead to questions for the daemon and to what is shown.

use aura_protocol::Value;
use aura_protocol::rpc::{RunReplay, VersionOf};
use aura_protocol::run::{Point, Record, Resolution, RunState};

use super::{app, asked, press, text, write};
use crate::action::Request;
use crate::app::Todo;
use crate::event::{Event, Reply};
use crate::fixture;

#[test]
fn enter_opens_the_selected_run_and_back_returns_to_it() {
    let mut app = app(fixture::store());
    // The first row is the held event, below it the newest run.
    assert_eq!(press(&mut app, "enter"), []);
    assert!(text(&mut app, 80, 24).contains("this event is held"), "a held event says why it does not open");
    let questions = asked(press(&mut app, "j enter"));
    assert_eq!(questions, [Request::Watch(Some(fixture::run(20))), Request::Run(fixture::run(20))]);
    assert_eq!(asked(press(&mut app, "q")), [Request::Watch(None)]);
    assert_eq!(asked(press(&mut app, "-")).last(), Some(&Request::Run(fixture::run(20))));
}

#[test]
fn the_selection_stays_with_its_run_when_newer_ones_come() {
    let mut app = app(fixture::store());
    press(&mut app, "j j");
    app.handle(Event::Link(Box::new(Reply::Runs(vec![fixture::head(30, "newest", RunState::Running)]))));
    assert_eq!(asked(press(&mut app, "enter")).last(), Some(&Request::Run(fixture::run(19))));
}

#[test]
fn the_filter_is_shown_survives_leaving_and_esc_clears_it() {
    let mut app = app(fixture::store());
    press(&mut app, "/");
    write(&mut app, "refund !s:failed");
    press(&mut app, "enter");
    let shown = text(&mut app, 90, 24);
    assert!(shown.contains("filter: refund !s:failed") && shown.contains("2 of 11"), "{shown}");
    press(&mut app, "enter q");
    assert!(text(&mut app, 90, 24).contains("2 of 11"));
    press(&mut app, "esc");
    assert!(text(&mut app, 90, 24).contains("11 shown"));
}

#[test]
fn a_frozen_list_counts_what_it_hides() {
    let mut app = app(fixture::store());
    press(&mut app, ".");
    let heads = vec![fixture::head(30, "newest", RunState::Running), fixture::head(31, "newer", RunState::Running)];
    app.handle(Event::Link(Box::new(Reply::Runs(heads))));
    let shown = text(&mut app, 120, 40);
    assert!(shown.contains("frozen, 2 changes hidden") && !shown.contains("newest"), "{shown}");
    press(&mut app, ".");
    assert!(text(&mut app, 120, 40).contains("newest"));
}

#[test]
fn cancel_asks_first_and_applies_to_the_marked_runs() {
    let mut app = app(fixture::store());
    assert_eq!(asked(press(&mut app, "j c n")), []);
    assert_eq!(asked(press(&mut app, "c y")), [Request::Cancel(fixture::run(20))]);
    let questions = asked(press(&mut app, "space space c y"));
    assert_eq!(questions, [Request::Cancel(fixture::run(19)), Request::Cancel(fixture::run(20))]);
}

#[test]
fn what_has_ended_is_not_cancelled() {
    let mut app = app(fixture::store());
    assert_eq!(asked(press(&mut app, "G c")), []);
    assert!(text(&mut app, 80, 24).contains("nothing to cancel"));
}

#[test]
fn leaving_is_a_question_except_with_its_own_key() {
    let mut app = app(fixture::store());
    assert_eq!(press(&mut app, "q n"), []);
    assert_eq!(press(&mut app, "ctrl-c y"), [Todo::Quit]);
    assert_eq!(press(&mut app, "Q"), [Todo::Quit]);
    press(&mut app, ":");
    write(&mut app, "q");
    assert_eq!(press(&mut app, "enter"), [Todo::Quit]);
}

#[test]
fn a_part_of_an_id_finds_its_run_also_one_that_is_not_listed() {
    let mut app = app(fixture::store());
    let short = fixture::run(15).to_string();
    press(&mut app, ":");
    write(&mut app, &short.to_lowercase());
    assert_eq!(asked(press(&mut app, "enter")).last(), Some(&Request::Run(fixture::run(15))));
    press(&mut app, ":");
    write(&mut app, "ZZZZZ9");
    assert_eq!(asked(press(&mut app, "enter")), [Request::Find("ZZZZZ9".to_owned())]);
    let found = asked(app.handle(Event::Link(Box::new(Reply::Found(fixture::run(99))))));
    assert_eq!(found.last(), Some(&Request::Run(fixture::run(99))));
}

#[test]
fn a_run_is_held_and_goes_on_after_a_question_and_the_footer_offers_what_it_allows() {
    let mut app = app(fixture::open());
    press(&mut app, "/");
    write(&mut app, "s:failed");
    press(&mut app, "enter enter");
    let show = |app: &mut crate::app::App, state: RunState| {
        let mut detail = fixture::detail();
        detail.head.state = state;
        app.handle(Event::Link(Box::new(Reply::Run(Box::new(detail)))));
        text(app, 60, 16)
    };
    let foot = show(&mut app, RunState::Failed);
    assert!(foot.contains("r again") && !foot.contains("P pause"), "{foot}");
    assert_eq!(asked(press(&mut app, "P")), []);
    assert!(text(&mut app, 60, 16).contains("this run has ended"));
    press(&mut app, "j");
    assert!(!text(&mut app, 60, 16).contains("this run has ended"), "what was said goes with the next key");
    let foot = show(&mut app, RunState::Running);
    assert!(foot.contains("P pause") && !foot.contains("r again"), "{foot}");
    let run = fixture::detail().head.run;
    assert_eq!(asked(press(&mut app, "P n")), []);
    assert_eq!(asked(press(&mut app, "P y")), [Request::Pause(run, true)]);
    show(&mut app, RunState::Paused);
    assert_eq!(asked(press(&mut app, "P y")), [Request::Pause(run, false)]);
}

fn on_run(keys: &str) -> (crate::app::App, Vec<Todo>) {
    let mut app = app(fixture::open());
    press(&mut app, "/");
    write(&mut app, "s:failed");
    press(&mut app, "enter enter");
    app.handle(Event::Link(Box::new(Reply::Run(Box::new(fixture::detail())))));
    text(&mut app, 120, 40);
    let todos = press(&mut app, keys);
    (app, todos)
}

#[test]
fn a_failed_run_opens_at_its_failed_step_with_the_error() {
    let (mut app, _) = on_run("");
    let shown = text(&mut app, 120, 40);
    assert!(shown.contains("error of post_refund") && shown.contains("Too many requests"), "{shown}");
    let (mut app, _) = on_run("i");
    assert!(text(&mut app, 120, 40).contains("\"url\": \"/v1/refunds\""));
    let (mut app, _) = on_run("g");
    assert!(text(&mut app, 120, 40).contains("input of the run"));
}

#[test]
fn copying_sends_only_the_id_to_the_clipboard() {
    let (_, todos) = on_run("Y");
    let [Todo::Write(bytes)] = todos.as_slice() else { panic!("one write: {todos:?}") };
    use base64::Engine;
    let id = base64::engine::general_purpose::STANDARD.encode(fixture::run(15).to_string());
    assert_eq!(*bytes, format!("\u{1b}]52;c;{id}\u{7}").into_bytes());
}

#[test]
fn the_log_stays_where_the_reader_is() {
    let (mut app, _) = on_run("tab tab z k k");
    let top = |shown: &str| shown.lines().nth(3).unwrap().to_owned();
    let before = top(&text(&mut app, 80, 16));
    let log = Record::Log { path: String::new(), level: "info".into(), message: "late news".into() };
    let mut detail = fixture::detail();
    detail.journal.push(aura_protocol::run::Transition { number: 8, at_ms: fixture::NOW, records: vec![log] });
    app.handle(Event::Link(Box::new(Reply::Run(Box::new(detail)))));
    let shown = text(&mut app, 80, 16);
    assert!(top(&shown) == before && shown.contains("follow: off") && !shown.contains("late news"), "{shown}");
    press(&mut app, ".");
    assert!(text(&mut app, 80, 16).contains("late news"));
}

#[test]
fn a_step_in_doubt_is_resolved_three_ways() {
    let doubtful = || {
        let mut detail = fixture::detail();
        let doubt = Record::InDoubt { path: "post_refund".into(), attempt: 3, error: fixture::error("post_refund") };
        detail.journal.pop();
        detail.journal.push(aura_protocol::run::Transition { number: 7, at_ms: fixture::NOW, records: vec![doubt] });
        let (mut app, _) = on_run("");
        app.handle(Event::Link(Box::new(Reply::Run(Box::new(detail)))));
        app
    };
    let run = fixture::run(15);
    let check = |keys: &str, resolution: Resolution| {
        let mut app = doubtful();
        assert_eq!(asked(press(&mut app, keys)), [Request::Resolve(run, "post_refund".into(), resolution)], "{keys}");
    };
    check("R r", Resolution::Retry);
    check("R f", Resolution::Fail);
    check("R d enter", Resolution::Done(Value::Null));
    check("R d { } enter", Resolution::Done(Value::Map(Default::default())));
    let mut app = doubtful();
    assert_eq!(asked(press(&mut app, "R d { enter")), [], "broken JSON is not sent");
    assert!(text(&mut app, 80, 24).contains("line 1"));
    let (mut app, todos) = on_run("R");
    assert_eq!(todos, []);
    assert!(text(&mut app, 80, 24).contains("no step of this run is in doubt"));
}

#[test]
fn a_cut_payload_is_asked_for_in_windows() {
    let mut detail = fixture::detail();
    detail.journal.push(aura_protocol::run::Transition {
        number: 8,
        at_ms: fixture::NOW,
        records: vec![Record::Completed {
            path: "mark_done".into(),
            attempt: 1,
            output: Value::from("… 200000 bytes …"),
        }],
    });
    let (mut app, _) = on_run("");
    app.handle(Event::Link(Box::new(Reply::Run(Box::new(detail)))));
    let Some(Request::Payload(query)) = asked(press(&mut app, "G")).pop() else { panic!("a window") };
    assert_eq!((query.step.as_str(), query.part.as_str(), query.offset), ("mark_done", "output", 0));
    let window = aura_protocol::rpc::PayloadWindow { text: "\"large\"".into(), total: 200_000 };
    app.handle(Event::Link(Box::new(Reply::Payload(query, window))));
    assert!(text(&mut app, 120, 40).contains("of 200000"));
    let Some(Request::Payload(next)) = asked(press(&mut app, "]")).pop() else { panic!("the next") };
    assert_eq!(next.offset, u64::from(next.limit));
}

#[test]
fn pasting_into_a_list_does_nothing_and_into_a_field_is_literal() {
    let mut app = app(fixture::store());
    assert_eq!(app.handle(Event::Paste("Qcy".into())), []);
    press(&mut app, "/");
    app.handle(Event::Paste("Q\u{1b}[2J".into()));
    assert!(text(&mut app, 80, 24).contains("filter: Q[2J"));
}

#[test]
fn ctrl_z_and_ctrl_l_reach_the_loop() {
    let mut app = app(fixture::store());
    assert_eq!(press(&mut app, "ctrl-z ctrl-l"), [Todo::Suspend, Todo::Redraw]);
}

#[test]
fn flows_are_switched_published_and_run_only_after_a_question() {
    let mut app = app(fixture::catalog());
    assert_eq!(asked(press(&mut app, "2")), [Request::Flows]);
    press(&mut app, "j j j j");
    assert_eq!(asked(press(&mut app, "s n")), []);
    assert_eq!(asked(press(&mut app, "s y")), [Request::Switch("refund-sync".into(), false)]);
    assert_eq!(asked(press(&mut app, "p y")), [Request::Publish("refund-sync".into())]);
    assert_eq!(asked(press(&mut app, "r { enter")), [], "broken JSON is not sent");
    assert!(text(&mut app, 80, 24).contains("line 1"));
    assert_eq!(asked(press(&mut app, "backspace 7 enter")), [Request::Start("refund-sync".into(), Value::Int(7))]);
    assert_eq!(press(&mut app, "e"), [Todo::Lend(vec!["flow".into(), "edit".into(), "refund-sync".into()])]);
    press(&mut app, "g");
    press(&mut app, "j");
    assert_eq!(press(&mut app, "r"), []);
    assert!(text(&mut app, 80, 24).contains("no published version yet"));
}

#[test]
fn a_flow_leads_to_its_runs_and_events() {
    let mut app = app(fixture::catalog());
    press(&mut app, "2 j j j j enter");
    assert!(text(&mut app, 120, 40).contains("did you mean `uses`?"));
    press(&mut app, "f");
    let shown = text(&mut app, 120, 40);
    assert!(shown.contains("[1 runs]") && shown.contains("filter: flow:refund-sync  3 of 11"), "{shown}");
    press(&mut app, "- v");
    assert!(text(&mut app, 120, 40).contains("filter: flow:refund-sync  0 of 3"));
    press(&mut app, "esc j j enter");
    assert!(text(&mut app, 120, 40).contains("\"email\""), "a held event has no run: its delivery is shown");
    press(&mut app, "tab g");
    assert_eq!(asked(press(&mut app, "enter")).last(), Some(&Request::Run(fixture::run(18))));
}

#[test]
fn a_part_of_a_flow_is_simulated_and_its_next_event_is_listened_for() {
    let mut app = app(fixture::catalog());
    press(&mut app, "2 j j j j enter t");
    assert!(text(&mut app, 80, 24).contains("the text has errors, so nothing of it can be tried"), "its draft has one");
    app.store.catalog.open.as_mut().unwrap().detail.draft = Some(fixture::TRIABLE.to_owned());
    let run = |words: &[&str]| vec![Todo::Run(words.iter().map(|word| (*word).to_owned()).collect())];
    let id = fixture::run(15).to_string();
    assert_eq!(
        press(&mut app, "t j j enter"),
        run(&["flow", "simulate", "refund-sync", "--to", "ask_the_one_who_signs_for_large_refunds"])
    );
    assert_eq!(press(&mut app, "t o"), run(&["flow", "simulate", "refund-sync", "--only", "lookup"]));
    assert_eq!(press(&mut app, "t r a"), run(&["flow", "simulate", "refund-sync", "--from-run", &id]));
    assert_eq!(
        press(&mut app, "t G r o"),
        run(&["flow", "simulate", "refund-sync", "--only", "mark_done", "--from-run", &id])
    );
    let lent = ["flow", "try", "refund-sync", "--step", "post_refund"].map(str::to_owned).to_vec();
    assert_eq!(press(&mut app, "t j j j x"), [Todo::Lend(lent)], "it asks, so it has the terminal");
    assert_eq!(press(&mut app, "t esc"), []);
    press(&mut app, "l");
    assert!(text(&mut app, 80, 24).contains("[--save FILE.json]"));
    write(&mut app, " --count 2");
    let lent = ["flow", "listen", "refund-sync", "--count", "2"].map(str::to_owned).to_vec();
    assert_eq!(press(&mut app, "enter"), [Todo::Lend(lent)], "it waits, so it has the terminal");
}

#[test]
fn what_flows_did_is_asked_again_only_when_something_happened() {
    let mut app = app(fixture::catalog());
    press(&mut app, "2");
    let news = |items| {
        let news = aura_protocol::watch::WatchReply { cursor: 1, items, cut: false, more: false, now_ms: fixture::NOW };
        Event::Link(Box::new(Reply::News(news, true)))
    };
    assert_eq!(asked(app.handle(news(Vec::new()))), []);
    let changed = || vec![aura_protocol::watch::Item::Changed("refund-sync".into())];
    assert_eq!(asked(app.handle(news(changed()))), [], "not twice within two seconds");
    assert!(app.tick_at().is_some(), "but soon");
    press(&mut app, "1");
    assert!(app.tick_at().is_none(), "and not for a screen that nobody sees");
}

#[test]
fn older_runs_are_asked_for_at_the_end_of_the_list_and_once() {
    let mut store = fixture::store();
    let query = aura_protocol::rpc::RunQuery::default();
    let page = |runs, next| Reply::Older(query.clone(), aura_protocol::rpc::RunPage { runs, next, bounded: None });
    store.apply(page(Vec::new(), Some(fixture::run(11))));
    let mut app = app(store);
    assert!(text(&mut app, 80, 24).contains("11+ shown"));
    let [Request::Older(older)] = &asked(press(&mut app, "G"))[..] else { panic!("older ones") };
    assert_eq!((older.before, older.limit), (Some(fixture::run(11)), 500));
    assert_eq!(asked(press(&mut app, "G")), [], "asked already");
    let older = fixture::head(10, "ancient", RunState::Succeeded);
    app.handle(Event::Link(Box::new(page(vec![older], None))));
    let shown = text(&mut app, 80, 24);
    assert!(shown.contains("ancient") && shown.contains(" 12 shown"), "{shown}");
    assert_eq!(asked(press(&mut app, "G")), [], "there are no older ones");
}

#[test]
fn the_daemon_looks_for_older_runs_of_a_filter() {
    let mut store = fixture::catalog();
    let page = aura_protocol::rpc::RunPage { next: Some(fixture::run(11)), ..Default::default() };
    store.apply(Reply::Older(Default::default(), page));
    let mut app = app(store);
    press(&mut app, "/");
    write(&mut app, "s:failed flow:refund-sync");
    let [Request::Older(older)] = &asked(press(&mut app, "enter"))[..] else { panic!("older ones") };
    assert_eq!((older.states.as_slice(), older.flow.as_deref()), (&[RunState::Failed][..], Some("refund-sync")));
    assert_eq!(older.before, Some(fixture::run(11)));
}

#[test]
fn commands_of_the_palette_run_beside_the_screens_or_get_the_terminal() {
    let mut app = app(fixture::store());
    press(&mut app, ":");
    write(&mut app, "aura status");
    assert_eq!(press(&mut app, "enter"), [Todo::Run(vec!["status".into()])]);
    press(&mut app, "ctrl-p");
    write(&mut app, "flow publish");
    press(&mut app, "enter");
    write(&mut app, "'x y");
    assert_eq!(press(&mut app, "enter"), [], "an open quote is not run");
    write(&mut app, "'");
    assert_eq!(press(&mut app, "enter"), [Todo::Run(vec!["flow".into(), "publish".into(), "x y".into()])]);
    press(&mut app, ":");
    write(&mut app, "aura tail");
    assert_eq!(press(&mut app, "enter"), [Todo::Lend(vec!["tail".into()])]);
    let said = crate::commands::Finished { line: "status".into(), code: Some(0), output: "all is well".into() };
    app.handle(Event::Finished(Box::new(said)));
    assert!(text(&mut app, 80, 24).contains("all is well"));
    press(&mut app, "esc @");
    assert!(text(&mut app, 80, 24).contains("+ aura status"));
}

#[test]
fn a_daemon_that_is_not_simply_ready_says_so_on_every_screen() {
    let mut store = fixture::catalog();
    store.status.as_mut().unwrap().state = "paused: restored from a backup, `aura resume` goes on".into();
    let mut app = app(store);
    for keys in ["1", "2", "3"] {
        press(&mut app, keys);
        assert!(text(&mut app, 120, 40).lines().next().unwrap().contains("paused: restored"), "{keys}");
    }
}

#[test]
fn a_step_is_run_again_after_its_preview_was_seen() {
    let (request, preview) = fixture::replay();
    let (mut app, _) = on_run("");
    let wanted = |changed: RunReplay| vec![Request::Replay(Box::new(changed))];
    assert_eq!(asked(press(&mut app, "r")), wanted(request.clone()));
    let seen = |app: &mut crate::app::App| {
        let reply = Reply::Preview(Box::new(preview.clone()), Box::new(request.clone()));
        app.handle(Event::Link(Box::new(reply)));
        text(app, 120, 40)
    };
    let shown = seen(&mut app);
    assert!(shown.contains("run again from step post_refund") && shown.contains("sent with a new key"), "{shown}");
    assert_eq!(asked(press(&mut app, "esc")), [], "esc begins nothing");
    let check = |app: &mut crate::app::App, key: &str, changed: RunReplay| {
        seen(app);
        assert_eq!(asked(press(app, key)), wanted(changed), "{key}");
    };
    check(&mut app, "y", RunReplay { preview: false, ..request.clone() });
    check(&mut app, "u", RunReplay { reuse_keys: true, ..request.clone() });
    check(&mut app, "v", RunReplay { version: VersionOf::Published, ..request.clone() });
    check(&mut app, "d", RunReplay { version: VersionOf::Draft, ..request.clone() });
    check(&mut app, "s", RunReplay { point: Point::Start, ..request.clone() });
    // Once the flow is mended one key is enough to look, and one more to begin.
    assert_eq!(asked(press(&mut app, "F")), wanted(RunReplay { version: VersionOf::Published, ..request.clone() }));
    let mut head = fixture::head(40, "refund-sync", RunState::Running);
    head.origin = Some(fixture::run(15));
    let begun = asked(app.handle(Event::Link(Box::new(Reply::Started(Box::new(head))))));
    assert!(begun.contains(&Request::Run(fixture::run(40))), "the new run is opened: {begun:?}");
}

#[test]
fn what_goes_on_is_not_run_again() {
    let (mut app, _) = on_run("");
    let mut detail = fixture::detail();
    detail.head.state = RunState::Running;
    app.handle(Event::Link(Box::new(Reply::Run(Box::new(detail)))));
    assert_eq!(asked(press(&mut app, "r")), []);
    assert!(text(&mut app, 80, 24).contains("only what has ended is run again"));
}

#[test]
fn a_schedule_is_paused_run_and_made_up_for_after_a_question() {
    use aura_protocol::rpc::ScheduleRef;
    let hourly = || ScheduleRef { flow: "refund-sync".into(), trigger: Some("hourly".into()) };
    let mut app = app(fixture::catalog());
    press(&mut app, "4");
    assert_eq!(asked(press(&mut app, "P y")), [Request::PauseSchedule(hourly(), true)]);
    assert_eq!(asked(press(&mut app, "r n")), [], "nothing without a yes");
    assert_eq!(asked(press(&mut app, "r y")), [Request::RunSchedule(hourly())]);
    press(&mut app, "b");
    let shown = text(&mut app, 100, 30);
    assert!(shown.contains("schedule backfill refund-sync hourly --dry-run --from"), "{shown}");
    press(&mut app, "esc");
    assert_eq!(asked(press(&mut app, "enter")).last(), Some(&Request::Run(fixture::run(18))));
    press(&mut app, "q j");
    assert!(text(&mut app, 100, 30).contains("12 runs made, 17 to come, by anna"));
    let stopped = asked(press(&mut app, "b y"));
    assert!(matches!(stopped.as_slice(), [Request::StopBackfill(it)] if it.flow.starts_with("monat")), "{stopped:?}");
    press(&mut app, "/");
    write(&mut app, "s:paused");
    press(&mut app, "enter");
    assert_eq!(asked(press(&mut app, "P y")).len(), 1);
    assert!(text(&mut app, 100, 30).contains("paused by anna"));
}

#[test]
fn subscriptions_are_asked_for_again_and_nothing_is_done_without_a_question() {
    let mut app = app(fixture::catalog());
    let asked = press(&mut app, "6");
    assert!(asked.contains(&Todo::Ask(Request::Subscriptions)), "{asked:?}");
    assert!(asked.contains(&Todo::Ask(Request::Sendings("acme-orders".into()))), "{asked:?}");
    // Another one is selected: its sendings are read.
    assert_eq!(press(&mut app, "j"), [Todo::Ask(Request::Sendings("erp".into()))]);
    press(&mut app, "k");
    assert_eq!(press(&mut app, "s"), []);
    assert_eq!(press(&mut app, "y"), [Todo::Ask(Request::SwitchSubscription("acme-orders".into(), false))]);
    let message = fixture::sendings().sendings[2].message;
    assert_eq!(press(&mut app, "tab j j r"), []);
    assert_eq!(press(&mut app, "y"), [Todo::Ask(Request::Resend("acme-orders".into(), message))]);
    assert_eq!(press(&mut app, "x"), [], "what failed cannot be given up");
    let words = |line: &str| Todo::Run(line.split(' ').map(str::to_owned).collect());
    assert_eq!(press(&mut app, "t"), [words("subscription test acme-orders")]);
    assert_eq!(press(&mut app, "enter"), [words(&format!("subscription attempts acme-orders {message}"))]);
}

#[test]
fn back_closes_what_enter_opened_before_it_leaves_the_screen() {
    let mut app = app(fixture::catalog());
    press(&mut app, "2 5 enter enter");
    let open = |app: &mut crate::app::App| text(app, 80, 24).contains("delivery ");
    assert!(open(&mut app));
    press(&mut app, "esc");
    assert!(!open(&mut app) && text(&mut app, 80, 24).contains("[5 hooks]"));
    press(&mut app, "esc esc");
    assert!(text(&mut app, 80, 24).contains("[2 flows]"));
    press(&mut app, "6 enter esc");
    assert!(text(&mut app, 80, 24).contains("[6 subscriptions]"), "from what was sent to the list");
    press(&mut app, "esc");
    assert!(text(&mut app, 80, 24).contains("[2 flows]"));
}
