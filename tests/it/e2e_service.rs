//! The daemon as a service: locked without its key, what systemd hears, sockets that outlive it, and a frozen one.
//!
//! The one invariant: whatever happens to the process, a delivery that was let in is accepted once or refused
//! with a time to come again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aura_protocol::Code;
use aura_protocol::rpc::*;
use aura_protocol::run::RunState;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::daemon::{MASTER, Place};
use crate::support::sender::exchange;
use crate::support::{Client, Daemon, Hook, LIMIT, Receiver, Setup, assert_says, wait_for, wait_until};

const FLOW: &str =
    "aura: 1\nflow: small\ntriggers:\n  - { id: in, on: webhook, auth: none }\nsteps:\n  - id: a\n    set: { b: 1 }\n";

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
    kill_process(pid, signal).expect("a signal");
}

fn get(daemon: &Daemon, path: &str) -> crate::support::Reply {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    exchange(daemon.address(), request.as_bytes(), || ()).expect("an answer")
}

fn state(daemon: &Daemon) -> StatusReply {
    Client::connect(&daemon.place.socket()).and_then(|client| client.status(())).expect("a status")
}

/// Provides the key, reloads, and waits until the daemon serves.
fn unlock(daemon: &Daemon) {
    let key = daemon.place.path("master.key");
    let _ = fs::remove_file(&key);
    fs::write(&key, MASTER).expect("the key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("a mode");
    let pid = state(daemon).pid;
    signal(pid, Signal::HUP);
    wait_until("the daemon to unlock", LIMIT, || {
        let status = Client::connect(&daemon.place.socket()).and_then(|client| client.status(()));
        status.is_ok_and(|status| status.state == "ready")
    });
    assert_eq!(state(daemon).pid, pid, "the process is the same");
}

#[test]
fn without_its_key_the_daemon_is_locked_says_why_and_unlocks_by_a_reload() {
    let place = Place::new(Setup::default());
    fs::remove_file(place.path("master.key")).expect("a key");
    let daemon = Daemon::start_at(place);
    let status = state(&daemon);
    assert_says(&status.state, &["locked", "master.key", "cannot be read"]);
    let client = Client::connect(&daemon.place.socket()).expect("a handshake");
    let refused = client.flow_list(()).expect_err("nothing is listed");
    assert_eq!(refused.code, Code::Locked, "{refused:?}");
    assert_says(format!("{refused} {:?}", refused.hint), &["locked", "reload"]);
    let refused = client.flow_apply(FlowApply { text: FLOW.to_owned() }).expect_err("nothing is stored");
    assert_eq!(refused.code, Code::Locked, "{refused:?}");
    assert_eq!(get(&daemon, "/healthz").status, 200);
    assert_eq!(get(&daemon, "/readyz").status, 503);
    let hook = Hook { address: daemon.address(), path: "/hooks/abc".into(), secret: String::new() };
    let reply = hook.send("1", "{}").expect("an answer");
    assert_eq!((reply.status, reply.header("retry-after"), reply.event()), (503, Some("30"), None));
    assert!(!daemon.place.data().exists(), "nothing was made");
    let said = daemon.aura(&["status"]).success();
    assert_says(&said.out, &["locked", "master.key"]);
    let file = daemon.place.path("flow.yaml");
    std::fs::write(&file, "aura: 1\nflow: a\nsteps:\n  - { id: s, set: { b: 1 } }\n").expect("a flow file");
    let said = daemon.aura(&["flow", "check", file.to_str().expect("a path")]).success();
    assert_says(&said.err, &["locked", "not checked"]);
    assert_eq!(daemon.aura(&["doctor"]).code, 1);
    let said = daemon.aura(&["run", "list"]);
    assert_eq!(said.code, 9, "{said:?}");
    unlock(&daemon);
    let client = Client::connect(&daemon.place.socket()).expect("a handshake");
    client.flow_apply(FlowApply { text: FLOW.to_owned() }).expect("a flow");
    assert_eq!(get(&daemon, "/readyz").status, 200);
}

#[test]
fn a_key_of_a_wrong_mode_or_of_another_store_locks_and_changes_nothing() {
    let mut daemon = Daemon::start();
    daemon.publish(FLOW);
    assert_eq!(daemon.open_hook("small").send("1", "{}").expect("an answer").status, 202);
    daemon.wait_quiet(LIMIT);
    assert!(daemon.stop().success());
    let key = daemon.place.path("master.key");
    for mode in [0o644, 0o640, 0o700] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("a mode");
        daemon.up();
        assert_says(&state(&daemon).state, &["locked", &format!("mode {mode:04o}"), "chmod 600"]);
        assert!(daemon.stop().success(), "a locked daemon ends well");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    let before = fs::metadata(daemon.place.data().join("aura.redb")).expect("the database").len();
    fs::write(&key, [9; 32]).expect("another key");
    daemon.up();
    assert_says(&state(&daemon).state, &["locked", "does not fit"]);
    let after = fs::metadata(daemon.place.data().join("aura.redb")).expect("the database").len();
    assert!(after <= before, "free space may be given back, but nothing is added: {before} to {after}");
    unlock(&daemon);
    let client = Client::connect(&daemon.place.socket()).expect("a handshake");
    assert_eq!(client.run_list(RunQuery { limit: 10, ..RunQuery::default() }).expect("the runs").len(), 1);
}

/// What systemd would hear.
struct Ear(UnixDatagram);

impl Ear {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a notify socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        Self(socket)
    }

    /// Waits for a message that says this, and gives it.
    fn hears(&self, wanted: &str) -> String {
        wait_for(&format!("`{wanted}` on the notify socket"), LIMIT, || {
            let mut bytes = [0; 4096];
            let length = self.0.recv(&mut bytes).ok()?;
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            text.lines().any(|line| line.starts_with(wanted)).then_some(text)
        })
    }
}

