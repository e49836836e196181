//! Hostile text through the whole product: nothing of it reaches a terminal, a script or a log as anything but text.
//!
//! The one invariant (reliability A14): of every string that came from outside, 0 bytes of ESC, C1, bidirectional,
//! zero-width, tag and other invisible characters are in what `aura` and `aurad` write. The screens write escape
//! sequences of their own, so there the forbidden ones are counted, and what is left is shown to be our own.

use crate::support::{Daemon, LIMIT, Screen, aura_in, wait_until};

/// What terminals obey or hide, as people found it in the wild.
const ESCAPES: &[&str] = &[
    "\u{1b}]52;c;ZXZpbA==\u{7}",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]8;;https://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}[?1049h\u{1b}[?25l",
    "\u{1b}[31mred",
    "\u{1b}P1$r\u{1b}\\",
    "\u{1b}_apc\u{1b}\\",
    "\u{1b}c",
    "\u{9b}31m\u{9d}0;c1\u{9c}\u{90}q\u{85}",
    "\u{8}\u{8}\u{8}\u{7f}",
    "a\rb",
    "exe\u{202e}fdp\u{202d}\u{202a}\u{202b}\u{202c}",
    "\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}",
    "pay\u{200b}\u{200c}\u{200d}pal\u{2060}\u{feff}",
    "\u{e0041}\u{e0042}\u{e007f}\u{e0001}",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "\u{fe0f}\u{fe0e}\u{fe0f}\u{e0101}\u{e0102}",
    "a\u{2028}b\u{2029}c",
    "\u{180e}\u{2061}\u{2062}\u{206a}\u{206f}\u{fff9}\u{fffb}",
];

/// Characters that may never be written because of something from outside.
fn forbidden(found: char, own_escapes: bool) -> bool {
    match found {
        '\u{1b}' => !own_escapes,
        '\n' | '\r' | '\u{8}' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

fn check(what: &str, bytes: &[u8], own_escapes: bool) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (at, found) in text.char_indices() {
        if forbidden(found, own_escapes) {
            let around: String = text[at..].chars().take(40).collect();
            panic!("{what} wrote {found:?} in {around:?}");
        }
    }
    let selectors: Vec<bool> =
        text.chars().map(|c| matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')).collect();
    assert!(!selectors.windows(2).any(|pair| pair[0] && pair[1]), "{what} wrote a run of variation selectors");
    let mut marks = 0;
    for found in text.chars() {
        marks = if matches!(found, '\u{300}'..='\u{36f}') { marks + 1 } else { 0 };
        assert!(marks <= 8, "{what} wrote more than eight marks on one letter");
    }
}

/// All of them in one text.
fn evil() -> String {
    ESCAPES.join(" ")
}

/// As a double-quoted scalar or string, which YAML and JSON read alike.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some(plain) if plain.is_ascii_alphanumeric() || " ;:/[]=?".contains(plain) => out.push(plain),
            _ => out.push_str(&format!("\\u{unit:04x}")),
        }
    }
    out + "\""
}

/// As YAML, which has no surrogates.
fn scalar(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            plain if plain.is_ascii_alphanumeric() || " ;:/[]=?".contains(plain) => out.push(plain),
            other => out.push_str(&format!("\\U{:08x}", u32::from(other))),
        }
    }
    out + "\""
}

