//! Backup under load, restore on an empty machine, a paused start; and stores of earlier releases that go on.
//!
//! The one invariant: what was acknowledged before the backup began is in it, and nothing of a restored store leaves
//! the house before a person says so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use aura_protocol::event::EventState;
use aura_protocol::rpc::FlowRun;
use aura_protocol::run::{RunState, StepState};
use aura_protocol::{Code, Value};

use crate::support::daemon::{MASTER, Place, run_of};
use crate::support::{Answer, Daemon, LIMIT, Receiver, Setup, assert_says, aura, wait_until};

const HOOKS: &str = r#"
aura: 1
flow: hooks
triggers:
  - id: in
    on: webhook
    auth: none
    dedupe: { key: "{{ trigger.body.id }}" }
steps:
  - id: keep
    set: { got: "{{ trigger.body.id }}" }
"#;

const CHARGE: &str = r#"
aura: 1
flow: charge
triggers:
  - { id: hand, on: manual }
steps:
  - id: charge
    http: { method: POST, url: "RECEIVER/charge", body: { amount: 5 } }
"#;

/// Waits long enough to be found waiting, and would call out when it is due.
const NAP: &str = r#"
aura: 1
flow: nap
triggers:
  - { id: hand, on: manual }
steps:
  - id: rest
    sleep: { for: 4s }
  - id: tell
    http: { method: PUT, url: "RECEIVER/awake", body: { awake: true } }
"#;

/// Planted in a connection, in a payload and in a flow; none may be found in a backup.
const CANARIES: [&str; 3] = ["canary-in-a-secret-5151", "canary-in-a-payload-5252", "canary-in-a-flow-5353"];

fn forms(canary: &str) -> Vec<Vec<u8>> {
    use base64::Engine;
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(canary);
    vec![canary.as_bytes().to_vec(), hex.into_bytes(), encoded.into_bytes()]
}

fn key_file(dir: &Path, name: &str, key: &[u8]) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(name);
    fs::write(&path, key).expect("a key file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// The runs that senders were promised.
fn promised(daemon: &Daemon, stop: &AtomicBool, acked: &Mutex<BTreeSet<String>>) {
    let hook = daemon.open_hook("hooks");
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let hook = hook.clone();
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let body = format!(r#"{{"id":"{sender}-{number}","note":"{}"}}"#, CANARIES[1]);
                    if let Ok(reply) = hook.send(&format!("{sender}-{number}"), &body)
                        && reply.status == 202
                    {
                        acked.lock().expect("a lock").insert(run_of(&reply, EventState::Started).to_string());
                    }
                }
            });
        }
    });
}

