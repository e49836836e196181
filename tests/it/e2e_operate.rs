//! What operators do around runs: edit a flow, try an endpoint, read settings, gather what helps.
//!
//! The one invariant: each command is judged by what a person or script sees and by what the daemon then holds.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::sender::SECRET;
use crate::support::{Daemon, assert_says, aura, aura_in};

const FLOW: &str = "aura: 1\nflow: kept\n# a comment that must survive\ntriggers:\n  - { id: in, on: webhook, auth: none }\nsteps:\n  - id: first\n    set: { got: \"{{ trigger.body }}\" }\n";

/// An editor that runs a line of shell on the file `$1`.
fn editor(daemon: &Daemon, script: &str) -> String {
    let file = daemon.place.path("editor");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    file.display().to_string()
}

#[test]
fn a_flow_is_edited_checked_and_stored_and_a_refused_text_is_kept() {
    let daemon = Daemon::start();
    daemon.publish(FLOW);
    let home = daemon.place.path("home");
    let socket = daemon.place.socket().display().to_string();
    let edit = |script: &str, more: &[&str]| {
        let editor = editor(&daemon, script);
        let mut arguments = vec!["--socket", &socket, "flow", "edit", "kept"];
        arguments.extend(more);
        aura_in(&home, &[("VISUAL", &editor)], &arguments)
    };
    let kept = home.join(".local/state/aura/edit/kept.yaml");
    let said = edit("sed -i 's/first/second/' \"$1\"", &["--publish"]).success();
    assert_says(said.out.as_str(), &["kept published"]);
    let text = daemon.aura(&["flow", "show", "kept"]).success().out;
    assert!(text.contains("id: second") && text.contains("# a comment that must survive"), "{text}");
    assert!(!kept.exists(), "what is stored need not be kept");

    let said = edit(":", &[]).success();
    assert_says(said.err.as_str(), &["nothing was changed"]);

    let said = edit("sed -i 's/set:/sett:/' \"$1\"", &[]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert_says(said.err.as_str(), &["was not stored", "kept.yaml"]);
    assert_says(said.out.as_str(), &["sett"]);
    assert_eq!(std::fs::metadata(&kept).expect("the kept text").mode() & 0o777, 0o600);
    assert!(daemon.aura(&["flow", "show", "kept", "--draft"]).success().out.contains("set:"), "nothing half-applied");

    // The next edit goes on with what was kept, and storing it takes the file away.
    let said = edit("sed -i 's/sett:/set:/; s/second/third/' \"$1\"", &[]).success();
    assert_says(said.out.as_str(), &["stored as draft"]);
    assert!(daemon.aura(&["flow", "show", "kept", "--draft"]).success().out.contains("id: third"));
    assert!(!kept.exists());

    let said = edit("sed -i 's/flow: kept/flow: other/' \"$1\"", &[]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert_says(said.out.as_str(), &["of the flow `other`, not of `kept`"]);
    std::fs::remove_file(&kept).expect("the kept text");
    let said = edit("exit 3", &[]);
    assert_eq!(said.code, 2, "{said:#?}");
    assert_says(said.err.as_str(), &["the editor", "your text is in"]);

    let gone = aura_in(&home, &[("VISUAL", "true")], &["--socket", &socket, "flow", "edit", "nobody"]);
    assert_eq!(gone.code, 3, "{gone:#?}");
}

#[test]
fn somebody_elses_change_is_not_overwritten() {
    let daemon = Daemon::start();
    daemon.publish(FLOW);
    let home = daemon.place.path("home");
    let socket = daemon.place.socket().display().to_string();
    let other = daemon.place.path("other.yaml");
    std::fs::write(&other, FLOW.replace("first", "theirs")).expect("a file");
    let script = format!(
        "{} --socket {socket} flow apply {} >/dev/null && sed -i 's/first/mine/' \"$1\"",
        env!("CARGO_BIN_EXE_it-aura"),
        other.display()
    );
    let editor = editor(&daemon, &script);
    let said = aura_in(&home, &[("VISUAL", &editor)], &["--socket", &socket, "flow", "edit", "kept"]);
    assert_eq!(said.code, 5, "{said:#?}");
    assert_says(said.err.as_str(), &["somebody else changed kept", "kept.yaml"]);
    assert!(daemon.aura(&["flow", "show", "kept", "--draft"]).success().out.contains("theirs"));
}

#[test]
fn a_sample_delivery_goes_through_the_door_signed_as_its_sender_would() {
    let daemon = Daemon::start();
    daemon.publish(FLOW);
    let signed = "aura: 1\nflow: signed\ntriggers:\n  - { id: in, on: webhook, auth: { scheme: standard_webhooks, secret: s } }\n  - { id: token, on: webhook, auth: { bearer: t } }\nsteps:\n  - id: first\n    set: { got: \"{{ trigger.body.type }}\" }\n";
    daemon.secret("s", SECRET);
    daemon.secret("t", "a-token-nobody-sees");
    daemon.publish(signed);
    for (name, flow) in [("kept", "kept"), ("signed/in", "signed"), ("signed/token", "signed")] {
        let before = daemon.runs(flow).len();
        let said = daemon.aura(&["webhook", "test", name, "--json"]).success();
        let answer = said.json();
        assert_eq!(answer["status"], 202, "{said:#?}");
        assert!(answer["body"].as_str().expect("a body").contains("event_id"), "{answer}");
        assert!(!said.out.contains("a-token-nobody-sees") && !said.out.contains("v1,"), "{said:#?}");
        assert_eq!(daemon.runs(flow).len(), before + 1, "{name}: it is a real delivery");
    }
    let body = daemon.place.path("body.json");
    std::fs::write(&body, "{\"type\": \"mine\"}").expect("a file");
    let said = daemon.aura(&["webhook", "test", "signed/in", "--body", &format!("@{}", body.display())]).success();
    assert_says(said.out.as_str(), &["accepted", "aura-event-id"]);
    let several = daemon.aura(&["webhook", "test", "signed"]);
    assert_eq!(several.code, 2, "{several:#?}");
    assert_says(several.err.as_str(), &["several endpoints", "signed/in"]);
    daemon.aura(&["flow", "disable", "kept"]).success();
    let off = daemon.aura(&["webhook", "test", "kept"]);
    assert_eq!(off.code, 1, "{off:#?}");
    assert_says(off.out.as_str(), &["404", "disabled"]);
}

#[test]
fn events_that_began_no_run_are_listed_and_shown() {
    let daemon = Daemon::start();
    daemon.publish("aura: 1\nflow: picky\ntriggers:\n  - { id: in, on: webhook, auth: none, filter: \"{{ trigger.body.n > 5 }}\" }\nsteps:\n  - id: first\n    set: { got: 1 }\n");
    let hook = daemon.open_hook("picky");
    for number in 0..8 {
        assert_eq!(hook.send(&format!("k{number}"), &format!("{{\"n\": {number}}}")).expect("an answer").status, 202);
    }
    assert_eq!(hook.send("k1", "{\"n\": 1}").expect("an answer").status, 200, "a repeat");
    let list = |more: &[&str]| -> Vec<serde_json::Value> {
        let mut arguments = vec!["event", "list", "--json"];
        arguments.extend(more);
        let said = daemon.aura(&arguments).success();
        said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let states: Vec<String> = list(&[]).iter().map(|row| row["state"].as_str().expect("a state").to_owned()).collect();
    assert_eq!(states.iter().filter(|state| *state == "dropped").count(), 6, "{states:?}");
    assert_eq!(states.first().map(String::as_str), Some("duplicate"), "newest first: {states:?}");
    assert_eq!(list(&["--state", "dropped", "--limit", "2"]).len(), 2);
    assert_eq!(list(&["--flow", "nobody"]).len(), 0);
    let oldest = list(&["--state", "dropped"]).pop().expect("the oldest");
    let id = oldest["event"].as_str().expect("an id");
    assert_eq!(list(&["--before", id]).len(), 0);
    let shown = daemon.aura(&["event", "show", id]).success();
    assert_says(shown.out.as_str(), &["filter is false", "\"n\": 0"]);
}

#[test]
fn settings_are_shown_with_their_sources_and_a_wrong_file_with_its_line() {
    let daemon = Daemon::start();
    let home = daemon.place.path("home");
    let socket = daemon.place.socket().display().to_string();
    let said = aura_in(&home, &[("AURA_SOCKET", &socket)], &["config", "show", "--json"]).success();
    let rows: Vec<serde_json::Value> = said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let source = |of: &str, name: &str| {
        let row = rows.iter().find(|row| row["of"] == of && row["name"] == name).expect("a row");
        row["source"].as_str().expect("a source").to_owned()
    };
    assert_eq!(source("aura", "daemon"), "environment AURA_SOCKET");
    assert_eq!(source("aurad", "data_dir"), "flag --data-dir");
    assert_eq!(source("aurad", "egress_private"), "environment AURA_EGRESS_PRIVATE");
    assert_eq!(source("aurad", "queue_max"), "default");
    let file = home.join(".config/aura/config.toml");
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    std::fs::write(&file, "theme = \"16\"\nthme = \"mono\"\n").expect("a file");
    for arguments in [["config", "check"], ["flow", "list"]] {
        let said = aura_in(&home, &[("AURA_SOCKET", &socket)], &arguments);
        assert_eq!(said.code, 2, "{said:#?}");
        assert_says(said.err.as_str(), &["config.toml, line 2", "thme"]);
    }
    std::fs::write(&file, "theme = \"mono\"\n").expect("a file");
    let said = aura_in(&home, &[("AURA_SOCKET", &socket)], &["config", "check"]).success();
    assert_says(said.out.as_str(), &["is valid", "valid settings"]);
}

#[test]
fn a_bundle_is_listed_before_it_is_written_and_holds_no_payload_and_no_secret() {
    let daemon = Daemon::start();
    daemon.publish(FLOW);
    let (secret, payload) = ("whsec_cGxhbnRlZCBzZWNyZXQ=", "planted-payload-4711");
    daemon.secret("planted", secret);
    daemon.run("kept", &format!("{{\"a\": \"{payload}\"}}"));
    let file = daemon.place.path("bundle.tar");
    let path = file.to_str().expect("a path");
    let said = daemon.aura(&["support", "bundle", "--file", path]).success();
    assert_says(said.out.as_str(), &["versions.txt", "log.txt", "daemon-settings.txt", "doctor.jsonl"]);
    assert_says(said.err.as_str(), &["nothing was written"]);
    assert!(!file.exists());
    let said = daemon.aura(&["support", "bundle", "--yes", "--file", path]).success();
    assert_says(said.out.as_str(), &["wrote"]);
    assert_eq!(std::fs::metadata(&file).expect("the bundle").mode() & 0o777, 0o600);
    let mut bytes = Vec::new();
    std::fs::File::open(&file).and_then(|mut file| file.read_to_end(&mut bytes)).expect("the bundle");
    let text = String::from_utf8_lossy(&bytes);
    assert_says(&*text, &["aura-support/versions.txt", "ready", "http_body_max", "\"flows\":1"]);
    for planted in [secret, payload, "cGxhbnRlZCBzZWNyZXQ=", "a comment that must survive"] {
        assert!(!text.contains(planted), "{planted} is in the bundle");
    }
    let again = daemon.aura(&["support", "bundle", "--yes", "--file", path]);
    assert_eq!(again.code, 5, "a bundle is never overwritten: {again:#?}");
}

#[test]
fn completions_and_manual_pages_are_made_without_a_daemon() {
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("man1");
    let said = aura(&["man", "--dir", dir.to_str().expect("a path")]).success();
    assert_says(said.out.as_str(), &["pages in"]);
    assert!(dir.join("aura-flow-edit.1").is_file() && dir.join("aura.1").is_file());
    assert_says(aura(&["man", "webhook", "test"]).success().out.as_str(), &[".TH", "signed sample"]);
    assert_eq!(aura(&["man", "nonsense"]).code, 3);
    for shell in ["bash", "zsh", "fish"] {
        let script = aura(&["completions", shell]).success().out;
        assert!(script.contains("webhook"), "{shell}");
        if shell == "bash" {
            let file = place.path().join("aura.bash");
            std::fs::write(&file, &script).expect("a file");
            let status = std::process::Command::new("bash").arg("-n").arg(&file).status().expect("bash");
            assert!(status.success(), "bash reads it");
        }
    }
}

#[test]
fn doctor_says_what_is_wrong_on_this_side_too() {
    let home = tempfile::tempdir().expect("a home");
    let said = aura_in(home.path(), &[("LANG", "C")], &["--socket", "/nonexistent/aurad.sock", "doctor", "--json"]);
    assert_eq!(said.code, 8, "{said:#?}");
    assert_says(said.out.as_str(), &["\"subject\":\"locale\"", "\"subject\":\"daemon\"", "/nonexistent/aurad.sock"]);
    let daemon = Daemon::start();
    let said = daemon.aura(&["doctor"]);
    assert_says(said.out.as_str(), &["versions", "speak protocol", "master key"]);
}