/// A daemon full of hostile text: titles, notes, payloads, headers, errors, reasons, profile.
fn scene() -> Daemon {
    let mut setup = crate::support::Setup::default();
    setup.environment.push(("AURA_PROFILE".to_owned(), evil().replace('\0', "")));
    setup.environment.push(("AURA_LOG".to_owned(), "debug".to_owned()));
    let daemon = Daemon::start_with(setup);
    let flow = |name: &str, rest: &str| {
        format!("aura: 1\nflow: {name}\ntitle: {}\nnote: {}\n{rest}", scalar(&evil()), scalar(&evil()))
    };
    let fails = "triggers:\n  - { id: in, on: webhook, auth: none }\nsteps:\n  - id: keep\n    set: { all: \"{{ trigger.body }}\" }\n  - id: no\n    stop: { fail: \"{{ trigger.body.text }}\" }\n";
    daemon.publish(&flow("fails", fails));
    let drops = "triggers:\n  - { id: in, on: webhook, auth: none, filter: \"{{ trigger.body.n > 5 }}\" }\nsteps:\n  - id: keep\n    set: { all: 1 }\n";
    daemon.publish(&flow("drops", drops));
    // A draft that cannot be published: its findings quote it.
    daemon
        .apply(&flow("drafts", "triggers:\n  - { id: in, on: manual }\nsteps:\n  - id: keep\n    set: { all: 1 }\n"))
        .expect("a draft");
    // A secret is one line.
    daemon.secret("mail", &evil().replace('\r', ""));
    let body = format!("{{\"n\": 1, \"text\": {}, {}: 2}}", quoted(&evil()), quoted(&evil()));
    for name in ["fails", "drops"] {
        let reply = daemon.open_hook(name).send("one", &body).expect("an answer");
        assert_eq!(reply.status, 202, "{}", reply.text());
        let reply = daemon.open_hook(name).send("one", &body).expect("an answer");
        assert!(reply.status == 200 || reply.status == 202, "{}", reply.text());
    }
    wait_until("the run to fail", LIMIT, || {
        daemon.runs("fails").iter().any(|head| head.state == aura_protocol::run::RunState::Failed)
    });
    daemon
}

#[test]
fn commands_write_hostile_text_as_text_on_a_terminal_and_for_scripts() {
    let daemon = scene();
    let run = daemon.runs("fails")[0].run.to_string();
    let events = daemon.aura(&["event", "list", "--json"]).success();
    let event = serde_json::from_str::<serde_json::Value>(events.out.lines().next().expect("an event")).expect("JSON");
    let event = event["event"].as_str().expect("its id").to_owned();
    let wrong = daemon.place.path("wrong.yaml");
    std::fs::write(&wrong, format!("aura: 1\nflow: {}\n{}: 1\nsteps: []\n", scalar(&evil()), scalar(&evil())))
        .expect("a file");
    let wrong = wrong.to_str().expect("a path").to_owned();
    let evil = evil();
    let plain = evil.replace('\0', "");
    let lines: Vec<Vec<&str>> = vec![
        vec!["status"],
        vec!["flow", "list"],
        vec!["flow", "show", "fails"],
        vec!["flow", "show", &plain],
        vec!["flow", "check", &wrong],
        vec!["flow", "apply", &wrong],
        vec!["flow", "run", "fails", "--input", "{\"text\": \"x\"}"],
        vec!["run", "list"],
        vec!["run", "show", &run],
        vec!["run", "show", &plain],
        vec!["run", "logs", &run],
        vec!["run", "tail", &run],
        vec!["tail", "--from", "0", "--lines", "4"],
        vec!["event", "list"],
        vec!["event", "show", &event],
        vec!["webhook", "list"],
        vec!["webhook", "show"],
        vec!["webhook", "test", "drops"],
        vec!["connection", "list"],
        vec!["config", "show"],
        vec!["doctor"],
        vec!["--context", &plain, "status"],
        vec!["-H", &plain, "status"],
    ];
    let socket = daemon.place.socket().display().to_string();
    let mut seen = 0;
    for line in &lines {
        for json in [false, true] {
            let mut arguments: Vec<&str> = if line[0].starts_with('-') { vec![] } else { vec!["--socket", &socket] };
            arguments.extend(line);
            if json {
                arguments.push("--json");
            }
            let what = format!("{arguments:?}");
            let mut screen = Screen::run(&arguments, 200, 60, &[]);
            wait_until(&format!("{what} to end"), LIMIT, || screen.ended().is_some());
            screen.drained();
            let bytes = screen.bytes();
            seen += usize::from(String::from_utf8_lossy(&bytes).contains("evil.example"));
            check(&what, &bytes, false);
            let home = tempfile::tempdir().expect("a home");
            let said = aura_in(home.path(), &[], &arguments);
            check(&format!("{what} into a pipe"), said.out.as_bytes(), false);
            check(&format!("{what} into a pipe, errors"), said.err.as_bytes(), false);
        }
    }
    assert!(seen > 20, "the hostile text itself must be shown, or this test tests nothing: {seen}");
}

