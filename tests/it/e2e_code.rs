//! Scripts of flows (`code`), with the real daemon and its runners: what they give, what they cannot reach, and what a
//! script that does its worst costs anybody else.

use std::fs;
use std::time::Duration;

use aura_protocol::run::{Record, RunState};

use crate::support::{Client, Daemon, LIMIT, Setup, assert_says, wait_for};

/// A flow of one script.
fn flow(name: &str, js: &str, more: &str) -> String {
    let script = js.lines().map(|line| format!("        {line}\n")).collect::<String>();
    format!(
        "aura: 1\nflow: {name}\ntriggers: [{{ id: hand, on: manual }}]\nsteps:\n  - id: script\n    code:\n      \
         input: {{ given: \"{{{{ input }}}}\" }}\n      js: |\n{script}{more}"
    )
}

/// The process ids of the runners of a daemon.
pub fn runners(daemon: &Daemon) -> Vec<u32> {
    let children = format!("/proc/{0}/task", daemon.pid());
    let mut found = Vec::new();
    for thread in fs::read_dir(children).expect("its threads").flatten() {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    found.retain(|id| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains("runner")));
    found
}

/// A number of `/proc/PID/status` in KiB.
fn kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_else(|| panic!("no {field}: {status}"));
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_script_gives_data_prints_lines_and_says_where_it_failed() {
    let daemon = Daemon::start();
    daemon.publish(&flow(
        "sums",
        "const rows = input.given.rows;\nconsole.log('rows', rows.length);\nreturn {\n  total: rows.reduce((sum, row) => sum + row.n, 0),\n  text: '{{ not a template }}',\n  at: new Date().getTime() === Date.now(),\n};",
        "",
    ));
    let run = daemon.run("sums", r#"{"rows":[{"n":1.5},{"n":2}]}"#);
    let journal = daemon.wait_state(run, RunState::Succeeded);
    assert_eq!(journal.output("script"), r#"{"total":3.5,"text":"{{ not a template }}","at":true}"#);
    let said = daemon.aura(&["run", "logs", &run.to_string()]).success();
    assert_says(&said.out, &["rows 2"]);

    daemon.publish(&flow("fails", "\nthrow new Error('no stock of ' + input.given.sku)", ""));
    let journal = daemon.wait_state(daemon.run("fails", r#"{"sku":"A7"}"#), RunState::Failed);
    assert_says(journal.error(), &["the script failed, line 2: Error: no stock of A7"]);
    assert_eq!(journal.failures("script"), 1, "a script that throws is not tried again");

    let journal = daemon.wait_state(daemon.run("sums", r#"{"rows":12345678901234567890123}"#), RunState::Failed);
    assert_says(journal.error(), &["12345678901234567890123", "input.given.rows", "give it as text"]);
}

#[test]
fn what_is_no_script_is_refused_by_check() {
    let daemon = Daemon::start();
    for (text, says) in [
        ("code: {}", "the key `js` is missing"),
        ("code: { js: 1 }", "`js` must be the text of a script"),
        ("code: { js: \"return 1\" }\n    timeout: 1m", "a script may take"),
        ("code: { js: \"return 1\" }\n    retry: { attempts: 2 }", "`retry` belongs to a call"),
        ("code: { js: \"return 1\", input: \"{{ steps.nobody.output }}\" }", "nobody"),
    ] {
        let text = format!("aura: 1\nflow: wrong\nsteps:\n  - id: a\n    {text}\n");
        let error = daemon.apply(&text).expect_err("it is wrong");
        assert_says(format!("{error} {:?}", error), &[says]);
    }
}

/// A15: what scripts try to get out, and to take more than their share. The daemon answers all the while.
#[test]
fn scripts_that_do_their_worst_stay_in_their_runner() {
    let daemon = Daemon::start();
    let escapes = include_str!("corpus_scripts.txt");
    daemon.publish(&flow("warm", "return 1", ""));
    daemon.wait_state(daemon.run("warm", "{}"), RunState::Succeeded);
    let before = kib(daemon.pid(), "VmRSS");
    let (mut count, mut wrong) = (0, Vec::new());
    for (number, case) in escapes.split("\n----\n").enumerate() {
        let (expected, js) = case.trim_start().split_once('\n').expect("what is expected, then the script");
        let (state, says) = expected.split_once(' ').expect("a state and a word");
        let name = format!("bad-{number}");
        // What must fail by its memory has time for it, also on a busy machine.
        let time = if says.contains("MiB") { "20s" } else { "700ms" };
        daemon.publish(&flow(&name, js, &format!("    timeout: {time}\n")));
        let run = daemon.run(&name, "{}");
        let state = if state == "ok" { RunState::Succeeded } else { RunState::Failed };
        let journal = daemon.wait_state(run, state);
        let met = if state == RunState::Succeeded { journal.output("script") } else { journal.error() };
        if !met.contains(says) {
            wrong.push(format!("{js}\n  {says}\n  {met}"));
        }
        // What the script took is taken by its runner alone, within its limit.
        for pid in runners(&daemon) {
            assert!(kib(pid, "VmHWM") < 256 * 1024, "{js}: {} KiB", kib(pid, "VmHWM"));
        }
        daemon.ask().status(()).expect("the daemon answers");
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 30, "{count} cases");
    let after = kib(daemon.pid(), "VmRSS");
    assert!(after < before + 20 * 1024, "the daemon grew from {before} to {after} KiB over {count} flows and runs");
}

#[test]
fn a_runner_is_closed_in_and_has_nothing_of_the_daemon() {
    let daemon = Daemon::start();
    daemon.publish(&flow("slow", "const end = Date.now; let n = 0; while (true) n++;", "    timeout: 20s\n"));
    let run = daemon.run("slow", "{}");
    let pid = wait_for("a runner", LIMIT, || runners(&daemon).first().copied());
    // Seccomp 2: a filter. NoNewPrivs. No environment, and only the socket and the log open.
    let status = wait_for("it is closed in", LIMIT, || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')).then_some(status)
    });
    assert!(status.lines().any(|line| line.starts_with("NoNewPrivs:") && line.ends_with('1')), "{status}");
    assert_eq!(fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(), b"", "no environment");
    let open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("its files")
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|link| link.display().to_string())
        .collect();
    assert!(open.iter().all(|link| !link.contains("aura.redb") && !link.contains("aurad.sock")), "{open:?}");

    // Killed under the script: it is tried again in another one, and a cancel ends it there.
    kill_at_once(pid);
    let next = wait_for("another runner", LIMIT, || runners(&daemon).into_iter().find(|id| *id != pid));
    daemon.aura(&["run", "cancel", &run.to_string()]).success();
    daemon.wait_state(run, RunState::Cancelled);
    wait_for("that one is ended", LIMIT, || (!runners(&daemon).contains(&next)).then_some(()));
}

#[test]
fn a_full_pool_lets_scripts_wait_and_fails_none() {
    let environment = vec![("AURA_SCRIPTS_MAX".to_owned(), "1".to_owned())];
    let mut daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    let js = "const a = []; for (let i = 0; i < 200000; i++) a.push(i * 2); return a.length;";
    daemon.publish(&flow("busy", js, "    timeout: 10s\n"));
    let runs: Vec<_> = (0..12).map(|_| daemon.run("busy", "{}")).collect();
    daemon.kill9();
    daemon.up();
    for run in runs {
        let journal = daemon.wait_state(run, RunState::Succeeded);
        assert_eq!(journal.output("script"), "200000");
    }
    assert!(runners(&daemon).len() <= 1, "{:?}", runners(&daemon));
    // The same runner served them: it is warm, not started for each.
    let pid = runners(&daemon);
    daemon.wait_state(daemon.run("busy", "{}"), RunState::Succeeded);
    assert_eq!(runners(&daemon), pid);
}

#[test]
fn systemd_may_hold_the_runners() {
    let activate = std::process::Command::new("systemd-socket-activate").arg("--version").output();
    if activate.is_err() {
        println!("not run: there is no systemd-socket-activate here (Debian package `systemd`)");
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let socket = place.path().join("runner.sock");
    let mut held = Held(
        std::process::Command::new("systemd-socket-activate")
            .args(["--accept", "--inetd", "-l"])
            .arg(&socket)
            .arg(env!("CARGO_BIN_EXE_it-aurad"))
            .arg("runner")
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    wait_for("the socket", LIMIT, || socket.exists().then_some(()));
    let environment = vec![("AURA_RUNNER_SOCKET".to_owned(), socket.display().to_string())];
    let daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    daemon.publish(&flow("held", "return input.given.a + 1", ""));
    let journal = daemon.wait_state(daemon.run("held", r#"{"a":1}"#), RunState::Succeeded);
    assert_eq!(journal.output("script"), "2");
    assert!(runners(&daemon).is_empty(), "none of its own");
    held.end();
    // Without that socket a new runner cannot be had: a sentence, no hang.
    let lost = Setup {
        environment: vec![("AURA_RUNNER_SOCKET".to_owned(), place.path().join("none").display().to_string())],
        ..Setup::default()
    };
    let daemon = Daemon::start_with(lost);
    daemon.publish(&flow("lost", "return 1", ""));
    let journal = daemon.wait_state(daemon.run("lost", "{}"), RunState::Failed);
    assert_says(journal.error(), &["scripts cannot run here", "does not answer", "aurad-runner.socket"]);
    let _ = (Duration::ZERO, Client::connect(&daemon.place.socket()).expect("it serves"));
    assert!(!journal.of("script").any(|record| matches!(record, Record::Completed { .. })));
}

/// A process that does not outlive its test.
struct Held(std::process::Child);

impl Held {
    fn end(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end();
    }
}

fn kill_at_once(pid: u32) {
    let done = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill");
    assert!(done.success());
}
