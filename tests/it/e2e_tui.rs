//! The terminal client in a real terminal: bytes of the first frame, silence, a lost daemon, small screens.
//!
//! The one invariant: what is measured are the bytes that a terminal would get; [`vt100`] says what a
//! person would see. `AURA_TUI_QUIET_SECONDS` shortens the silent window (default 30, as issue 2 says).

use std::time::{Duration, Instant};

use crate::support::{Daemon, LIMIT, Screen, assert_says, wait_until};

/// Largest first frame in bytes at 100×30.
const FRAME_MAX: usize = 8 * 1024;

const FLOW: &str = "aura: 1\nflow: shown\ntitle: Shown\ntriggers:\n  - { id: in, on: webhook, auth: none }\nsteps:\n  - id: first\n    set: { got: \"{{ trigger.body }}\" }\n  - id: rest\n    sleep: { for: 1h }\n";

fn scene(events: usize) -> Daemon {
    let daemon = Daemon::start();
    daemon.publish(FLOW);
    let hook = daemon.open_hook("shown");
    for number in 0..events {
        assert_eq!(hook.send(&number.to_string(), &format!("{{\"n\": {number}}}")).expect("an answer").status, 202);
    }
    wait_until("all runs to sleep", LIMIT, || {
        daemon.runs("shown").iter().filter(|head| head.state == aura_protocol::run::RunState::Waiting).count() == events
    });
    daemon
}

#[test]
fn the_first_frame_is_small_and_nothing_is_written_when_nothing_happens() {
    // More runs than rows: the frame is full.
    let daemon = scene(40);
    let mut screen = Screen::open(&daemon.place.socket(), 100, 30, &[]);
    screen.wait("the runs", |text| text.matches("shown").count() > 10);
    let mut before = screen.bytes().len();
    let mut since = Instant::now();
    wait_until("the first frame to be complete", LIMIT, || {
        let now = screen.bytes().len();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(500)
    });
    assert!(before <= FRAME_MAX, "the first frame has {before} bytes");
    println!("first frame at 100x30: {before} bytes");
    let seconds = std::env::var("AURA_TUI_QUIET_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let until = Instant::now() + Duration::from_secs(seconds);
    wait_until("the silent window to pass", Duration::from_secs(seconds + 10), || {
        let written = screen.bytes();
        assert_eq!(written.len(), before, "with a static store: {:?}", String::from_utf8_lossy(&written[before..]));
        Instant::now() > until
    });
    screen.type_keys("?");
    wait_until("the client to answer a key", LIMIT, || screen.bytes().len() > before);
}

#[test]
fn an_event_is_on_the_screen_at_once() {
    let daemon = scene(1);
    let screen = Screen::open(&daemon.place.socket(), 100, 30, &[]);
    screen.wait("one run", |text| text.matches("shown").count() >= 1);
    let reply = daemon.open_hook("shown").send("new", "{}").expect("an answer");
    let begin = Instant::now();
    let run = reply.field("run_id");
    screen.wait("the new run", |text| text.contains(&run[run.len() - 6..]));
    println!("event to screen: {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn a_daemon_that_dies_under_the_screen_comes_back_to_it() {
    let mut daemon = scene(3);
    let mut screen = Screen::open(&daemon.place.socket(), 100, 30, &[]);
    screen.wait("three runs", |text| text.matches("shown").count() >= 3);
    daemon.kill9();
    screen.wait("the banner", |text| text.to_lowercase().contains("not reachable"));
    assert!(screen.text().matches("shown").count() >= 3, "what was seen stays:\n{}", screen.text());
    daemon.up();
    let hook = daemon.open_hook("shown");
    assert_eq!(hook.send("after", "{}").expect("an answer").status, 202);
    screen.wait("the end of the banner", |text| !text.to_lowercase().contains("not reachable"));
    screen.wait("caught up", |text| text.to_lowercase().contains("caught up"));
    screen.wait("four runs", |text| text.matches("shown").count() >= 4);
    screen.type_keys("Q");
    wait_until("the client to end", LIMIT, || screen.ended().is_some());
}

#[test]
fn a_run_can_be_opened_and_left_again() {
    let daemon = scene(2);
    let mut screen = Screen::open(&daemon.place.socket(), 120, 40, &[]);
    screen.wait("two runs", |text| text.matches("shown").count() >= 2);
    screen.type_keys("\r");
    screen.wait("the timeline", |text| text.contains("first") && text.contains("rest"));
    screen.type_keys("\x1b");
    screen.wait("the list", |text| text.matches("shown").count() >= 2);
}

#[test]
fn small_screens_and_resizing_are_survived() {
    let daemon = scene(3);
    let mut screen = Screen::open(&daemon.place.socket(), 20, 5, &[]);
    screen.wait("something", |text| !text.trim().is_empty());
    for (columns, rows) in [(60, 16), (200, 60), (1, 1), (5, 2), (80, 24)] {
        screen.resize(columns, rows);
        if columns >= 60 {
            screen.wait("the runs", |text| text.contains("shown"));
        }
        assert!(screen.ended().is_none(), "it ended at {columns}x{rows}");
    }
    screen.wait("the runs", |text| text.matches("shown").count() >= 3);
}

#[test]
fn no_color_means_no_colour() {
    let daemon = scene(2);
    // Parameters of SGR that set a colour: 30-38, 40-48, 90-97, 100-107.
    let colours = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.split("\x1b[")
            .skip(1)
            .filter_map(|rest| rest.split_once('m'))
            .filter(|(codes, _)| codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b';' || byte == b':'))
            .flat_map(|(codes, _)| codes.split([';', ':']).map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|code| code.parse::<u32>().ok())
            .filter(|code| matches!(code, 30..=38 | 40..=48 | 90..=97 | 100..=107))
            .count()
    };
    let shown = |environment: &[(&str, &str)]| {
        let screen = Screen::open(&daemon.place.socket(), 100, 30, environment);
        screen.wait("the runs", |text| text.matches("shown").count() >= 2);
        (colours(&screen.bytes()), screen.text())
    };
    let (coloured, _) = shown(&[]);
    assert!(coloured > 0, "without NO_COLOR there is colour, or this test tests nothing");
    let (plain, text) = shown(&[("NO_COLOR", "1")]);
    assert_eq!(plain, 0, "{text}");
    assert_says(&text, &["wait"]);
    let (_, text) = shown(&[("AURA_ASCII", "1")]);
    assert!(text.is_ascii(), "AURA_ASCII=1 shows {text}");
}

#[test]
fn the_screens_need_a_terminal_and_a_daemon() {
    let daemon = Daemon::start();
    let said = daemon.aura(&[]);
    assert_ne!(said.code, 0);
    assert_says(&said.err, &["terminal"]);
}

#[test]
fn the_demo_without_a_terminal_prints_its_story_and_succeeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = Instant::now();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_it-aura"))
        .arg("demo")
        .env_clear()
        .env("HOME", folder.path())
        .env("PATH", "/usr/bin:/bin")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("aura starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    let last = out.lines().last().unwrap_or_default();
    assert!(last.contains("run_") && last.contains("succeeded"), "the last line: {last}\n{out}");
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert_says(&*out, &["held", "mail", "sleep"]);
}
