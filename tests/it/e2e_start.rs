//! Starting and reaching a daemon when something is in the way: one sentence each, and nothing changed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use aura_protocol::rpc::HelloRequest;
use aura_protocol::run::RunState;
use aura_protocol::version::PROTOCOL;
use aura_protocol::{Code, RunId, TenantId};
use aura_storage::rows::{LiveRow, VersionRecord, journal_key, run_key, timer_key};
use aura_storage::{Key, Table};

use crate::judge::vanish;
use crate::support::daemon::Place;
use crate::support::{Client, Daemon, LIMIT, Setup, assert_says, aura, aura_at, wait_for, wait_until};

const FLOW: &str =
    "aura: 1\nflow: small\ntriggers:\n  - { id: in, on: webhook, auth: none }\nsteps:\n  - id: a\n    set: { b: 1 }\n";

/// The daemon must end by itself with one sentence that says this.
fn refuses(place: &Place, listen: &str, says: &[&str]) {
    let (status, said) = place.refused(listen);
    assert!(!status.success(), "it ended well: {said}");
    assert!(status.code().is_some(), "it was killed by a signal: {status}: {said}");
    let last = said.lines().rfind(|line| line.starts_with("aurad: ")).unwrap_or_else(|| panic!("no sentence: {said}"));
    assert_says(last, says);
    assert!(!said.contains("panicked"), "{said}");
}

/// A data directory that a daemon has used and closed.
fn used() -> Place {
    let mut daemon = Daemon::start();
    daemon.publish(FLOW);
    let reply = daemon.open_hook("small").send("1", "{}").expect("an answer");
    assert_eq!(reply.status, 202);
    daemon.wait_quiet(LIMIT);
    assert!(daemon.stop().success());
    daemon.into_place()
}

#[test]
fn a_second_daemon_on_one_directory_is_refused_and_the_first_goes_on() {
    let first = Daemon::start();
    let second = Place::new(Setup { data_dir: Some(first.place.data()), ..Setup::default() });
    refuses(&second, "127.0.0.1:0", &["another", &first.place.data().display().to_string()]);
    assert!(!second.socket().exists(), "it left no socket");
    first.publish(FLOW);
    assert_eq!(first.open_hook("small").send("1", "{}").expect("an answer").status, 202);
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let place = Place::new(Setup::default());
    drop(UnixListener::bind(place.socket()).expect("a socket that nobody answers"));
    assert!(place.socket().exists());
    let daemon = Daemon::start_at(place);
    let second = Place::new(Setup::default());
    fs::remove_dir(second.path("run")).expect("an empty directory");
    std::os::unix::fs::symlink(daemon.place.path("run"), second.path("run")).expect("a link");
    refuses(&second, "127.0.0.1:0", &["socket"]);
    daemon.ask().status(()).expect("the first daemon still answers");
    Client::connect(&daemon.place.socket()).expect("and takes new clients");
}

#[test]
fn a_port_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let place = Place::new(Setup::default());
    refuses(&place, &address, &[&address, "in use"]);
    assert!(!place.socket().exists(), "it left no socket");
}

#[test]
fn a_truncated_database_is_refused_and_left_as_it_is() {
    let place = used();
    let file = place.data().join("aura.redb");
    let whole = fs::read(&file).expect("the database");
    for part in [whole.len() / 2, 5000, 100, 0] {
        fs::write(&file, &whole[..part]).expect("a truncated database");
        refuses(&place, "127.0.0.1:0", &["aura.redb"]);
        assert_eq!(fs::read(&file).expect("the database").len(), part, "a refused file is left as it is");
    }
    fs::write(&file, &whole).expect("the whole database");
    let daemon = Daemon::start_at(place);
    assert_eq!(daemon.runs("small").len(), 1);
}

#[test]
fn what_is_no_database_is_refused_and_left_as_it_is() {
    let place = Place::new(Setup::default());
    fs::create_dir(place.data()).expect("a data directory");
    let file = place.data().join("aura.redb");
    fs::write(&file, "a text of somebody else\n".repeat(1000)).expect("a file");
    refuses(&place, "127.0.0.1:0", &["aura.redb"]);
    assert_says(fs::read_to_string(&file).expect("the file"), &["somebody else"]);
}

#[test]
fn a_newer_database_is_refused_with_what_to_do() {
    let place = used();
    crate::judge::make_newer(&place.data());
    refuses(&place, "127.0.0.1:0", &["newer"]);
}

#[test]
fn a_daemon_that_is_away_is_said_with_what_to_do() {
    let place = Place::new(Setup::default());
    let said = aura_at(&place.socket(), &["status"]);
    assert_eq!(said.code, i32::from(Code::Unreachable.exit_code()), "{said:?}");
    assert_says(&said.err, &["aurad", &place.socket().display().to_string()]);
    let said = aura_at(&place.socket(), &["run", "list", "--json"]);
    assert_eq!(said.code, i32::from(Code::Unreachable.exit_code()), "{said:?}");
    assert_says(&said.err, &["AURA-E1600"]);
}