#[test]
fn a_backup_under_load_comes_back_on_an_empty_machine_and_waits_for_a_person() {
    let (daemon, receiver) = (Daemon::start(), Receiver::start());
    receiver.on("/charge", |_, _| Answer::hold());
    daemon.secret("token", CANARIES[0]);
    daemon.publish(&HOOKS.replace("flow: hooks", &format!("flow: hooks\nnote: {}", CANARIES[2])));
    daemon.publish(&CHARGE.replace("RECEIVER", &receiver.url("")));
    daemon.publish(&NAP.replace("RECEIVER", &receiver.url("")));
    let charge = daemon.run("charge", "{}");
    receiver.wait("/charge", 1);

    // Backup under load: what was promised before it began must be in it.
    let folder = tempfile::tempdir().expect("a folder");
    let (stop, acked) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let (before, made, nap) = std::thread::scope(|scope| {
        scope.spawn(|| promised(&daemon, &stop, &acked));
        wait_until("some promises", LIMIT, || acked.lock().expect("a lock").len() > 50);
        let nap = daemon.run("nap", "{}");
        let before = acked.lock().expect("a lock").clone();
        let made = daemon.aura(&["backup", "--to", text(folder.path()), "--json"]);
        stop.store(true, Ordering::Relaxed);
        (before, made.success().json(), nap)
    });
    let file = PathBuf::from(made["file"].as_str().expect("a file"));
    assert_eq!(file.parent(), Some(folder.path()));
    let content = fs::read(&file).expect("the backup");
    for canary in CANARIES {
        for form in forms(canary) {
            assert!(!content.windows(form.len()).any(|part| part == form), "{canary} is in the backup");
        }
    }
    assert!(!content.windows(MASTER.len()).any(|part| part == MASTER), "the master key is in the backup");
    assert!(daemon.aura(&["backup", "--to", text(&file)]).code == 5, "a backup replaces nothing");

    // The machine burns; an empty one has the backup and a copy of the key, nothing else.
    let mut daemon = daemon;
    daemon.kill9();
    let place = Place::new(Setup::default());
    let data = place.data();
    let right = key_file(folder.path(), "right.key", &MASTER);
    let wrong = key_file(folder.path(), "wrong.key", &[8; 32]);
    let restore = |file: &Path, key: &Path| {
        aura(&["restore", text(file), "--data-dir", text(&data), "--master-key", text(key), "--json"])
    };
    let refused = restore(&file, &wrong);
    assert_eq!(refused.code, i32::from(Code::Forbidden.exit_code()), "{refused:?}");
    assert_says(&refused.err, &["the master key does not fit the backup"]);
    let cut = folder.path().join("cut.aurabk");
    fs::write(&cut, &content[..content.len() - 10]).expect("a cut copy");
    let refused = restore(&cut, &right);
    assert!(refused.code != 0 && refused.err.contains("is damaged"), "{refused:?}");
    assert!(!data.exists(), "a refused restore left something behind");
    let verified = aura(&["backup", "--verify", text(&file), "--master-key", text(&right), "--json"]).success().json();
    assert_eq!(verified["tables"], made["tables"]);
    let restored = restore(&file, &right).success().json();
    assert_eq!(restored["tables"], made["tables"], "the manifest is not equal");
    let again = restore(&file, &right);
    assert!(again.code != 0 && again.err.contains("is not empty"), "{again:?}");

    // It starts paused: nothing is taken, nothing leaves.
    let (calls, awake) = (receiver.log().len(), receiver.on_path("/awake").len());
    let mut daemon = Daemon::start_at(place);
    let paused = |daemon: &Daemon| {
        assert_says(&daemon.ask().status(()).expect("a status").state, &["paused: restored from a backup of"]);
        let refused = daemon.open_hook("hooks").send("new", r#"{"id":"new"}"#).expect("an answer");
        assert_eq!((refused.status, refused.event()), (503, None), "{}", refused.text());
        let wait: u32 = refused.header("retry-after").expect("when to come again").parse().expect("seconds");
        assert!(wait >= 1);
        let by_hand = daemon.ask().flow_run(FlowRun { flow: "nap".into(), input: Value::Null }).unwrap_err();
        assert_eq!(by_hand.code, Code::Conflict, "{by_hand}");
    };
    paused(&daemon);
    assert_says(daemon.aura(&["status"]).success().out, &["paused", "aura resume"]);
    assert_says(daemon.aura(&["doctor"]).out, &["warn  state: paused"]);
    let doubtful = daemon.wait_state(charge, RunState::InDoubt);
    assert_eq!(doubtful.state("charge"), StepState::InDoubt, "a `once` call that was out is a person's to judge");
    // A restart does not end the pause.
    daemon.kill9();
    daemon.up();
    paused(&daemon);
    wait_until("the nap to be over, were it not paused", LIMIT, || {
        let due = daemon.show(nap).head.created_ms + 4_200;
        crate::support::now_ms() > due
    });
    assert_eq!(daemon.show(nap).head.state, RunState::Waiting, "a timer fired while paused");
    assert_eq!(receiver.log().len(), calls, "something left while paused");

    // Nothing that was promised before the backup began is lost.
    let exported = daemon.aura(&["flow", "export", "hooks", "--runs"]).success().out;
    let lines: Vec<serde_json::Value> =
        exported.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let runs: BTreeSet<&str> =
        lines.iter().filter(|line| line["kind"] == "run").filter_map(|line| line["run"].as_str()).collect();
    let lost: Vec<&String> = before.iter().filter(|run| !runs.contains(run.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} promised runs are lost: {lost:?}", lost.len(), before.len());
    assert_eq!(lines[0]["kind"], "flow");
    assert!(!exported.contains(CANARIES[0]), "a secret is in the export");
    println!("{} promised before the backup, 0 lost; {} runs in it", before.len(), runs.len());

    let resumed = daemon.aura(&["resume", "--json"]).success().json();
    assert_eq!((&resumed["was_paused"], &resumed["in_doubt"]), (&true.into(), &1.into()), "{resumed}");
    daemon.wait_state(nap, RunState::Succeeded);
    assert_eq!(receiver.on_path("/awake").len(), awake + 1);
    assert_eq!(receiver.on_path("/charge").len(), 1, "never sent again by itself");
    let taken = daemon.open_hook("hooks").send("new", r#"{"id":"new"}"#).expect("an answer");
    assert_eq!(taken.status, 202, "{}", taken.text());
    assert_eq!(daemon.ask().status(()).expect("a status").state, "ready");
    assert_says(daemon.aura(&["resume"]).success().out, &["it was not paused"]);
    daemon.kill9();
    daemon.up();
    assert_eq!(daemon.ask().status(()).expect("a status").state, "ready", "the pause is over for good");
}

#[test]
fn room_is_told_and_given_back_while_the_daemon_runs() {
    let daemon = Daemon::start();
    daemon.publish(HOOKS);
    let hook = daemon.open_hook("hooks");
    for number in 0..20 {
        let reply = hook.send(&number.to_string(), &format!(r#"{{"id":"{number}"}}"#)).expect("an answer");
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    daemon.wait_quiet(LIMIT);
    let usage = daemon.aura(&["du", "--json"]).success().json();
    let flow = &usage["flows"][0];
    assert_eq!((flow["flow"].as_str(), flow["runs"].as_u64()), (Some("hooks"), Some(20)), "{usage}");
    assert_says(daemon.aura(&["du"]).success().out, &["journal", "hooks"]);
    let done = daemon.aura(&["compact", "--json"]).success().json();
    assert!(done["after"].as_u64() <= done["before"].as_u64(), "{done}");
    let reply = hook.send("more", r#"{"id":"more"}"#).expect("an answer");
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(daemon.runs("hooks").len(), 21);
    let deep = daemon.aura(&["doctor", "--deep"]);
    assert!(!deep.out.contains("fail  store"), "{}", deep.out);
}

#[test]
fn a_store_of_the_first_layout_opens_and_its_runs_go_on() {
    let place = Place::new(Setup::default());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/layout-1/aura.redb");
    fs::create_dir(place.data()).expect("a data directory");
    fs::copy(golden, place.data().join("aura.redb")).expect("a copy");
    let mut daemon = Daemon::start_at(place);
    let only = |daemon: &Daemon, flow: &str| {
        let runs = daemon.runs(flow);
        assert_eq!(runs.len(), 1, "{flow}: {runs:#?}");
        runs[0].run
    };
    // Its timer is long due, so it goes on where it was.
    let nap = daemon.wait_state(only(&daemon, "nap"), RunState::Succeeded);
    assert_eq!(nap.output("after"), r#"{"b":2}"#);
    let flight = daemon.wait_state(only(&daemon, "flight"), RunState::InDoubt);
    assert_eq!(flight.state("charge"), StepState::InDoubt, "it was killed while a `once` call was out");
    assert_eq!(daemon.show(only(&daemon, "charge")).head.state, RunState::InDoubt);
    assert_eq!(daemon.show(only(&daemon, "fails")).head.state, RunState::Failed);
    let sums = daemon.runs("sums");
    assert_eq!(sums.len(), 3);
    for run in sums {
        let journal = daemon.wait_state(run.run, RunState::Succeeded);
        assert_eq!((journal.output("first"), journal.output("pay")).0, r#"{"total":3}"#);
    }
    assert_eq!(daemon.runs("hooks").len(), 2);
    assert_eq!(daemon.ask().status(()).expect("a status").held, 1, "two deliveries of a disabled flow are held");
    let carts = daemon.ask().webhook_list(()).expect("the endpoints");
    let hooks = carts.iter().find(|webhook| webhook.flow == "hooks").expect("the endpoint");
    assert!(hooks.url.ends_with("/hooks/7gy0wt4q47ssh15jn4kk5en74w"), "an endpoint keeps its name: {}", hooks.url);
    let repeat = daemon.open_hook("hooks").send("x", r#"{"id":2}"#).expect("an answer");
    assert_eq!(repeat.field("state"), "duplicate", "dedupe keys of before still count: {}", repeat.text());
    let deep = daemon.aura(&["doctor", "--deep"]);
    assert!(!deep.out.contains("fail  ") || !deep.out.contains("damaged"), "{}", deep.out);
    let backups = fs::read_dir(daemon.place.data()).expect("the directory").filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with("before-layout-7-")
    });
    assert_eq!(backups.count(), 1, "a backup was made before the layout was changed");
    daemon.stop();
}
