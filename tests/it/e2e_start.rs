//! Starting and reaching a daemon when something is in the way: one sentence each, and nothing changed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use aura_protocol::Code;
use aura_protocol::rpc::HelloRequest;
use aura_protocol::version::PROTOCOL;

use crate::support::daemon::Place;
use crate::support::{Client, Daemon, LIMIT, Setup, assert_says, aura, aura_at};

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