#[test]
fn another_protocol_is_refused_with_which_side_is_older() {
    let daemon = Daemon::start();
    for (protocol, says) in [(PROTOCOL - 1, "older"), (PROTOCOL + 1, "newer")] {
        let client = Client::connect_silently(&daemon.place.socket()).expect("a connection");
        let error = client.hello(HelloRequest { protocol, build: "0.0.0".into() }).expect_err("a refusal");
        assert_eq!(error.code, Code::Protocol, "{error:?}");
        assert_says(format!("{error} {:?}", error.hint), &[says]);
    }
    daemon.ask().status(()).expect("others are served");
}

#[test]
fn bytes_that_are_no_protocol_harm_nobody() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    let daemon = Daemon::start();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 4, 0xc1, 0xc1, 0xc1, 0xc1]] {
        let mut stream = UnixStream::connect(daemon.place.socket()).expect("a connection");
        stream.write_all(bytes).expect("written");
        drop(stream);
        Client::connect(&daemon.place.socket()).expect("others are served");
    }
    // A thousand levels of lists in one frame.
    let mut deep = vec![0x91; 1000];
    deep.push(0xc0);
    let mut frame = u32::try_from(deep.len()).expect("small").to_be_bytes().to_vec();
    frame.extend_from_slice(&deep);
    UnixStream::connect(daemon.place.socket()).expect("a connection").write_all(&frame).expect("written");
    Client::connect(&daemon.place.socket()).expect("others are served");
}

#[test]
fn settings_that_are_wrong_are_refused_before_anything_is_made() {
    for (name, value, says) in [
        ("AURA_HTTP_BODY_MAX", "much", "AURA_HTTP_BODY_MAX"),
        ("AURA_LISTEN", "nowhere", "listen"),
        ("AURA_CALLS_MAX", "0", "calls_max"),
    ] {
        let place = Place::new(Setup { environment: vec![(name.into(), value.into())], ..Setup::default() });
        let listen = if name == "AURA_LISTEN" { value } else { "127.0.0.1:0" };
        refuses(&place, listen, &[says]);
        assert!(!place.data().exists(), "{name}: nothing was made");
    }
}

#[test]
fn the_store_shows_nothing_of_what_it_holds() {
    let mut daemon = Daemon::start();
    daemon.secret("api", "a-very-secret-value");
    daemon.publish(FLOW);
    let reply = daemon.open_hook("small").send("1", r#"{"card": "4242-not-to-be-seen"}"#).expect("an answer");
    assert_eq!(reply.status, 202);
    daemon.wait_quiet(LIMIT);
    assert!(daemon.stop().success());
    let secrets = [&b"a-very-secret-value"[..], b"4242-not-to-be-seen", b"small"];
    let files = files_below(&daemon.place.data());
    assert!(!files.is_empty());
    for file in files {
        let bytes = fs::read(&file).expect("a file of the store");
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} shows {}", file.display(), String::from_utf8_lossy(secret));
        }
    }
    let said = daemon.place.said();
    assert!(!said.contains("a-very-secret-value") && !said.contains("4242-not"), "the log shows a secret: {said}");
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn commands_without_a_daemon_work_without_one() {
    let said = aura(&["--version"]).success();
    assert_says(&said.out, &["aura"]);
    let said = aura(&["flow", "schema"]).success();
    assert!(said.json().is_object());
    let said = aura(&["no-such-command"]);
    assert_eq!(said.code, 2, "{said:?}");
}

/// Two commits, then a long sleep.
const SLEEPER: &str =
    "aura: 1\nflow: sleeper\nsteps:\n  - { id: short, sleep: { for: 10ms } }\n  - { id: long, sleep: { for: 1h } }\n";

fn sleeping(daemon: &Daemon) -> RunId {
    let run = daemon.run("sleeper", "{}");
    wait_until("the long sleep", LIMIT, || daemon.wait_state(run, RunState::Waiting).reached("long"));
    run
}

