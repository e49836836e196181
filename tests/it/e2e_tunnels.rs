//! Tunnels as children of the daemon: two small scripts say what `cloudflared` and `ngrok` say.
//!
//! The one invariant: what a person is shown as the public address is what the program of now said, and no program
//! outlives its daemon.

use std::os::unix::fs::PermissionsExt;

use aura_protocol::rpc::{DoctorRequest, TunnelStatus};

use crate::support::daemon::Place;
use crate::support::sender::hmac;
use crate::support::{Daemon, LIMIT, Setup, assert_says, wait_for, wait_until};

const FLOW: &str = "aura: 1\nflow: far\ntriggers:\n  - id: in\n    on: webhook\n    auth: { hmac: { algorithm: sha256, header: x-sign, encoding: hex, signed: \"{url}.{body}\", secret: sender } }\nsteps:\n  - id: a\n    set: { got: true }\n";

/// A daemon whose tunnel is this script; each start of it counts up `$n`.
fn behind(kind: &str, script: &str, environment: &[(&str, &str)]) -> (Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    let text = format!(
        "#!/bin/sh\nd={}\nn=$(($(cat $d/starts 2>/dev/null || echo 0)+1))\necho $n > $d/starts\nenv > $d/env\necho \"$@\" > $d/args\necho $$ > $d/pid.new && mv $d/pid.new $d/pid\n{script}\n",
        folder.path().display()
    );
    std::fs::write(&program, text).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let mut all = vec![("AURA_TUNNEL", kind.to_owned()), ("AURA_TUNNEL_PROGRAM", program.display().to_string())];
    all.extend(environment.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let environment = all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    (Daemon::start_with(Setup { environment, ..Setup::default() }), folder)
}

fn text(folder: &tempfile::TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap_or_default().trim().to_owned()
}

fn tunnel(daemon: &Daemon) -> TunnelStatus {
    daemon.ask().status(()).expect("a status").tunnel.expect("a tunnel")
}

fn up(daemon: &Daemon, url: &str) {
    wait_until(url, LIMIT, || tunnel(daemon).url.as_deref() == Some(url));
}

fn kill(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.parse().expect("a process")).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a signal");
}

const CLOUDFLARED: &str =
    "echo \"2026-11-22T23:00:00Z INF |  https://cat-$n.trycloudflare.com  |\" >&2\nexec sleep 1000";

#[test]
fn the_address_that_cloudflared_says_is_the_public_one_and_a_new_one_takes_its_place() {
    let (daemon, folder) =
        behind("cloudflared", CLOUDFLARED, &[("TUNNEL_TOKEN", "for-it"), ("OTHER_SECRET", "not-for-it")]);
    up(&daemon, "https://cat-1.trycloudflare.com");
    let args = format!("tunnel --no-autoupdate --url http://{}", daemon.address());
    assert_eq!(text(&folder, "args"), args);
    let environment = text(&folder, "env");
    assert_says(environment.as_str(), &["TUNNEL_TOKEN=for-it", "HOME=", "PATH="]);
    assert!(!environment.contains("SECRET") && !environment.contains("AURA_"), "{environment}");
    daemon.secret("sender", "hush");
    daemon.publish(FLOW);
    let hook = daemon.open_hook("far");
    let shown = daemon.aura(&["webhook", "show", "far"]).success();
    assert_says(shown.out.as_str(), &[&format!("https://cat-1.trycloudflare.com{}", hook.path)]);
    // A proof that covers the address covers the public one.
    let send = |public: &str| {
        let signed = hmac(b"hush", format!("{public}{}.{{}}", hook.path).as_bytes());
        let headers =
            [("x-sign".to_owned(), hex::encode(signed)), ("content-type".to_owned(), "application/json".to_owned())];
        hook.send_with(&headers, b"{}").expect("an answer").status
    };
    assert_eq!((send("https://cat-1.trycloudflare.com"), send("https://cat-2.trycloudflare.com")), (202, 401));
    kill(&text(&folder, "pid"));
    up(&daemon, "https://cat-2.trycloudflare.com");
    assert_eq!(tunnel(&daemon).restarts, 1);
    let shown = daemon.aura(&["webhook", "show", "far"]).success();
    assert_says(shown.out.as_str(), &["https://cat-2.trycloudflare.com/hooks/"]);
    assert_eq!((send("https://cat-2.trycloudflare.com"), send("https://cat-1.trycloudflare.com")), (202, 401));
    let status = daemon.aura(&["status"]).success();
    assert_says(status.out.as_str(), &["tunnel   cloudflared is up: https://cat-2.trycloudflare.com"]);
    assert_says(
        daemon.place.said().as_str(),
        &["the tunnel is down: it was killed", "the tunnel is up: https://cat-2"],
    );
}

