//! The client as a program: the demo in a real terminal, signature cases without a daemon, closed pipes.
//!
//! The one invariant: what a person or a script sees is judged (screen, lines, exit code, processes that
//! are left), never how the client got there.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use crate::support::{Daemon, LIMIT, aura, wait_for, wait_until};

/// The terminal of the demo.
const COLUMNS: u16 = 100;
const ROWS: u16 = 30;
/// The story with its pauses for the eye.
const STORY: Duration = Duration::from_secs(90);

/// Processes whose parent is this one.
fn children(of: u32) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = std::fs::read_dir("/proc").expect("the processes");
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| parent(*pid) == Some(of))
        .collect()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn the_demo_plays_in_a_terminal_and_leaves_nothing_behind() {
    let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).expect("a terminal");
    let home = tempfile::tempdir().expect("a home");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_it-aura"));
    command.env_clear();
    for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("TZ", "UTC")] {
        command.env(name, value);
    }
    command.env("HOME", home.path());
    command.env("TMPDIR", home.path());
    command.arg("demo");
    let mut child = pair.slave.spawn_command(command).expect("aura starts");
    drop(pair.slave);
    let seen = Arc::new(Mutex::new(vt100::Parser::new(
        ROWS.try_into().expect("rows"),
        COLUMNS.try_into().expect("columns"),
        0,
    )));
    let mut reader = pair.master.try_clone_reader().expect("a reader");
    let sink = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count) = reader.read(&mut piece) {
            if count == 0 {
                return;
            }
            sink.lock().expect("the screen").process(&piece[..count]);
        }
    });
    let shows = |what: &str| {
        let text = seen.lock().expect("the screen").screen().contents();
        text.contains(what)
    };
    wait_until("a held event on the screen", STORY, || shows("held"));
    let own = child.process_id().expect("its id");
    let daemons = children(own);
    assert_eq!(daemons.len(), 1, "the demo's daemon: {daemons:?}");
    wait_until("a run on the screen", STORY, || shows("started by"));
    wait_until("its success on the screen", STORY, || shows("✓ succeeded"));
    let mut input = pair.master.take_writer().expect("a writer");
    input.write_all(b"Q").and_then(|()| input.flush()).expect("typed keys");
    let status = wait_for("the client to end", LIMIT, || child.try_wait().expect("its state"));
    assert_eq!(status.exit_code(), 0);
    wait_until("the demo's daemon to end", LIMIT, || !is_alive(daemons[0]));
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("the home").filter_map(Result::ok).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_watched_demo_daemon_ends_when_its_watcher_is_gone() {
    let place = tempfile::tempdir().expect("a place");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_it-aurad"))
        .args(["demo", "--paced", "--socket"])
        .arg(place.path().join("aurad.sock"))
        .env("TMPDIR", place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it-aurad starts");
    let mut lines = BufReader::new(daemon.stdout.take().expect("its output")).lines();
    let ready = lines.any(|line| line.expect("a line").starts_with("ready "));
    assert!(ready, "it was never ready");
    assert!(daemon.try_wait().expect("its state").is_none(), "it ended although its watcher is there");
    drop(daemon.stdin.take());
    let status = wait_for("the daemon to end", LIMIT, || daemon.try_wait().expect("its state"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn signature_cases_are_judged_without_a_daemon() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/data/signatures.json");
    let text = std::fs::read_to_string(&file).expect("the cases");
    let cases: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let cases = cases["cases"].as_array().expect("cases");
    assert!(cases.len() > 20, "only {} cases", cases.len());
    let path = file.to_str().expect("a path");
    let plain = aura(&["webhook", "verify", "--cases", path]).success();
    let json = aura(&["webhook", "verify", "--cases", path, "--json"]).success();
    assert_eq!(plain.out, json.out);
    let lines: Vec<serde_json::Value> =
        json.out.lines().map(|line| serde_json::from_str(line).expect("one JSON value a line")).collect();
    assert_eq!(lines.len(), cases.len());
    for (line, case) in lines.iter().zip(cases) {
        let names: Vec<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(names, ["id", "reason", "verdict"], "{line}");
        assert_eq!(line["id"], case["id"]);
        assert!(!line["reason"].as_str().expect("a reason").is_empty(), "{line}");
        if case["must"] == true {
            assert_eq!(line["verdict"], case["expect"], "{line}");
        }
    }
}

/// Runs `aura` into a pipe whose reader is gone before the first line.
fn into_a_closed_pipe(daemon: &Daemon, arguments: &[&str]) -> i32 {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut child = Command::new(env!("CARGO_BIN_EXE_it-aura"))
        .arg("--socket")
        .arg(daemon.place.socket())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer)
        .spawn()
        .expect("it-aura starts");
    let status = wait_for(&format!("{arguments:?} to end"), LIMIT, || child.try_wait().expect("its state"));
    status.code().expect("an exit code")
}

#[test]
fn a_closed_pipe_changes_no_outcome() {
    let daemon = Daemon::start();
    let file = |name: &str, last: &str| {
        let path = daemon.place.path(&format!("{name}.yaml"));
        let text = format!("aura: 1\nflow: {name}\ntriggers: [{{ id: hand, on: manual }}]\nsteps:\n  - {last}\n");
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    };
    let good = file("good", "{ id: end, stop: { ok: 1 } }");
    let bad = file("bad", "{ id: end, stop: { fail: \"as planned\" } }");
    assert_eq!(into_a_closed_pipe(&daemon, &["flow", "apply", &good, &bad, "--publish"]), 0);
    let mut flows: Vec<String> = daemon.ask().flow_list(()).expect("flows").into_iter().map(|row| row.flow).collect();
    flows.sort();
    assert_eq!(flows, ["bad", "good"], "a reader that is gone does not stop what was asked for");
    assert_eq!(into_a_closed_pipe(&daemon, &["flow", "run", "good", "--wait"]), 0);
    assert_eq!(into_a_closed_pipe(&daemon, &["flow", "run", "bad", "--wait"]), 1);
    let failed = daemon.runs("bad")[0].run.to_string();
    assert_eq!(into_a_closed_pipe(&daemon, &["run", "tail", &failed]), 1);
    assert_eq!(into_a_closed_pipe(&daemon, &["tail", "--from", "0"]), 0);
}

#[test]
fn an_error_for_scripts_is_one_line_with_its_code() {
    let daemon = Daemon::start();
    let check = |arguments: &[&str], exit: i32, code: &str| {
        let said = daemon.aura(arguments);
        assert_eq!((said.code, said.out.as_str()), (exit, ""), "{said:#?}");
        let line: serde_json::Value =
            serde_json::from_str(&said.err).unwrap_or_else(|error| panic!("{error}: {said:#?}"));
        assert_eq!(line["error"]["code"], code, "{line}");
        assert_eq!(line["error"]["retryable"], false, "{line}");
        assert!(line["error"]["message"].is_string() && line["error"]["hint"].is_string(), "{line}");
    };
    check(&["flow", "show", "carts", "--json"], 3, "AURA-E1200");
    check(&["webhook", "show", "carts", "--json"], 3, "AURA-E1200");
    check(&["flow", "nonsense", "--json"], 2, "AURA-E1000");
}