#[test]
fn systemd_hears_ready_reload_life_and_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let ear = Ear::new(&path);
    let environment = vec![
        ("NOTIFY_SOCKET".to_owned(), path.display().to_string()),
        ("WATCHDOG_USEC".to_owned(), "1000000".to_owned()),
    ];
    let mut daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    assert_says(ear.hears("READY=1"), &["STATUS=serving 127.0.0.1"]);
    ear.hears("WATCHDOG=1");
    let pid = state(&daemon).pid;
    signal(pid, Signal::HUP);
    assert_says(ear.hears("RELOADING=1"), &["MONOTONIC_USEC="]);
    ear.hears("READY=1");
    wait_until("the reload to be said", LIMIT, || daemon.place.said().contains("settings were read again"));
    // Frozen, it gives no sign of life.
    signal(pid, Signal::STOP);
    let mut bytes = [0; 4096];
    while ear.0.recv(&mut bytes).is_ok() {}
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1_200) {
        assert!(ear.0.recv(&mut bytes).is_err(), "a frozen daemon spoke");
    }
    signal(pid, Signal::CONT);
    ear.hears("WATCHDOG=1");
    assert!(daemon.stop().success());
    ear.hears("STOPPING=1");
}

/// A process group that ends with the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

#[test]
fn sockets_that_systemd_holds_lose_no_delivery_over_restarts() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        println!("not run: there is no systemd-socket-activate here (Debian package `systemd`)");
        return;
    }
    let place = Place::new(Setup::default());
    let address = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    // As systemd does it, the sockets stay open while the daemon comes and goes; the shell stands for systemd.
    let script = place.path("service.sh");
    let command = place.command("127.0.0.1:0");
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let log = place.path("aurad.log");
    let text = format!(
        "unset LISTEN_PID\nexport HOME='{home}' XDG_CONFIG_HOME='{home}' XDG_RUNTIME_DIR='{home}'\nwhile :; do {} 2>>'{}' || exit 1; done\n",
        words.join(" "),
        log.display(),
        home = place.path("home").display(),
    );
    fs::write(&script, text).expect("a script");
    let child = Command::new("systemd-socket-activate")
        .args(["-l", &address.to_string(), "-l"])
        .arg(place.socket())
        .args(["sh"])
        .arg(&script)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("systemd-socket-activate starts");
    let group = Group(child);
    let client = || wait_for("the daemon behind its socket", LIMIT, || Client::connect(&place.socket()).ok());
    let first = client();
    assert!(log.exists(), "the first connection started it");
    let status = first.status(()).expect("a status");
    assert_eq!(status.listen, address.to_string(), "it serves the door that it was given");
    first.flow_apply(FlowApply { text: FLOW.to_owned() }).expect("a flow");
    first.flow_publish("small".to_owned()).expect("a published flow");
    let webhooks = first.webhook_list(()).expect("endpoints");
    let path = webhooks[0].url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("a path");
    let hook = Hook { address, path, secret: String::new() };
    let (stop, sent, failed) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let mut pid = status.pid;
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let (hook, stop, sent, failed) = (&hook, &stop, &sent, &failed);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    match hook.send(&format!("{sender}-{number}"), "{}") {
                        Ok(reply) if reply.status == 202 => {}
                        other => failed.lock().expect("a list").push(format!("{number}: {other:?}")),
                    }
                }
            });
        }
        for _ in 0..3 {
            let before = sent.load(Ordering::Relaxed);
            wait_until("some deliveries", LIMIT, || sent.load(Ordering::Relaxed) > before + 100);
            signal(pid, Signal::TERM);
            pid = wait_for("the next process", LIMIT, || {
                let status = Client::connect(&place.socket()).and_then(|client| client.status(())).ok()?;
                (status.pid != pid && status.state == "ready").then_some(status.pid)
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    let failed = failed.into_inner().expect("a list");
    let said = fs::read_to_string(&log).unwrap_or_default();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}\n{said}", failed.len(), sent.load(Ordering::Relaxed));
    let mut runs = 0;
    let (client, mut before) = (client(), None);
    loop {
        let query = RunQuery { before, limit: 500, ..RunQuery::default() };
        let page = client.run_list(query).expect("the runs");
        let Some(last) = page.last() else { break };
        (runs, before) = (runs + page.len(), Some(last.run));
    }
    assert_eq!(runs, sent.load(Ordering::Relaxed), "each delivery has one run");
    drop(group);
}

#[test]
fn a_daemon_that_was_frozen_does_nothing_twice() {
    let receiver = Receiver::start();
    let mut daemon = Daemon::start();
    let flow = format!(
        "aura: 1\nflow: pay\ntriggers:\n  - {{ id: in, on: webhook, auth: none }}\nsteps:\n  - id: charge\n    http: {{ method: POST, url: \"{}\", body: {{ id: \"{{{{ trigger.body.id }}}}\" }} }}\n  - id: rest\n    sleep: {{ for: 1s }}\n  - id: tell\n    http: {{ method: POST, url: \"{}\", body: {{ id: \"{{{{ trigger.body.id }}}}\" }} }}\n",
        receiver.url("/charge"),
        receiver.url("/tell")
    );
    daemon.publish(&flow);
    daemon.publish("aura: 1\nflow: ticks\ntriggers:\n  - id: tick\n    on: schedule\n    with: { every: 1s }\nsteps:\n  - id: a\n    set: { b: 1 }\n");
    let hook = daemon.open_hook("pay");
    for number in 0..20 {
        assert_eq!(hook.send(&format!("p{number}"), &format!("{{\"id\": {number}}}")).expect("an answer").status, 202);
    }
    let pid = state(&daemon).pid;
    signal(pid, Signal::STOP);
    // Meanwhile another one tries to take its place, as an impatient operator would.
    let second = Place::new(Setup { data_dir: Some(daemon.place.data()), ..Setup::default() });
    let (status, said) = second.refused("127.0.0.1:0");
    assert!(!status.success());
    assert_says(&said, &["open"]);
    let frozen = std::env::var("AURA_FREEZE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let begin = Instant::now();
    wait_until("the freeze to last", LIMIT + Duration::from_secs(frozen), || {
        begin.elapsed() > Duration::from_secs(frozen)
    });
    signal(pid, Signal::CONT);
    daemon.wait_quiet_of("pay", LIMIT);
    // Killed by a watchdog instead: the next one goes on where the frozen one was.
    for number in 20..40 {
        assert_eq!(hook.send(&format!("p{number}"), &format!("{{\"id\": {number}}}")).expect("an answer").status, 202);
    }
    signal(pid, Signal::STOP);
    daemon.kill9();
    daemon.up();
    daemon.wait_quiet_of("pay", LIMIT);
    let runs = daemon.runs("pay");
    assert_eq!(runs.len(), 40);
    let mut doubts = 0;
    for run in &runs {
        assert!(matches!(run.state, RunState::Succeeded | RunState::InDoubt), "{run:?}");
        doubts += usize::from(run.state == RunState::InDoubt);
    }
    for path in ["/charge", "/tell"] {
        let mut seen: Vec<String> = receiver.on_path(path).iter().map(|request| request.json().to_string()).collect();
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all, "{path}: an effect happened twice");
        assert!(seen.len() + doubts >= 40, "{path}: an effect is missing");
    }
}