#[test]
fn ngrok_says_its_address_as_json_and_a_set_address_stays() {
    let script = "echo '{\"lvl\":\"info\",\"msg\":\"started tunnel\",\"obj\":\"tunnels\",\"url\":\"https://1a2b.ngrok-free.app\"}'\nexec sleep 1000";
    let (daemon, folder) = behind("ngrok", script, &[("AURA_PUBLIC_URL", "https://hooks.example.com")]);
    up(&daemon, "https://1a2b.ngrok-free.app");
    let args = format!("http http://{} --log stdout --log-format json", daemon.address());
    assert_eq!(text(&folder, "args"), args);
    daemon.secret("sender", "hush");
    daemon.publish(FLOW);
    let shown = daemon.aura(&["webhook", "show", "far"]).success();
    assert_says(shown.out.as_str(), &["https://hooks.example.com/hooks/"]);
    let found = daemon.ask().doctor(DoctorRequest { deep: false }).expect("findings");
    let line = found.iter().find(|line| line.subject == "tunnel").expect("a line about the tunnel");
    assert_eq!((line.level.as_str(), line.message.as_str()), ("ok", "ngrok is up: https://1a2b.ngrok-free.app"));
}

#[test]
fn what_keeps_a_tunnel_down_is_one_sentence_with_what_to_do() {
    let environment = vec![
        ("AURA_TUNNEL".to_owned(), "ngrok".to_owned()),
        ("AURA_TUNNEL_PROGRAM".to_owned(), "/nonexistent/ngrok".to_owned()),
    ];
    let daemon = Daemon::start_with(Setup { environment, ..Setup::default() });
    let failing = |daemon: &Daemon| wait_for("the tunnel to fail", LIMIT, || tunnel(daemon).why);
    assert_eq!(failing(&daemon), "/nonexistent/ngrok is not installed");
    assert_says(daemon.aura(&["status"]).success().out.as_str(), &["ngrok fails: /nonexistent/ngrok is not installed"]);
    let doctor = daemon.aura(&["doctor"]);
    assert_says(doctor.out.as_str(), &["/nonexistent/ngrok is not installed", "https://ngrok.com/download"]);
    let script = "echo '{\"lvl\":\"eror\",\"err\":\"authentication failed: your token\\u001b[2J\"}'\nexit 3";
    let (daemon, _folder) = behind("ngrok", script, &[]);
    assert_eq!(failing(&daemon), "it ended with code 3: authentication failed: your token␛[2J");
    // What it does not accept it prints; nobody else does.
    let script = "echo 'ERROR:  authentication failed: no proper authtoken' >&2\necho \"ERROR:  Your authtoken: $NGROK_AUTHTOKEN\" >&2\necho 'ERROR:  Your authtoken: of-its-file' >&2\necho 'ERROR:  ERR_NGROK_105' >&2\nexit 1";
    let (daemon, _folder) = behind("ngrok", script, &[("NGROK_AUTHTOKEN", "2abC_tok"), ("AURA_LOG", "debug")]);
    assert_eq!(failing(&daemon), "it ended with code 1: authentication failed: no proper authtoken");
    let said = daemon.place.said();
    assert_says(said.as_str(), &["ERROR:  Your authtoken: [token]", "ERR_NGROK_105"]);
    assert!(!said.contains("2abC_tok") && !said.contains("of-its-file"), "{said}");
    let refused =
        Place::new(Setup { environment: vec![("AURA_TUNNEL".to_owned(), "bore".to_owned())], ..Setup::default() });
    let (status, said) = refused.refused("127.0.0.1:0");
    assert_eq!(status.code(), Some(78));
    assert_says(said.as_str(), &["`tunnel` must be `cloudflared` or `ngrok`"]);
}

#[test]
fn a_tunnel_ends_with_its_daemon_however_that_ends() {
    let (mut daemon, folder) = behind("cloudflared", CLOUDFLARED, &[]);
    let gone = |pid: &str| {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    };
    up(&daemon, "https://cat-1.trycloudflare.com");
    let first = text(&folder, "pid");
    assert!(!gone(&first));
    daemon.kill9();
    wait_until("the child of a killed daemon to be gone", LIMIT, || gone(&first));
    daemon.up();
    up(&daemon, "https://cat-2.trycloudflare.com");
    let second = text(&folder, "pid");
    assert!(daemon.stop().success());
    assert!(gone(&second), "it ends before its daemon has ended");
}
