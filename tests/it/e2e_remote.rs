//! `aura -H ssh://…`: the same commands and screens through a program that stands in for ssh.
//!
//! The one invariant: the stand-in does what sshd does (a shell runs the last argument, its streams are the
//! link), so what is tested is everything but the encryption. Killing it is the lost link.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Daemon, LIMIT, Said, Screen, assert_says, aura_in, wait_for, wait_until};

const FLOW: &str = "aura: 1\nflow: far\ntriggers:\n  - { id: in, on: webhook, auth: none }\nsteps:\n  - id: first\n    set: { got: \"{{ trigger.body }}\" }\n";

/// A place with a program for ssh and an `aura` for the other side.
pub struct Road {
    place: tempfile::TempDir,
}

impl Road {
    /// `script` runs before the remote command; `$all` holds the arguments.
    pub fn new(script: &str) -> Self {
        let place = tempfile::tempdir().expect("a place");
        std::fs::create_dir(place.path().join("bin")).expect("a directory");
        symlink(env!("CARGO_BIN_EXE_it-aura"), place.path().join("bin/aura")).expect("a link");
        let road = Self { place };
        let text = format!(
            "#!/bin/sh\necho \"$@\" >> {dir}/calls\necho $$ > {dir}/pid.new && mv {dir}/pid.new {dir}/pid\nfor last; do :; done\n{script}\nPATH={dir}/bin:$PATH exec sh -c \"exec $last\"\n",
            dir = road.place.path().display()
        );
        let file = road.path("ssh");
        std::fs::write(&file, text).expect("a script");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        road
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }
    pub fn ssh(&self) -> String {
        self.path("ssh").display().to_string()
    }
    /// The process at the other end now.
    pub fn pid(&self) -> i32 {
        wait_for("the other end", LIMIT, || self.text("pid").trim().parse().ok())
    }
    /// The link is cut: the other end is killed and does not come back with the same id.
    pub fn cut(&self) {
        let pid = self.pid();
        let process = rustix::process::Pid::from_raw(pid).expect("a process");
        rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("a signal");
    }
    pub fn aura(&self, arguments: &[&str]) -> Said {
        aura_in(self.place.path(), &[("AURA_SSH", &self.ssh())], arguments)
    }
}

/// A daemon's socket as `-H` names it.
pub fn address(socket: &Path) -> String {
    format!("ssh://ops@shop-01:2222{}", socket.display())
}

#[test]
fn a_command_runs_on_another_machine_also_behind_a_chatty_login() {
    let daemon = Daemon::start();
    daemon.publish(FLOW);
    let road = Road::new("echo 'Welcome to shop-01'; echo 'Last login: never'");
    let host = address(&daemon.place.socket());
    let said = road.aura(&["-H", &host, "flow", "list", "--json"]).success();
    assert_eq!(said.json()["flow"], "far");
    let call = road.text("calls");
    assert_says(call.as_str(), &["-p 2222 -l ops -- shop-01 aura --socket", "stdio"]);
    let started = road.aura(&["-H", &host, "flow", "run", "far", "--wait"]).success();
    assert_says(started.out.as_str(), &["succeeded"]);
}

#[test]
fn a_context_names_a_machine_and_its_aura() {
    let daemon = Daemon::start();
    let road = Road::new("");
    let config = road.path(".config/aura/config.toml");
    std::fs::create_dir_all(config.parent().expect("a directory")).expect("a directory");
    let file = format!(
        "default = \"shop\"\n[contexts.shop]\nhost = \"ssh://shop-01{}\"\nprogram = \"{}\"\n",
        daemon.place.socket().display(),
        road.path("bin/aura").display()
    );
    std::fs::write(&config, file).expect("a file");
    let said = road.aura(&["status", "--json"]).success();
    assert_eq!(said.json()["state"], "ready");
    let shown = road.aura(&["config", "show"]).success();
    assert_says(shown.out.as_str(), &["ssh://shop-01/", "config.toml", "http_body_max", "flag --listen"]);
    let unknown = road.aura(&["--context", "moon", "status"]);
    assert_eq!(unknown.code, 3, "{unknown:#?}");
    assert_says(unknown.err.as_str(), &["no context named moon", "shop"]);
}

