//! One step of a draft, up to a step, and the next event of a draft's trigger, through the real binaries.
//!
//! The one invariant: nothing of it is stored, sent or started but what `aura flow try` was told to send, and where
//! each value came from is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aura_protocol::run::RunState;

use crate::e2e_effects::stage;
use crate::support::screen::Screen;
use crate::support::sender::SECRET;
use crate::support::{Answer, Daemon, Hook, Receiver, assert_says, aura};

fn page() -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder above").to_owned();
    fs::read_to_string(path.join("docs/testing-flows.md")).expect("the page")
}

/// A folder with files, and the path of a name in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("written");
        self.path(name)
    }
}

const PAID: &str = r#"
steps:
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { sum: "{{ input.sum }}" } }
    redact: [output.body.card]
  - id: note
    set: { text: "paid {{ steps.charge.output.body.id }}" }
  - id: lines
    each: { over: "{{ input.lines }}", key: "{{ item.sku }}" }
    http: { method: PUT, url: "RECEIVER/lines/{{ item.sku }}", body: { card: "{{ steps.charge.output.body.card }}" } }
  - id: mail
    http: { method: POST, url: "RECEIVER/mail", body: { said: "{{ steps.note.output.text }}", to: "{{ input.to }}" } }
"#;

/// A run that went well, and its flow's text with another mail step, stored nowhere.
fn paid(folder: &Folder) -> (Daemon, Receiver, String, String) {
    let (daemon, receiver) = stage("paid", PAID);
    receiver.on("/charge", |_, _| Answer::ok().body(r#"{"id":"ch_7","card":"4242-secret"}"#));
    let input = r#"{"sum":5,"to":"eve@example.org","lines":[{"sku":"A"},{"sku":"B"}]}"#;
    let run = daemon.run("paid", input);
    daemon.wait_state(run, RunState::Succeeded);
    let text = daemon.aura(&["flow", "show", "paid"]).success().out;
    let draft = folder.write("paid.yaml", &text.replace("said: ", "subject: Thanks, said: "));
    (daemon, receiver, run.to_string(), draft)
}

#[test]
fn one_step_of_a_draft_runs_on_what_a_real_run_had() {
    let folder = Folder::new();
    let (daemon, receiver, run, draft) = paid(&folder);
    let calls = receiver.log().len();
    let said = daemon.aura(&["flow", "simulate", &draft, "--only", "mail", "--from-run", &run]).success();
    let wanted = [
        "mail  POST ",
        "succeeded",
        "reads: the event (recorded), note (recorded)",
        "\"subject\": \"Thanks\"",
        "\"said\": \"paid ch_7\"",
        "\"to\": \"eve@example.org\"",
        "output (recorded):",
    ];
    assert_says(&said.out, &wanted);

    // Up to it the steps that it needs run, here with one answer of a pin.
    let pin = r#"charge={"status":200,"headers":{},"body":{"id":"ch_8","card":"x"}}"#;
    let said = daemon.aura(&["flow", "simulate", &draft, "--to", "mail", "--from-run", &run, "--pin", pin]).success();
    assert_says(&said.out, &["charge: succeeded  (pinned)", "note: succeeded\n", "\"said\": \"paid ch_8\""]);

    // One item, in JSON; what nobody may see is not shown here either.
    let said = daemon.aura(&["flow", "simulate", &draft, "--only", "lines[B]", "--from-run", &run, "--json"]).success();
    assert!(!said.out.contains("4242"), "{}", said.out);
    assert_says(&said.out, &["[redacted]", "are kept out of sight"]);
    let report = said.json();
    assert_eq!(report["asked"]["step"], "lines[B]");
    assert_eq!(report["asked"]["from"], "recorded");
    let input = report["asked"]["input"].as_str().expect("its input");
    assert_says(input, &["/lines/B"]);
    assert_eq!(report["path"].as_array().map(Vec::len), Some(2), "{report:#}");

    // A flow of the daemon by its name, with what nobody says made up.
    let said = daemon.aura(&["flow", "simulate", "paid", "--to", "note"]).success();
    assert_says(
        &said.out,
        &["charge: succeeded  (generated)", "\"text\": \"paid generated id\"", "output (computed):"],
    );
    let said = daemon.aura(&["flow", "simulate", "paid", "--to", "note", "--strict", "--input", r#"{"sum":1}"#]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert_says(&said.out, &["no answer is pinned", "--pin STEP=JSON", "not reached"]);

    assert_eq!(receiver.log().len(), calls, "nothing was sent");
    assert_eq!(daemon.runs("paid").len(), 1, "nothing was started");
}

#[test]
fn one_step_of_a_draft_is_done_really_as_a_test_run() {
    let folder = Folder::new();
    let (daemon, receiver, run, draft) = paid(&folder);
    let teller = receiver.url("/told");
    daemon.publish(&format!(
        "aura: 1\nflow: teller\ntriggers:\n  - {{ id: any, on: flow_failed }}\nsteps:\n  - {{ id: tell, http: {{ method: POST, url: \"{teller}\" }} }}\n"
    ));
    let tries = |arguments: &[&str]| {
        daemon.aura(&[&["flow", "try", draft.as_str(), "--from-run", run.as_str()], arguments].concat())
    };
    // Shown, and sent only when somebody said so.
    let said = tries(&["--step", "mail", "--preview"]).success();
    assert_says(&said.out, &["mail  POST ", "\"subject\": \"Thanks\"", "\"said\": \"paid ch_7\""]);
    let said = tries(&["--step", "mail"]);
    assert_eq!(said.code, 2, "{said:#?}");
    assert_says(&said.err, &["nobody can be asked whether to do this: POST ", "(once)", "--yes"]);
    assert_eq!((receiver.count("/mail"), daemon.runs("paid").len()), (1, 1));

    receiver
        .on("/mail", |_, before| if before == 1 { Answer::ok().body(r#"{"sent":true}"#) } else { Answer::status(422) });
    let said = tries(&["--step", "mail", "--yes"]).success();
    assert_says(&said.out, &["output (real):", "\"sent\": true", "succeeded"]);
    let mails = receiver.wait("/mail", 2);
    assert_eq!(
        mails[1].json(),
        serde_json::json!({ "subject": "Thanks", "said": "paid ch_7", "to": "eve@example.org" })
    );
    assert_eq!((receiver.count("/charge"), receiver.log().len()), (1, 5), "no other step was done");
    let listed = daemon.aura(&["run", "list", "--filter", "trigger=test"]).success();
    assert!(listed.out.contains("paid") && !listed.out.contains(&run), "{}", listed.out);
    assert_eq!(daemon.ask().flow_show("paid".to_owned()).expect("the flow").draft, None, "the text is not stored");

    // It fails: its run does, and nobody is told.
    let said = tries(&["--step", "mail", "--yes", "--json"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert_eq!(said.json()["run"]["state"], "failed");
    // It is no run of the flow: the flow is not done again from it, and nothing is taken from it.
    let (tried, sent) = (said.json()["run"]["run"].as_str().expect("a run").to_owned(), receiver.log().len());
    for arguments in [
        vec!["run", "replay", &tried],
        vec!["run", "replay", &tried, "--retry"],
        vec!["flow", "simulate", &draft, "--only", "mail", "--from-run", &tried],
        vec!["flow", "test", &draft, "--record", &tried],
    ] {
        let said = daemon.aura(&arguments);
        assert_ne!(said.code, 0, "{said:#?}");
        assert_says(&said.err, &["try of one step"]);
    }
    assert_eq!(receiver.log().len(), sent);
    let failed = daemon.run("paid", r#"{"sum":1,"to":"x","lines":[]}"#);
    daemon.wait_state(failed, RunState::Failed);
    receiver.wait("/told", 1);
    daemon.wait_quiet_of("teller", crate::support::LIMIT);
    assert_eq!(receiver.count("/told"), 1, "only the real failure was told");

    let check = |arguments: &[&str], code: i32, says: &[&str]| {
        let said = tries(arguments);
        assert_eq!(said.code, code, "{said:#?}");
        assert_says(format!("{}{}", said.out, said.err), says);
    };
    let said = daemon.aura(&["flow", "try", &draft, "--step", "mail", "--yes"]);
    assert_eq!(said.code, 2, "{said:#?}");
    assert_says(&said.err, &["nothing was sent: what mail reads is made up: the event, note", "--made-up"]);
    check(&["--step", "note", "--yes"], 2, &["note is a `set` step, which calls nobody outside"]);
    check(&["--step", "lines", "--yes"], 2, &["lines is done for each item of a list", "lines[KEY]"]);
    check(&["--step", "lines[A]", "--yes"], 2, &["holds [redacted], which would be sent as it stands"]);
    let calls = receiver.count("/lines/A");
    let pin = r#"charge={"status":200,"headers":{},"body":{"card":"1111"}}"#;
    check(&["--step", "lines[A]", "--yes", "--pin", pin], 0, &["succeeded"]);
    assert_eq!(receiver.count("/lines/A"), calls + 1);
}

#[test]
fn what_cannot_be_simulated_says_why() {
    let folder = Folder::new();
    let file = folder.write(
        "a.yaml",
        "aura: 1\nflow: a\ntriggers: [{ id: t, on: webhook, auth: none, filter: \"{{ trigger.body.go }}\" }]\nsteps:\n  - { id: x, http: { url: \"https://e.org/{{ vars.host }}/{{ trigger.headers['x-shop'] }}\" } }\n  - { id: y, set: { n: \"{{ steps.x.output.body.n + 1 }}\" } }\n",
    );
    let check = |arguments: &[&str], code: i32, says: &[&str]| {
        let said = aura(&[&["flow", "simulate", &file], arguments].concat());
        assert_eq!(said.code, code, "{said:#?}");
        assert_says(format!("{}{}", said.out, said.err), says);
    };
    check(&["--to", "z"], 3, &["the flow has no step z; it has x, y"]);
    check(&["--only", "x", "--from-run", "run_1"], 8, &["only a daemon knows what run_1 did"]);
    check(&["--header", "x-shop"], 2, &["`x-shop` is no header", "NAME=VALUE"]);
    check(&["--to", "x", "--only", "y"], 2, &["cannot be used with"]);
    let body = folder.write("no.json", r#"{"go": false}"#);
    check(&["--to", "x", "--trigger", &body], 1, &["the trigger's filter keeps the event out"]);
    let body = folder.write("yes.json", r#"{"go": true}"#);
    let given = ["--trigger", &body, "--header", "X-Shop=s1", "--var", "host=h1"];
    check(&[&["--only", "x"], given.as_slice()].concat(), 0, &["https://e.org/h1/s1", "the event (pinned)"]);
    let said = ["x: failed  (pinned)", "the run did not come to y", "no such host"];
    check(&[&["--to", "y", "--fail", "x=no such host"], given.as_slice()].concat(), 1, &said);
}

#[test]
fn the_page_shows_what_simulate_says() {
    let (folder, page) = (Folder::new(), page());
    folder
        .write("order.yaml", page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a flow"));
    let mut shown = 0;
    for block in page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let (command, wanted) =
            block.strip_prefix("$ aura ").and_then(|rest| rest.split_once('\n')).expect("a command");
        let words: Vec<String> = aura_words(command)
            .into_iter()
            .map(|word| word.replace("order.yaml", &folder.path("order.yaml")))
            .collect();
        let said = aura(&words.iter().map(String::as_str).collect::<Vec<_>>()).success();
        assert!(said.out.contains(wanted.trim_end()), "{command}\n{}", said.out);
        shown += 1;
    }
    assert!(shown >= 2, "{shown} examples");
}

/// Words of a line of the page: blanks part them, single quotes hold them together.
fn aura_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars().chain([' ']) {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            c => word.push(c),
        }
    }
    words
}

const HOOKED: &str = "aura: 1
flow: hooked
triggers:
  - { id: paid, on: webhook, auth: { scheme: standard_webhooks, secret: sender }, filter: \"{{ trigger.body.n > 1 }}\" }
  - { id: nightly, on: schedule, with: { cron: \"0 3 * * *\" } }
steps:
  - { id: twice, set: { n: \"{{ trigger.body.n * 2 }}\", who: \"{{ trigger.headers['x-who'] }}\" } }
";

/// `aura flow listen …` in a terminal, and the hook that it shows.
fn listening(daemon: &Daemon, arguments: &[&str]) -> (Screen, Hook) {
    let socket = daemon.place.socket();
    let all = [&["--socket", socket.to_str().expect("a path"), "flow", "listen"], arguments].concat();
    let screen = Screen::run(&all, 160, 50, &[]);
    screen.wait("the address", |text| text.contains("/hooks/test/") && text.contains("nothing starts"));
    let text = screen.text();
    let path = text.split_whitespace().find_map(|word| word.find("/hooks/test/").and_then(|at| word.get(at..)));
    let path = path.expect("a path").to_owned();
    (screen, Hook { address: daemon.address(), path, secret: SECRET.to_owned() })
}

#[test]
fn the_next_event_of_a_draft_is_shown_and_kept_and_nothing_starts() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    let draft = folder.write("hooked.yaml", HOOKED);
    let sample = folder.path("paid.json");
    let (mut screen, hook) = listening(&daemon, &[&draft, "--save", &sample, "--count", "2"]);

    // What fails in production fails here, and the one who listens hears why.
    let forged = Hook { secret: "whsec_bm90IHRoZSBzZWNyZXQgb2YgdGhlIHRlc3Rz".to_owned(), ..hook.clone() };
    assert_eq!(forged.send("msg_0", r#"{"n":1}"#).expect("an answer").status, 401);
    screen.wait("the refusal", |text| text.contains("REFUSED, as production would: "));
    let said = hook.send("msg_1", r#"{"n":1}"#).expect("an answer");
    assert_eq!((said.status, said.event()), (202, None), "nothing is promised: {}", said.text());
    screen.wait("the first", |text| text.contains("production would be dropped: its trigger's filter is false"));
    let mut headers = hook.signed("msg_2", crate::support::now_ms() / 1000, br#"{"n":21}"#);
    headers.push(("x-who".to_owned(), "eve".to_owned()));
    headers.push(("authorization".to_owned(), "Bearer of-the-sender".to_owned()));
    assert_eq!(hook.send_with(&headers, br#"{"n":21}"#).expect("an answer").status, 202);
    screen.wait("the second", |text| text.contains("production would start a run") && text.contains("\"n\": 21"));
    crate::support::wait_until("the end", crate::support::LIMIT, || screen.ended().is_some());
    assert_eq!(screen.ended(), Some(0));
    assert!(!screen.text().contains("of-the-sender"), "{}", screen.text());
    assert_eq!(hook.send("msg_3", "{}").expect("an answer").status, 404, "it has ended");
    assert!(daemon.runs("hooked").is_empty() && daemon.ask().flow_list(()).expect("flows").is_empty());

    let kept = fs::read_to_string(&sample).expect("the sample");
    assert!(!kept.contains("of-the-sender"), "{kept}");
    let said = aura(&["flow", "simulate", &draft, "--only", "twice", "--trigger", &sample]).success();
    assert_says(&said.out, &["\"n\": 42", "\"who\": \"eve\"", "the event (pinned)"]);
}

#[test]
fn listening_ends_with_its_time_and_with_the_daemon() {
    let folder = Folder::new();
    let mut daemon = Daemon::start();
    daemon.secret("sender", SECRET);
    let draft = folder.write("hooked.yaml", HOOKED);
    let check = |daemon: &Daemon, arguments: &[&str], code: i32, says: &[&str]| {
        let said = daemon.aura(&[&["flow", "listen"], arguments].concat());
        assert_eq!(said.code, code, "{said:#?}");
        assert_says(format!("{}{}", said.out, said.err), says);
    };
    check(&daemon, &[&draft, "--for", "1s"], 1, &["no longer listening: the time is over"]);
    check(&daemon, &[&draft, "--for", "1s", "--json"], 1, &["\"what\":\"ended\"", "\"events\":0"]);
    check(&daemon, &[&draft, "--on", "nightly"], 2, &["no deliveries come to the trigger nightly"]);
    check(&daemon, &[&draft, "--on", "nobody"], 3, &["has no trigger nobody; it has paid, nightly"]);
    check(&daemon, &["nobody"], 3, &["there is no flow named nobody"]);
    check(&daemon, &[&draft, "--for", "2h"], 2, &["1 s to 60 m"]);

    let (mut screen, hook) = listening(&daemon, &[&draft]);
    daemon.kill9();
    daemon.up();
    screen.wait("the end", |text| text.contains("nobody listens under this id any more: aurad was started again"));
    crate::support::wait_until("the end", Duration::from_secs(20), || screen.ended().is_some());
    assert_eq!(screen.ended(), Some(3));
    let hook = Hook { address: daemon.address(), ..hook };
    assert_eq!(hook.send("msg_1", "{}").expect("an answer").status, 404);
}

#[test]
fn a_case_is_recorded_beside_its_own_flow_only() {
    let folder = Folder::new();
    let (daemon, _receiver, run, draft) = paid(&folder);
    let other = folder.write("other.yaml", "aura: 1\nflow: other\nsteps:\n  - { id: x, set: { n: 1 } }\n");
    let check = |file: &str, code: i32, says: &[&str]| {
        let said = daemon.aura(&["flow", "test", file, "--record", &run]);
        assert_eq!(said.code, code, "{said:#?}");
        assert_says(format!("{}{}", said.out, said.err), says);
    };
    check(&other, 5, &["the run is of the flow paid, and", "other.yaml is other", "name the file of its flow"]);
    assert!(!Path::new(&folder.path("other.test.yaml")).exists());
    check(&draft, 0, &["wrote"]);
    check(&draft, 5, &["it has a case `as run_", "already; delete or rename that one"]);
}