#[test]
fn screens_write_no_sequence_and_no_hidden_character_of_others() {
    let daemon = scene();
    for (columns, rows) in [(80, 24), (200, 60)] {
        let mut screen = Screen::open(&daemon.place.socket(), columns, rows, &[]);
        screen.wait("the run", |text| text.contains("fails"));
        let mut walk = |keys: &str, what: &str, shows: &str| {
            screen.type_keys(keys);
            screen.wait(what, |text| text.contains(shows));
        };
        walk("\r", "the run", "keep");
        walk("g", "its input", "input of the run");
        walk("z\t\t\tz2", "the flows", "[2 flows]");
        walk("jj", "a flow", "drops");
        walk("\r", "the flow", "text: published");
        walk("3", "the events", "[3 events]");
        walk("\tz", "the delivery", "delivery of");
        walk("z\t:fails", "the palette", "everything");
        screen.type_keys("\x1b");
        screen.wait("the palette to close", |text| !text.contains("everything"));
        let mut walk = |keys: &str, what: &str, shows: &str| {
            screen.type_keys(keys);
            screen.wait(what, |text| text.contains(shows));
        };
        walk("@1", "the runs again", "[1 runs]");
        walk("2", "the flows again", "[2 flows]");
        screen.drained();
        let bytes = screen.bytes();
        let what = format!("the screens at {columns}x{rows}");
        check(&what, &bytes, true);
        let text = String::from_utf8_lossy(&bytes);
        for sequence in ["\u{1b}]", "\u{1b}P", "\u{1b}_", "\u{1b}c", "\u{1b}[31m\u{72}ed", "\u{7}"] {
            assert!(!text.contains(sequence), "{what} wrote {sequence:?}");
        }
        // One clear at the start, none by somebody else.
        assert_eq!(text.matches("\u{1b}[2J").count(), 1, "{what}");
        assert!(text.contains("␛]52") || text.contains("evil"), "{what} must show the text itself");
    }
}

#[test]
fn logs_hold_one_line_a_record_and_nothing_a_terminal_obeys() {
    for json in ["false", "true"] {
        let mut setup = crate::support::Setup::default();
        setup.environment.push(("AURA_LOG".to_owned(), "trace".to_owned()));
        setup.environment.push(("AURA_LOG_JSON".to_owned(), json.to_owned()));
        let mut daemon = Daemon::start_with(setup);
        let flow = format!(
            "aura: 1\nflow: signed\ntitle: {}\ntriggers:\n  - {{ id: in, on: webhook, auth: {{ scheme: standard_webhooks, secret: s }} }}\nsteps:\n  - id: a\n    set: {{ b: 1 }}\n",
            scalar(&evil())
        );
        daemon.secret("s", crate::support::sender::SECRET);
        daemon.publish(&flow);
        // Refused deliveries and calls are logged with what they said.
        let body = format!("{{\"text\": {}}}", quoted(&evil()));
        let reply = daemon.open_hook("signed").send("x", &body).expect("an answer");
        assert_eq!(reply.status, 401, "{}", reply.text());
        let _ = daemon.aura(&["flow", "show", &evil().replace('\0', "")]);
        daemon.stop();
        let said = daemon.place.said();
        assert!(said.lines().count() > 3, "{said}");
        check(&format!("the log, json {json}"), said.as_bytes(), false);
        if json == "true" {
            for line in said.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
    }
}