#[test]
fn what_ssh_says_is_the_sentence_of_the_error() {
    let check = |script: &str, parts: &[&str]| {
        let road = Road::new(script);
        let said = road.aura(&["-H", "ssh://ops@shop-01", "status"]);
        assert_eq!((said.code, said.out.as_str()), (8, ""), "{said:#?}");
        assert_says(said.err.as_str(), parts);
        assert!(!said.err.contains('\u{1b}'), "{said:#?}");
    };
    check(
        "echo 'ops@shop-01: Permission denied (publickey).' >&2; exit 255",
        &["Permission denied", "code 255", "hint"],
    );
    check("echo 'sh: 1: aura: not found' >&2; exit 127", &["aura: not found", "not installed there"]);
    check("printf 'evil \\033]0;x\\007' >&2; exit 1", &["evil ␛]0;x"]);
    check("echo 'This account is closed.'; exit 0", &["This account is closed."]);
    // The other side has no daemon: its own sentence comes through.
    check("last='aura --socket /nonexistent/aurad.sock stdio'", &["/nonexistent/aurad.sock", "is not there"]);
    let said = Road::new("").aura(&["-H", "ssh://-oProxyCommand=x", "status"]);
    assert_eq!(said.code, 2, "{said:#?}");
}

#[test]
fn a_tail_over_a_lost_link_goes_on_from_its_cursor_without_a_gap() {
    let daemon = Daemon::start();
    daemon.publish(FLOW);
    let road = Road::new("");
    let mut tail = Command::new(env!("CARGO_BIN_EXE_it-aura"))
        .args(["-H", &address(&daemon.place.socket()), "tail", "--json", "--from", "0"])
        .env_clear()
        .envs([("HOME", road.path("").as_path()), ("AURA_SSH", Path::new(&road.ssh()))])
        .env("PATH", "/usr/bin:/bin")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("aura starts");
    let lines = BufReader::new(tail.stdout.take().expect("its output")).lines();
    let mut started = lines
        .map_while(Result::ok)
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).expect("JSON"))
        .filter_map(|line| {
            let (run, transition) =
                line["item"]["transition"].as_array().and_then(|pair| Some((pair.first()?, pair.get(1)?)))?;
            transition["records"].to_string().contains("run_started").then(|| run.to_string())
        });
    let mut seen = Vec::new();
    let mut sent = Vec::new();
    for round in 0..3 {
        for _ in 0..5 {
            sent.push(format!("\"{}\"", daemon.run("far", "{}")));
        }
        while seen.len() < sent.len() {
            seen.push(started.next().expect("another run"));
        }
        if round < 2 {
            let before = road.pid();
            road.cut();
            // What happens while nobody is connected must come too.
            sent.push(format!("\"{}\"", daemon.run("far", "{}")));
            wait_until("a new link", LIMIT, || road.pid() != before);
        }
    }
    tail.kill().expect("a kill");
    tail.wait().expect("its end");
    assert_eq!(seen, sent);
}

#[test]
fn the_screens_of_another_machine_survive_a_lost_link() {
    let daemon = Daemon::start();
    daemon.publish(FLOW);
    let short = |run: aura_protocol::RunId| run.short();
    let first = short(daemon.run("far", "{}"));
    let road = Road::new("");
    let host = address(&daemon.place.socket());
    let mut screen = Screen::run(&["-H", &host], 100, 30, &[("AURA_SSH", &road.ssh()), ("PATH", "/usr/bin:/bin")]);
    screen.wait("one run", |text| text.contains(&first));
    road.cut();
    let second = short(daemon.run("far", "{}"));
    screen.wait("caught up", |text| text.contains("caught up"));
    screen.wait("two runs", |text| text.contains(&first) && text.contains(&second));
    assert_says(road.text("calls").as_str(), &["BatchMode=yes"]);
    screen.type_keys("Q");
    wait_until("the client to end", LIMIT, || screen.ended().is_some());
}

#[test]
fn the_bridge_ends_when_either_side_does() {
    let daemon = Daemon::start();
    let bridge = || {
        Command::new(env!("CARGO_BIN_EXE_it-aura"))
            .arg("--socket")
            .arg(daemon.place.socket())
            .arg("stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("aura starts")
    };
    let mut first = bridge();
    let mut hello = [0; 13];
    first.stdout.as_mut().expect("its output").read_exact(&mut hello).expect("its first line");
    assert_eq!(&hello, b"AURA-STDIO 1\n");
    drop(first.stdin.take());
    let status = wait_for("the bridge to end", LIMIT, || first.try_wait().expect("its state"));
    assert_eq!(status.code(), Some(0));
    let mut second = bridge();
    second.stdout.as_mut().expect("its output").read_exact(&mut hello).expect("its first line");
    let mut daemon = daemon;
    daemon.kill9();
    wait_until("the bridge to end", LIMIT, || second.try_wait().expect("its state").is_some());
}