#[test]
fn every_start_looks_at_what_lives_and_says_what_is_missing() {
    let mut daemon = Daemon::start();
    let whole = wait_for("the check", LIMIT, || daemon.ask().status(()).expect("a status").checked);
    assert_eq!((whole.damaged, whole.live, whole.recent), (0, 0, 0));
    daemon.publish(SLEEPER);
    let runs: Vec<RunId> = (0..4).map(|_| sleeping(&daemon)).collect();
    let [gap, timer, live, well] = runs.as_slice() else { panic!("four runs") };
    daemon.kill9();
    daemon.up();
    let whole = wait_for("the check", LIMIT, || daemon.ask().status(()).expect("a status").checked);
    assert_eq!((whole.damaged, whole.live, whole.recent, whole.whole), (0, 4, 4, true), "a kill damages nothing");
    let said = daemon.aura(&["status"]).success();
    assert_says(said.out, &["checked  4 unfinished and 4 recent runs at the start, all whole"]);
    assert!(daemon.stop().success());

    // What a changed byte in redb's tree does: rows that nobody misses.
    let tenant = TenantId::DEFAULT;
    vanish(&daemon.place.data(), |store| {
        let row = |run: RunId| store.get::<LiveRow>(tenant, Table::Live, &run_key(tenant, run)).expect("a read");
        let due = row(*timer).and_then(|row| row.due_ms).expect("a timer");
        vec![
            (Table::Journal, journal_key(tenant, *gap, 1)),
            (Table::Timers, timer_key(due, tenant, timer.bytes())),
            (Table::Live, run_key(tenant, *live)),
        ]
    });
    daemon.up();
    let seen = wait_for("the check", LIMIT, || daemon.ask().status(()).expect("a status").checked);
    // The timer of the run without a live row wakes nothing: that is the fourth.
    assert_eq!((seen.damaged, seen.live, seen.recent), (4, 3, 4), "{seen:?}: {}", daemon.place.said());
    let said = daemon.aura(&["status"]).success();
    assert_says(said.out, &["damage found at the start: see `aura doctor`", "4 rows damaged or missing"]);
    let key = |run: RunId| run_key(tenant, run).hex();
    let missing = [
        (key(*gap), "transition 1 of the run is missing"),
        (key(*timer), "the timer that wakes the run is missing"),
        (key(*live), "its live row is missing"),
    ];
    for (key, what) in &missing {
        assert!(daemon.place.said().lines().any(|line| line.contains(key) && line.contains(what)), "{key} {what}");
    }
    let said = daemon.aura(&["doctor"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_says(&said.out, &["4 rows were damaged or missing", "transition 1 of the run is missing"]);
    // Nothing is made up for what is missing: that run does not go on, and the others do.
    let said = daemon.aura(&["run", "cancel", &gap.to_string()]);
    assert_eq!(said.code, i32::from(Code::Corrupt.exit_code()), "{said:?}");
    daemon.aura(&["run", "cancel", &well.to_string()]).success();
    sleeping(&daemon);
}

#[test]
fn a_quick_restart_loses_nothing_and_can_be_switched_on_and_off() {
    let environment = vec![("AURA_QUICK_RESTART".to_owned(), "true".to_owned())];
    let mut daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    let said = daemon.aura(&["config", "show"]).success();
    assert!(said.out.lines().any(|line| line.contains("quick_restart") && line.contains("true")), "{said:?}");
    daemon.publish(FLOW);
    let mut sent = 0;
    for round in 0..4 {
        // As it was made, then without, then with it again.
        let unset = if round == 2 { vec!["env", "-u", "AURA_QUICK_RESTART"] } else { Vec::new() };
        daemon.place.wrapper = unset.into_iter().map(str::to_owned).collect();
        let hook = daemon.open_hook("small");
        for _ in 0..15 {
            sent += 1;
            assert_eq!(hook.send(&sent.to_string(), "{}").expect("an answer").status, 202);
        }
        daemon.kill9();
        daemon.up();
        let seen = wait_for("the check", LIMIT, || daemon.ask().status(()).expect("a status").checked);
        assert_eq!(seen.damaged, 0, "round {round}: {}", daemon.place.said());
        daemon.wait_quiet(LIMIT);
        assert_eq!(daemon.runs("small").len(), sent, "round {round}");
    }
    let said = daemon.aura(&["doctor", "--deep"]);
    assert_says(&said.out, &["everything stored was checked and is whole"]);
}

#[test]
fn a_lost_version_is_said_and_never_shown_as_none() {
    let place = used();
    vanish(&place.data(), |store| {
        let tenant = TenantId::DEFAULT;
        let (from, to) = (Key::tenant(tenant), Key::tenant(tenant).after_prefix());
        let rows: Vec<(Key, VersionRecord)> =
            store.scan(tenant, Table::Versions, &from, &to, 10, false).expect("the versions");
        assert_eq!(rows.len(), 1, "one was published");
        rows.into_iter().map(|(key, _)| (Table::Versions, key)).collect()
    });
    let daemon = Daemon::start_at(place);
    for command in [["flow", "show", "small"], ["flow", "run", "small"]] {
        let said = daemon.aura(&command);
        assert_eq!(said.code, i32::from(Code::Corrupt.exit_code()), "{said:?}");
        assert_says(&said.err, &["the published version", "small", "cannot be read", "a backup"]);
    }
    // The file that its owner has heals it.
    daemon.publish(FLOW);
    daemon.aura(&["flow", "run", "small"]).success();
}
